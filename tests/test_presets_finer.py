"""The presets of this library: the ladder of `finer`, and the published faults that the others keep."""

from __future__ import annotations

from dataclasses import replace

import pytest

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.errors import ConfigError
from finer_rewards.types import Recall

THOUGHT = (
    "<think>The question asks for the names of singers, so the table singer is read and the column name is returned; "
    "the filter on age keeps those above forty.</think> "
)
GOLD = "SELECT name, age FROM singer WHERE age > 40"
RIGHT_ROWS = fr.Execution(
    fr.Status.ok, ("name", "age"), (("Ann", 41), ("Cy", 52)), tables=frozenset({"singer"})
)
WRONG_ROWS = replace(RIGHT_ROWS, rows=(("Bo", 29),))
COPIED = Recall(verified=(1.0,), centroid=1.0)
UNKNOWN = Recall()


def evidence(
    sql: str,
    predicted: fr.Execution,
    recall: Recall = UNKNOWN,
    gold: fr.Execution = RIGHT_ROWS,
    thought: str = THOUGHT,
) -> fr.Evidence:
    answer = fr.parse_completion(thought + sql)
    return fr.Evidence(fr.Sample(thought + sql, GOLD, "concert"), answer, predicted, gold, recall)


FAILED = fr.Execution(fr.Status.failed, error="no such column")
UNCLOSED = THOUGHT.replace("</think>", "")
LADDER = [
    (
        "malformed",
        evidence("SELECT name, age FROM singer", RIGHT_ROWS, COPIED, thought=UNCLOSED),
    ),
    ("does not run", evidence("SELECT nome FROM singer", FAILED, COPIED)),
    ("runs, nothing right", evidence("SELECT id FROM concert", WRONG_ROWS)),
    ("runs, nearly right", evidence("SELECT name, age FROM singer WHERE age > 41", WRONG_ROWS)),
    ("runs, all operations and reasoning", evidence(GOLD, WRONG_ROWS, COPIED)),
    ("right, written otherwise", evidence("SELECT * FROM elsewhere", RIGHT_ROWS)),
]


def test_finer_is_a_ladder() -> None:
    values = [float(fr.presets.finer()(one)) for _, one in LADDER]
    # Running is worth nothing by itself: what runs and has nothing right stands where what fails stands, or above.
    assert values == sorted(values) and len(set(values)) >= len(values) - 1
    assert (values[0], values[1], values[-1]) == (0.0, 1.0, 4.0)
    assert values[-2] == pytest.approx(1.75)


def test_a_guess_earns_no_more_than_what_fails() -> None:
    guess = replace(WRONG_ROWS, tables=frozenset())
    assert float(fr.presets.finer()(evidence("SELECT 3", guess, COPIED))) == 1.0


@pytest.mark.parametrize("name", ["finer", "finer_paper", "finer_reference"])
def test_what_cannot_be_judged_has_no_value(name: str) -> None:
    broken = evidence(GOLD, RIGHT_ROWS, gold=fr.Execution(fr.Status.failed))
    score = fr.preset(name)(broken)
    assert score.value is None and score.status is fr.Status.gold_failed


def test_a_weight_that_would_mix_the_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"from 0 to 0\.7"):
        fr.presets.finer(atomic_weight=2.0)


def test_the_paper_lets_a_wrong_answer_outrank_a_right_one() -> None:
    paper = fr.presets.finer_paper()
    wrong = float(paper(evidence(GOLD, WRONG_ROWS, COPIED)))
    right = float(paper(evidence("SELECT * FROM elsewhere", RIGHT_ROWS)))
    assert wrong == pytest.approx(4.0)
    assert right < wrong


def test_the_paper_pays_for_reasoning_whatever_became_of_the_sql() -> None:
    failed = evidence("SELECT nome FROM singer", FAILED, COPIED)
    parts = fr.presets.finer_paper()(failed)
    without = fr.presets.finer_paper()(replace(failed, recall=UNKNOWN))
    assert float(parts) - float(without) == pytest.approx(1.0)


def test_the_published_code_pays_for_reasoning_above_sql_that_fails() -> None:
    reference = fr.presets.finer_reference()
    assert float(reference(evidence("SELECT nome FROM singer", FAILED, COPIED))) == pytest.approx(2.0)
    assert float(fr.presets.finer()(evidence("SELECT nome FROM singer", FAILED, COPIED))) == 1.0


def test_the_published_code_takes_null_for_the_empty_text() -> None:
    gold = replace(RIGHT_ROWS, rows=(("Ann", None),))
    predicted = replace(RIGHT_ROWS, rows=(("Ann", ""),))
    assert float(fr.presets.finer_reference()(evidence(GOLD, predicted, gold=gold))) == 4.0
    assert float(fr.presets.finer(memory=False)(evidence(GOLD, predicted, gold=gold))) < 3.0


def test_the_published_code_does_not_see_the_tables() -> None:
    reference = fr.presets.finer_reference()
    elsewhere = evidence(GOLD.replace("singer", "band"), WRONG_ROWS)
    assert float(reference(elsewhere)) == pytest.approx(1 + 1 + 0.05 + 0.95 * 0.79)
    assert float(r.atomic_f1()(elsewhere)) < 1.0
