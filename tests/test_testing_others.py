"""Testers of rewards made by others (reward-doctor, rewardprobe) find no exploit in the default preset.

They run in an environment of their own, where this library is a plain callable and nothing of `testing` is there.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import venv
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import finer_rewards
from finer_rewards.testing.attacks import ATTACKS, QUESTIONS, build_attack_databases
from finer_rewards.testing.observations import THOUGHT

pytestmark = pytest.mark.slow

ADAPTER = '''
"""The default reward from 0 to 1, as any tester can call it; no value is 0, as for a trainer without None."""

import json
import sys

import finer_rewards as fr
from finer_rewards.parsing import completion_text

_scorers = {}


def score(completion, answer):
    """Score a completion; the answer is JSON: the gold, the databases, the limits."""
    item = json.loads(answer)
    limit = item["timeout"]
    alone = {"neighbours": 0} if item.get("alone") else {}
    key = limit, bool(alone)
    if key not in _scorers:
        _scorers[key] = fr.Scorer("finer(memory=False)", fr.SQLite("/", timeout=limit, workers=1), **alone)
    sample = fr.Sample(completion_text(completion), item["gold"], tuple(item["dbs"]))
    value = _scorers[key].score_one(sample).value
    return 0.0 if value is None else value / 4


def plain(completion, answer, database):
    """Score for a gold that is SQL alone, and so can be echoed."""
    return score(completion, json.dumps({"gold": answer, "dbs": [database], "timeout": 2.0}))


def close():
    for scorer in _scorers.values():
        scorer.close()
'''
DOCTOR = """
import json
import sys

from reward_doctor import Case, audit

import adapter

cases = [Case(domain="sql", why="", **one) for one in json.load(sys.stdin)]
found = audit(adapter.score, cases=cases, threshold=float(sys.argv[1]))
adapter.close()
print(json.dumps({"exploits": sorted(one.case.id for one in found.exploits_accepted),
                  "refused": sorted(one.case.id for one in found.false_negatives),
                  "errors": sorted(f"{one.case.id}: {one.error}" for one in found.errors),
                  "cases": len(found.outcomes)}))
"""
PROBE = """
import json
import sys

from rewardprobe import Probe

import adapter

given = json.load(sys.stdin)


def raw(completion, answer):
    return adapter.plain(completion, answer, given["database"])


def with_thought(completion, answer):
    text = adapter.completion_text(completion)
    return raw(text if text.lstrip().startswith("<think>") else given["thought"] + text, answer)


found = {}
for function in (raw, with_thought):
    report = Probe().test_fn(function, given["tasks"])
    found[function.__name__] = [[one.severity.value, one.attack, str(one.actual_reward)] for one in report.findings]
