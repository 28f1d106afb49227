"""The memory reward as a function of evidence, and the two text functions beneath it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from finer_rewards._thoughts.plan import planned_operations
from finer_rewards.errors import ConfigError
from finer_rewards.memory.delexicalise import delexicalise
from finer_rewards.rewards.memory import memory
from finer_rewards.types import Answer, Evidence, Execution, Recall, Sample, Status, Trial

RAN = Execution(Status.ok, ("n",), ((1,),))
RECALL = Recall(
    verified=(0.9, 0.5), failed=(0.6,), centroid=0.8, traces=("a", "b"), zero_centroid=0.6, zero_nearest=0.5
)


def seen(
    recall: Recall | None = RECALL, *, predicted: Execution = RAN, thought: str | None = "a thought"
) -> Evidence:
    return Evidence(
        Sample("x", "SELECT 1", "db"),
        Answer(thought, "SELECT 1"),
        predicted=predicted,
        gold=RAN,
        recall=recall,
    )


def test_the_variants_by_their_formulas() -> None:
    assert memory()(seen()).value == pytest.approx((0.8 - 0.6) / 0.4)
    assert memory(calibrated=False)(seen()).value == pytest.approx(0.8)
    assert memory(variant="max")(seen()).value == pytest.approx((0.9 - 0.5) / 0.5)
    assert memory(variant="contrastive")(seen()).value == pytest.approx(0.3)
    assert memory(variant="contrastive")(seen(replace(RECALL, failed=()))).value == pytest.approx(0.9)
    assert memory()(seen(replace(RECALL, centroid=0.1))).value == 0.0
    assert memory()(seen(replace(RECALL, zero_centroid=1.0))).value == 0.0


def test_reasoning_above_sql_that_does_not_run_is_worth_nothing() -> None:
    broken = Execution(Status.failed, error="no such table")
    assert memory()(seen(predicted=broken)).value == 0.0
    assert memory(executed=False)(seen(predicted=broken)).value == pytest.approx(0.5)
    half = replace(seen(), trials=(Trial("db", RAN, (RAN,)), Trial("other", broken, (RAN,))))
    assert memory()(half).value == 0.0


def test_no_traces_yet_and_no_thought_have_stated_values() -> None:
    assert memory()(seen(Recall())).value == 0.0
    score = memory(empty=0.5)(seen(Recall()))
    assert (score.value, score.reason) == (0.5, "no verified traces yet")
    assert memory(empty=0.5)(seen(thought=None)).value == 0.0


def test_a_memory_that_failed_is_nobodys_zero() -> None:
    lost = memory()(seen(Recall(Status.memory_unavailable, error="no route")))
    assert (lost.value, lost.status, lost.reason) == (None, Status.memory_unavailable, "no route")
    assert memory()(seen(None)).value is None


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="top_k"):
        memory(top_k=0)
    with pytest.raises(ConfigError, match="empty"):
        memory(empty=2.0)
    with pytest.raises(ConfigError, match="max"):
        memory(variant="mean")  # type: ignore[arg-type]


def test_names_are_masked_by_role_and_querying_is_kept() -> None:
    one = "Filter the singers whose birth_year is above 1980 and count them for each `country`."
    two = "Filter the invoices whose due_date is above '2020-01-01' and count them for each `status`."
    assert delexicalise(one) == delexicalise(two)
    assert "singer" not in delexicalise(one)
    assert delexicalise("T1.age >= 3.5") == "column more equal value"
    assert delexicalise("") == delexicalise("...") == ""


def test_plans() -> None:
    assert planned_operations("We join both tables, sort by age descending and take the first row.") == (
        "join",
        "limit",
        "order",
    )
    assert planned_operations("There is no need to join the tables. I do not need to group.") == ("retrieve",)
    assert planned_operations(
        "Exclude those with a subquery; the `order` column and 'top' value do not matter"
    ) == (
        "exclude",
        "subquery",
    )
    assert planned_operations("Two eggs and some flour.") == ()
