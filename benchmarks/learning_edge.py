"""How sure a model has to be of a clause before a reward pays it for writing it rather than leaving it out.

    python -m benchmarks.learning_edge

No training: real queries, real results. Each query of the learning task is given one mistake, so that its answer is
wrong whatever else it says; GRPO scales every group by its spread, so among such answers the smallest difference of
credit decides. Then one more clause is written right, written wrong, or left out. With p the model's chance of
writing it right, writing pays when p R + (1 - p) W > O, that is above p* = (O - W) / (R - W).

A reward that teaches laziness has a high p*. At 0 or below leaving out a clause that is needed never pays. The other
way to go wrong is to write what is not needed: N is the value without, X with a condition too many, and where it
would be written right, writing pays when it is needed with a chance above q* = (N - X) / (N - X + R - O). For right
answers that chance is one half; a reward far below it teaches to write too much.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from statistics import mean

from benchmarks.learning_arms import BASE, LADDER, arms
from benchmarks.learning_task import DOMAINS, Question, build_databases, questions
from finer_rewards import Reward, Sample, Scorer, SQLite, parse_reward

Words = tuple[str, ...]
MORE = "more"
#: Credit for structure that was considered beside what `benchmarks.learning` compares.
CONSIDERED = (
    "atomic_f1(beta=2, partial=0.5)",
    "atomic_f1(beta=3)",
    "atomic_f1(beta=3, partial=0.5)",
    "atomic_f1(beta=10, partial=0.5)",
    "atomic_f1(ignore=('from', 'join'))",
    "atomic_f1(metric='jaccard')",
)
#: Clauses that end a query, and how many phrases they have.
WHOLE = {"HAVING COUNT(*) >": 2, "ORDER BY": 5}


def variants(one: Question, chance: random.Random) -> Iterator[tuple[str, Words, Words, Words]]:
    """Yield (clause, right, wrong, left out), all with another mistake in the WHERE."""
    conditions = _conditions(one.sql)
    table = next(domain.table for domain in DOMAINS if domain.name == one.db)
    for number, place in enumerate(conditions):
        others = [other for other in conditions if other != place]
        if others:
            spoiled = _other_value(one.sql, chance.choice(others), chance)
            kind = "WHERE" if one.sql[place].startswith(table) else "WHERE, joined"
            yield kind, spoiled, _other_value(spoiled, place, chance), _without_condition(spoiled, number)
    for start, length in WHOLE.items():
        if start in one.sql and conditions:
            spoiled = _other_value(one.sql, chance.choice(conditions), chance)
            place = spoiled.index(start)
            out = spoiled[:place] + spoiled[place + length :]
            wrong = list(spoiled)
            last = place + length - 1
            wrong[last] = "7" if wrong[last] != "7" else "2"
            yield start.partition(" ")[0], spoiled, tuple(wrong), out


def superfluous(one: Question, chance: random.Random) -> Words | None:
    """Return the query with a condition too many, and one mistake as `variants` makes it."""
    conditions = _conditions(one.sql)
    domain = next(domain for domain in DOMAINS if domain.name == one.db)
    free = [name for name in domain.numbers if domain.column(name) not in one.sql]
    if not conditions or not free:
        return None
    spoiled = _other_value(one.sql, conditions[0], random.Random(0))
    name = chance.choice(free)
    more = ("AND", domain.column(name), ">", str(100 * domain.numbers[name][1]))
    end = conditions[-1] + 3
    return spoiled[:end] + more + spoiled[end:]


def _conditions(sql: Words) -> list[int]:
    """Return where each condition of the WHERE starts; each has three words."""
    if "WHERE" not in sql:
        return []
    places, place = [sql.index("WHERE") + 1], sql.index("WHERE") + 4
    while place < len(sql) and sql[place] == "AND":
        places.append(place + 1)
        place += 4
    return places


def _other_value(sql: Words, place: int, chance: random.Random) -> Words:
    """Return the query with another value in this condition."""
    value = sql[place + 2]
    other = f"'no {value[1:]}" if value.startswith("'") else str(int(value) + chance.choice((-700, 700)))
    return (*sql[: place + 2], other, *sql[place + 3 :])


def _without_condition(sql: Words, number: int) -> Words:
    place = _conditions(sql)[number]
    if number:
        return sql[: place - 1] + sql[place + 3 :]
    if sql[place + 3 : place + 4] == ("AND",):
        return sql[:place] + sql[place + 4 :]
    return sql[: place - 1] + sql[place + 3 :]


def main() -> None:
    file = Path(__file__).parent / "results" / "learning_edge.md"
    file.write_text("\n".join(lines()) + "\n", encoding="utf-8")


def lines() -> Iterator[str]:
    """Yield the results as Markdown."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_databases(folder)
        cases = list(_cases(questions(folder, hard=True, number=150, seed=1), random.Random(0)))
        with SQLite(folder, timeout=5, workers=1) as executor:
            scores = {name: _scored(Scorer(reward, executor), cases) for name, reward in _rewards()}
    # Where a mistake happens not to show in the result, the answer is right and proves nothing here.
    matches = scores.pop(BASE)
    wrong = [number for number, values in enumerate(matches) if not any(values)]
    kinds = [kind for kind in dict.fromkeys(kind for _, kind, *_ in cases) if kind != MORE]
    of = {kind: [number for number in wrong if cases[number][1] == kind] for kind in (*kinds, MORE)}
    yield "# How sure before a clause pays"
    yield ""
    versions = f"Python {python_version()}, sqlglot {version('sqlglot')}"
    yield f"Written by `python -m benchmarks.learning_edge` on {date.today()} ({versions})."
    yield ""
    heads = [
        *(f"{kind} ({len(of[kind])}): p*" for kind in kinds),
        f"one condition too many ({len(of[MORE])}): q*",
    ]
    yield f"| reward | {' | '.join(heads)} |"
    yield "|---|" + "---|" * len(heads)
    for name, values in scores.items():
        means = {kind: _means([values[number] for number in of[kind]]) for kind in of}
        cells = [_ratio(out - bad, right - bad) for right, bad, out in (means[kind] for kind in kinds)]
        (right, _, out), (without, extra, _) = means["WHERE"], means[MORE]
        cells.append(_ratio(without - extra, without - extra + right - out))
        yield f"| {name} | {' | '.join(cells)} |"


