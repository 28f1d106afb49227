"""`parse_reward`, the inverse of `repr`: it turns the text of a reward in a config or log into the reward."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from finer_rewards.comparing import Mode
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.reward import Reward, known_rewards

__all__ = ["parse_reward"]

_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: lambda left, right: left + right,
    ast.Sub: lambda left, right: left - right,
    ast.Mult: lambda left, right: left * right,
}
_LIMIT = 20_000


def parse_reward(text: str) -> Reward:
    """Return the reward that prints as `text`; `parse_reward(repr(r)) == r`.

    Reads names of rewards and presets with literal arguments, `Mode(...)`, `+`, `-` and `*` by a number. Nothing
    is evaluated.

    Args:
        text: e.g. `"2 * execution_match() + 0.5 * atomic_f1()"` or `"finer()"`.

    Raises:
        ConfigError: the text is not a reward; the message names the nearest reward.

    Example:
        >>> parse_reward("2*execution_match( mode = 'bird' )+executable()")
        2 * execution_match(mode='bird') + executable()
    """
    if not isinstance(text, str) or len(text) > _LIMIT:
        raise ConfigError(f"A reward should be text of at most {_LIMIT} characters, but got {text!r:.80}.")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        why = getattr(error, "msg", error)
        raise ConfigError(
            f"A reward should read like '2 * execution_match() + executable()', but got {text!r:.200} ({why})."
        ) from None
    try:
        value = _build(tree.body, text)
    except RecursionError:
        raise ConfigError(f"A reward should be nested less deeply than {text!r:.200}.") from None
    if not isinstance(value, Reward):
        raise ConfigError(f"A reward should hold at least one reward, but got {text!r:.200}.")
    return value


def _build(node: ast.AST, text: str) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.Tuple, ast.List)):
        return tuple(_build(item, text) for item in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        return _combine(
            lambda one, value: one * value, -1 if isinstance(node.op, ast.USub) else 1, node.operand, text
        )
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _combine(_OPERATORS[type(node.op)], _build(node.left, text), node.right, text)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _call(node.func.id, node, text)
    if isinstance(node, ast.Name):
        known = _factories()
        if node.id not in known:
            raise ConfigError(
                f"There is no reward {node.id!r}. {suggest(node.id, known)}A text is written in quotes, but got "
                f"{node.id} in {text!r:.200}."
            )
        raise ConfigError(
            f"A reward is written with brackets: {node.id}(), but got {node.id!r} in {text!r:.200}."
        )
    raise ConfigError(
        f"A reward should be made of names, numbers, + and *, but got {ast.unparse(node)!r:.120}."
    )


def _combine(operator: Callable[[Any, Any], Any], left: Any, right: ast.AST, text: str) -> Any:
    value = _build(right, text)
    for side in (left, value):
        if not isinstance(side, (Reward, int, float)) or isinstance(side, bool):
            raise ConfigError(f"A weight should be a number, but got {side!r:.80} in {text!r:.200}.")
    if isinstance(left, Reward) and isinstance(value, Reward) and operator is _OPERATORS[ast.Mult]:
        raise ConfigError(f"A reward is multiplied by a number, not by a reward, in {text!r:.200}.")
    return operator(left, value)


def _call(name: str, node: ast.Call, text: str) -> Reward | Mode:
    factory = _factories().get(name)
    if factory is None:
        known = _factories()
        raise ConfigError(
            f"There is no reward {name!r}. {suggest(name, known)}Known: {', '.join(sorted(known))}. "
            "A reward of your own has to be imported before its name is read."
        )
    if any(keyword.arg is None for keyword in node.keywords) or any(
        isinstance(a, ast.Starred) for a in node.args
    ):
        raise ConfigError(f"Arguments should be written out, but got a star in {text!r:.200}.")
    arguments = [_build(argument, text) for argument in node.args]
    keywords = {str(keyword.arg): _build(keyword.value, text) for keyword in node.keywords}
    return factory(*arguments, **keywords)


def _mode(*arguments: Any, **keywords: Any) -> Mode:
    try:
        return Mode(*arguments, **keywords)
    except TypeError as error:
        known = [field.name for field in fields(Mode)]
        hint = suggest(next((name for name in keywords if name not in known), ""), known)
        raise ConfigError(f"`Mode(...)` takes {', '.join(known)}, but {error}. {hint}".rstrip()) from None


def _factories() -> dict[str, Callable[..., Reward | Mode]]:
    # Presets are compositions of rewards, so they cannot be imported before this module.
    from finer_rewards.presets import PRESETS

    return {
        "Mode": _mode,
        **PRESETS,
        **{sys.intern(name): factory for name, factory in known_rewards().items()},
    }
