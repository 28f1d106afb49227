"""Damaged inputs, the same for a seed: bytes that a disk, a kill or a stranger could leave behind."""

from __future__ import annotations

import json
from random import Random
from typing import Any

#: What stands in another's place: of another type, far outside a range, or with a meaning of its own somewhere.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, -(2**63), 2**64, 10**400, 0.5, 1e308, -1e308, 5e-324,
    float("nan"), float("inf"), "", "x", "NaN", "\0", "\ud800", "é😀", "'", '"', "`", "--", "/*", ";", "\x1b[2J",
    "</script>", "=1+1", "a" * 10_000, "SELECT " * 2_000, "(" * 3_000, [], {}, [[]], [None], [[1], [1, 2]], [[{}]],
    {"$float": "nan"}, {"$bytes": "AA"}, {"$text": "7aCA"}, {"a": {"b": [1]}}, ["x"] * 500,
    dict.fromkeys(map(str, range(200)), 0.5),
)  # fmt: skip
_PIECES = (
    b"\0", b"\n", b"\r\n", b"\t", b"{", b"}", b"[", b"]", b'"', b"'", b"\\", b",", b":", b"--", b"/*", b";",
    b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"1e999", b"NaN", b"[" * 2_000, b'{"a":' * 2_000, b"9" * 5_000,
    b"\x1f\x8b\x08", b"PK\x03\x04", b"SQLite format 3\0", b"\x1b]0;x\x07",
)  # fmt: skip


def damaged(data: bytes, random: Random) -> bytes:
    """Return the bytes after one to four accidents."""
    found = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(found) + 1)
        to = min(len(found), at + random.choice((1, 1, 4, 30, 300)))
        kind = random.randrange(6)
        if kind == 0 and found:
            found[min(at, len(found) - 1)] ^= 1 << random.randrange(8)
        elif kind == 1:
            del found[at:to]
        elif kind == 2:
            found[at:at] = random.choice(_PIECES)
        elif kind == 3:
            found[at:at] = found[at:to]
        elif kind == 4:
            found[at:to] = random.choice(_PIECES)
        elif random.random() < 0.3:
            del found[at:]
    return bytes(found)


def changed(value: Any, random: Random) -> Any:
    """Return a JSON value in which one spot, wherever it lies, holds something else, twice, or nothing."""
    if isinstance(value, dict) and value and random.random() < 0.85:
        name = random.choice(list(value))
        found = dict(value)
        kind = random.randrange(8)
        if kind == 0:
            del found[name]
        elif kind == 1:
            found[random.choice(list(value))] = found[name]
        elif kind == 2:
            found[f"{name}x"] = found.pop(name)
        else:
            found[name] = changed(found[name], random)
        return found
    if isinstance(value, list) and value and random.random() < 0.85:
        at = random.randrange(len(value))
        return [
            *value[:at],
            *random.choice(([], [value[at]] * 2, [changed(value[at], random)] * 1)),
            *value[at + 1 :],
        ]
    return random.choice(VALUES)


def damaged_lines(records: list[Any], random: Random) -> bytes:
    """Return JSON lines of which some are changed, and some damaged as bytes."""
    lines = []
    for record in records:
        chance = random.random()
        if chance < 0.5:
            record = changed(record, random)
        line = json.dumps(record).encode()
        lines.append(damaged(line, random) if chance > 0.8 else line)
    return b"\n".join(lines) + b"\n" * random.randint(0, 2)
