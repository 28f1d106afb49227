"""Whether a thought holds anything that can be read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_PLAIN = re.compile(r"[\s!-~]*", re.ASCII)
_LETTERS = re.compile(r"[^\W\d_]+")
_ASCII_WORD = re.compile(r"[A-Za-z]{3,}")
_WORDS = 8
_SOONEST, _SOON = 120, 300  # characters in which many thoughts have them, and most
# Letters by their category that nobody sees.
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")


class _Visible(dict[int, int | None]):
    """A table for `str.translate` that takes away what is not seen: controls, formats, marks, what is not assigned."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        unseen = unicodedata.category(character) in ("Cc", "Cf", "Cn", "Co", "Cs", "Me", "Mn")
        shown = None if character in _FILLERS or (unseen and not character.isspace()) else code
        self[code] = shown
        return shown


_VISIBLE = _Visible()


def unreadable(thought: str, least: int) -> str:
    """Return why a thought is no thought, or the empty text.

    A thought has a letter, and a longer one has different words: one in twenty characters, up to eight. A word has
    three letters; in scripts without capitals, which may have no spaces either, two letters count as one. Where
    `least` characters are asked for, they are to be seen, and half as many different runs of four.

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
    """Return whether the first words are enough; they are of nearly every thought."""
    head = thought[:_SOONEST]
    if len(head) == _SOONEST:
        head = head.rpartition(" ")[0]  # the last word may be cut in two
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
