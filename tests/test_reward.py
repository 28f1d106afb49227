"""Rewards are values, and blame decides what they give."""

from __future__ import annotations

import pickle
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finer_rewards.errors import ConfigError
from finer_rewards.reward import Reward, clip, constant, gate, reward, total
from finer_rewards.rewards import executable, execution_match, in_lost_groups
from finer_rewards.spec import parse_reward
from finer_rewards.types import Answer, Evidence, Execution, Sample, Score, Status, Trial

SAMPLE = Sample("SELECT 1", gold="SELECT 1", db="toy")
OK = Execution(Status.ok, ("c",), ((1,),))


@reward(needs={"execution"})
def swallows(evidence: Evidence) -> float:
    """A careless reward: whatever goes wrong is a zero."""
    try:
        assert evidence.gold is not None
        return float(evidence.gold.ok)
    except AssertionError:
        return 0.0


@reward()
def brevity(evidence: Evidence, *, budget: int = 10, kind: Literal["chars", "words"] = "chars") -> float:
    """1 within the budget, else 0."""
    return float(len(evidence.sample.completion) <= budget)


def evidence(predicted: Execution | None = OK, gold: Execution | None = OK) -> Evidence:
    return Evidence(SAMPLE, Answer(None, "SELECT 1"), predicted, gold)


LEAVES = st.sampled_from(
    [brevity(), brevity(budget=3), brevity(kind="words"), swallows(), constant(), constant(0.25)]
)
WEIGHTS = st.one_of(
    st.integers(-5, 5).filter(bool),
    st.floats(-10, 10, allow_nan=False).filter(lambda weight: abs(weight) > 1e-6),
)
REWARDS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a + b, inner, inner),
        st.builds(lambda weight, a: weight * a, WEIGHTS, inner),
        st.builds(lambda a, b: a - b, inner, inner),
        st.builds(lambda a, b, c: gate(condition=a, then=b, otherwise=c), inner, inner, st.none() | inner),
        st.builds(lambda a: clip(a, lo=-1, hi=2.5), inner),
        st.builds(in_lost_groups, inner, right=LEAVES),
    ),
    max_leaves=8,
)


@given(REWARDS)
def test_text_and_object_are_the_same_thing(one: Reward) -> None:
    assert parse_reward(repr(one)) == one
    assert repr(parse_reward(repr(one))) == repr(one)
    assert hash(parse_reward(repr(one))) == hash(one)
    assert pickle.loads(pickle.dumps(one)) == one


@given(REWARDS, st.sampled_from([OK, Execution(Status.failed), Execution(Status.unavailable), None]))
def test_a_pure_function_of_its_evidence(one: Reward, predicted: Execution | None) -> None:
    assert one(evidence(predicted)) == one(evidence(predicted))


@pytest.mark.parametrize(
    ("gold", "status"),
    [
        (Execution(Status.failed), Status.gold_failed),
        (Execution(Status.timeout), Status.gold_timeout),
        (Execution(Status.too_large), Status.gold_too_large),
        (Execution(Status.no_sql), Status.no_gold),
        (Execution(Status.refused), Status.gold_failed),
        (Execution(Status.unavailable), Status.unavailable),
        (None, Status.no_gold),
    ],
)
def test_no_reward_can_turn_the_datas_fault_into_a_number(gold: Execution | None, status: Status) -> None:
    score = swallows()(evidence(gold=gold))
    assert score.value is None
    assert score.status is status


def test_one_usable_gold_is_enough_but_on_every_database() -> None:
    broken = Execution(Status.failed)
    sample = Sample("SELECT 1", gold=("SELECT x", "SELECT 1"), db=("a", "b"))
    both = (Trial("a", OK, (broken, OK)), Trial("b", OK, (broken, OK)))
    assert swallows()(Evidence(sample, Answer(None, "SELECT 1"), trials=both)).value is not None
    crossed = (Trial("a", OK, (broken, OK)), Trial("b", OK, (OK, broken)))
    assert swallows()(Evidence(sample, Answer(None, "SELECT 1"), trials=crossed)).status is Status.gold_failed


def test_none_is_contagious_in_a_sum_but_a_closed_gate_comes_first() -> None:
    broken = evidence(gold=Execution(Status.failed))
    assert (brevity() + swallows())(broken).value is None
    assert gate(condition=brevity(budget=1), then=swallows())(broken).value == 0.0
    assert gate(condition=brevity(), then=swallows())(broken).status is Status.gold_failed
    assert clip(swallows())(broken).value is None


def test_a_gate_asks_a_reward_that_is_both_condition_and_branch_once() -> None:
    seen = []

    @reward()
    def watched(evidence: Evidence, *, start: float = 1.0) -> float:
        """Counts."""
        seen.append(start)
        return start

    score = gate(condition=watched(), then=watched())(evidence())
    assert (
        score.value == 1.0 and seen == [1.0] and [part.name for _, part in score.parts] == ["watched()"] * 2
    )
    assert gate(condition=watched(), then=watched(start=0.5))(evidence()).value == 0.5 and len(seen) == 3


def test_a_number_with_a_data_status_becomes_none() -> None:
    @reward()
    def confused(evidence: Evidence) -> Score:
        """Says both."""
        return Score(1.0, status=Status.gold_failed)

    assert confused()(evidence()).value is None


