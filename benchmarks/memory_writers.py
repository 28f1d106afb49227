"""The hands that reasoning traces are written in: each puts the parts of a query into words of its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from benchmarks.memory_parts import Parts


def joined(names: Sequence[str]) -> str:
    names = [name for name in names if name]
    return (
        names[0]
        if len(names) == 1
        else ", ".join(names[:-1]) + " and " + names[-1]
        if names
        else "everything"
    )


def plain(name: str) -> str:
    return name.replace("_", " ").lower()


def recital(parts: Parts, columns: dict[str, list[str]], writer: int) -> str:
    """Return the schema as a writer recalls it before thinking: most reasoning models do."""
    known = [(table, columns.get(table.lower(), [])[:12]) for table in parts.tables]
    if writer == 0:
        return " ".join(f"The table {table} has the columns {', '.join(own)}." for table, own in known)
    if writer == 1:
        return "Given: " + "; ".join(f"{table}({', '.join(own)})" for table, own in known) + "."
    if writer == 2:
        return "Schema " + ", ".join(f"{table}({','.join(own)})" for table, own in known) + "."
    if writer == 3:
        return " ".join(
            f"About every {plain(table)} we know {joined([plain(name) for name in own])}."
            for table, own in known
        )
    if writer == 4:
        return " ".join(
            f"Relation `{table}`: " + ", ".join(f"`{table}.{name}`" for name in own) + "."
            for table, own in known
        )
    return " ".join(f"So there is {table}, it has {joined(own)}, fine." for table, own in known)


# Each writer: what opens and closes, and how each part is said.


def _first(p: Parts, q: str, r: random.Random) -> Iterator[str]:
    yield f"The question is: {q} Let me think about which tables are needed."
    yield f"The information lives in the {joined(p.tables)} table{'s' if len(p.tables) > 1 else ''}."
    if len(p.tables) > 1:
        yield f"I have to join {p.tables[0]} with {joined(p.tables[1:])} on the key that both of them share."
    for column, sign, value in p.filters:
        said = {
            "=": "equal to",
            "!=": "different from",
            ">": "greater than",
            ">=": "at least",
            "<": "less than",
            "<=": "at most",
            "like": "matching the pattern",
        }[sign]
        yield f"There is a condition: {column} has to be {said} '{value}', so this goes into the WHERE clause."
    if p.either:
        yield "Either of the two conditions is enough, so I connect them with OR."
    if p.nested:
        how = {
            "not in": "exclude whatever an inner query finds, with NOT IN",
            "in": "keep what an inner query finds, with IN",
        }.get(p.nested, "compare with a value computed by a subquery")
        yield f"One step cannot do this: I need to {how}."
    for name in dict.fromkeys(p.aggregates):
        said = {
            "count": "count the rows with COUNT",
            "avg": "take the average with AVG",
            "sum": "add the values up with SUM",
            "max": "find the maximum with MAX",
            "min": "find the minimum with MIN",
        }[name]
        yield f"Because of how the question is put I should {said}."
    if p.group:
        yield f"This is wanted for each {joined(p.group)}, therefore GROUP BY {joined(p.group)}."
    if p.having:
        yield "Only some of the groups qualify, and a condition on groups belongs into HAVING."
    for key, down in p.order:
        yield f"The result must be sorted by {key} in {'descending' if down else 'ascending'} order."
    if p.limit:
        yield f"Only the first {p.limit} of them is wanted, hence LIMIT {p.limit}."
    if p.distinct:
        yield "Duplicates must not appear, so DISTINCT is needed."
    if p.combined:
        yield {
            "intersect": "Rows must satisfy both queries, so INTERSECT.",
            "except": "I subtract the second set with EXCEPT.",
            "union": "The two results are put together with UNION.",
        }[p.combined]
    yield f"In the SELECT I return {joined(p.outputs)} and nothing else."


def _second(p: Parts, q: str, r: random.Random) -> Iterator[str]:
    yield "Step by step. First, what does the user want to see?"
    yield f"Columns of interest: {', '.join(p.outputs)}."
    if p.distinct:
        yield "Each value should show up once (unique values)."
    for name in dict.fromkeys(p.aggregates):
        yield {
            "count": "It is a how-many question, thus a tally of records.",
            "avg": "A mean value is asked for.",
            "sum": "A total over all records is asked for.",
            "max": "The largest value is asked for.",
            "min": "The smallest value is asked for.",
        }[name]
    yield f"Second, where is it stored? {' / '.join(p.tables)} hold{'s' if len(p.tables) == 1 else ''} it."
    if len(p.tables) > 1:
        yield "These relations are linked by a foreign key, which gives the ON part."
    if p.filters:
        yield "Third, restrictions: " + "; ".join(f"{c} {s} {v}" for c, s, v in p.filters) + "."
    if p.either:
        yield "One restriction or the other may hold."
    if p.nested:
        yield {
            "not in": "We leave out rows that occur in another selection.",
            "in": "We retain rows that occur in another selection.",
        }.get(p.nested, "The bound itself comes from another selection, written in brackets.")
    if p.group:
        yield f"Then records are bucketed per {joined(p.group)}."
    if p.having:
        yield "Buckets that fail the size test are dropped."
    if p.order:
        yield "Next, ranking: " + ", ".join(
            f"{k} {'from high to low' if d else 'from low to high'}" for k, d in p.order
        )
        yield "."
    if p.limit:
        yield f"We cut the list after {p.limit}."
    if p.combined:
        yield {
            "intersect": "Finally keep what both lists have in common.",
            "except": "Finally take the second list away from the first.",
            "union": "Finally merge both lists.",
        }[p.combined]
    yield "That settles the shape of the statement."


def _third(p: Parts, q: str, r: random.Random) -> Iterator[str]:
    yield f"We need answer SQL. {q}"
    yield f"Schema: {plain(p.tables[0])} has {joined([plain(name) for name in p.outputs])}."
    if len(p.tables) > 1:
        yield f"Need {joined([plain(name) for name in p.tables[1:]])} too, so JOIN via id."
    else:
        yield "No joins needed."
    for column, sign, value in p.filters:
        yield f"Filter: WHERE {column} {sign.upper()} '{value}'."
    if p.either:
        yield "OR between filters."
    for name in dict.fromkeys(p.aggregates):
        yield f"Use {name.upper()}()."
    if p.group:
        yield f"GROUP BY {', '.join(p.group)}."
    if p.having:
        yield f"HAVING {p.having}."
    if p.order:
        yield "ORDER BY " + ", ".join(f"{k} {'DESC' if d else 'ASC'}" for k, d in p.order) + "."
    if p.limit:
        yield f"LIMIT {p.limit}."
    if p.distinct:
        yield "SELECT DISTINCT."
    if p.nested:
        yield {"not in": "NOT IN (SELECT ...).", "in": "IN (SELECT ...)."}.get(
            p.nested, "Compare to (SELECT ...)."
        )
    if p.combined:
        yield f"{p.combined.upper()} of two selects."
    yield r.choice(["Should be fine.", "Likely that is it.", "Output exact format."])


def _fourth(p: Parts, q: str, r: random.Random) -> Iterator[str]:
    t = plain(p.tables[0])
    yield f"To answer this I would go through the {t} data."
    for column, sign, value in p.filters:
        said = {
            "=": "is",
            "!=": "is not",
            ">": "is above",
            ">=": "is no less than",
            "<": "is below",
            "<=": "is no more than",
            "like": "contains something like",
        }[sign]
        yield f"I only care about entries whose {plain(column)} {said} {value}."
    if p.either:
        yield "It does not matter which of these holds."
    if len(p.tables) > 1:
        yield f"Since not everything is in one place, I combine it with {joined([plain(x) for x in p.tables[1:]])}."
    if p.nested:
        yield {
            "not in": "Entries that appear over there have to go.",
            "in": "Entries have to appear over there as well.",
        }.get(p.nested, "What to compare with has to be worked out beforehand.")
    if p.group:
        yield f"I collect them by {joined([plain(x) for x in p.group])}"
        yield "and look at every collection on its own."
    for name in dict.fromkeys(p.aggregates):
        yield {
            "count": "Then I see how many there are.",
            "avg": "Then I work out what is typical, the average.",
            "sum": "Then I add everything together.",
            "max": "Then I look for the highest figure.",
            "min": "Then I look for the lowest figure.",
        }[name]
    if p.having:
        yield "Collections that are too small or too large do not count."
    for key, down in p.order:
        yield f"After that I arrange by {plain(key)}, {'biggest' if down else 'smallest'} in front."
    if p.limit:
        yield f"and stop after {'the top one' if p.limit == 1 else f'the top {p.limit}'}."
    if p.distinct:
        yield "Repeated ones are shown a single time."
    if p.combined:
        yield {
            "intersect": "It must be true in both cases.",
            "except": "Those of the other case are removed.",
            "union": "Those of the other case are added.",
        }[p.combined]
    yield f"What I report is the {joined([plain(name) for name in p.outputs])}."


def _fifth(p: Parts, q: str, r: random.Random) -> Iterator[str]:
    yield f'Analysis of the request "{q}"'
    yield f"1. Source: {', '.join(p.tables)}."
    number = 2
    rows = []
    if len(p.tables) > 1:
        rows.append("Relationship: the tables are connected through matching identifiers (inner join).")
    if p.filters:
        rows.append("Predicates: " + " and ".join(f"`{c}` {s} {v!r}" for c, s, v in p.filters) + ".")
    if p.either:
        rows.append("Logic: disjunction of predicates.")
    if p.nested:
        rows.append(
            {
                "not in": "Subselect: anti-join, non-membership.",
                "in": "Subselect: semi-join, membership.",
            }.get(p.nested, "Subselect: scalar value used as threshold.")
        )
    for name in dict.fromkeys(p.aggregates):
        rows.append(
            {
                "count": "Aggregation: cardinality.",
                "avg": "Aggregation: arithmetic mean.",
                "sum": "Aggregation: sum of values.",
                "max": "Aggregation: maximum.",
                "min": "Aggregation: minimum.",
            }[name]
        )
    if p.group:
        rows.append(f"Grouping key: {', '.join(p.group)}.")
    if p.having:
        rows.append("Group filter: a threshold applied after aggregation.")
    if p.order:
        rows.append(
            "Sorting: " + ", ".join(f"{k} ({'descending' if d else 'ascending'})" for k, d in p.order) + "."
        )
    if p.limit:
        rows.append(f"Truncation: top {p.limit}.")
    if p.distinct:
        rows.append("Deduplication: required.")
    if p.combined:
        rows.append(
            {
                "intersect": "Set operation: intersection.",
                "except": "Set operation: difference.",
                "union": "Set operation: union.",
            }[p.combined]
        )
    for row in rows:
        yield f"{number}. {row}"
        number += 1
    yield f"{number}. Projection: {', '.join(p.outputs)}."


def _sixth(p: Parts, q: str, r: random.Random) -> Iterator[str]:
    yield f'Okay, so "{q}" Hmm. Which table? I think {p.tables[0]}, because that is where {p.outputs[0]} is.'
    if len(p.tables) > 1:
        yield f"But wait, {p.tables[-1]} matters as well. They can be joined on the id columns, I checked the schema."
    for column, sign, value in p.filters:
        yield r.choice(
            [
                f"We must restrict to rows where {column} {sign} {value}, right.",
                f"And {column} {sign} {value} narrows it down.",
            ]
        )
    if p.either:
        yield "That is an or, not an and."
    if p.group:
        yield f'"For each" or "per" tells me to group on {joined(p.group)}.'
    for name in dict.fromkeys(p.aggregates):
        yield {
            "count": '"How many" or "number of" tells me to count.',
            "avg": '"Average" tells me avg.',
            "sum": '"Total" tells me sum.',
            "max": '"Maximum" or "most" tells me max.',
            "min": '"Minimum" or "least" tells me min.',
        }[name]
    if p.having:
        yield "The groups are then filtered, which where cannot do, having can."
    if p.nested:
        yield {
            "not in": '"Do not" tells me to use a nested query and not in.',
            "in": "A nested query with in seems simplest.",
        }.get(p.nested, "I will nest a query to get the number to compare against.")
    if p.order:
        yield "Order matters: " + ", then ".join(f"{k} {'desc' if d else 'asc'}" for k, d in p.order) + "."
    if p.limit:
        yield f"They want {p.limit} row{'s' if p.limit > 1 else ''} only, so limit."
    if p.distinct:
        yield "Different ones only, so distinct, otherwise the same would be listed twice."
    if p.combined:
        yield {
            "intersect": '"Both" tells me intersect.',
            "except": '"But not" tells me except.',
            "union": "It is a union of two things.",
        }[p.combined]
    yield f"So the answer selects {joined(p.outputs)}. Good."


def _seventh(p: Parts, q: str, r: random.Random) -> Iterator[str]:
    t = p.tables[0]
    yield f"User says: {q} I begin at {t}."
    for name in p.tables[1:]:
        yield f"From there I reach {name} by way of the matching id."
    for column, sign, value in p.filters:
        yield f"Not every row is wanted. {column} must be {sign} {value} for a row to stay."
    if p.either:
        yield "A row may pass by any of the tests."
    if p.nested:
        yield {
            "not in": "Rows known from a separate lookup are thrown out.",
            "in": "Rows are kept when a separate lookup knows them.",
        }.get(p.nested, "A separate lookup gives the number that is the yardstick.")
    if p.group:
        yield f"The rows fall into piles, one for every {joined(p.group)}."
    for name in dict.fromkeys(p.aggregates):
        yield "I need the size, a COUNT." if name == "count" else f"I need the {name.upper()} of the values."
    if p.having:
        yield "A pile stays only if its size passes; that is a HAVING test."
    if p.order:
        yield f"Line them up by {joined([key for key, _ in p.order])}, {'falling' if p.order[0][1] else 'rising'}."
    if p.limit:
        yield f"Take the {p.limit} at the front, LIMIT {p.limit}."
    if p.distinct:
        yield "No value may be listed two times: DISTINCT."
    if p.combined:
        yield f"Then {p.combined.upper()} with the second half."
    yield f"Give back {joined(p.outputs)}."


def _eighth(p: Parts, q: str, r: random.Random) -> Iterator[str]:
    yield "Plan:"
    yield f"- read {', '.join(p.tables)}" + (" (joined on keys)" if len(p.tables) > 1 else "")
    if p.filters:
        yield "- keep where " + (" or " if p.either else " and ").join(
            f"{c} {s} {v}" for c, s, v in p.filters
        )
    if p.nested:
        yield {"not in": "- drop those in (select ...)", "in": "- keep those in (select ...)"}.get(
            p.nested, "- threshold = (select ...)"
        )
    if p.group:
        yield f"- group by {', '.join(p.group)}"
    if p.aggregates:
        yield "- compute " + ", ".join(f"{name}(...)" for name in dict.fromkeys(p.aggregates))
    if p.having:
        yield "- keep groups having enough"
    if p.order:
        yield "- order by " + ", ".join(key + (" desc" if down else "") for key, down in p.order)
    if p.limit:
        yield f"- limit {p.limit}"
    if p.distinct:
        yield "- distinct"
    if p.combined:
        yield f"- {p.combined} the other select"
    yield f"- output {', '.join(p.outputs)}"
    yield r.choice(["This follows the question.", "I am fairly sure.", "That should answer it."])


Writer = Callable[[Parts, str, random.Random], Iterator[str]]
WRITERS: tuple[Writer, ...] = (_first, _second, _third, _fourth, _fifth, _sixth)
#: Written after the cues of `finer_rewards._thoughts.plan` were fixed, and never used to choose anything.
HELD_OUT: tuple[Writer, ...] = (_seventh, _eighth)
