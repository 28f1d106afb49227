"""JSON that loses nothing, and has no more power than JSON.

JSON has no bytes, no infinity and no text that is not Unicode; each is an object with one tag: `{"$bytes": ...}`
(base64), `{"$float": "inf"}`, `{"$text": ...}` (base64 of UTF-8 with surrogates). Everything else is itself: a
Python integer of any size and a float's shortest digits come back as they were, -0.0 too.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from math import isfinite, nan
from typing import Any


def dumps(value: Any) -> bytes:
    """Return the JSON of a value made of mappings, sequences, numbers, text, bytes and None.

    Example:
        >>> loads(dumps({"row": [2**60, -0.0, float("inf"), b"\\x00"]}))
        {'row': [1152921504606846976, -0.0, inf, b'\\x00']}
    """
    try:
        return _json(value)
    except ValueError:  # a float that is not finite, or text that is no Unicode: rare, so it is tried last
        return _json(tagged(value))


def loads(data: bytes) -> Any:
    """Return the value of a JSON text written by `dumps`, or by anybody; raises `ValueError` when it is none."""
    return parse_json(data, object_hook=untagged)


def parse_json(text: str | bytes, **options: Any) -> Any:
    """Return what `json.loads` does; raises `ValueError`, and nothing else, when it is no JSON that can be read."""
    try:
        return json.loads(text, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _json(value: Any) -> bytes:
    text = json.dumps(
        value, default=_tagged_bytes, allow_nan=False, ensure_ascii=False, separators=(",", ":")
    )
    return text.encode()


def _tagged_bytes(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode("ascii")}
    raise TypeError(f"no JSON for {type(value).__name__}")


def tagged(value: Any) -> Any:
    """Return a value with everything that JSON has not as an object with one tag."""
    if isinstance(value, float) and not isfinite(value):
        return {"$float": repr(value)}
    if isinstance(value, str):
        if value.isascii():
            return value
        data = value.encode("utf-8", "surrogatepass")
        # Text with surrogates is no UTF-8; and a pair of them would be read back as one character.
        return value if _is_unicode(value) else {"$text": b64encode(data).decode("ascii")}
    if isinstance(value, bytes):
        return _tagged_bytes(value)
    if isinstance(value, Mapping):
        return {name: tagged(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [tagged(item) for item in value]
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_TAGS: Mapping[str, Callable[[str], Any]] = {
    "$bytes": lambda text: b64decode(text, validate=True),
    "$float": lambda text: nan if text == "nan" else float(text),  # one NaN, as rows of workers have
    "$text": lambda text: b64decode(text, validate=True).decode("utf-8", "surrogatepass"),
}


def untagged(found: dict[str, Any]) -> Any:
    """Return what an object with one tag stands for, and any other as it is: a hook for `json.loads`."""
    if len(found) == 1:
        [(tag, content)] = found.items()
        if tag in _TAGS and isinstance(content, str):
            return _TAGS[tag](content)
    return found