def _rewards() -> Iterator[tuple[str, Reward]]:
    """Yield what has one value a sample and needs no memory, once."""
    seen = set()
    for name, arm in arms().items():
        whole = arm.scale != "terms" and not any("memory" in leaf.name for leaf in arm.reward.leaves())
        if whole and arm.reward not in seen:
            seen.add(arm.reward)
            yield name.removesuffix(", batch"), arm.reward
    for credit in CONSIDERED:
        yield f"rung, {credit}", parse_reward(LADDER.format(credit))


def _cases(
    asked: list[Question], chance: random.Random
) -> Iterator[tuple[Question, str, Words, Words, Words]]:
    for one in asked:
        for kind, right, wrong, out in variants(one, chance):
            yield one, kind, right, wrong, out
        more = superfluous(one, chance)
        if more is not None:
            without = _other_value(one.sql, _conditions(one.sql)[0], random.Random(0))
            yield one, MORE, without, more, without


def _means(values: list[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(mean(column) for column in zip(*values, strict=True))


def _ratio(above: float, below: float) -> str:
    return "-" if abs(below) < 1e-9 else f"{above / below:.2f}"


def _scored(
    scorer: Scorer, cases: list[tuple[Question, str, Words, Words, Words]]
) -> list[tuple[float, ...]]:
    """Return the values of each case, written right, wrong, left out."""
    samples = [
        Sample(" ".join(("<think>", *one.thought, "</think>", *sql)), gold=one.gold, db=one.db)
        for one, _, *three in cases
        for sql in three
    ]
    values = [float(score.value or 0.0) for score in scorer.score(samples)]
    return [tuple(values[start : start + 3]) for start in range(0, len(values), 3)]


if __name__ == "__main__":
    main()
