"""Every mode against an oracle written from its published definition, on random small results.

The oracles are slow and literal: brute force over column orders and row pairings, or pandas where the
published code uses pandas. Nothing here is shared with the package.
"""

from __future__ import annotations

import io
import math
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
from bounds import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from finer_rewards.comparing import compare, modes
from finer_rewards.comparing.named import SHIPPED

Rows = list[tuple[Any, ...]]
POOLS: list[list[Any]] = [
    [0, 1],
    ["a", "b"],
    [0, 1, 2, 3, 1.0, 2.5, None],
    ["a", "b", "c", None, "1", "x "],
    [0.5, 1.5, 2.0, 0.1 + 0.2, 0.3, 0.333333, 0.33],
    [None, "", 0, "None", "nan", -99999],
    [10, 1.0, "1", "1.0", "10", " 1", "true", "inf", " "],
    [2**53, 2**53 + 1, float(2**53), 1e9, 1e9 + 0.5, math.inf, 1e16, 1e-5],
    [b"a", "a", "A", "tab\tx", 'q"u,o'],
]
GOLD_SQL = [
    "SELECT a FROM t",
    "SELECT a, b, c, d FROM t ORDER BY a",
    "SELECT a FROM t ORDER BY b DESC, a",
    "SELECT a FROM (SELECT a FROM t ORDER BY a)",
    "SELECT 'order by' FROM t",
    "SELECT t.c FROM t ORDER BY t.c ASC LIMIT 3",
    "SELECT DISTINCT a, b, c, d FROM t",
    "SELECT a FROM t GROUP BY a, b",
    "SELECT COUNT(DISTINCT a) FROM t GROUP BY b",
]
QUESTIONS = ["", "List the names.", "Sort them by age.", "In which order?"]
SETTINGS = settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))


def edited(chance: random.Random, rows: Rows, names: list[str]) -> tuple[Rows, list[str]]:
    """A prediction that is near the gold result: a few random edits of it."""
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        if not rows:
            break
        width, edit = len(rows[0]), chance.randrange(8)
        column = chance.randrange(width)
        if edit == 0:
            chance.shuffle(rows)
        elif edit == 1:
            order = chance.sample(range(width), width)
            rows, names = [tuple(row[i] for i in order) for row in rows], [names[i] for i in order]
        elif edit == 2:
            rows.append(chance.choice(rows))
        elif edit == 3 and len(rows) > 1:
            rows.pop(chance.randrange(len(rows)))
        elif edit == 4:
            at, cell = chance.randrange(len(rows)), chance.choice(chance.choice(POOLS))
            rows[at] = (*rows[at][:column], cell, *rows[at][column + 1 :])
        elif edit == 5 and width < 5:
            pool = chance.choice(POOLS)
            rows, names = [(*row, chance.choice(pool)) for row in rows], [*names, chance.choice("abcde")]
        elif edit == 6 and width > 1:
            rows = [row[:column] + row[column + 1 :] for row in rows]
            names = names[:column] + names[column + 1 :]
        elif edit == 7:
            change = chance.choice([_as_float, _as_text, _nudged])
            rows = [(*row[:column], change(row[column]), *row[column + 1 :]) for row in rows]
    return rows, names


def _as_float(cell: Any) -> Any:
    return float(cell) if type(cell) is int else cell


def _as_text(cell: Any) -> Any:
    return None if cell is None else str(cell)


def _nudged(cell: Any) -> Any:
    return cell + 1e-7 if type(cell) is float else cell


