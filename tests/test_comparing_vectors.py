"""Verdicts recorded from 13 evaluators on 43 pairs of queries, replayed mode by mode."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finer_rewards.comparing import Comparison, compare, modes
from finer_rewards.types import Execution, Status

# The recorded system, the mode that reproduces it, and how a match is written there.
SYSTEMS = {
    "bird_ex": (modes()["bird"], {"1"}),
    "skyrl": (modes()["bird"], {"1"}),
    "ts": (modes()["test_suite"], {"1"}),
    "ts_kd": (modes()["test_suite_keep_distinct"], {"1"}),
    "s2": (modes()["spider2"], {"1"}),
    "s2_io": (replace(modes()["spider2"], row_order="never"), {"1"}),
    "defog": (modes()["defog_exact"], {"1", "True"}),
    "defog_sub": (modes()["defog_subset"], {"1"}),
    "qatch_ex": (modes()["qatch_ex"], {"1"}),
    "ibm": (modes()["ibm_exec"], {"1"}),
    "ibm_sub": (modes()["ibm_subset"], {"1"}),
    "llmsql": (modes()["llmsql"], {"1"}),
    "finer": (modes()["finer_reference"], {"2"}),
    "attestql_typed": (modes()["typed"], {"EQUAL"}),
}
# Here the recorded evaluator itself raised, so that there is no verdict; its caller counts no match.
NO_VERDICT = {
    "pred SQL error": {
        "bird_ex", "s2", "s2_io", "defog", "defog_sub", "qatch_ex", "ibm", "ibm_sub", "attestql_typed",
    },
    "pred plain text": {
        "bird_ex", "s2", "s2_io", "defog", "defog_sub", "qatch_ex", "ibm", "ibm_sub", "attestql_typed",
    },
    "2 statements": {
        "bird_ex", "s2", "s2_io", "defog", "defog_sub", "qatch_ex", "ibm", "ibm_sub", "attestql_typed",
    },
    # A DELETE has no columns: pandas cannot read it. Our executor does not run one.
    "pred DML, gold empty": {"s2", "s2_io", "defog", "defog_sub", "attestql_typed"},
    "dup col names, 2nd wrong": {"defog"},
    "blob x'61' vs 'a'": {"attestql_typed"},
}  # fmt: skip


def executed(sql: str) -> Execution:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t (x)")
        try:
            cursor = connection.execute(sql)
        except (sqlite3.Error, sqlite3.Warning) as error:
            return Execution(Status.failed, error=str(error))
        columns = tuple(column[0] for column in cursor.description or ())
        return Execution(Status.ok, columns, tuple(cursor.fetchall()))


def verdict(case: dict[str, Any], system: str) -> Comparison:
    mode, _ = SYSTEMS[system]
    gold, predicted = executed(mode.prepare(case["gold"])), executed(mode.prepare(case["pred"]))
    return compare(gold, predicted, mode, gold_sql=case["gold"], predicted_sql=case["pred"])


@pytest.fixture(scope="module")
def cases(shared_data: Path) -> list[dict[str, Any]]:
    return json.loads((shared_data / "vectors" / "comparison_vectors.json").read_text())["cases"]


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_recorded_verdict_is_reproduced(system: str, cases: list[dict[str, Any]]) -> None:
    assert len(cases) == 43
    wins = SYSTEMS[system][1]
    different = {}
    for case in cases:
        if system in NO_VERDICT.get(case["name"], ()):
            continue
        found = verdict(case, system)
        if found.match != (case["scores"][system] in wins):
            different[case["name"]] = (case["scores"][system], found)
    assert different == {}


def test_the_cases_without_a_verdict_are_exactly_those_named(cases: list[dict[str, Any]]) -> None:
    raised = {}
    for case in cases:
        systems = {name for name in SYSTEMS if case["scores"][name].startswith(("E", "ERR")) and
                   case["scores"][name] != "EQUAL"}  # fmt: skip
        if systems:
            raised[case["name"]] = systems
    assert raised == NO_VERDICT
