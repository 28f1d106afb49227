"""Score logs, the report made of them, and scoring them again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pickle
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards.cli import main
from finer_rewards.reporting import ScoreLog
from finer_rewards.reporting.rollouts import read_rollouts

QUESTIONS = {
    "How many boats?": ("SELECT COUNT(*) FROM boat", "SELECT COUNT(*) FROM boat WHERE seats > 3", "SELECT 3"),
    "Names?": ("SELECT name FROM boat", "SELECT name FROM boat LIMIT 1", "SELECT nam FROM boat"),
    "Seats?": ("SELECT SUM(seats) FROM boat", "SELECT MAX(seats) FROM boat", "DROP TABLE boat"),
}
REWARD = "2 * execution_match() + atomic_f1()"


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("databases")
    with contextlib.closing(sqlite3.connect(folder / "harbour.sqlite")) as connection:
        connection.executescript(
            "CREATE TABLE boat (id INTEGER PRIMARY KEY, name TEXT, seats INTEGER);"
            "INSERT INTO boat VALUES (1, 'Ahti', 10), (2, 'Bore', 20), (3, 'Vega', 3), (4, 'Linnea', 8)"
        )
    return folder


def samples(seed: int) -> list[fr.Sample]:
    """Four completions a question; half of them right."""
    chosen = random.Random(seed)
    return [
        fr.Sample(chosen.choice(sqls) if at % 2 else sqls[0], sqls[0], "harbour", question)
        for question, sqls in QUESTIONS.items()
        for at in range(4)
    ]


def write_log(path: Path, databases: Path, steps: int, reward: str = REWARD, seed: int = 0) -> list[float]:
    """Score `steps` batches into a log, and return the values."""
    values = []
    with fr.Scorer(reward, fr.SQLite(databases), log=path) as scorer:
        for step in range(steps):
            values += [float(score) for score in scorer.score(samples(seed + step), step=step)]
    return values


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def log(databases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "scores.jsonl"
    write_log(path, databases, 6)
    return path


def test_a_line_holds_what_was_scored_and_why(databases: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with fr.Scorer(REWARD, fr.SQLite(databases), log=path) as scorer:
        sample = fr.Sample("SELECT MAX(seats) FROM boat", "SELECT SUM(seats) FROM boat", "harbour", "Seats?")
        score = scorer.score([sample], step=7)[0]
        digest = scorer.signature.digest
    head, line = lines_of(path)
    assert head["signature"] == line["signature"] == digest and head["scorer"]["reward"]["text"] == REWARD
    assert line["value"] == score.value and line["step"] == 7 and line["status"] == "ok"
    assert line["components"] == {"execution_match": 0.0, "atomic_f1": score.parts[1][1].value}
    assert line["predicted"] == line["completion"] == sample.completion
    assert line["explanation"] == score.explain() and line["seconds"] > 0


def test_what_cannot_be_scored_is_logged_without_a_value(databases: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with fr.Scorer("execution_match()", fr.SQLite(databases), log=path) as scorer:
        scorer.score([fr.Sample("SELECT 1 FROM boat", "SELECT nothing FROM boat", "harbour")])
    assert lines_of(path)[-1]["value"] is None and lines_of(path)[-1]["status"] == "gold_failed"


def test_a_log_changes_no_score(databases: Path, tmp_path: Path) -> None:
    with fr.Scorer(REWARD, fr.SQLite(databases)) as plain:
        expected = plain.score(samples(3))
        assert plain.log is None
    with fr.Scorer(REWARD, fr.SQLite(databases), log=tmp_path / "scores.jsonl") as logged:
        assert logged.score(samples(3)) == expected and logged.signature == plain.signature


def test_a_full_file_makes_room_and_the_oldest_goes(databases: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    log = ScoreLog(path, max_bytes=20_000, backups=2)
    with fr.Scorer(REWARD, fr.SQLite(databases), log=log) as scorer:
        for step in range(20):
            scorer.score(samples(0), step=step)
    kept = sorted(file.name for file in tmp_path.glob("scores.jsonl*"))
    assert kept == ["scores.jsonl", "scores.jsonl.1", "scores.jsonl.2"]
    steps = [line["step"] for name in reversed(kept) for line in lines_of(tmp_path / name) if "step" in line]
    assert steps == sorted(steps) and steps[-1] == 19 and steps[0] > 0
    assert all("scorer" in lines_of(tmp_path / name)[0] for name in kept)  # each can be read alone


def test_many_processes_write_whole_lines(databases: Path, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    program = (
        "import sys, finer_rewards as fr\n"
        "from finer_rewards.reporting import ScoreLog\n"
        "log = ScoreLog(sys.argv[2], max_bytes=30_000)\n"
        "with fr.Scorer('executable()', fr.SQLite(sys.argv[1], workers=1), log=log) as scorer:\n"
        "    for step in range(25):\n"
        "        scorer.score([fr.Sample(f'SELECT {sys.argv[3]}', 'SELECT 1', 'harbour')] * 4, step=step)\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(databases), str(path), str(number)])
        for number in range(2)
    ]
    assert [writer.wait(LONG) for writer in writers] == [0] * 2
    records = [line for file in tmp_path.glob("scores.jsonl*") for line in lines_of(file) if "step" in line]
    assert len(records) == 2 * 25 * 4
    assert {record["predicted"] for record in records} == {f"SELECT {number}" for number in range(2)}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_while_a_line_is_written_holds_up_nobody(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "scores.jsonl")
    with log._locked():
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    try:
        with (tmp_path / ".scores.jsonl.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_torn_line_does_not_spoil_the_next(databases: Path, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("duckdb")
    from finer_rewards.reporting.log_figures import read_run

    path = tmp_path / "scores.jsonl"
    write_log(path, databases, 1)
    path.write_bytes(path.read_bytes() + b'{"value": 1.0, "sta')  # killed while writing
    write_log(path, databases, 1)
    run = read_run([str(path)])
    assert run.totals["samples"] == 24 and run.totals["unreadable"] == 1
    assert main(["rescore", str(path), "--db", str(databases), "--reward", REWARD]) == 0
    captured = capsys.readouterr()
    assert "24 equal" in captured.out and "1 lines are damaged" in captured.err


def test_a_full_disk_warns_and_scoring_goes_on(databases: Path, tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys, warnings, finer_rewards as fr\n"
        "scorer = fr.Scorer('well_formed(policy=\"plain\")', log=sys.argv[1])\n"
        "sample = fr.Sample('SELECT 1', 'SELECT 1', 'harbour', question='x' * 3000)\n"
        "scorer.score([sample])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    assert [scorer.score([sample])[0].value for _ in range(3)] == [1.0] * 3\n"
        "print(said[0].message)\n"
    )
    path = tmp_path / "scores.jsonl"
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "could not be written" in done.stdout and "Scores are not affected" in done.stdout
    assert all(isinstance(line, dict) for line in lines_of(path))  # no half line is left


def test_a_log_pickles_and_says_what_is_wrong(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "scores.jsonl", max_bytes=5)
    again = pickle.loads(pickle.dumps(log))
    assert (again.path, again.max_bytes) == (log.path, 5) and repr(again) == repr(log)
    for arguments in ({"path": tmp_path / "no" / "x.jsonl"}, {"path": tmp_path}):
        with pytest.raises(fr.FinerError, match="should be a file in a folder"):
            ScoreLog(**arguments)
    with pytest.raises(fr.FinerError, match="max_bytes"):
        ScoreLog(tmp_path / "x.jsonl", max_bytes=0)


def test_odd_values_stay_json(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    with fr.Scorer("well_formed(policy='plain')", log=path) as scorer:
        scorer.score([fr.Sample("SELECT '\ud800\x00'", "SELECT 1", "x", meta={"id": float("nan")})])
    assert lines_of(path)[-1]["id"] is None


@pytest.fixture(scope="module")
def run(log: Path) -> Any:
    pytest.importorskip("duckdb")
    from finer_rewards.reporting.log_figures import read_run

    return read_run([str(log)])


@pytest.fixture(scope="module")
def lines(log: Path) -> list[dict[str, Any]]:
    return [line for line in lines_of(log) if "status" in line]


class TestRun:
    """The figures are those of the lines."""

    def test_totals(self, run: Any, lines: list[dict[str, Any]]) -> None:
        values = [line["value"] for line in lines if line["value"] is not None]
        assert (run.totals["samples"], run.totals["scored"]) == (len(lines), len(values))
        assert run.totals["mean"] == pytest.approx(fmean(values)) and run.totals["steps"] == 6
        matches = [line["components"]["execution_match"] or 0 for line in lines]
        assert run.totals["matches"] == pytest.approx(fmean(matches))

    def test_curves(self, run: Any, lines: list[dict[str, Any]]) -> None:
        assert run.axis == "step" and run.curves["reward"]["x"] == list(range(6))
        for step in range(6):
            found = [line for line in lines if line["step"] == step]
            assert run.curves["reward"]["mean"][step] == pytest.approx(fmean(line["value"] for line in found))
            dense = [line["components"]["atomic_f1"] for line in found]
            assert run.curves["atomic_f1"]["mean"][step] == pytest.approx(fmean(dense))

    def test_a_part_that_was_not_asked_adds_nothing_and_is_counted(
        self, databases: Path, tmp_path: Path
    ) -> None:
        from finer_rewards.reporting.log_figures import read_run

        path = tmp_path / "scores.jsonl"
        write_log(path, databases, 1, reward="gate(condition=execution_match(), then=executable())")
        lines = [line["components"] for line in lines_of(path)[1:]]
        asked = [line["executable"] for line in lines if line["executable"] is not None]
        curve = read_run([str(path)]).curves["executable"]
        assert 0 < len(asked) < len(lines)
        assert (curve["asked"], curve["scored"]) == ([len(asked)], [len(lines)])
        assert curve["mean"] == [pytest.approx(sum(asked) / len(lines))]
        assert curve["low"][0] < curve["mean"][0] < curve["high"][0]

    def test_groups(self, run: Any, lines: list[dict[str, Any]]) -> None:
        for step in range(6):
            groups: dict[str, set[float]] = {}
            for line in lines:
                if line["step"] == step:
                    groups.setdefault(line["question"], set()).add(line["value"])
            equal = fmean(len(values) == 1 for values in groups.values())
            assert run.groups["groups"][step] == 3
            assert run.groups["zero_variance"][step] == pytest.approx(equal)

    def test_distributions_and_statuses_count_everything(self, run: Any, lines: list[dict[str, Any]]) -> None:
        assert sum(run.distributions["reward"]["counts"]) == len(lines)
        shares = [run.statuses[name] for name in run.statuses if name != "x"]
        assert all(sum(share) == pytest.approx(1) for share in zip(*shares, strict=True))
        assert {"ok", "failed", "refused"} == set(run.statuses) - {"x"}

    def test_operations_are_those_that_differ(self, run: Any) -> None:
        missing = {row["operation"] for row in run.operations["missing"]}
        assert "select sum(boat.seats)" in missing
        assert "limit 1" in {row["operation"] for row in run.operations["extra"]}

    def test_every_status_is_in_the_sample(self, run: Any, log: Path) -> None:
        from finer_rewards.reporting.log_figures import read_run

        few = read_run([str(log)], samples=8)
        assert len(few.samples) == 8
        assert {row["status"] for row in few.samples} == {row["status"] for row in run.samples}


def test_operations_are_read_as_the_reward_reads_them(databases: Path, tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    from finer_rewards.reporting.log_figures import read_run

    path = tmp_path / "scores.jsonl"
    gold = 'SELECT b.id FROM boat AS b WHERE b.name = "Ahti"'  # double quotes, as Spider has them
    sample = fr.Sample("SELECT b.name FROM boat AS b WHERE b.name = 'Ahti'", gold, "harbour")
    with fr.Scorer("execution_match()", fr.SQLite(databases), log=path) as scorer:
        scorer.score([sample], step=0)
    run = read_run([str(path)])
    for side, column in (("missing", "boat.id"), ("extra", "boat.name")):
        assert run.operations[side] == [{"operation": f"select {column}", "samples": 1}]
    assert run.samples[0]["matched"] == 0
    assert json.loads(run.samples[0]["rows"]) == {"predicted": [["Ahti"]], "gold": [["1"]]}


def test_two_runs_of_which_one_has_no_steps_go_over_their_logs(
    databases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("duckdb")
    write_log(tmp_path / "steps.jsonl", databases, 3)
    with fr.Scorer(REWARD, fr.SQLite(databases), log=tmp_path / "none.jsonl") as scorer:
        scorer.score(samples(0))
    given = [str(tmp_path / name) for name in ("steps.jsonl", "--against", "none.jsonl")]
    assert main(["report", given[0], "--against", given[2], "--format", "json"]) == 0
    assert [one["axis"] for one in json.loads(capsys.readouterr().out)["runs"]] == ["position"] * 2


def test_without_steps_the_axis_is_the_place_in_the_log(databases: Path, tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    from finer_rewards.reporting.log_figures import read_run

    path = tmp_path / "scores.jsonl"
    with fr.Scorer("executable()", fr.SQLite(databases), log=path) as scorer:
        scorer.score(samples(0) * 20)
    run = read_run([str(path)])
    assert run.axis == "position" and run.curves["reward"]["x"] == list(range(100))
    assert run.totals["match"] is None


def test_rotated_files_and_folders_are_one_run(databases: Path, tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    from finer_rewards._score_log import log_files
    from finer_rewards.reporting.log_figures import read_run

    log = ScoreLog(tmp_path / "rank0.jsonl", max_bytes=20_000)
    with fr.Scorer(REWARD, fr.SQLite(databases), log=log) as scorer:
        for step in range(6):
            scorer.score(samples(0), step=step)
    write_log(tmp_path / "rank1.jsonl", databases, 2)
    names = [file.name for file in log_files([str(tmp_path)])]
    assert names[-2:] == ["rank0.jsonl", "rank1.jsonl"] and names[0].startswith("rank0.jsonl.")
    assert read_run([str(tmp_path)]).totals["samples"] == 8 * 12


def test_report_in_every_format(log: Path, databases: Path, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("duckdb")
    pytest.importorskip("plotly")
    other = tmp_path / "other.jsonl"
    write_log(other, databases, 2, reward="execution_match()", seed=5)
    page = tmp_path / "report.html"
    assert main(["report", str(log), "--against", str(other), "-o", str(page)]) == 0
    html = page.read_text()
    assert len(html) < 10_000_000 and "not scored alike" in html
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']?http", html)
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.S).group(1))  # type: ignore[union-attr]
    assert data["compared"]["signature"] == [f"reward: execution_match() → {REWARD}"]
    capsys.readouterr()
    assert main(["report", str(log)]) == 0
    assert capsys.readouterr().out.startswith("# scores.jsonl\n")
    assert main(["report", str(log), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["totals"]["samples"] == 72


def test_what_a_model_writes_stays_text(databases: Path, tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    pytest.importorskip("plotly")
    hostile = "SELECT '</script><script>alert(1)</script><!--' FROM boat"
    path = tmp_path / "scores.jsonl"
    with fr.Scorer("executable()", fr.SQLite(databases), log=path) as scorer:
        scorer.score([fr.Sample(hostile, "SELECT 1 FROM boat", "harbour", "<img src=x onerror=alert(1)>")])
    assert main(["report", str(path), "-o", str(tmp_path / "page.html")]) == 0
    assert "alert(1)</script>" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["report", "nowhere.jsonl"], "is not there"),
        (["report", "{empty}"], "holds none that can be read"),
        (["rescore", "{empty}", "--db", "{databases}"], "holds none"),
        (["rescore", "{odd}", "--db", "{databases}"], "Line 1 of"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], says: str, databases: Path, tmp_path: Path, capsys: Any
) -> None:
    pytest.importorskip("duckdb")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "odd.jsonl").write_text('{"prompt": "x"}\n')
    places = {"empty": tmp_path / "empty.jsonl", "odd": tmp_path / "odd.jsonl", "databases": databases}
    assert main([part.format(**places) for part in arguments]) == 2
    said = capsys.readouterr().err
    assert says in said and "Traceback" not in said and said.count("\n") == 1


def test_rescore_says_what_changed(log: Path, databases: Path, capsys: Any) -> None:
    command = ["rescore", str(log), "--db", str(databases), "--format", "jsonl"]
    assert main([*command, "--reward", REWARD]) == 0
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert len(records) == 72 and all(record["change"] == 0 for record in records)
    assert "72 equal" in captured.err
    assert main([*command, "--mode", "bird", "--changed"]) == 0
    captured = capsys.readouterr()
    changed = [json.loads(line) for line in captured.out.splitlines()]
    assert changed and all(record["before"] != record["after"] for record in changed)
    assert f"signature: reward: {REWARD} → execution_match(mode='bird')" in captured.err


def test_rescore_reads_rollouts_of_ones_own(databases: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "rollouts.jsonl"
    rows = [{"completion": sqls[0], "gold": sqls[0], "db": "harbour"} for sqls in QUESTIONS.values()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["rescore", str(path), "--db", str(databases / "harbour.sqlite")]) == 0
    assert "mean none → 1.0000 over 3 samples: 3 new" in capsys.readouterr().out


def test_rows_that_json_has_not_are_rescored_as_they_were(
    databases: Path, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "scores.jsonl"
    cells = (b"\x00\xff", float("inf"), 2**60, -0.5, None, "\u00e9")
    sql = "SELECT x'00ff', 9e999, 1152921504606846976, -0.5, NULL, '\u00e9' FROM boat LIMIT 1"
    samples = [
        fr.Sample(sql, (), "harbour", answer=(cells,)),
        fr.Sample("SELECT '00ff' FROM boat LIMIT 1", (), "harbour", answer=((b"\x00\xff",),)),
    ]
    with fr.Scorer("execution_match()", fr.SQLite(databases), log=path) as scorer:
        before = [score.value for score in scorer.score(samples)]
    assert before == [1.0, 0.0]
    assert [one.sample.answer for one in read_rollouts([str(path)]).rollouts] == [
        one.answer for one in samples
    ]
    command = [
        "rescore",
        str(path),
        "--db",
        str(databases),
        "--reward",
        "execution_match()",
        "--format",
        "jsonl",
    ]
    assert main(command) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["after"] for record in records] == before


def test_score_writes_a_log(databases: Path, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "scores.jsonl"
    sql = "SELECT name FROM boat"
    assert main(["score", sql, sql, "--db", str(databases / "harbour.sqlite"), "--log", str(path)]) == 0
    assert [line["value"] for line in lines_of(path) if "status" in line] == [1.0]


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, e.g. apt-get install chromium")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(log: Path, tmp_path: Path, width: int) -> None:
    """The real page in a real browser: plots are drawn, filters work, nothing complains, nothing is fetched."""
    pytest.importorskip("duckdb")
    pytest.importorskip("plotly")
    page = tmp_path / "report.html"
    assert main(["report", str(log), "-o", str(page)]) == 0
    probe = """
    <script>
    window.addEventListener("load", () => {
      const rows = () => document.querySelectorAll("#samples tr.row").length;
      const all = rows();
      document.getElementById("status").value = "refused";
      document.getElementById("filters").dispatchEvent(new Event("input", { bubbles: true }));
      const refused = rows();
      document.querySelector("#samples tr.row").click();
      document.body.setAttribute("data-probe", JSON.stringify({
        plots: [...document.querySelectorAll("figure")].filter((one) => one.querySelector("svg .xy path")).length,
        all, refused, detail: document.querySelectorAll("tr.detail pre").length,
        fetched: performance.getEntriesByType("resource").filter((one) => one.name.startsWith("http")).length,
        wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
        title: document.title, errors: window.found }));
    });
    window.found = [];
    window.strangers = 0;
    window.onerror = (said) => { window.found.push(said); };
    document.addEventListener("securitypolicyviolation", (event) => {
      if (!event.sample.startsWith("/*stranger*/") && window.strangers++)
        window.found.push(`${event.violatedDirective}: ${event.sample || event.blockedURI}`);
    });
    </script>"""
    # The probe stands before the page's policy; the stranger's script after it, and does not run.
    html = page.read_text().replace("<head>", f"<head>{probe}", 1)
    html = html.replace("</body>", '<script>/*stranger*/ document.title = "taken";</script></body>')
    page.write_text(html)
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<body style="margin:0"><iframe src="report.html" style="width:{width}px;height:2000px;border:0" '
        'onload=\'setTimeout(() => document.body.setAttribute("data-probe", '
        'this.contentDocument.body.getAttribute("data-probe")), 500)\'></iframe></body>'
    )
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
        "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,2100",
        "--virtual-time-budget=15000", "--dump-dom", frame.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "LANG": "C"}
    )
    found = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert found, done.stdout[:500] + done.stderr[-500:]
    seen = json.loads(found.group(1).replace("&quot;", '"'))
    assert seen["errors"] == [] and seen["fetched"] == 0 and seen["plots"] == 5
    assert 0 < seen["refused"] < seen["all"] and seen["detail"] >= 3
    assert seen["wide"] <= 0  # nothing sticks out
    assert seen["title"] != "taken"


def test_a_notebook_shows_the_tree(databases: Path) -> None:
    with fr.Scorer(REWARD, fr.SQLite(databases)) as scorer:
        score = scorer.score_one(fr.Sample("SELECT '<b>' FROM boat", "SELECT name FROM boat", "harbour"))
    shown = score._repr_html_()
    assert shown.startswith("<pre") and "execution_match()" in shown and "<b>'" not in shown


def test_adapters_write_a_log_on_request(databases: Path, tmp_path: Path) -> None:
    from finer_rewards.adapters.openrlhf import build
    from finer_rewards.adapters.trl import TRLReward
    from finer_rewards.adapters.verl import compute_score

    sql, path = "SELECT name FROM boat", tmp_path / "scores.jsonl"
    truth = {"extra_info": {"db": "harbour", "step": 4}, "spec": "execution_match()", "root": str(databases)}
    compute_score("boats", sql, sql, log=str(path), **truth)
    reward = build("execution_match()", root=str(databases), log=str(path))
    reward([f"Names? {sql}"], ["Names? "], [json.dumps({"gold": sql, "db": "harbour"})])
    with fr.Scorer("execution_match()", fr.SQLite(databases), log=path) as scorer:
        state = type("State", (), {"global_step": 9})()
        TRLReward(scorer)(["Names?"], [sql], gold=[sql], db=["harbour"], trainer_state=state)
    lines = [line for line in lines_of(path) if "status" in line]
    assert [line["value"] for line in lines] == [1.0, 1.0, 1.0]
    assert [line["step"] for line in lines] == [4, None, 9]


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
@pytest.mark.parametrize("reward", [pytest.param("execution_match()", marks=pytest.mark.slow), "atomic_f1()"])
def test_a_log_of_which_nothing_was_scored_is_reported(
    tmp_path: Path, databases: Path, capsys, reward: str, value: float | None
) -> None:
    path = tmp_path / "scores.jsonl"
    with fr.Scorer(reward, fr.SQLite(databases, workers=1), log=str(path)) as scorer:
        scorer.score([fr.Sample("SELECT 1", "SELECT 1", "nowhere") for _ in range(3)])
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        if "status" in record:
            record |= {"value": value, "components": {"atomic_f1": value}}
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    for form in ("md", "html", "json"):
        assert main(["report", str(path), "--format", form, "-o", str(tmp_path / f"report.{form}")]) == 0
    totals = json.loads((tmp_path / "report.json").read_text())["runs"][0]["totals"]
    assert (totals["samples"], totals["scored"], totals["mean"]) == (3, 0, None)


RECORD: dict[str, Any] = {
    "step": 1, "question": "q", "db": "d", "gold": "g", "predicted": "p", "value": 1.0, "status": "ok", "reason": "r",
    "components": {"execution_match": 1.0}, "seconds": 0.1, "explanation": "e", "completion": "c", "time": 1.0,
    "signature": "a",
}  # fmt: skip


def many_things(many: int) -> list[tuple[list[dict[str, Any]], str]]:
    """Logs with so many components, statuses and databases, and what is said of them."""
    return [
        ([{"components": {f"c{number}": 0.5 for number in range(many)}}], "rarer components are left out"),
        (
            [{"status": f"s{number}"} for number in range(many)],
            f"{many:,} lines could not be read and are left out",
        ),
        ([{"db": f"d{number}"} for number in range(many)], f"{many + 1:,} samples"),
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        many_things(200)[0],
        *(pytest.param(*one, marks=pytest.mark.slow) for one in many_things(20_000)),
        ([{"status": 5}, {"status": None}, {"status": "OK"}], "3 lines could not be read and are left out"),
        ([{"step": step} for step in (-(2**63), 2**63 - 1, *range(250))], "253 samples"),
        ([{"value": value} for value in (1.7e308, -1.7e308, 1e308, 5e-324)], "5 samples, 2 scored"),
        ([{"value": float("nan")}, {"value": float("inf")}, {"value": "x"}], "1 scored, mean 1.000"),
        ([{"components": {"a": float("nan")}}, {"components": 3}, {"components": {"a": {}}}], "samples"),
        (
            [{"time": 1e300}, {"time": 1e14}, {"time": -1e14}, {"seconds": 1e300}, {"seconds": None}],
            "6 samples",
        ),
        ([{"scorer": 3, "status": None}, {"scorer": {"reward": 3}, "status": None}], "1 samples"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_nothing_in_a_log_keeps_the_rest_from_being_reported(
    changes: list[dict[str, Any]], says: str, tmp_path: Path, capsys: Any
) -> None:
    pytest.importorskip("duckdb")
    pytest.importorskip("plotly")
    path = tmp_path / "scores.jsonl"
    path.write_text(
        "".join(f"{json.dumps(record)}\n" for record in (RECORD, *(RECORD | one for one in changes)))
    )
    assert main(["report", str(path)]) == 0
    assert says in capsys.readouterr().out
    for kind in ("html", "json"):
        assert (
            main(["report", str(path), "--against", str(path), "-o", str(tmp_path / f"report.{kind}")]) == 0
        )
    assert "NaN" not in (tmp_path / "report.json").read_text()


def test_a_damaged_line_of_a_log_is_left_out_and_one_of_ones_own_is_named(
    databases: Path, tmp_path: Path, capsys: Any
) -> None:
    good = {**RECORD, "db": "harbour", "gold": "SELECT 1 FROM boat"}
    path = tmp_path / "scores.jsonl"
    damaged: list[dict[str, Any]] = [
        {"value": "x"},
        {"db": [1]},
        {"question": 5},
        {"step": 0.5},
        {"value": 10**400},
    ]
    path.write_text("".join(f"{json.dumps(record)}\n" for record in (good, *(good | one for one in damaged))))
    assert main(["rescore", str(path), "--db", str(databases), "--reward", "executable()"]) == 0
    assert "5 lines are damaged and are left out" in capsys.readouterr().err
    for change in damaged:
        own = {name: value for name, value in {**good, **change}.items() if name != "status"}
        path.write_text(json.dumps(own))
        assert main(["rescore", str(path), "--db", str(databases), "--reward", "executable()"]) == 2
        assert f"Line 1 of {path}" in capsys.readouterr().err