class Case:
    """A gold and a predicted result, with their column names and the texts some modes read."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        width = chance.choice([1, 1, 2, 2, 3, 4])
        names = [chance.choice("abcd") if chance.random() < 0.1 else "abcd"[i] for i in range(width)]
        pools = [chance.sample(pool, min(3, len(pool))) for pool in chance.choices(POOLS, k=width)]
        length = chance.choice([0, 1, 2, 3, 4, 5])
        self.gold: Rows = [tuple(chance.choice(pool) for pool in pools) for _ in range(length)]
        self.gold_names = names
        self.predicted, self.predicted_names = edited(chance, list(self.gold), list(names))
        if chance.random() < 0.1:
            width = chance.choice([1, 2])
            self.predicted_names = list("ab")[:width]
            length = chance.choice([0, 0, 1, 2])
            self.predicted = [tuple(chance.choice([0, 1, "a"]) for _ in range(width)) for _ in range(length)]
        self.gold_sql = chance.choice(GOLD_SQL)
        self.predicted_sql = chance.choice([self.gold_sql, *GOLD_SQL])
        self.question = chance.choice(QUESTIONS)

    def __repr__(self) -> str:
        return f"Case({vars(self)})"

    @property
    def ordered_text(self) -> bool:
        return "order by" in self.gold_sql.lower()

    @property
    def ordered_query(self) -> bool:
        return self.gold_sql in (GOLD_SQL[1], GOLD_SQL[2], GOLD_SQL[5])


CASES = st.integers(0, 2**40).map(Case)


def decided(oracle: Callable[[Case], bool], case: Case) -> bool:
    """The oracle's verdict; where the published code raises, its caller counts no match."""
    try:
        return bool(oracle(case))
    except (TypeError, ValueError, KeyError, UnicodeDecodeError):
        return False


# --- rows as Python holds them -------------------------------------------------------------------------


def bird(case: Case) -> bool:
    return set(case.gold) == set(case.predicted)


def bird_nonempty(case: Case) -> bool:
    return bool(case.gold) and bool(case.predicted) and bird(case)


def llmsql(case: Case) -> bool:
    return sorted(case.gold) == sorted(case.predicted)


def typed(case: Case) -> bool:
    if len(case.gold_names) != len(case.predicted_names):
        return False
    gold = [[(type(cell), cell) for cell in row] for row in case.gold]
    predicted = [[(type(cell), cell) for cell in row] for row in case.predicted]
    return (
        gold == predicted if case.ordered_query else sorted(map(repr, gold)) == sorted(map(repr, predicted))
    )


def qatch(case: Case) -> bool:
    def row(cells: tuple[Any, ...]) -> tuple[Any, ...]:
        nothing = [cell for cell in cells if cell is None]
        numbers = sorted((cell for cell in cells if isinstance(cell, (int, float))), key=float)
        others = sorted((c for c in cells if not isinstance(c, (int, float)) and c is not None), key=str)
        return (*nothing, *numbers, *others)

    return len(case.gold) == len(case.predicted) and set(map(row, case.gold)) == set(map(row, case.predicted))


def suite(case: Case) -> bool:
    gold, predicted, ordered = case.gold, case.predicted, case.ordered_text
    if not gold and not predicted:
        return True
    if len(gold) != len(predicted) or len(gold[0]) != len(predicted[0]):
        return False

    def loose(rows: Rows) -> list[Any]:
        return [tuple(sorted(row, key=lambda cell: f"{cell}{type(cell)}")) for row in rows]

    if ordered and loose(gold) != loose(predicted):
        return False
    if not ordered and set(loose(gold)) != set(loose(predicted)):
        return False
    for order in permutations(range(len(gold[0]))):
        moved = [tuple(row[i] for i in order) for row in predicted]
        if gold == moved if ordered else Counter(gold) == Counter(moved):
            return True
    return False


# --- strict and lenient --------------------------------------------------------------------------------


def equal_cells(a: Any, b: Any, absolute: float, folded: bool) -> bool:
    if folded:
        a, b = _unfolded(a), _unfolded(b)
    numbers = isinstance(a, (int, float)), isinstance(b, (int, float))
    if all(numbers):
        both_exact = isinstance(a, int) and isinstance(b, int)
        return a == b if both_exact else a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=absolute)
    return type(a) is type(b) and a == b and not any(numbers)


