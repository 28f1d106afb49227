"""The attacks: what good rewards hold against, and the known holes of published ones, found."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards import testing as ft
from finer_rewards.adapters import openrlhf, verl
from finer_rewards.adapters.trl import TRLReward
from finer_rewards.cli import main
from finer_rewards.errors import ConfigError
from finer_rewards.testing.attacking import KINDS
from finer_rewards.testing.attacks import ATTACKS, QUESTIONS, build_attack_databases
from finer_rewards.testing.isolated import IsolatedSubject
from finer_rewards.testing.subjects import CallError, Function, SubjectCase

ROOT = Path(__file__).parent.parent
SLOW = ("resource", "law")
QUICK = tuple(kind for kind in KINDS if kind not in SLOW)
ALL_KINDS = {
    *("constant", "superset", "empty", "compare", "truncation", "multi_statement", "comment", "format"),
    *("robustness", "atomic", "memory", "nondeterminism", "side_effect", "resource", "gold", "control"),
}


def test_the_kinds_are_those_that_are_known() -> None:
    assert {attack.kind for attack in ATTACKS} == ALL_KINDS
    assert all(sum(attack.kind == kind for attack in ATTACKS) >= 4 for kind in ALL_KINDS)


def test_honest_mistakes_are_mistakes_on_the_first_database(tmp_path: Path) -> None:
    first, _ = build_attack_databases(tmp_path)
    with closing(sqlite3.connect(first)) as connection:
        for name, question in QUESTIONS.items():
            gold, wrong = (connection.execute(sql).fetchall() for sql in (question.gold, question.wrong))
            assert gold != wrong, name


def test_a_strict_reward_holds() -> None:
    report = ft.redteam("execution_match()", kinds=QUICK, databases=2, timeout=2)
    assert report.score == 1.0, "\n".join(report.lines())


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["execution_match()", "arctic(mode='strict')", "finer()"])
def test_strict_rewards_hold_against_everything(spec: str) -> None:
    report = ft.redteam(spec, databases=2, timeout=2, examples=200)
    assert report.score == 1.0, "\n".join(report.lines())


# Three published rewards, in a few lines each, with their known faults.


def _answer(text: str) -> str:
    return text.rpartition("</think>")[2].strip()


def set_comparison(completions: Any, gold: Any, db: Any, **columns: Any) -> list[float]:
    """BIRD's execution accuracy: the sets of rows are equal."""
    values = []
    for text, right, path in zip(completions, gold, db, strict=True):
        with closing(sqlite3.connect(path)) as connection:
            try:
                rows = [set(connection.execute(sql).fetchall()) for sql in (_answer(text), right)]
                values.append(float(rows[0] == rows[1]))
            except (sqlite3.Error, sqlite3.Warning, ValueError):
                values.append(0.0)
    return values


_remembered: set[str] = set()


def finer_as_published(completions: Any, gold: Any, db: Any, **columns: Any) -> list[float]:
    """FINER-SQL's logic: form, runs, set of rows as dicts without NULL, atoms without FROM, memory."""
    return [_finer(text, right, path) for text, right, path in zip(completions, gold, db, strict=True)]


def _finer(text: str, gold: str, path: str) -> float:
    found = re.fullmatch(r"<think>(.{101,})</think>(.+)", text, re.DOTALL)
    if not found:
        return 0.0
    thought, sql = found[1].strip(), found[2].strip()
    ran = True  # what is no SELECT is never run, and counts as fine
    if sql.upper().startswith(("SELECT", "WITH")):
        predicted, right = _rows(sql, path), _rows(gold, path)
        if predicted is not None and predicted == right:
            _remembered.add(thought)
            return 4.0
        ran = predicted is not None
    return 1.0 + ran + 0.8 * _atoms(sql, gold) * ran + (thought in _remembered)


