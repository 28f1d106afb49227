"""The examples run as they stand, inside the real trainer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bounds import LONG

import finer_rewards as fr

EXAMPLES = Path(__file__).parent.parent / "examples"
SHARES = {"finer/unscorable", "finer/timeouts", "finer/unparsed"}
COMPONENTS = {"finer/execution_match", "finer/executable", "finer/well_formed"}

# Keeps what rank 0 knows of the last step of all ranks, beside the log history.
DRIVER = """
import json, sys, tempfile
sys.path.insert(0, sys.argv[1])
import trl_tiny

with tempfile.TemporaryDirectory() as folder:
    trainer = trl_tiny.train(folder, steps=int(sys.argv[3]))
if trainer.is_world_process_zero():
    logs = trainer._logs
    record = {
        "history": trainer.state.log_history,
        "prompt": list(logs["prompt"]),
        "completion": list(logs["completion"]),
        "reward": list(logs["rewards"]["finer"]),
        "extra": {name: list(values) for name, values in logs["extra"].items()},
    }
    with open(sys.argv[2], "w") as file:
        json.dump(record, file)
    print(json.dumps({q.text: q.sql for q in trl_tiny.questions()}))
"""


def run_driver(folder: Path, *, steps: int, ranks: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Train in a process of its own (or several), and return what was recorded and the gold SQL by prompt."""
    script, result = folder / "driver.py", folder / "result.json"
    script.write_text(DRIVER)
    launcher = [sys.executable]
    if ranks > 1:
        launcher += ["-m", "torch.distributed.run", "--nproc_per_node", str(ranks), "--master_port", "29653"]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [*launcher, str(script), str(EXAMPLES), str(result), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    golds = json.loads(done.stdout.strip().splitlines()[-1])
    return json.loads(result.read_text()), golds


def values_of_one_process(folder: Path, record: dict[str, Any], golds: dict[str, str]) -> list[float | None]:
    sys.path.insert(0, str(EXAMPLES))
    try:
        import trl_tiny
    finally:
        sys.path.remove(str(EXAMPLES))
    trl_tiny.build_database(str(folder))
    samples = [
        fr.Sample(completion, golds[prompt], "company")
        for prompt, completion in zip(record["prompt"], record["completion"], strict=True)
    ]
    with fr.Scorer(trl_tiny.REWARD, fr.SQLite(str(folder))) as scorer:
        return [score.value for score in scorer.score(samples)]


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "steps"), [(1, 20), (2, 3)])
@pytest.mark.filterwarnings("default")
def test_trl_logs_every_component_and_scores_as_one_process_does(
    tmp_path: Path, ranks: int, steps: int
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("trl")
    record, golds = run_driver(tmp_path, steps=steps, ranks=ranks)
    history = [entry for entry in record["history"] if "reward" in entry]
    assert len(history) == steps
    for entry in history:
        assert {"rewards/finer/mean", "rewards/finer/std"} | COMPONENTS | SHARES <= set(entry)
        assert entry["finer/unscorable"] == 0

    expected = values_of_one_process(tmp_path, record, golds)
    assert record["reward"] == pytest.approx(expected, abs=2**-16)  # as float32 keeps them
    assert len(expected) == 64 * ranks
    assert len(set(expected)) > 1
    assert history[-1]["rewards/finer/mean"] == pytest.approx(sum(expected) / len(expected), abs=1e-5)
    parts = (2, "execution_match"), (0.2, "executable"), (0.1, "well_formed")
    total = sum(weight * history[-1][f"finer/{name}"] for weight, name in parts)
    assert total == pytest.approx(history[-1]["reward"], abs=1e-5)
    assert {name: len(values) for name, values in record["extra"].items()} == {
        "sql": 64 * ranks, "status": 64 * ranks, "reason": 64 * ranks
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_trl_tiny_prints_its_history(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("trl")
    command = [sys.executable, str(EXAMPLES / "trl_tiny.py"), "--steps", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    table = done.stdout[done.stdout.index("steps ") :].strip().splitlines()
    assert len(table) == 3
    assert "execution_match" in table[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_an_agent_trains_with_its_tool_and_logs_every_component(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("trl")
    pytest.importorskip("jmespath")  # which TRL needs to read calls with transformers below 5.13
    command = [sys.executable, str(EXAMPLES / "trl_agent.py"), "--steps", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    head, *lines = done.stdout[done.stdout.index("steps ") :].strip().splitlines()
    assert len(lines) == 20
    names = head.split()[1:]
    assert {"execution_match", "executable", "each_call", "few_turns", "well_formed"} <= set(names)
    steps = [dict(zip(names, map(float, line.split()[1:]), strict=True)) for line in lines]
    assert max(step["few_turns/turns"] for step in steps) > 1.2  # it queries before it answers
    assert (
        max(step["each_call"] for step in steps) > 0.5 and max(step["execution_match"] for step in steps) > 0
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("quickstart", ["2.200", "2.200", "0.200", "0.000", "0.000"]),
        pytest.param("extending/reward", ["3.000", "2.000", "0.300", "0.000"], marks=pytest.mark.slow),
    ],
)
def test_small_examples_print_what_they_promise(tmp_path: Path, name: str, values: list[str]) -> None:
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LONG, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    root = {"quickstart": "total", "extending/reward": "gate"}[name]
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert [
        line[0] for line in lines if len(line) == 2 and line[1].startswith(root) and line[0][0].isdigit()
    ] == values


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "needs", "says"),
    [
        ("batch", "faiss", "1 verified and 2 failed traces admitted, 1 refused"),
        ("composing", "", "4.00   2.60"),
        ("verl_reward", "", "'score': 3.0, 'acc': 1.0"),
        ("openrlhf_reward", "", "'rewards': 3.0, 'scores': 1.0"),
        ("walkthrough", "plotly", "report.html"),
    ],
)
def test_the_other_examples_run(tmp_path: Path, name: str, needs: str, says: str) -> None:
    if needs:
        pytest.importorskip(needs)
    command = [
        sys.executable,
        str(EXAMPLES / f"{name}.py"),
        *([str(tmp_path)] if name == "walkthrough" else []),
    ]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LONG, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert says in done.stdout
    if name == "walkthrough":
        assert (tmp_path / "report.html").stat().st_size > 1_000_000


#: What each example of an extension must say; one that is not named here must only end well.
SAYS = {"adapter": "'unscorable': 1.0"}


#: Other tests run these, and look at more of what they say.
ELSEWHERE = {"mode", "reward"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "example",
    [path for path in sorted(EXAMPLES.glob("extending/*.py")) if path.stem not in ELSEWHERE],
    ids=lambda path: path.stem,
)
def test_an_extension_runs_outside_the_package(tmp_path: Path, example: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    command = [sys.executable, str(example)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LONG, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert SAYS.get(example.stem, "") in done.stdout


@pytest.mark.slow
def test_the_command_line_example_runs(tmp_path: Path) -> None:
    command = tmp_path / "finer-rewards"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m finer_rewards "$@"\n')
    command.chmod(0o755)
    environment = {
        **os.environ,
        "PYTHONPATH": str(EXAMPLES.parent),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    script = ["bash", str(EXAMPLES / "command_line.sh")]
    done = subprocess.run(script, capture_output=True, text=True, timeout=LONG, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "mean 1.7225 → 0.7500 over 4 samples: 3 lower, 1 higher" in done.stdout


@pytest.mark.slow
def test_the_property_tests_of_the_example_pass(tmp_path: Path) -> None:
    pytest.importorskip("hypothesis")
    plugin = (
        []
        if "finer_rewards" in str(sys.modules.get("finer_rewards.pytest_plugin"))
        else ["-p", "finer_rewards.pytest_plugin"]
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
        *plugin,
        str(EXAMPLES / "property_testing.py"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stdout[-3000:]
