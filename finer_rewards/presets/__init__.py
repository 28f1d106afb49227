"""Rewards of published systems, and ours: visible compositions of public parts.

A preset is a plain composition; print it to see its formula. `finer-rewards presets` lists them. Where a
docstring's first line says `_reference`, the preset keeps something that its source is known to judge
wrongly; its `mode` parameter, where there is one, mends the comparison and leaves the formula. In the formulas M is an
execution match, X says that the query runs, F that the completion is well formed. Import from here: the modules inside
are private.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from finer_rewards.errors import ConfigError, suggest
from finer_rewards.presets.finer import finer, finer_paper, finer_reference
from finer_rewards.presets.partial import (
    execution_learning,
    execution_learning_reference,
    graph_reward,
    reasoning_sql,
    reasoning_sql_reference,
    sparks,
    think2sql,
    think2sql_complex,
    think2sql_v1,
    think2sql_v2,
)
from finer_rewards.presets.systems_2026 import (
    mars_sql,
    mtsql_r1,
    open_rl,
    paverl_sql,
    reex_sql,
    retool_sql,
    serl_sql,
    sql_astra,
)
from finer_rewards.presets.tool_use import arctic_reference, sql_trail, trust_sql
from finer_rewards.presets.verdicts import (
    agent_lightning,
    arctic,
    csc_sql,
    excot,
    execution_only,
    mtir,
    r_ves,
    skyrl,
    skyrl_reference,
    slm_sql,
    sql_r1,
    sql_r1_reference,
    star,
    ves,
)
from finer_rewards.reward import Reward

__all__ = [
    "PRESETS",
    "agent_lightning",
    "arctic",
    "arctic_reference",
    "csc_sql",
    "excot",
    "execution_learning",
    "execution_learning_reference",
    "execution_only",
    "finer",
    "finer_paper",
    "finer_reference",
    "graph_reward",
    "mars_sql",
    "mtir",
    "mtsql_r1",
    "open_rl",
    "paverl_sql",
    "preset",
    "r_ves",
    "reasoning_sql",
    "reasoning_sql_reference",
    "reex_sql",
    "retool_sql",
    "serl_sql",
    "skyrl",
    "skyrl_reference",
    "slm_sql",
    "sparks",
    "sql_astra",
    "sql_r1",
    "sql_r1_reference",
    "sql_trail",
    "star",
    "think2sql",
    "think2sql_complex",
    "think2sql_v1",
    "think2sql_v2",
    "trust_sql",
    "ves",
]

#: Every preset by name.
PRESETS: Final[Mapping[str, Callable[..., Reward]]] = {
    name: globals()[name] for name in __all__ if name not in ("PRESETS", "preset")
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
