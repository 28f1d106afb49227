"""`fr.batch_metrics` in a loop of one's own, written by the trackers themselves: W&B, trackio and TensorBoard."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

import finer_rewards as fr

GOLD = "SELECT count(*) FROM ferry"
FERRIES = Path(__file__).parent.parent / "examples" / "ferries"
BATCHES = [
    ["SELECT count(id) FROM ferry", "SELECT 5, 6", "SELEC"],
    ["SELECT count(id) FROM ferry", "SELECT name FROM ferry"],
]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def metrics() -> list[dict[str, float]]:
    """Those of two steps; among their names is the reason of a wrong answer, a sentence with spaces."""
    with fr.Scorer("2 * execution_match() + executable()", fr.SQLite(FERRIES, workers=1)) as scorer:
        found = [
            fr.batch_metrics(scorer.reward, scorer.score([fr.Sample(sql, GOLD, "ferries") for sql in batch]))
            for batch in BATCHES
        ]
    assert {"reward", "execution_match", "executable", "unscorable"} < set(found[0])
    assert any(name.startswith("why/") and " " in name for name in found[0])
    return found


def test_wandb(metrics: list[dict[str, float]], tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb")
    with wandb.init(project="finer", mode="offline", dir=tmp_path) as run:
        for step, one in enumerate(metrics):
            run.log(one, step=step)
    # Only now is the file whole.
    wandb.teardown()
    # A record holds each name, and its value as JSON; whole numbers without a point.
    (written,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    content = written.read_bytes()
    for name, value in (item for one in metrics for item in one.items()):
        assert name.encode() in content and json.dumps(value).removesuffix(".0").encode() in content


def test_trackio(metrics: list[dict[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio = pytest.importorskip("trackio")
    trackio.init(project="finer", name="run")
    for step, one in enumerate(metrics):
        trackio.log(one, step=step)
    trackio.finish()
    with sqlite3.connect(tmp_path / "finer.db") as database:
        rows = database.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    database.close()
    assert [(step, json.loads(text)) for step, text in rows] == list(enumerate(metrics))


def test_tensorboard(metrics: list[dict[str, float]], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    writers = pytest.importorskip("torch.utils.tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with writers.SummaryWriter(str(tmp_path)) as writer:
        for step, one in enumerate(metrics):
            for name, value in one.items():
                writer.add_scalar(name, value, step)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert [event.value for event in read.Scalars("reward")] == pytest.approx(
        [one["reward"] for one in metrics]
    )
    # It writes what is no word as an underscore.
    assert len(read.Tags()["scalars"]) == len({name for one in metrics for name in one})
