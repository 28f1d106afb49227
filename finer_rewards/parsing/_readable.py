"""Telling a thought with readable words from filler, such as digits, invisible characters or one word repeated."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_PLAIN = re.compile(r"[\s!-~]*", re.ASCII)
_LETTERS = re.compile(r"[^\W\d_]+")
_ASCII_WORD = re.compile(r"[A-Za-z]{3,}")
# A long thought needs so many different words.
_WORDS = 8
# Many thoughts have them within their first 120 characters, most within 300; so these are looked at first.
_SOONEST, _SOON = 120, 300
# Characters that Unicode calls letters but that are invisible.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")


class _Visible(dict[int, int | None]):
    """A table for `str.translate` that removes invisible characters: controls, formats, marks, unassigned ones."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        unseen = unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co", "Cs", "Me", "Mn")
        shown = None if character in _FILLERS or (unseen and not character.isspace()) else code
        self[code] = shown
        return shown


_VISIBLE = _Visible()


def unreadable(thought: str, least: int) -> str:
    """Return why a thought counts as filler; empty if it does not.

    A thought needs a letter, and a longer one different words: one for every twenty characters, up to eight. A word has
    three letters; in scripts without capitals, which may have no spaces either, every two letters count as a word. If
    `least` characters are required, they have to be visible, with half as many different sequences of four characters.

    Example:
        >>> unreadable("Count the singers.", 0), unreadable("1 2 3 4 5", 0)
        ('', 'the thought is filler: it holds nothing that can be read')
    """
    if (not thought and not least) or _plainly_readable(thought.strip(), least):
        return ""
    seen = thought.strip() if _PLAIN.fullmatch(thought) else thought.translate(_VISIBLE).strip()
    if thought.strip() and _LETTERS.search(seen) is None:
        return "the thought is filler: it holds nothing that can be read"
    if len(seen) < least:
        return f"the thought has {len(seen)} characters to be seen, and at least {least} are asked for"
    if not (_enough(_words(seen), min(_WORDS, len(seen) // 20)) and _enough(_runs(seen), least / 2)):
        return "the thought is filler: it repeats the same few words or characters"
    return ""


def _plainly_readable(thought: str, least: int) -> bool:
    """Return whether the first words already show that a thought is readable; for nearly every thought they do."""
    head = thought[:_SOONEST]
    if len(head) == _SOONEST:
        # The last word may have been cut in two.
        head = head.rpartition(" ")[0]
    return (
        len(head) >= least
        and len(set(_ASCII_WORD.findall(head.lower()))) >= _WORDS
        and _PLAIN.fullmatch(head) is not None
        and (not least or _enough(_runs(head), least / 2))
    )


def _enough(found: Iterator[str], least: float) -> bool:
    different: set[str] = set()
    while len(different) < least:
        one = next(found, None)
        if one is None:
            return False
        different.add(one)
    return True


def _words(text: str) -> Iterator[str]:
    if text.isascii():
        yield from map(str.lower, _ASCII_WORD.findall(text, 0, _SOON))
        text = text[_SOON:]
    for match in _LETTERS.finditer(text):
        word = match.group().casefold()
        if word.upper() != word:
            if len(word) >= 3:
                yield word
        else:
            yield from (word[at : at + 2] for at in range(max(1, len(word) - 1)))


def _runs(text: str) -> Iterator[str]:
    squeezed = " ".join(text.casefold().split())
    return (squeezed[at : at + 4] for at in range(len(squeezed) - 3))