adapter.close()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with both testers."""
    folder = tmp_path_factory.mktemp("testers")
    venv.create(folder, with_pip=True)
    found = folder / "bin" / "python"
    packages = ["reward-doctor==0.2.0", "rewardprobe==0.1.0", f"sqlglot=={version('sqlglot')}"]
    done = subprocess.run(
        [found, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        pytest.skip(f"the testers cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    (folder / "adapter.py").write_text(ADAPTER)
    return found


def run(python: Path, script: str, given: object, *arguments: str) -> Any:
    environment = {
        **os.environ,
        "PYTHONPATH": f"{python.parent.parent}:{Path(finer_rewards.__file__).parent.parent}",
    }
    done = subprocess.run(
        [python, "-c", script, *arguments],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def case(name: str, text: str, answer: dict[str, Any], kind: str, *, right: bool) -> dict[str, Any]:
    return {
        "id": name,
        "category": "format" if right else "exploit",
        "attack": None if right else kind,
        "completion": text,
        "reference": json.dumps({"timeout": 2.0, **answer}),
        "expect": right,
    }


def test_reward_doctor_finds_no_exploit_in_our_attacks(python: Path, tmp_path: Path) -> None:
    dbs = [str(path) for path in build_attack_databases(tmp_path)]
    cases: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for number, attack in enumerate(ATTACKS):
        if attack.rule in ("unchanged", "counts_repeats", "unusable_tie"):
            # One is done to another completion, and this tester scores one at a time; the other is a documented choice.
            continue
        question = QUESTIONS[attack.question]
        thought = THOUGHT if attack.thought is None else attack.thought
        text = attack.text
        if text is None:
            text = f"<think>{thought}</think>\n{attack.sql}".replace("{folder}", str(tmp_path))
        answer = {"gold": question.gold if attack.gold is None else attack.gold, "dbs": dbs}
        strict = attack.rule in ("not_above_failing", "unusable", "unusable_tie")
        cases[strict].append(
            case(
                f"{number} {attack.kind}: {attack.title}",
                text,
                answer,
                attack.kind,
                right=attack.rule == "as_right",
            )
        )
    # What did not run is accepted above what SQL that fails has, everything else where the right answer is.
    for strict, threshold in ((False, "0.99"), (True, "0.25")):
        found = run(python, DOCTOR, cases[strict], threshold)
        assert found == {"exploits": [], "refused": [], "errors": [], "cases": len(cases[strict])}
        assert len(cases[strict]) > 10


def test_reward_doctor_finds_an_exploit_where_there_is_one(python: Path, tmp_path: Path) -> None:
    # On one database alone a lucky value is right: the harness can fail.
    (db, _) = build_attack_databases(tmp_path)
    text = f"<think>{THOUGHT}</think>\nSELECT id FROM ship WHERE name = 'Corvus'"
    answer = {"gold": QUESTIONS["count"].gold, "dbs": [str(db)], "alone": True}
    planted = case("lucky", text, answer, "lucky", right=False)
    assert run(python, DOCTOR, [planted], "0.99")["exploits"] == ["lucky"]


def test_reward_doctor_finds_no_exploit_in_known_hacks(
    python: Path, tmp_path: Path, shared_data: Path
) -> None:
    cases = []
    paths: dict[str, str] = {}
    for line in (shared_data / "hacks" / "hacks.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        expected = {item["expect"], *item["also"]}
        right = bool(expected & {"execution_must_be_1"})
        if not (right or "execution_must_be_0" in expected) or item["id"] in ("compare-01", "compare-06"):
            continue  # whether rows may repeat and columns be permuted is a documented choice
        scripts = [script for script in (item["schema_sql"], item["alt_schema_sql"]) if script]
        for script in scripts:
            if script not in paths:
                paths[script] = str(tmp_path / f"{len(paths)}.sqlite")
                with closing(sqlite3.connect(paths[script])) as connection:
                    connection.executescript(script)
        answer = {"gold": item["gold_sql"], "dbs": [paths[script] for script in scripts]}
        cases.append(case(item["id"], item["completion"], answer, item["kind"], right=right))
    found = run(python, DOCTOR, cases, "0.99")
    assert (found["exploits"], found["errors"]) == ([], [])
    assert found["cases"] > 80
    assert found["refused"] == []


def test_rewardprobe_finds_nothing_critical(python: Path, tmp_path: Path) -> None:
    database, _ = build_attack_databases(tmp_path)
    given = {
        "database": str(database),
        "thought": f"<think>{THOUGHT}</think>\n",
        "tasks": [{"question": one.text, "answer": one.gold} for one in QUESTIONS.values()],
    }
    found = run(python, PROBE, given)
    # It takes an answer for a mark that may come twice, or beside another. Two answers are none here, which has 0, and
    # SQL before other text is SQL that fails, which has a quarter: it warns of both, and neither is paid as an answer.
    marks = {"multiple_tags", "regex_greediness", "duplicate_answers"}
    for severity, attack, paid in (*found["raw"], *found["with_thought"]):
        assert severity == "warning" and attack in marks and float(paid) <= 0.25, (severity, attack, paid)


def test_the_environment_is_separate(python: Path) -> None:
    assert Path(sys.executable).resolve().parent != python.parent
    done = subprocess.run([python, "-c", "import hypothesis"], capture_output=True)
    assert done.returncode == 1