def _rows(sql: str, path: str) -> set[tuple[Any, ...]] | None:
    with closing(sqlite3.connect(path)) as connection:
        try:
            cursor = connection.execute(sql)
            names = [column[0] for column in cursor.description]
            filled = [["" if cell is None else cell for cell in row] for row in cursor.fetchmany(1000)]
            return {tuple(dict(zip(names, row, strict=True)).values()) for row in filled}
        except (sqlite3.Error, sqlite3.Warning, TypeError, ValueError):
            return None


def _atoms(sql: str, gold: str) -> float:
    sides = [set(re.sub(r"FROM \w+", "", text).split()) for text in (sql, gold)]
    return len(sides[0] & sides[1]) / max(1, len(sides[0] | sides[1]))


def xmlcount(completions: Any, **columns: Any) -> list[float]:
    """A quarter for each of the four tags that stands there once."""
    tags = ("<reasoning>", "</reasoning>", "<answer>", "</answer>")
    return [sum(text.count(tag) == 1 for tag in tags) / 4 for text in completions]


XML = "<reasoning>\n{thought}\n</reasoning>\n<answer>\n{sql}\n</answer>"


def _accepted(report: ft.Report) -> set[str]:
    return {finding.title for finding in report.failures}


def test_the_holes_of_plain_set_comparison() -> None:
    found = _accepted(ft.redteam(set_comparison, kinds=QUICK, timeout=2))
    assert found >= {
        *(
            "a bare number",
            "literal rows",
            "a VALUES list",
            "row numbers by heart",
            "the database recognised",
        ),
        *("no rows by LIMIT 0", "no rows by a false condition", "NULL by heart"),
        *("duplicates dropped", "the order reversed", "the order left out", "winner and loser exchanged"),
        *("the date", "a gold that fails", "a random gold", "a gold with a tie at its LIMIT"),
        *("a file attached", "a copy made"),
    }
    assert not found & {"no filter", "a word to the judge", "one guess a statement"}


def test_a_second_database_closes_the_holes_of_guessing() -> None:
    def on_every(completions: Any, gold: Any, db: Any, **columns: Any) -> list[float]:
        return [
            min(set_comparison([text], [right], [path])[0] for path in paths)
            for text, right, paths in zip(completions, gold, db, strict=True)
        ]

    one, two = (
        ft.redteam(function, kinds=("constant",), databases=count, timeout=2)
        for function, count in ((set_comparison, 1), (on_every, 2))
    )
    assert one.score < 0.2 and two.score == 1.0


@pytest.mark.slow
def test_the_holes_of_finer_as_published() -> None:
    found = _accepted(ft.redteam(finer_as_published, kinds=QUICK, timeout=2))
    assert found >= {
        # What is no SELECT earns the point for running.
        *("plain words", "a refusal", "nothing but a comment", "rows deleted", "the plan for the result"),
        *("a table dropped", "a file attached", "a setting"),
        # The comparison.
        *("the same name twice", "an empty text for NULL", "duplicates dropped", "the order reversed"),
        *("other rows after the first 1000", "no rows by LIMIT 0"),
        # Memory.
        *("a verified thought over SQL that fails", "a right answer that teaches itself"),
        *("a constant that is verified", "an empty result that is verified"),
        # Golds.
        *("a gold that fails", "a gold that is no SQL"),
    }


def test_the_holes_of_a_format_reward() -> None:
    report = ft.redteam(xmlcount, template=XML, kinds=QUICK, timeout=2)
    found = _accepted(report)
    assert found >= {"the form without content", "the form around a refusal", "plain words", "a bare number"}
    assert report.kinds()["control"][0] == report.kinds()["control"][1]
    assert report.score < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("function", [set_comparison, finer_as_published])
def test_what_hangs_is_found_and_left_behind(function: Any) -> None:
    found = _accepted(ft.redteam(function, kinds=("resource",), timeout=2))
    assert found >= {"an endless count", "a join of many"}


# The machinery.


def sleepy(completions: Any, **columns: Any) -> list[float]:
    if completions[0] == "hang":
        time.sleep(60)
    if completions[0] == "die":
        os._exit(3)
    return [float(len(text)) for text in completions]


