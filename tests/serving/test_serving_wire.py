"""What travels between server and client: nothing is lost on the way."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finer_rewards._util import lossless_json
from finer_rewards.remote import wire
from finer_rewards.schema import Column, ForeignKey, Schema, Table
from finer_rewards.types import Execution, Recall, Status

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from servers import seen

CELLS = st.one_of(
    st.none(),
    st.integers(),
    st.floats(),
    st.binary(max_size=8),
    st.text(st.characters(exclude_categories=()), max_size=8),
)
ROWS = st.lists(st.lists(CELLS, max_size=3).map(tuple), max_size=4).map(tuple)


@given(ROWS, ROWS | st.none(), st.sampled_from(Status), st.text(st.characters(exclude_categories=())))
def test_an_execution_comes_back_as_it_was(rows, order, status, text) -> None:
    given_one = Execution(
        status, (text, "b"), rows, 0.1, text, True, frozenset({text, "t"}), "clock", order, True, 2**70
    )
    found = wire.execution_from(lossless_json.loads(lossless_json.dumps(wire.record(given_one))))
    assert seen(found) == seen(given_one)
    assert [type(cell) for row in found.rows for cell in row] == [type(cell) for row in rows for cell in row]
    assert found.seconds == given_one.seconds


def test_two_surrogates_do_not_become_one_character() -> None:
    text = "\ud83d\ude00"
    assert len(text) == 2
    assert lossless_json.loads(lossless_json.dumps([text, "😀"])) == [text, "😀"]


def test_there_is_one_nan() -> None:
    assert lossless_json.loads(lossless_json.dumps([math.nan, float("nan")])) == [math.nan, math.nan]


def test_zero_keeps_its_sign() -> None:
    assert math.copysign(1, lossless_json.loads(lossless_json.dumps(-0.0))) == -1


@given(st.text(max_size=5), st.floats(allow_nan=False))
def test_schemas_and_recalls_come_back_as_they_were(text: str, number: float) -> None:
    table = Table(
        text, (Column(text, "INT", True),), (text,), ((text,),), (ForeignKey((text,), text, (text,)),), True
    )
    schema = Schema((table, Table("t", ())))
    assert wire.schema_from(lossless_json.loads(lossless_json.dumps(wire.record(schema)))) == schema
    recall = Recall(Status.memory_unavailable, (number,), (), None, text, (text,), number, number)
    assert wire.recall_from(lossless_json.loads(lossless_json.dumps(wire.record(recall)))) == recall
