"""What Prometheus reads, and a storm in which nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bounds import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import finer_rewards as fr
from finer_rewards.engines.sqlite import SQLite
from finer_rewards.remote import Remote
from finer_rewards.types import Status

pytest.importorskip("fastapi", reason="needs the extra [server]")
pytest.importorskip("uvicorn", reason="needs the extra [server]")

from servers import SAMPLE, SPEC, ask, connected, head, samples, serving, until


def test_metrics_are_what_prometheus_reads(local: SQLite) -> None:
    with serving(fr.Scorer(SPEC, local)) as (url, _):
        ask(url, "/score", {"samples": [SAMPLE, {**SAMPLE, "db": "none"}]})
        ask(url, "/score", {"samples": 1})
        restarts = local.restarts
        assert local.execute("SELECT random()", "shop").ok
        for worker in local.process_ids:
            os.kill(worker, signal.SIGKILL)
        until(lambda: local.execute("SELECT random()", "shop").ok and local.restarts > restarts)
        status, headers, text = ask(url, "/metrics", method="GET")
    assert status == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
    line = re.compile(
        r'(?:# TYPE [a-z_]+ (?:counter|gauge|histogram)|[a-z_]+(?:\{\w+="[^"\\]*"(?:,\w+="[^"\\]*")*\})? [0-9.e+-]+)'
    )
    assert all(line.fullmatch(one) for one in text.splitlines()), text
    values = dict(one.rsplit(" ", 1) for one in text.splitlines() if not one.startswith("#"))
    assert values['finer_rewards_samples_total{status="ok"}'] == "1"
    assert values['finer_rewards_samples_total{status="unavailable"}'] == "1"
    assert values['finer_rewards_requests_total{code="422",path="/score"}'] == "1"
    assert values['finer_rewards_request_seconds_bucket{path="/score",le="+Inf"}'] == "2"
    assert float(values["finer_rewards_resident_bytes"]) > 1e6
    assert float(values["finer_rewards_workers"]) >= 1
    assert float(values["finer_rewards_worker_restarts"]) > restarts


@settings(max_examples=examples(50))
@given(st.lists(st.sampled_from(["samples", "requests"])), st.lists(st.floats(0, 1000)))
def test_histograms_add_up(names: list[str], seconds: list[float]) -> None:
    from finer_rewards._serving.metrics import Metrics

    metrics = Metrics()
    for name in names:
        metrics.add(name, code="1")
    for one in seconds:
        metrics.took("/score", one)
    counts = [float(line.rsplit(" ", 1)[1]) for line in metrics.text({}).splitlines() if "_bucket" in line]
    assert counts == sorted(counts)
    assert not seconds or counts[-1] == len(seconds)


@pytest.mark.slow
def test_nothing_is_wrong_or_left_after_a_storm(root: Path) -> None:
    """Clients that come, go and give up, and workers that are killed: right scores or none, and no place kept."""
    batch = [sample for sample in samples() if "random" not in sample.completion]
    with SQLite(root, workers=2) as executor:
        expected = {
            sample: repr(score)
            for sample, score in zip(batch, fr.Scorer(SPEC, executor).score(batch), strict=True)
        }
    executor = SQLite(root, workers=2)
    end = time.monotonic() + 20
    counts, reasons = Counter[str](), Counter[str]()

    def client(number: int) -> None:
        chance = random.Random(number)
        with Remote(url, patience=60.0) as remote:
            scorer = fr.Scorer(SPEC, remote)
            while time.monotonic() < end:
                asked = chance.choices(batch, k=chance.randint(1, 40))
                for sample, score in zip(asked, scorer.score(asked), strict=True):
                    assert (score.value is None and score.status is Status.unavailable) or repr(
                        score
                    ) == expected[sample]
                    counts[
                        "none" if score.value is None and score.status is Status.unavailable else "right"
                    ] += 1
                    reasons.update([score.reason] * (score.status is Status.unavailable))

    def leaver(number: int) -> None:
        chance = random.Random(number)
        body = json.dumps({"queries": [[f"SELECT {number}", "shop", False, []]] * 50}).encode()
        while time.monotonic() < end:
            with connected(url) as stream:
                whole = head("/execute", f"Content-Length: {len(body)}") + body
                stream.sendall(whole[: chance.randint(0, len(whole))])
                time.sleep(chance.random() / 50)
            counts["left"] += 1

    def killer() -> None:
        chance = random.Random(0)
        while time.monotonic() < end:
            time.sleep(chance.random())
            for process_id in executor.process_ids[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
                    counts["killed"] += 1

    with (
        serving(fr.Scorer(SPEC, executor), queue=12, threads=4) as (url, app),
        ThreadPoolExecutor(16) as pool,
    ):
        storm = [pool.submit(client, number) for number in range(12)]
        storm += [pool.submit(leaver, number) for number in range(3)]
        storm.append(pool.submit(killer))
        for one in storm:
            one.result(120)
        handler = app.state.handler
        until(lambda: handler.present == handler.running == handler._bytes == 0)
        assert ask(url, "/score", {"samples": [SAMPLE]})[2]["scores"][0]["value"] == 4.0
        until(lambda: len(list(Path("/proc/self/fd").iterdir())) < 80)
    assert counts["left"] > 20 and counts["killed"] > 5, counts
    assert counts["none"] < counts["right"] / 10, (counts, reasons)