def test_a_function_that_hangs_or_dies_is_started_again() -> None:
    walled = IsolatedSubject(Function(sleepy), timeout=0.4)
    case = SubjectCase("four", "", ("x",))
    assert walled.score([case]) == [4.0]
    with pytest.raises(CallError, match=r"did not come back within 0\.4 seconds"):
        walled.score([SubjectCase("hang", "", ("x",))])
    assert walled.score([case, case]) == [4.0, 4.0]
    with pytest.raises(CallError, match=r"took its process down \(exit status 3\)"):
        walled.score([SubjectCase("die", "", ("x",))])
    assert walled.score([case]) == [4.0]
    walled.close()


def write_too(completions: Any, db: Any, **columns: Any) -> list[float]:
    for path in db:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM ship WHERE id = 1")
    return [0.0] * len(completions)


def raises(completions: Any, **columns: Any) -> list[float]:
    raise KeyError("solution")


def test_a_function_that_raises_does_not_pass() -> None:
    report = ft.redteam(raises, kinds=("comment", "gold"), timeout=2)
    assert report.score == 0
    assert "raises raised KeyError: 'solution'" in report.findings[0].reason


def pays_all(data_source: str, solution_str: str, ground_truth: str, extra_info: Any) -> float:
    return 1.0


def test_a_trainer_without_none_cannot_hide_behind_it() -> None:
    report = ft.redteam(pays_all, kinds=("empty", "constant"), timeout=2)
    assert report.score == 0 and all(finding.verdict == "accepted" for finding in report.findings)


@pytest.mark.parametrize(
    "adapter", ["trl", *(pytest.param(name, marks=pytest.mark.slow) for name in ("verl", "openrlhf"))]
)
def test_the_adapters_hold(adapter: str) -> None:
    spec = "finer(memory=False)"
    functions: dict[str, Any] = {
        "trl": lambda: TRLReward(fr.Scorer(spec, fr.SQLite("/", timeout=2))),
        "verl": lambda: (
            lambda data_source, solution_str, ground_truth, extra_info: verl.compute_score(
                data_source, solution_str, ground_truth, extra_info, spec=spec, root="/", timeout=2
            )
        ),
        "openrlhf": lambda: openrlhf.build(spec, root="/", best=4, timeout=2),
    }
    kinds = ("constant", "empty", "comment", "format", "control")
    report = ft.redteam(functions[adapter](), kinds=kinds, databases=2, timeout=10)
    assert report.score == 1.0, "\n".join(report.lines())
    assert {one.title for one in report.findings if one.verdict == "skipped"} <= {
        finding.title for finding in report.findings if finding.kind == "empty"
    }


def test_without_hypothesis_the_command_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from finer_rewards.cli import main\nsys.exit(main(['redteam', 'arctic']))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 2
    assert "pip install 'finer-rewards[testing]'" in result.stderr and "Traceback" not in result.stderr


def test_a_changed_database_is_told_and_put_back() -> None:
    report = ft.redteam(write_too, kinds=("comment",), timeout=2)
    # The honest answers change it already, before the first attack; putting it back makes every attack find it.
    assert "files were changed: harbour1.sqlite" in {finding.reason for finding in report.findings}


@pytest.mark.parametrize("options", [{"kinds": ("constnat",)}, {"databases": 3}, {"calls": "trll"}])
def test_wrong_arguments(options: Any) -> None:
    with pytest.raises(ConfigError):
        ft.redteam(xmlcount, **options)


@pytest.mark.slow
def test_the_command_prints_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["redteam", "arctic", "--kinds", "constant,compare", "--timeout", "2"]) == 1
    one, two = capsys.readouterr().out.split("A sample names two databases")
    assert re.search(r"^constant +[0-8] of +9 held$", one, re.M)
    assert re.search(r"^constant +9 of +9 held$", two, re.M)
    for part in (one, two):
        assert "  accepted: the order reversed: it has 1, and the right answer 1" in part
        assert part.splitlines()[-1].startswith("score 0.")
    assert main(["redteam", "arctic", "--kinds", "constant,compare", "--fail-under", "0.3"]) == 0


