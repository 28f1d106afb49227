"""Measures of nearness against their published definitions, written out plainly here."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from bounds import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from finer_rewards._util.assignment import best_pairs
from finer_rewards.rewards.cells import (
    cell_precision_of,
    cell_recall_of,
    tuple_cardinality_of,
    tuple_constraint_of,
    tuple_order_of,
)
from finer_rewards.rewards.efficiency import r_ves, steady_ratio, ves
from finer_rewards.rewards.rows import rank_score_of, soft_f1_of, soft_f1_reference_of

CELLS = st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["a", "b", "1", " B ", 1.0, 0.5]))


def tables(width):
    return st.lists(st.tuples(*[CELLS] * width), max_size=5)


PAIRS = st.integers(1, 3).flatmap(lambda width: st.tuples(tables(width), tables(width)))
UNLIKE = st.tuples(st.integers(1, 3).flatmap(tables), st.integers(1, 3).flatmap(tables))


def no_rows(gold, predicted):
    """Every QATCH measure is 1 between two empty results and 0 between an empty one and another."""
    return None if gold and predicted else float(not gold and not predicted)


def distinct(rows):
    found = []
    for row in rows:
        if row not in found:
            found.append(row)
    return found


def rank(cell):
    return (0, "") if cell is None else (1, float(cell)) if isinstance(cell, (int, float)) else (2, str(cell))


@given(UNLIKE)
def test_cell_measures_by_definition(pair):
    gold, predicted = pair
    expected = no_rows(gold, predicted)
    cells, others = distinct(itertools.chain(*gold)), distinct(itertools.chain(*predicted))
    common = sum(cell in others for cell in cells)
    assert cell_recall_of(gold, predicted) == (expected if expected is not None else common / len(cells))
    assert cell_precision_of(gold, predicted) == (expected if expected is not None else common / len(others))


@given(UNLIKE)
def test_tuple_measures_by_definition(pair):
    gold, predicted = pair
    few, many = min(len(gold), len(predicted)), max(len(gold), len(predicted))
    assert tuple_cardinality_of(gold, predicted) == (few / many if many else 1)
    expected = no_rows(gold, predicted)
    if expected is None:
        ours, theirs = ([sorted(row, key=rank) for row in rows] for rows in (gold, predicted))
        kinds = distinct(ours)
        expected = sum(ours.count(row) == theirs.count(row) for row in kinds) / len(kinds)
    assert tuple_constraint_of(gold, predicted) == expected


@given(UNLIKE)
def test_tuple_order_by_definition(pair):
    gold, predicted = pair
    expected = no_rows(gold, predicted)
    if expected is None:
        first = [row for row in distinct(gold) if row in predicted]
        second = [row for row in distinct(predicted) if row in gold]
        rho = 0.0
        if first:
            count = max(2, len(first))
            squares = sum((i - first.index(row)) ** 2 for i, row in enumerate(second))
            rho = 1 - 6 * squares / (count * (count**2 - 1))
        expected = (rho + 1) / 2
    assert tuple_order_of(gold, predicted) == pytest.approx(expected)


def bird_soft_f1(gold, predicted):
    """BIRD mini-dev's rule in exact fractions."""
    if not gold and not predicted:
        return 1
    gold, predicted = distinct(gold), distinct(predicted)
    both, extra, missing = Fraction(0), Fraction(0), Fraction(0)
    for row, other in itertools.zip_longest(gold, predicted):
        if row is None:
            extra += 1
        elif other is None:
            missing += 1
        else:
            both += Fraction(sum(cell in row for cell in other), len(row))
            extra += Fraction(sum(cell not in row for cell in other), len(row))
            missing += Fraction(sum(cell not in other for cell in row), len(row))
    if not both:
        return 0
    precision, recall = both / (both + extra), both / (both + missing)
    return float(2 * precision * recall / (precision + recall))


@given(UNLIKE)
def test_soft_f1_reference_is_birds(pair):
    assert soft_f1_reference_of(*pair) == pytest.approx(bird_soft_f1(*pair))


def test_what_birds_soft_f1_gets_wrong():
    rows = [(1, "a"), (2, "b"), (3, "c")]
    assert soft_f1_reference_of(rows, rows[::-1]) == pytest.approx(1 / 3)
    assert soft_f1_reference_of(rows[:2], rows[1::-1]) == 0
    assert soft_f1_reference_of([(1,), (1,)], [(1,)]) == 1
    assert soft_f1_reference_of([(5,)], [(5, 5, 5)]) == 1
    assert soft_f1_of(rows, rows[::-1]) == 1
    assert soft_f1_of([(1,), (1,)], [(1,)]) == pytest.approx(2 / 3)
    assert soft_f1_of([(5,)], [(5, 5, 5)]) == 0.5


def overlap(row, other):
    left = list(other)
    count = 0
    for cell in row:
        if cell in left:
            left.remove(cell)
            count += 1
    return count


