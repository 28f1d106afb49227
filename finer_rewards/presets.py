"""Rewards of published systems, and ours: visible compositions of public parts.

A preset is a plain composition; print it to see its formula. `finer-rewards presets` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from finer_rewards.errors import ConfigError, suggest
from finer_rewards.reward import Reward, constant, gate
from finer_rewards.rewards.completion import well_formed
from finer_rewards.rewards.execution import executable, execution_match

__all__ = ["PRESETS", "arctic", "csc_sql", "execution_only", "preset", "skyrl"]


def execution_only(*, mode: str = "strict") -> Reward:
    """Execution match alone, in {0, 1}.

    Formula: M.

    Known to reward wrongly: a wrong query that happens to return the gold result on the databases given.

    Example:
        >>> execution_only()
        execution_match()
    """
    return execution_match(mode=mode)


def arctic() -> Reward:
    """Arctic-Text2SQL-R1: 1 for a match, 0.1 for SQL that runs, else 0. `_reference`: BIRD's set comparison.

    Formula: 1 if M, else 0.1 X. Range [0, 1].

    Known to reward wrongly: duplicates and order are ignored, empty equals empty; `SELECT 1` earns 0.1.
    The authors' training comparator is not public; BIRD's is the one of their evaluation.

    References:
        Yao et al., Arctic-Text2SQL-R1, 2025, section 3.2 (values second-hand).
    """
    return gate(condition=execution_match(mode="bird"), then=constant(), otherwise=0.1 * executable())


def skyrl() -> Reward:
    """SkyRL-SQL: -1 for a malformed completion, 1 for a match, else 0. `_reference`: BIRD's set comparison.

    Formula: -1 if not F, else M. Range {-1, 0, 1}.

    Known to reward wrongly: duplicates and order are ignored, empty equals empty.

    References:
        NovaSky-AI/SkyRL, skyrl_gym/envs/sql, commit a956457, 2025.
    """
    return gate(
        condition=well_formed(policy="solution"),
        then=execution_match(mode="bird"),
        otherwise=constant(-1.0),
    )


def csc_sql() -> Reward:
    """CSC-SQL and SLM-SQL: execution match plus 0.1 for the format. `_reference`: BIRD's set comparison.

    Formula: M + 0.1 F. Range [0, 1.1].

    Known to reward wrongly: duplicates and order are ignored, empty equals empty.

    References:
        Sheng et al., CSC-SQL, 2025; SLM-SQL, 2025 (values second-hand).
    """
    return execution_match(mode="bird") + 0.1 * well_formed(policy="think_answer")


PRESETS: Final[Mapping[str, Callable[..., Reward]]] = {
    factory.__name__: factory for factory in (arctic, csc_sql, execution_only, skyrl)
}


def preset(name: str, **parameters: Any) -> Reward:
    """Return the preset of that name.

    Raises:
        ConfigError: there is no such preset; the nearest name is given.

    Example:
        >>> preset("execution_only", mode="bird")
        execution_match(mode='bird')
    """
    if name not in PRESETS:
        raise ConfigError(
            f"There is no preset {name!r}. {suggest(name, PRESETS)}Known: {', '.join(sorted(PRESETS))}."
        )
    try:
        return PRESETS[name](**parameters)
    except TypeError as error:
        raise ConfigError(f"`preset({name!r}, ...)` got a parameter it does not take: {error}.") from None