def _unfolded(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    text = cell.strip()
    if text and set(text) <= set("0123456789+-.eE"):
        try:
            return int(text) if set(text) <= set("0123456789+-") else float(text)
        except ValueError:
            pass
    return " ".join(text.lower().split())


def pairs_up(gold: Rows, predicted: Rows, absolute: float, folded: bool) -> bool:
    def same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
        return all(equal_cells(a, b, absolute, folded) for a, b in zip(one, other, strict=True))

    return any(
        all(same(row, predicted[i]) for row, i in zip(gold, order, strict=True))
        for order in permutations(range(len(predicted)))
    )


def aligned(case: Case, absolute: float, lenient: bool, permuted: bool = True) -> bool:
    width, other = len(case.gold_names), len(case.predicted_names)
    if other < width or (other > width and not lenient) or len(case.gold) != len(case.predicted):
        return False
    if not case.gold:
        return True
    runs = [(0, len(case.gold))]
    if case.ordered_query:
        starts = list(range(len(case.gold)))
        if case.gold_sql != GOLD_SQL[2]:
            # The first column is the one sort key; of that other query one key is not in the result.
            keys = [row[0] for row in case.gold]
            starts = [i for i, key in enumerate(keys) if i == 0 or key != keys[i - 1]]
        runs = list(zip(starts, [*starts[1:], len(case.gold)], strict=True))
    return any(
        all(
            pairs_up(
                case.gold[start:end],
                [tuple(row[i] for i in order) for row in case.predicted[start:end]],
                absolute,
                lenient,
            )
            for start, end in runs
        )
        for order in (permutations(range(other), width) if permuted else [range(width)])
    )


def without_repeats(case: Case) -> Case:
    """The case with the first of each row on both sides, numbers within the tolerance being equal."""
    shorter = copy(case)
    for side in ("gold", "predicted"):
        rows: Rows = []
        for row in getattr(case, side):
            if not any(
                all(equal_cells(a, b, 1e-12, False) for a, b in zip(row, kept, strict=True)) for kept in rows
            ):
                rows.append(row)
        setattr(shorter, side, rows)
    return shorter


def answer(case: Case) -> bool:
    return strict(without_repeats(case))


def answer_distinct(case: Case) -> bool:
    drops = GOLD_SQL[6:8]
    return answer(case) if case.gold_sql in drops or case.predicted_sql in drops else strict(case)


def bird_train(case: Case) -> bool:
    return aligned(without_repeats(case), 1e-12, lenient=False, permuted=False)


def strict(case: Case) -> bool:
    return aligned(case, 1e-12, lenient=False)


def lenient(case: Case) -> bool:
    return aligned(case, 1e-2, lenient=True)


# --- pandas and numpy ----------------------------------------------------------------------------------


@contextmanager
def old_strings() -> Iterator[Any]:
    """Pandas with text as objects, as it was when the evaluators were written."""
    pandas = pytest.importorskip("pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            context = pandas.option_context("future.infer_string", False)
        except (KeyError, AttributeError):
            yield pandas
            return
        with context:
            yield pandas


def frames(case: Case, pandas: Any) -> tuple[Any, Any]:
    return tuple(
        pandas.DataFrame.from_records(rows, columns=names, coerce_float=True)
        for rows, names in ((case.gold, case.gold_names), (case.predicted, case.predicted_names))
    )  # type: ignore[return-value]


def spider2(case: Case, ordered: bool) -> bool:
    with old_strings() as pandas:
        gold, predicted = (
            pandas.read_csv(io.StringIO(frame.to_csv(index=False))).T.values.tolist()
            for frame in frames(case, pandas)
        )

        def prepared(column: list[Any]) -> list[Any]:
            column = [0 if pandas.isna(cell) else cell for cell in column]
            return column if ordered else sorted(column, key=lambda c: (str(c), isinstance(c, (int, float))))

        def near(a: Any, b: Any) -> bool:
            if isinstance(a, (int, float)) and isinstance(b, (int, float)):
                return math.isclose(a, b, abs_tol=1e-2)
            return bool(a == b)

        def equal(one: list[Any], other: list[Any]) -> bool:
            return len(one) == len(other) and all(map(near, prepared(one), prepared(other)))

        return all(any(equal(column, other) for other in predicted) for column in gold)


def defog_normalised(frame: Any, ordered: bool, sql: str) -> Any:
    """No duplicate rows; columns by name; rows sorted, by the first ORDER BY key where order is asked."""
    frame = frame.drop_duplicates()
    frame = frame.reindex(sorted(frame.columns), axis=1)
    if not ordered:
        return frame.sort_values(by=list(frame.columns)).reset_index(drop=True)
    start = sql.upper().find("ORDER BY")
    if start < 0:
        return frame.reset_index(drop=True)
    first = sql[start + len("ORDER BY") :].replace(")", ",").split(",")[0].split()
    words = [word.split(".")[-1] for word in first]
    ascending = "ASC" in words and "DESC" not in words
    keys = [word for word in words if word in frame.columns]
    others = [name for name in frame.columns if name not in words]
    frame = frame.sort_values(by=keys + others, ascending=ascending)
    return frame[others + keys].reset_index(drop=True)


def defog_asks(case: Case) -> bool:
    return any(word in case.question.lower() for word in ("order", "sort", "arrange"))


def defog_exact(case: Case) -> bool:
    numpy = pytest.importorskip("numpy")
    with old_strings() as pandas:
        gold, predicted = frames(case, pandas)
        try:
            if numpy.all(gold.values == predicted.values):
                return True
        except ValueError:  # shapes that do not broadcast
            pass
        gold = defog_normalised(gold, defog_asks(case), case.gold_sql)
        predicted = defog_normalised(predicted, defog_asks(case), case.predicted_sql)
        if gold.shape != predicted.shape:
            return False
        gold, predicted = gold.astype(object), predicted.astype(object)
        both = (gold.where(gold.notna(), -99999).values, predicted.where(predicted.notna(), -99999).values)
        kinds = [{type(cell) for row in side for cell in row} for side in both]
        if all(kind <= {int, float} for kind in kinds) and float in kinds[0] | kinds[1]:
            both = (both[0].astype(float), both[1].astype(float))
        return bool((both[0] == both[1]).all())


def defog_subset(case: Case) -> bool:
    with old_strings() as pandas:
        gold, predicted = frames(case, pandas)
        if gold.empty:
            return False
        unique = [
            [f"{name}_{i}" if names.count(name) > 1 else name for i, name in enumerate(names)]
            for names in (case.gold_names, case.predicted_names)
        ]
        gold.columns, free = unique[0], predicted.copy()
        free.columns = unique[1]
        chosen = []
        for name in gold.columns:
            wanted = gold[name].sort_values().reset_index(drop=True)
            for other in free.columns:
                offered = free[other].sort_values().reset_index(drop=True)
                if same_series(pandas, wanted, offered):
                    chosen.append(other)
                    free = free.drop(columns=[other])
                    break
            else:
                return False
        matching = predicted[chosen].set_axis(list(gold.columns), axis=1)
        gold = defog_normalised(gold, defog_asks(case), case.gold_sql)
        matching = defog_normalised(matching, defog_asks(case), case.predicted_sql)
        try:
            pandas.testing.assert_frame_equal(gold, matching, check_dtype=False)
        except AssertionError:
            return False
        return True


def same_series(pandas: Any, one: Any, other: Any) -> bool:
    try:
        pandas.testing.assert_series_equal(one, other, check_dtype=False, check_names=False)
    except AssertionError:
        return False
    return True


def ibm_exec(case: Case) -> bool:
    numpy = pytest.importorskip("numpy")
    with old_strings() as pandas:
        gold, predicted = pandas.DataFrame(case.gold), pandas.DataFrame(case.predicted)
        if gold.shape != predicted.shape:
            return False
        one, other = (numpy.sort(frame.values.astype(str), axis=1) for frame in (gold, predicted))
        if "ORDER BY" not in case.gold_sql.replace("'order by'", ""):
            one, other = numpy.sort(one, axis=0), numpy.sort(other, axis=0)
        return bool(numpy.array_equal(one, other))


def ibm_subset(case: Case) -> bool:
    def text(cell: Any) -> str:
        if cell is None:
            return "None"
        if isinstance(cell, int):
            return str(cell)
        try:
            number = float(cell) if isinstance(cell, float) else float(str(cell))
        except ValueError:
            return str(cell).strip()
        if math.isnan(number) or math.isinf(number):
            return str(number)
        return str(int(number)) if number == int(number) else f"{number:.15g}"

    with old_strings() as pandas:
        sides = [pandas.DataFrame(case.gold), pandas.DataFrame(case.predicted)]
        if sides[0].empty or sides[1].empty or len(sides[0]) != len(sides[1]):
            return False
        sides.sort(key=lambda frame: frame.shape[1])
        rows: list[list[list[Any]]] = []
        for frame in sides:
            if "ORDER BY" in case.gold_sql.replace("'order by'", ""):
                rows.append(frame.values.tolist())
            else:
                columns = [sorted(map(text, frame[name].tolist())) for name in frame.columns]
                rows.append(list(map(list, zip(*columns, strict=True))))
        return all(
            not Counter(map(text, one)) - Counter(map(text, other))
            for one, other in zip(rows[0], rows[1], strict=True)
        )


def finer_reference(case: Case) -> bool:
    with old_strings() as pandas:
        sides = []
        for rows, names in ((case.gold, case.gold_names), (case.predicted, case.predicted_names)):
            frame = pandas.DataFrame([dict(zip(names, row, strict=True)) for row in rows])
            filled = frame.astype(object).where(frame.notna(), "") if frame.isna().values.any() else frame
            sides.append(set(map(tuple, filled.values.tolist())))
        return bool(sides[0] == sides[1])


ORACLES: dict[str, Callable[[Case], bool]] = {
    "answer": answer,
    "answer_distinct": answer_distinct,
    "bird_train": bird_train,
    "spider_train": strict,
    "strict": strict,
    "lenient": lenient,
    "bird": bird,
    "bird_nonempty": bird_nonempty,
    "test_suite": suite,
    "test_suite_keep_distinct": suite,
    "spider2": lambda case: spider2(case, ordered=True),
    "spider2, order ignored": lambda case: spider2(case, ordered=False),
    "defog_exact": defog_exact,
    "defog_subset": defog_subset,
    "qatch_ex": qatch,
    "ibm_exec": ibm_exec,
    "ibm_subset": ibm_subset,
    "llmsql": llmsql,
    "typed": typed,
    "finer_reference": finer_reference,
}


def test_every_mode_has_an_oracle() -> None:
    assert {name.split(",")[0] for name in ORACLES} == set(SHIPPED)


@pytest.mark.parametrize("name", ORACLES)
def test_a_mode_agrees_with_its_oracle(name: str) -> None:
    mode = modes()[name.split(",")[0]]
    if name.endswith("ignored"):
        mode = replace(mode, row_order="never")
    verdicts: Counter[bool] = Counter()

    @SETTINGS
    @given(CASES)
    @example(Case(0))
    def agree(case: Case) -> None:
        expected = decided(ORACLES[name], case)
        found = compare(
            case.gold, case.predicted, mode, gold_sql=case.gold_sql, predicted_sql=case.predicted_sql,
            gold_columns=case.gold_names, predicted_columns=case.predicted_names, question=case.question,
        )  # fmt: skip
        verdicts[expected] += 1
        assert found.match == expected, found

    agree()
    # Both verdicts have to be common, or the agreement would say little; among few examples chance decides how common.
    assert min(verdicts[True], verdicts[False]) > (15 if SETTINGS.max_examples == 150 else 0)


STEPS = st.integers(0, 6).map(lambda step: 1.0 + 0.0045 * step)


@SETTINGS
@given(st.lists(st.tuples(STEPS, STEPS), min_size=1, max_size=5), st.data())
def test_chains_of_near_numbers_are_paired_as_brute_force_pairs_them(gold: Rows, data: st.DataObject) -> None:
    # All numbers hang together in one chain, so that the rows have to be paired one by one.
    moves = st.sampled_from([-0.009, -0.0045, 0.0, 0.0045, 0.009, 0.0135])
    predicted = [tuple(cell + data.draw(moves) for cell in row) for row in gold]
    predicted = data.draw(st.permutations(predicted))
    expected = any(
        pairs_up(gold, [tuple(row[i] for i in order) for row in predicted], 1e-2, True)
        for order in permutations(range(2))
    )
    assert compare(gold, predicted, "lenient").match == expected