def test_none_needs_a_reason_that_is_not_the_model() -> None:
    @reward()
    def shrugs(evidence: Evidence) -> Score:
        """None for no reason."""
        return Score(None)

    with pytest.raises(ConfigError, match="should return a number unless"):
        shrugs()(evidence())


def test_a_bug_in_a_reward_raises() -> None:
    @reward()
    def infinite(evidence: Evidence) -> float:
        """Not a number a trainer can use."""
        return float("inf")

    with pytest.raises(ConfigError, match="finite"):
        infinite()(evidence())


def test_weights_distribute_and_sums_flatten() -> None:
    assert repr(2 * (brevity() + 3 * swallows()) + 1) == "2 * brevity() + 6 * swallows() + constant()"
    assert repr(brevity() - swallows()) == "brevity() - swallows()"
    assert repr(-brevity()) == "-brevity()"
    assert 1 * brevity() == brevity()
    assert 2.0 * brevity() == 2 * brevity()


def test_the_tree_explains_itself() -> None:
    text = (2 * brevity() + gate(condition=swallows(), then=constant(0.5)))(evidence()).explain()
    assert text.splitlines() == [
        " 2.500  total",
        "   1.000  2 * brevity()",
        "   0.500  gate",
        "     1.000  swallows()",
        "     0.500  constant(0.5)",
    ]


def test_leaves_are_distinct_and_leave_constants_out() -> None:
    one = gate(condition=brevity(), then=constant(3), otherwise=0.5 * swallows() + brevity())
    assert one.leaves() == (brevity(), swallows())
    assert one.needs == {"execution"}
    assert total(((1, one), (1, brevity(budget=1)))).leaves() == (brevity(), swallows(), brevity(budget=1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("brevty()", "There is no reward 'brevty'. Did you mean 'brevity'?"),
        ("brevity", "written with brackets: brevity()"),
        ("brevity(kind=chars)", "A text is written in quotes, but got chars"),
        ("brevity(kind='char')", "should be 'chars' or 'words', but got 'char'. Did you mean 'chars'?"),
        ("brevity(budget='3')", "should be a whole number, but got '3'"),
        ("brevity(bugdet=3)", "Did you mean 'budget'?"),
        ("brevity() * swallows()", "by a number, not by a reward"),
        ("3", "at least one reward"),
        ("2 *", "should read like"),
        ("brevity().__class__", "made of names, numbers"),
        ("__import__('os')", "There is no reward '__import__'"),
        ("brevity(**{})", "written out"),
        ("'a' * brevity()", "A weight should be a number"),
        ("brevity(budget=open('x'))", "There is no reward 'open'"),
        ("(" * 5000, "should read like"),
        ("-" * 15000 + "brevity()", ""),
    ],
)
def test_a_text_that_is_no_reward_says_so(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_reward(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), True, "2", None])
def test_a_weight_is_a_finite_number(weight: object) -> None:
    with pytest.raises((ConfigError, TypeError)):
        weight * brevity()  # type: ignore[operator]


def test_needs_are_checked() -> None:
    @reward(needs={"gould"})
    def typo(evidence: Evidence) -> float:
        """Needs a thing that is not."""
        return 0.0

    with pytest.raises(ConfigError, match="Did you mean 'gold'"):
        typo()


@reward()
def anything(evidence: Evidence, value: object = None) -> float:
    """Takes whatever it is given."""
    return 0.0


class Halved(float):
    """A number that prints as no literal, as NumPy's do."""

    def __repr__(self) -> str:
        return f"Halved({float(self)})"


@pytest.mark.parametrize(
    "value", [float("inf"), float("nan"), frozenset({1}), Status.ok, {1: 2}, (1, {2}), 1j, ...]
)
def test_a_parameter_can_be_written_in_a_config(value: object) -> None:
    with pytest.raises(ConfigError, match="can be written in a config"):
        anything(value)


@pytest.mark.parametrize(
    "value",
    [Halved(0.5), (Halved(2), [1, "a'\""]), b"\x00", "\ud800\n", -3, 10**20, brevity(), (brevity(), 2)],
)
def test_a_parameter_of_any_printable_kind_reads_back(value: object) -> None:
    one = Halved(0.5) * anything(value)
    assert parse_reward(repr(one)) == one
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize("text", [f"1{'0' * 400} * brevity()", f"constant(1{'0' * 400})"])
def test_a_number_too_long_for_a_float_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="should be a finite number"):
        parse_reward(text)


def test_weights_that_multiply_past_every_float_are_refused() -> None:
    with pytest.raises(ConfigError, match="should be a finite number"):
        1e200 * (1e200 * brevity())


@pytest.mark.parametrize("terms", [(), ((1, brevity()),), ((2, brevity() + swallows()),)])
def test_a_sum_has_one_way_to_be_written(terms: tuple[tuple[float, Reward], ...]) -> None:
    with pytest.raises(ConfigError, match="Write it with"):
        total(terms)


def test_a_reward_is_nested_only_as_deep_as_its_text_can_be_read() -> None:
    deep: Reward = brevity()
    with pytest.raises(ConfigError, match="at most 50 deep"):
        for _ in range(100):
            assert parse_reward(repr(deep)) == deep
            deep = clip(deep)


def test_the_sum_of_a_list_is_the_same_reward_as_its_parts_added() -> None:
    parts = [2 * execution_match(), executable()]
    assert sum(parts) == parts[0] + parts[1]
    assert repr(sum(parts)) == repr(parts[0] + parts[1])
    assert 0 + parts[1] == parts[1] + 0 == parts[1]
