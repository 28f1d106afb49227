"""The SQL operations that a thought plans or a question asks for, found by their words.

The memory compares thoughts by them, since they do not depend on wording, order and names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

#: The words for each operation, from general English and SQL. If real reasoning often uses a word for something else
#: (the table that contains, the column does not exist, inspect each table), the pattern asks for more than the word.
_CUES: Final[Mapping[str, str]] = {
    "count": r"count(?:s|ed|ing)?|how many|number of|tally|cardinality",
    "average": r"averag\w*|avg|mean value|mean of|arithmetic mean|the mean",
    "sum": r"sum|sums|summed|summing|total(?! number)\w*|add\w* (?:\w+ )?(?:up|together)|altogether",
    "maximum": r"max|maximum|largest|highest|biggest|greatest|longest|oldest|latest|heaviest|tallest|newest"
    r"|most(?! (?:likely|relevant|appropriate|suitable|probably)\b| of\b)",
    "minimum": r"min|minimum|smallest|lowest|(?<!at )least|fewest|shortest|youngest|earliest|lightest|cheapest",
    "distinct": r"distinct|unique|duplicates?|dedup\w*|different (?:ones|values?|names?)|repeat\w*"
    r"|(?:only|just|show\w* up) once|single time",
    "join": r"join\w*|link\w*|connect\w*|combin\w*|foreign keys?|bring\w* together",
    "filter": r"filter\w*|conditions?|restrict\w*|predicates?|criteri\w+|where (?=clause|column|value)|narrow\w*"
    r"|satisf\w+|whose|(?:greater|less|more|larger|smaller|higher|lower|older|younger|heavier|fewer) than|equals?"
    r"|above|below|at (?:least|most)|matching|specific",
    "group": r"group\w*|per|buckets?|bucketed|(?:for|of|in|by|from) each(?! table)|for every",
    "having": r"having|groups? (?:that|whose|which|with|are)|conditions? on (?:the )?groups?"
    r"|(?:after|post) (?:grouping|aggregation)",
    "order": r"order by|ordered|ordering|order matters|sort\w*|rank\w*|arrang\w*|descending|ascending|desc|asc"
    r"|alphabetical\w*|lexicographic\w*|in order of",
    "limit": r"limit\w*|top|first (?:row|result|one|few|value)|only the first|cut|stop after|truncat\w*",
    "subquery": r"sub-?quer\w*|sub-?select\w*|nest\w*|inner (?:query|select)|another (?:query|selection|select)"
    r"|than the (?:average|mean|overall)"
    r"|(?:obtained|identified|found|retrieved) (?:in|from) the (?:previous|first|last) (?:step|query|sub-?question)",
    "exclude": r"not in|exclu\w*|except(?!ion)|anti-?join|never|minus|subtract\w*|set difference|but not|leave out"
    r"|remov\w*|(?:do not|don't) have|do(?:es)? not (?:appear|occur|exist) in|(?:have|has|are|is) not been"
    r"|without (?:a )?(?:match\w*|any match\w*)",
    "both": r"intersect\w*|both (?:conditions|cases|sets)|in common",
    "union": r"union|merge\w*",
    "either": r"either|disjunction|one or the other",
    "pattern": r"like (?:value|pattern|operator)|pattern[- ]match\w*|(?:a|name|text) pattern (?=value|like)"
    r"|contain\w* (?:the |a )?(?:value|word|string|text|letter|substring)|substring"
    r"|(?:starts?|ends?|begins?) with (?:the |a )?(?:value|letter|word|string|prefix)",
    "between": r"between value and value",
}
#: All operations that can be planned or asked for, in alphabetical order.
OPERATIONS: Final = tuple(sorted(_CUES))
#: Further words that count only in questions: these are short and only about the data, so that even `with` or `or`
#: says something.
_ASKED: Final[Mapping[str, str]] = {
    "filter": r"with(?! the (?:most|least|highest|lowest|largest|smallest|greatest|fewest))|who|that|where|named|called"
    r"|before|after|over|under|since|during|born in|from the|only",
    "exclude": r"not|without|no|never|\w+n't|neither|other than|non",
    "distinct": r"different",
    "group": r"each|every|respectively",
    "both": r"both|as well as|and also",
    "either": r"or",
    "order": r"order|from (?:oldest|youngest|high\w*|low\w*|most|least|largest|smallest)",
    "subquery": r"than (?:the )?(?:average|mean|all|any|every)|(?:above|below|over|under) (?:the )?average",
    "pattern": r"contain\w*|includ\w* the (?:word|letter|string)|substring|prefix",
}


def _alternatives(cues: Mapping[str, str]) -> re.Pattern[str]:
    # One `\b` before all alternatives, so that places within a word are skipped without trying them.
    return re.compile(
        r"\b(?:" + "|".join(rf"(?P<{name}>(?:{words})\b)" for name, words in cues.items()) + ")"
    )


_CUE: Final = _alternatives(_CUES)
_ASKED_CUE: Final = _alternatives(
    {name: f"{words}|{_ASKED[name]}" if name in _ASKED else words for name, words in _CUES.items()}
)
#: A count or a sum that is compared. Its words also mean other operations, so it is searched for separately.
_HAVING: Final = re.compile(
    r"\b(?:(?:count|sum|total|number of [\w ]{1,30}?) (?:that |which )?(?:is |are |of )?"
    r"(?:greater|less|more|larger|fewer|at least|at most|above|below|exceed\w*|equals?)\b"
    r"|(?:at least|at most|more than|less than|fewer than|over|exactly) (?:value|one|two|three|four|five|six|ten) "
    r"(?!years?|dollars?|million|percent|points|pounds|kg)[a-z]+s\b"
    r"|(?:value|two|three|four|five) or more [a-z]+s\b|more than (?:once|one)\b)"
)
_ABOUT_QUERIES: Final = re.compile(
    r"\b(?:select\w*|projection|columns?|tables?|fields?|rows?|records?|schema|database|query|sql)\b"
)
_DENIED: Final = re.compile(
    r"(?:\b(?:no|not|without|never|neither|nor|cannot)|n't)\b(?:[^\w.;:!?]+\w+){0,3}[^\w.;:!?]*$"
)
_QUOTED: Final = re.compile(r"'[^'\n]{0,80}'(?!\w)|\"[^\"\n]{0,80}\"|`[^`\n]{1,80}`")
_NAMED: Final = re.compile(r"\b[^\W_]+_\w+\b|\b\w+\.\w+\b|\b[a-z]+[A-Z]\w*\b|\b\w*\d\w*\b|[<>=]+")
#: Numbers of steps, sub-questions and list items, which are no values in a query.
_NUMBERING: Final = re.compile(
    r"\b(?:sub-?questions?|steps?|quer(?:y|ies)|parts?|sections?|options?)\W{0,3}\d+\b"
    r"|(?:^[\s*#-]*|(?<=[.:;!?\"')] ))\(?\d+[.):](?=\s)",
    re.IGNORECASE | re.MULTILINE,
)
#: The number of rows to keep, which is no value either.
_KEPT_ROWS: Final = re.compile(r"\b(?:limit|top|first|last|after)\W{0,2}\d{1,2}\b", re.IGNORECASE)
#: A value that rows are compared with: in quotes, a number, or after a comparison sign. A quoted question is no value.
_VALUE: Final = re.compile(
    r"(?:'[^'\n?]{1,40}'(?!\w)|\"[^\"\n?]{1,40}\")(?! (?:value|column|table|field)\b)"
    r"|(?<![\w.])\d+(?:[.,]\d+)*(?![\w)])|[<>=]+ ?'?\d"
)
_PROPER_NAME: Final = re.compile(r"(?<=[a-z,'] )[A-Z][\w&.-]*")


def planned_operations(thought: str, *, about: bool = False) -> tuple[str, ...]:
    """Return the operations that a thought plans, in alphabetical order.

    A thought about a query that needs no operation plans to `retrieve`; a thought about something else plans nothing.
    Whether it is about a query is judged by its words, unless `about` says so.

    Names that are written as names (`first_name`, `t.order`) and quoted text can only mean a filter. An operation that
    is denied ("no join is needed") does not count.

    Example:
        >>> planned_operations("No join is needed. Filter by city, then count the singers per `count`.")
        ('count', 'filter', 'group')
        >>> planned_operations("Whisk the eggs with flour and milk.")
        ()
    """
    found, about_queries, compares = _read(thought)
    about = about or bool(found) or about_queries
    if about and compares:
        found = found | {"filter"}
    return tuple(sorted(found)) or (("retrieve",) if about else ())


@lru_cache(maxsize=20_000)
def asked_operations(question: str) -> tuple[str, ...]:
    """Return the operations that a question asks for, in alphabetical order; often none.

    Example:
        >>> asked_operations("How many singers of France have no concert?")
        ('count', 'exclude', 'filter')
        >>> asked_operations("What are their names?")
        ()
    """
    found = _found(_masked(question), _ASKED_CUE)
    if _VALUE.search(_KEPT_ROWS.sub(" ", question)) or _PROPER_NAME.search(question):
        found.add("filter")
    return tuple(sorted(found))


@lru_cache(maxsize=20_000)
def _read(thought: str) -> tuple[frozenset[str], bool, bool]:
    """Return the operations that a thought names, whether it is about a query, and whether it names a value."""
    numbered = _NUMBERING.sub(" ", thought)
    text = _masked(numbered)
    found = _found(text, _CUE)
    return (
        frozenset(found),
        bool(_ABOUT_QUERIES.search(text)),
        bool(_VALUE.search(_KEPT_ROWS.sub(" ", numbered))),
    )


def _masked(text: str) -> str:
    return " ".join(_NAMED.sub(_role, _QUOTED.sub(_quoted, text)).casefold().split())


def _found(masked: str, cue: re.Pattern[str]) -> set[str]:
    found: set[str] = set()
    for match in cue.finditer(masked):
        operation = str(match.lastgroup)
        before = masked[max(0, match.start() - 40) : match.start()]
        if operation in ("exclude", "distinct") or not _DENIED.search(before):
            found.add(operation)
    if _HAVING.search(masked):
        found.add("having")
    return found


def _quoted(match: re.Match[str]) -> str:
    return " column " if match[0][0] == "`" else " value "


def _role(match: re.Match[str]) -> str:
    first = match[0][0]
    return " column " if first.isalpha() else " value " if first.isdigit() else " equal "
