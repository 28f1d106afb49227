"""Tells whether a thought is reasoning about its own query, or text written only to be rewarded.

It depends on the thought, its question and its SQL, never on the memory. The gate of the memory calls it before it
keeps a trace, and the memory reward before it pays for one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Final

from finer_rewards._thoughts.plan import planned_operations
from finer_rewards._util.sql_text import tokens

_LETTERS: Final = re.compile(r"[^\W\d_]+")
_WORD: Final = re.compile(r"\b[^\W\d_]+\b")
_PIECE: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+")
_SQL_WORDS: Final = frozenset(
    """select from where join inner left right full outer cross natural on using as and or not in exists group by having
    order asc desc nulls first last limit offset distinct all count sum avg min max total union intersect except case
    when then else end between like glob is null cast text integer int real numeric date lower upper round over
    partition with recursive values true false substr length coalesce ifnull strftime year month""".split()  # noqa: SIM905
)
#: For each language, words that hold sentences together; none is a word of SQL or a single letter like an alias.
_FUNCTION_WORDS: Final[Mapping[str, frozenset[str]]] = {
    language: frozenset(words.split())
    for language, words in {
        "english": "the a an of to for with is are was be been that this it its i we you they which who what how has"
        " have do does need needs so then if there into their will can must should them one also but because",
        "german": "der die das den dem des ein eine einen einer und ist sind nicht mit für von aus auf ich wir zu dass"
        " nur nach bei werden wird",
        "spanish": "el la los las un una de que en es son para por con se del al como su más entonces",
        "french": "le la les un une de des que et est sont pour par avec dans il nous du au ce qui pas je",
        "portuguese": "os um uma de que são para por com se não da em na como ele",
        "italian": "il la lo gli le un una di che sono per con non del della si nel come dei",
        "dutch": "de het een van en zijn niet met voor dat die op te er ik om naar",
        "turkish": "bir ve bu için ile olan olarak daha gibi kadar sonra en ne var yok",
        "polish": "na że się nie jest są dla od po który która oraz",
        "indonesian": "yang dan di dari untuk dengan ini itu adalah pada tidak ke kita harus",
    }.items()
}
_FOR_A_JUDGE: Final = re.compile(
    r"\b(?:ignor|disregard|forget)\w* (?:\w+ ){0,3}(?:previous|prior|above|earlier|instructions?)\b"
    r"|\b(?:full|maximum|max|highest|perfect|top) (?:scores?|marks?|rewards?|points?|credits?|grades?)\b"
    r"|\b(?:graders?|judges?|evaluators?|rubrics?|reward (?:model|function)|scoring (?:model|function|system))\b"
    r"|\b(?:award|assign|grant|give) (?:\w+ ){0,4}(?:scores?|marks?|rewards?|points?|credits?|1\.0|10/10|100)\b"
    r"|\b(?:reasoning|answer|solution|query|sql|trace|thought|response) (?:\w+ ){0,3}(?:is|are|was|been|be|as) "
    r"(?:\w+ )?(?:verified|certified|approved|flawless|perfect|(?:already|fully|completely) correct)\b"
)
#: Among 3,296 real thoughts, none with a right answer planned more operations than this.
_MOST_OPERATIONS: Final = 12


def stuffed(thought: str, question: str = "", sql: str = "") -> str:
    """Return why a thought is not reasoning; empty if it may be reasoning.

    Example:
        >>> stuffed("customers city name filter join select column table group order limit count aggregate")
        'no sentences'
        >>> stuffed("The customers of Oslo are asked for, so I filter by the city.", "Who lives in Oslo?")
        ''
    """
    return _stuffed(thought, question, sql)


@lru_cache(maxsize=20_000)
def _stuffed(thought: str, question: str, sql: str) -> str:
    if _is_hidden(thought):
        return "hidden or look-alike characters"
    words = [word.casefold() for word in _WORD.findall(thought)]
    if not words:
        return "no words"
    if not is_foreign(thought) and len(words) >= 6:
        glue = sum(word in _FUNCTION_WORDS["english"] for word in words)
        if glue < (0.05 if len(words) < 20 else 0.09) * len(words):
            return "no sentences"
    triples = list(zip(words, words[1:], words[2:], strict=False))
    if len(triples) >= 10 and len(set(triples)) < 0.35 * len(triples):
        return "repeats itself"
    addressed = _FOR_A_JUDGE.search(thought.casefold())
    if addressed and addressed[0] not in question.casefold():
        asked = f"{question} {sql}".casefold()
        if not any(word in asked for word in _LETTERS.findall(addressed[0]) if len(word) > 4):
            return "words for a judge"
    planned = planned_operations(thought)
    if len(planned) >= _MOST_OPERATIONS and len(planned) > 2 * _clauses(sql):
        return "plans nearly everything"
    return ""


def named_share(thought: str, sql: str) -> float:
    """Return the share, in [0, 1], of the words in a query's names and values that a thought mentions; 1 without any.

    Example:
        >>> named_share("Filter the singers by their country.", "SELECT name FROM singer WHERE country = 'France'")
        0.5
    """
    wanted = _names_of(sql)
    return len(wanted & _pieces_of(thought)) / len(wanted) if wanted else 1.0


def touches(thought: str, question: str, sql: str) -> bool:
    """Return whether a thought shares a word of content with its query or its question."""
    common = _pieces_of(thought) & (_names_of(sql) | _pieces_of(question))
    return bool(common - _FUNCTION_WORDS["english"] - _SQL_WORDS)


@lru_cache(maxsize=20_000)
def is_foreign(thought: str) -> bool:
    """Return whether a thought is written in another language than English.

    Example:
        >>> is_foreign("Ich nehme die Tabelle der Kunden und zähle die Zeilen."), is_foreign("Count the rows.")
        (True, False)
    """
    beyond_latin = sum(
        letter > "\u024f" and letter.isalpha() for letter in ("" if thought.isascii() else thought)
    )
    if beyond_latin > 0.3 * sum(map(str.isalpha, thought)):
        return True
    words = [word.casefold() for word in _LETTERS.findall(thought)]
    shares = {language: sum(map(known.__contains__, words)) for language, known in _FUNCTION_WORDS.items()}
    best = max(shares, key=lambda language: (shares[language], language == "english"))
    return best != "english" and shares[best] >= 0.15 * len(words)


def name_pieces(name: str) -> list[str]:
    """Return the words of a name: `birthYear` and `birth_years` are birth and year.

    Example:
        >>> name_pieces("birth_years"), name_pieces("StuID")
        (['birth', 'year'], ['stu', 'id'])
    """
    parts = [part.casefold() for part in _PIECE.findall(name)]
    return [part.removesuffix("s") if len(part) > 3 else part for part in parts if len(part) > 1]


def _clauses(sql: str) -> int:
    words = [text.casefold() for kind, text in tokens(sql) if kind == "word"]
    return sum(word in _SQL_WORDS and word not in ("from", "as", "on", "by", "and", "is") for word in words)


@lru_cache(maxsize=20_000)
def _names_of(sql: str) -> frozenset[str]:
    words: Iterable[str] = (
        text
        for kind, text in tokens(sql)
        if kind in ("word", "name", "text") and text.casefold() not in _SQL_WORDS
    )
    return frozenset(piece for word in words for piece in name_pieces(word) if len(piece) > 2)


@lru_cache(maxsize=20_000)
def _pieces_of(text: str) -> frozenset[str]:
    words = _LETTERS.findall(text)
    whole = (word.casefold().removesuffix("s") for word in words if len(word) > 2)
    return frozenset([*whole, *(piece for word in words for piece in name_pieces(word) if len(piece) > 2)])


def _is_hidden(thought: str) -> bool:
    """Return whether text hides what it says: invisible characters, or words with letters of two scripts."""
    if thought.isascii():
        return False
    unseen = sum(unicodedata.category(sign) in ("Cf", "Cn", "Co") for sign in thought)
    if unseen > 0.05 * len(thought):
        return True
    mixed = 0
    for word in _LETTERS.findall(thought):
        if not word.isascii():
            scripts = [unicodedata.name(letter, "?").split()[0] for letter in word if letter.isalpha()]
            mixed += any({a, b} in ({"LATIN", "CYRILLIC"}, {"LATIN", "GREEK"}) for a, b in pairwise(scripts))
    return mixed >= 3
