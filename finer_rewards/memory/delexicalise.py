"""Masking the names and values in a thought, so that thoughts about different databases can be similar.

Raw embeddings of traces are dominated by the names in them: two different queries on one database look closer
than one kind of query on two databases, which defeats retrieval from other databases. With the names masked, how the
thought reasons is left.

Words about querying and English function words, from a closed list, are kept, with synonyms under one spelling. A
number or a quoted text becomes *value*; words that occur in any explanation (*however*, *ensure*) are dropped. Every
other word is taken for a name: *column* if it is written like one (`singer.age`, `birth_year`, `birthYear`), else
*name*. No schema is needed, so a trace is masked the same wherever it is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

#: Words about querying: the spelling that is kept -> the forms and synonyms that it replaces.
_CONCEPTS: Final[Mapping[str, str]] = {
    "count": "count counts counted counting tally cardinality many",
    "average": "average averages averaged averaging avg mean typical",
    "sum": "sum sums summed total totals add added adding overall",
    "maximum": "maximum max largest highest biggest greatest most longest oldest latest top best",
    "minimum": "minimum min smallest lowest least fewest shortest youngest earliest cheapest worst",
    "distinct": "distinct unique different duplicate duplicates deduplicate deduplication repeated repeats twice once",
    "join": "join joins joined joining link links linked linking connect connects connected connecting combine "
    "combined combining relate related relationship foreign match matches matched matching corresponding corresponds",
    "where": "where filter filters filtered filtering condition conditions restrict restricts restricted restriction "
    "restrictions predicate predicates criterion criteria narrow narrows satisfy satisfies satisfying whose",
    "group": "group groups grouped grouping each per bucket buckets bucketed collection collections partition",
    "having": "having qualify qualifies threshold",
    "order": "order orders ordered ordering sort sorts sorted sorting rank ranks ranked ranking arrange arranged",
    "descending": "descending desc decreasing",
    "ascending": "ascending asc increasing",
    "limit": "limit limits limited first cut stop truncate truncation",
    "subquery": "subquery subqueries subselect nested nest inner outer brackets",
    "not": "not no never without exclude excludes excluded excluding neither nor cannot",
    "in": "in membership member occur occurs among",
    "exists": "exists exist",
    "or": "or either disjunction",
    "and": "and conjunction also",
    "intersect": "intersect intersection both common",
    "except": "except difference subtract subtracts minus but remove removed leave",
    "union": "union merge merged together",
    "between": "between range",
    "like": "like pattern contains contain containing substring starts ends",
    "equal": "equal equals equality exactly same",
    "more": "more greater above over exceed exceeds larger higher after least",
    "less": "less below under smaller lower fewer before",
    "null": "null missing empty",
    "case": "case",
    "compare": "compare compares compared comparison bound",
    "compute": "compute computes computed computing calculate calculates calculated calculating calculation",
    "ratio": "ratio percentage percent divide divided fraction",
    "select": "select selects selected selecting return returns returned returning project projects projection "
    "retrieve retrieves retrieved retrieving output outputs show shows display report",
    "from": "from source",
    "table": "table tables relation relations",
    "column": "column columns field fields attribute attributes",
    "value": "value values number numbers figure",
    "row": "row rows record records entry entries tuple tuples",
    "all": "all every any everything",
    "only": "only just alone",
    "key": "key keys id ids identifier identifiers",
    "query": "query queries statement sql",
}

_FUNCTION_WORDS: Final = """
a an the this that these those it its they them their there here i we you he she my our your who what which when
how why is are was were be been being am do does did done have has had having can could will would shall should may
might must need needs needed want wants wanted to of on at by for with as into onto out up down off about against
then next finally second third so because since therefore thus hence if else while than too very again through
one two three four five ask asks asked asking question answer answers answered user think see look find finds found
get gets give gives given take takes taken use uses used using make makes made keep keeps kept know apply applies
applied result results list step way thing things other another some such own let us me data database schema clause
"""

#: Words that occur in any explanation, and say nothing about the query.
_GENERAL_SPEECH: Final = frozenset(
    """identify includes include including check checks checking information determine determines final multiple based
    steps relevant ensure ensures correct required directly however approach necessary single details now specific write
    generate available provided associated let's doesn't don't here's i'll it's that's""".split()  # noqa: SIM905
)

_TOKEN: Final = re.compile(
    r"""'[^'\n]{0,80}'(?!\w)|"[^"\n]{0,80}"|`[^`\n]{1,80}`|\d+(?:[.,]\d+)*|[^\W\d_]\w*(?:\.\w+)*(?:'\w+)?|[<>=!]+|\*"""
)
_WRITTEN_AS_NAME: Final = re.compile(r"[^\W]+_\w+|\w+\.\w|[a-z]+[A-Z]|\w*\d")
_SIGNS: Final = {"=": "equal", "==": "equal", "!=": "not equal", "<>": "not equal", ">": "more", "<": "less",
                 ">=": "more equal", "<=": "less equal", "*": "all"}  # fmt: skip


def _spellings() -> dict[str, str]:
    kept = {word: word for word in _FUNCTION_WORDS.split()}
    for concept, words in _CONCEPTS.items():
        kept.update(dict.fromkeys(words.split(), concept))
    return kept


_KEPT: Final[Mapping[str, str]] = _spellings()


@lru_cache(maxsize=20_000)
def delexicalise(text: str) -> str:
    """Return a thought with names and values masked.

    Example:
        >>> delexicalise("Count the singers whose birth_year is above 1980, for each country.")
        'count the name where column is more value for group name'
    """
    words: list[str] = []
    for token in _TOKEN.findall(text):
        word = _masked(token)
        if word and not (words and words[-1] == word and word in ("name", "column", "value")):
            words.append(word)
    return " ".join(words)


def _masked(token: str) -> str:
    """Return what stands for a token; empty for one that is dropped."""
    if token[0] in "'\"":
        return "value"
    if token[0] == "`":
        return "column"
    if token[0].isdigit():
        return "value"
    if token in _SIGNS or not token[0].isalpha():
        return _SIGNS.get(token, "")
    if _WRITTEN_AS_NAME.match(token):
        return "column"
    if token.casefold() in _GENERAL_SPEECH:
        return ""
    return _KEPT.get(token.casefold(), "name")
