"""The operations a thought talks about: what is left of its plan when wording, order and names are gone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

__all__ = ["planned_operations"]

#: How each operation is spoken of. Written once, from general English and SQL; not fitted to any data set.
_CUES: Final[Mapping[str, str]] = {
    "count": r"count(?:s|ed|ing)?|how many|number of|tally|cardinality",
    "average": r"averag\w*|avg|mean value|mean of|arithmetic mean|the mean",
    "sum": r"sum|sums|summed|summing|total(?! number)\w*|add\w* (?:\w+ )?(?:up|together)",
    "maximum": r"max|maximum|largest|highest|biggest|greatest|most|longest|oldest|latest",
    "minimum": r"min|minimum|smallest|lowest|least|fewest|shortest|youngest|earliest",
    "distinct": r"distinct|unique|duplicates?|dedup\w*|different (?:ones|values?|names?)|repeat\w*"
    r"|(?:only|just|show\w* up) once|single time",
    "join": r"join\w*|link\w*|connect\w*|combin\w*|foreign keys?|bring\w* together",
    "filter": r"filter\w*|conditions?|restrict\w*|predicates?|criteri\w+|where (?=clause|column|value)|narrow\w*"
    r"|satisf\w+|whose|(?:greater|less|more|larger|smaller|higher|lower) than|equals?|above|below",
    "group": r"group\w*|per|buckets?|bucketed|each",
    "having": r"having|groups? (?:that|whose|which|with|are)|conditions? on (?:the )?groups?"
    r"|(?:after|post) (?:grouping|aggregation)",
    "order": r"order by|ordered|ordering|order matters|sort\w*|rank\w*|arrang\w*|descending|ascending|desc|asc",
    "limit": r"limit\w*|top|first (?:row|result|one|few|value)|only the first|cut|stop after|truncat\w*",
    "subquery": r"sub-?quer\w*|sub-?select\w*|nest\w*|inner (?:query|select)|another (?:query|selection|select)",
    "exclude": r"not in|exclu\w*|except|anti-?join|without|do(?:es)? not (?:have|appear|occur|exist)|never|minus"
    r"|subtract\w*|set difference|but not|leave out|remov\w*",
    "both": r"intersect\w*|both (?:conditions|cases|sets|queries)|in common",
    "union": r"union|merge\w*",
    "either": r"either|disjunction|one or the other",
    "pattern": r"like (?:value|pattern|operator)|pattern\w*|contain\w*|substring|starts? with|ends? with",
    "between": r"between",
}
_CUE: Final = re.compile("|".join(rf"(?P<{name}>\b(?:{cues})\b)" for name, cues in _CUES.items()))
_ABOUT_QUERIES: Final = re.compile(
    r"\b(?:select\w*|projection|columns?|tables?|fields?|rows?|records?|schema|database|query|sql)\b"
)
_DENIED: Final = re.compile(
    r"(?:\b(?:no|not|without|never|neither|nor|cannot)|n't)\b(?:[^\w.;:!?]+\w+){0,3}[^\w.;:!?]*$"
)
_QUOTED: Final = re.compile(r"'[^'\n]{0,80}'(?!\w)|\"[^\"\n]{0,80}\"|`[^`\n]{1,80}`")
_NAMED: Final = re.compile(r"\b[^\W_]+_\w+\b|\b\w+\.\w+\b|\b[a-z]+[A-Z]\w*\b|\b\w*\d\w*\b|[<>=]+")


@lru_cache(maxsize=20_000)
def planned_operations(thought: str) -> tuple[str, ...]:
    """Return the operations a thought says it needs, in alphabetical order.

    A thought about a query that needs no operation plans to `retrieve`; one about something else plans nothing.

    Names that are written as names (`first_name`, `t.order`) and quoted text count for nothing, and neither does
    what is denied ("no join is needed").

    Example:
        >>> planned_operations("No join is needed. Filter by city, then count the singers per `count`.")
        ('count', 'filter', 'group')
        >>> planned_operations("Whisk the eggs with flour and milk.")
        ()
    """
    text = _NAMED.sub(_role, _QUOTED.sub(" value ", thought)).casefold()
    found: set[str] = set()
    for match in _CUE.finditer(text):
        operation = str(match.lastgroup)
        before = text[max(0, match.start() - 40) : match.start()]
        if operation in ("exclude", "distinct") or not _DENIED.search(before):
            found.add(operation)
    if not found and _ABOUT_QUERIES.search(text):
        return ("retrieve",)
    return tuple(sorted(found))


def _role(match: re.Match[str]) -> str:
    first = match[0][0]
    return " column " if first.isalpha() else " value " if first.isdigit() else " equal "