@settings(max_examples=examples(150))
@given(UNLIKE)
def test_soft_f1_is_the_best_over_all_alignments(pair):
    gold, predicted = pair
    few, many = sorted(pair, key=len)
    cells = sum(map(len, gold)) + sum(map(len, predicted))
    best = max(sum(map(overlap, few, order)) for order in itertools.permutations(many, len(few)))
    expected = 2 * best / cells if cells else 1
    assert soft_f1_of(gold, predicted) == pytest.approx(expected)
    bounded = soft_f1_of(gold, predicted, work=0)
    assert bounded <= expected + 1e-12
    # Without an alignment of the rest, equal rows still count in full.
    assert (bounded == 1) == (expected == 1)


@given(PAIRS, st.randoms())
def test_soft_f1_ignores_the_order_of_rows(pair, random):
    gold, predicted = pair
    shuffled = random.sample(predicted, len(predicted))
    assert soft_f1_of(gold, shuffled) == soft_f1_of(gold, predicted) == soft_f1_of(predicted, gold)
    assert soft_f1_of(gold, shuffled, work=0) == soft_f1_of(gold, predicted, work=0)


def test_soft_f1_of_large_results_is_bounded_in_work():
    gold = [(i, f"n{i}", i % 7) for i in range(10_000)]
    predicted = [(i, f"n{i}", i % 5) for i in reversed(range(10_000))]
    assert 0.6 < soft_f1_of(gold, predicted) < 1


@given(st.lists(st.lists(st.integers(-5, 5), min_size=3, max_size=3), min_size=1, max_size=5))
def test_best_pairs_by_brute_force(weights):
    height, width = len(weights), 3
    if height <= width:
        best = max(
            sum(weights[row][column] for row, column in enumerate(order))
            for order in itertools.permutations(range(width), height)
        )
    else:
        best = max(
            sum(weights[row][column] for column, row in enumerate(order))
            for order in itertools.permutations(range(height), width)
        )
    pairs = best_pairs(weights)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == min(height, width)
    assert sum(weights[row][column] for row, column in pairs) == best
    assert best_pairs([]) == []


def finer_rank(gold, predicted, names, others, *, footrule):
    """FINER-SQL's rank scorer from its description."""
    if set(names) != set(others) or not (gold and predicted):
        return 0.0

    def normal(cell):
        if cell is None:
            return ""
        if isinstance(cell, str):
            try:
                cell = float(cell)
            except ValueError:
                return cell.strip().lower()
        return round(float(cell), 6)

    def keys(rows, columns):
        found = []
        for row in rows:
            cells = {column: normal(cell) for column, cell in zip(columns, row, strict=True)}
            key = tuple(cells[name] for name in dict.fromkeys(names))
            found.append((key, sum(key == other for other, _ in found)))
        return found

    first, second = keys(gold, names), keys(predicted, others)
    pairs = [(first.index(key) + 1, second.index(key) + 1) for key in first if key in second]
    k = len(pairs)
    order = 1.0
    if k > 1 and footrule:
        order = max(0, 1 - sum(abs(a - b) for a, b in pairs) / (k * k // 2))
    elif k > 1:
        rho = 1 - 6 * sum((a - b) ** 2 for a, b in pairs) / (k * (k * k - 1))
        order = min(1, max(0, (rho + 1) / 2))
    return (k / max(len(gold), len(predicted))) ** 1.2 * (0.5 * order + 0.5)


@given(PAIRS, st.booleans(), st.data())
def test_rank_score_by_definition(pair, footrule, data):
    gold, predicted = pair
    width = len((gold or predicted or [(0,)])[0])
    names = data.draw(st.lists(st.sampled_from("abc"), min_size=width, max_size=width))
    others = data.draw(st.one_of(st.permutations(names), st.just(names)))
    found = rank_score_of(gold, predicted, gold_columns=names, predicted_columns=others, footrule=footrule)
    assert found == pytest.approx(finer_rank(gold, predicted, names, others, footrule=footrule))


def test_what_the_rank_score_gets_wrong():
    assert rank_score_of([(1,)], [(1,)], gold_columns=["n"], predicted_columns=["m"]) == 0
    assert rank_score_of([], [], gold_columns=["n"], predicted_columns=["n"]) == 0
    twice = {"gold_columns": ["n", "n"], "predicted_columns": ["n", "n"]}
    assert rank_score_of([(1, 2)], [(9, 2)], **twice) == 1


# --- speed ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=30))
def test_steady_ratio_is_birds_mean_without_outliers(ratios):
    middle = sum(ratios) / len(ratios)
    deviation = (sum((ratio - middle) ** 2 for ratio in ratios) / len(ratios)) ** 0.5
    kept = [ratio for ratio in ratios if middle - 3 * deviation < ratio < middle + 3 * deviation]
    # BIRD divides by zero when nothing is kept, and its caller makes that 0; equal ratios are their mean here.
    if deviation > 1e-6:
        assert steady_ratio(ratios) == pytest.approx(sum(kept) / len(kept))
    else:
        assert steady_ratio(ratios) == pytest.approx(middle)


@given(st.floats(0.001, 1000))
def test_the_steps_of_the_reward_based_score(ratio):
    levels = [(2, 1.25), (1, 1), (0.5, 0.75), (0.25, 0.5), (0, 0.25)]
    assert r_ves(ratio) == max(value for least, value in levels if ratio >= least)
    assert ves(ratio) ** 2 == pytest.approx(ratio)
