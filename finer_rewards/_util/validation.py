"""Checks the parameters of a reward against their annotations, so that a mistake shows when the reward is built."""

from __future__ import annotations

import sys
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from finer_rewards.errors import ConfigError, suggest


def check_parameter(where: str, annotation: Any, value: Any) -> Any:
    """Return the value, with lists turned into tuples; raise `ConfigError` if it does not fit its annotation.

    This understands `Literal`, unions, `bool`, `int`, `float`, `str`, tuples and classes; other annotations accept
    anything. A value of a subclass (NumPy's `float64`, an enum's text) becomes the plain number or text, so that the
    reward prints as text that can be read back.

    Args:
        where: the name of the parameter in the message.
        annotation: the type that it should have.
        value: the value that was given.

    Raises:
        ConfigError: the value does not fit.

    Example:
        >>> check_parameter("f(mode=...)", Literal["set", "bag"], "bga")
        Traceback (most recent call last):
        finer_rewards.errors.ConfigError: `f(mode=...)` should be 'set' or 'bag', but got 'bga'. Did you mean 'bag'?
    """
    value = _plain(value)
    if not _fits(annotation, value):
        options = _options(annotation)
        hint = (
            suggest(value, [option for option in options if isinstance(option, str)])
            if isinstance(value, str)
            else ""
        )
        raise ConfigError(
            f"`{where}` should be {_print(annotation)}, but got {value!r:.120}. {hint}".rstrip()
        )
    return value


def is_finite(value: float) -> bool:
    """Return whether the value is a number that a float can hold; a long integer may be too large."""
    return abs(value) <= sys.float_info.max


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _fits(annotation: Any, value: Any) -> bool:
    origin = get_origin(annotation)
    if annotation is Any or isinstance(annotation, str):
        return True
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in get_args(annotation))
    if origin in (Union, UnionType):
        return any(_fits(option, value) for option in get_args(annotation))
    if annotation is None or annotation is NoneType:
        return value is None
    if annotation is bool:
        return isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and is_finite(value)
    if origin is tuple:
        return _fits_tuple(get_args(annotation), value)
    if isinstance(annotation, type):
        return isinstance(value, annotation)
    return True


def _fits_tuple(items: tuple[Any, ...], value: Any) -> bool:
    if not isinstance(value, tuple):
        return False
    if len(items) == 2 and items[1] is Ellipsis:
        return all(_fits(items[0], item) for item in value)
    return len(items) == len(value) and all(
        _fits(item, part) for item, part in zip(items, value, strict=True)
    )


def _options(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return tuple(option for part in get_args(annotation) for option in _options(part))
    return ()


def _print(annotation: Any) -> str:
    names = {
        bool: "True or False",
        int: "a whole number",
        float: "a finite number",
        str: "text",
        NoneType: "None",
    }
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(repr(option) for option in get_args(annotation))
    if origin in (Union, UnionType):
        return " or ".join(_print(option) for option in get_args(annotation))
    if annotation in names:
        return names[annotation]
    return f"a {annotation.__name__}" if isinstance(annotation, type) and origin is None else str(annotation)