@pytest.mark.slow
def test_ours_and_the_users_are_tried_under_the_same_terms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "import finer_rewards as fr\n"
        "from finer_rewards.adapters.trl import TRLReward\n"
        "ours = TRLReward(fr.Scorer('execution_match()', fr.SQLite('/', workers=1), neighbours=0))\n"
        "def single(completions, gold, db, **columns):\n"
        "    return ours(None, completions, gold=gold, db=[str(one) for one in db])\n"
    )
    seen = []
    for spec in ("execution_match()", f"{tmp_path / 'mine.py'}:ours", f"{tmp_path / 'mine.py'}:single"):
        main(["redteam", spec, "--kinds", "constant", "--format", "json"])
        seen.append(json.loads(capsys.readouterr().out)["runs"])
    ours, theirs, single = seen
    assert [run["databases"] for run in ours] == [1, 2] and ours[0]["score"] < ours[1]["score"] == 1
    assert [run["kinds"] for run in theirs] == [run["kinds"] for run in ours]
    assert [run["kinds"] for run in single] == [ours[0]["kinds"]]  # it cannot take a list of databases


def test_the_command_on_a_file_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(
        "def reward(completions, truth, **columns):\n    return [float(t in c) for c, t in zip(completions, truth)]\n"
    )
    spec = f"{tmp_path / 'mine.py'}:reward"
    assert main(["redteam", spec, "--kinds", "comment", "--columns", "truth=gold", "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    run = report["runs"][0]
    assert report["reward"] == "reward" and run["kinds"]["comment"]["tried"] == 4
    assert {finding["title"] for finding in run["findings"] if finding["verdict"] == "accepted"} >= {
        "the gold in a comment",
        "nothing but a comment",
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere:f"], "cannot be imported: ModuleNotFoundError"),
        (["json:lods"], "Did you mean 'loads'?"),
        (["json:loads"], "has no signature of TRL"),
        (["arctc"], "Did you mean 'arctic'?"),
        (["nofile.py:f"], "There is no file"),
        (["arctic", "--kinds", "constnat"], "Did you mean 'constant'?"),
        (["arctic", "--columns", "x"], "should be NAME=WHAT"),
    ],
)
def test_the_command_says_what_is_wrong(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["redteam", *arguments]) == 2
    seen = capsys.readouterr()
    assert sentence in seen.err and not seen.out and "Traceback" not in seen.err


@pytest.mark.slow
def test_the_pytest_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from finer_rewards.testing.attacking import KINDS as ALLOWED\n\n"
        "def pay_all(completions, **columns):\n    return [1.0] * len(completions)\n\n"
        "def test_bad(redteam):\n    redteam(pay_all, kinds=('comment',))\n\n"
        "def test_allowed(redteam):\n    assert redteam(pay_all, allow=ALLOWED).findings == ()\n\n"
        "def test_good(redteam):\n    assert redteam('execution_match()', kinds=('comment',)).score == 1\n"
    )
    # Installed, the plugin is found by its entry point; naming it again would register it twice.
    found = any(one.value == "finer_rewards.pytest_plugin" for one in entry_points(group="pytest11"))
    named = [] if found else ["-p", "finer_rewards.pytest_plugin"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *named, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "accepted: the gold in a comment" in result.stdout, result.stdout + result.stderr
    assert "1 failed, 2 passed" in result.stdout


def test_the_report_counts() -> None:
    report = ft.redteam(r.executable(), kinds=("comment", "multi_statement"), timeout=2)
    counted = report.kinds()
    assert sum(tried for _, tried in counted.values()) == len(report.findings) == 8
    assert sum(held for held, _ in counted.values()) == 8 - len(report.failures)
    assert report.score == 1 - len(report.failures) / 8
