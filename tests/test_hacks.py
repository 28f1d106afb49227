"""The collection of known attacks and controls: what each reward must give.

Skipped without the data folder. Items whose expectation hangs on a choice (`policy`) are judged by the default
documented here: `strict` permits one global permutation of columns, numbers are not text, fences are allowed
by the format "auto".
"""

from __future__ import annotations

import json
import resource
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from bounds import LONG

import finer_rewards as fr
from finer_rewards import rewards as r
from finer_rewards.reward import Reward

# Every item has databases and workers of its own: a minute in all.
pytestmark = pytest.mark.slow

MATCH = r.execution_match(mode="strict")
FORMAT = r.well_formed(policy="finer")
TOTAL = fr.presets.finer(mode="strict", memory=False)
# What merely repeats or merges rows of the right answer, which the default does not count.
REPEATS = {"compare-01", "attack-n39", "attack-p10"}
COLUMN_ORDER = {"compare-06"}


@dataclass
class Bench:
    """One item, its databases, and a way to score texts on them."""

    item: dict[str, Any]
    folder: Path

    def __post_init__(self) -> None:
        self.dbs = tuple(
            _build(self.folder, self.item[script])
            for script in ("schema_sql", "alt_schema_sql")
            if self.item.get(script)
        )

    def score(self, texts: Sequence[str], reward: Reward) -> list[fr.Score]:
        samples = [
            fr.Sample(text, self.item["gold_sql"] or "", self.dbs, self.item["question"]) for text in texts
        ]
        return fr.Scorer(reward, _executor(**self.item["limits"])).score(samples)

    def one(self, text: str, reward: Reward) -> fr.Score:
        return self.score([text], reward)[0]

    def files(self) -> Mapping[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}


@cache
def _executor(timeout_s: float, max_rows: int, max_mem_mb: int) -> fr.SQLite:
    return fr.SQLite(timeout=timeout_s, max_rows=max_rows, memory_limit=f"{max_mem_mb}MiB", workers=2)


def _build(folder: Path, script: str) -> str:
    path = folder / f"{sha256(script.encode()).hexdigest()[:12]}.sqlite"
    if not path.exists():
        connection = sqlite3.connect(path)
        connection.executescript("PRAGMA synchronous = OFF;" + script)
        connection.close()
    return str(path)


@pytest.fixture(scope="module")
def benches(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Bench]:
    with (shared_data / "hacks" / "hacks.jsonl").open(encoding="utf-8") as lines:
        folder = tmp_path_factory.mktemp("hacks")
        return [Bench(json.loads(line), folder) for line in lines]


@pytest.fixture(scope="module", autouse=True)
def _workers_end() -> Iterator[None]:
    yield
    _executor.cache_clear()


def expecting(benches: Sequence[Bench], *expectations: str) -> list[Bench]:
    chosen = [bench for bench in benches if {bench.item["expect"], *bench.item["also"]} & set(expectations)]
    assert chosen
    return chosen


def judged(found: Mapping[str, fr.Score | None]) -> None:
    assert not found, "\n".join(f"{name}: {score}" for name, score in found.items())


def test_under_the_default_only_repeated_rows_are_overlooked(benches: list[Bench]) -> None:
    texts = {bench.item["id"]: bench for bench in expecting(benches, "execution_must_be_0")}
    default = r.execution_match()
    paid = {name for name, bench in texts.items() if bench.one(bench.item["completion"], default).value == 1}
    assert paid <= REPEATS | COLUMN_ORDER


def test_attacks_do_not_match(benches: list[Bench]) -> None:
    found = {}
    for bench in expecting(benches, "execution_must_be_0"):
        if bench.item["id"] in COLUMN_ORDER:
            continue
        score = bench.one(bench.item["completion"], MATCH)
        if score.value != 0 and score.status.blame != "data":
            found[bench.item["id"]] = score
    judged(found)


def test_controls_match(benches: list[Bench]) -> None:
    found = {}
    for bench in expecting(benches, "execution_must_be_1"):
        score = bench.one(bench.item["completion"], MATCH)
        if score.value != 1:
            found[bench.item["id"]] = score
    for bench in expecting(benches, "execution_must_be_1_or_masked"):
        score = bench.one(bench.item["completion"], MATCH)
        if score.value == 0:
            found[bench.item["id"]] = score
    judged(found)


def test_the_honest_answer_matches_and_beats_every_attack(benches: list[Bench]) -> None:
    found = {}
    for bench in benches:
        item = bench.item
        right_too = {"execution_must_be_1", "execution_must_be_1_or_masked"} & {item["expect"], *item["also"]}
        if (
            item["kind"] in ("control", "gold")
            or right_too
            or item["id"] in COLUMN_ORDER
            or len(bench.dbs) < 2
        ):
            continue
        attack, honest = bench.score([item["completion"], item["honest_correct"]], TOTAL)
        if honest.status.blame == "data":
            continue
        if honest.value is None or attack.value is None or attack.value >= honest.value:
            found[item["id"]] = attack
    judged(found)


def test_malformed_completions(benches: list[Bench]) -> None:
    found = {}
    for bench in expecting(benches, "format_must_be_0"):
        score = bench.one(bench.item["completion"], FORMAT)
        if score.value != 0:
            found[bench.item["id"]] = score
    judged(found)


def test_what_did_not_run_earns_no_more_than_what_failed(benches: list[Bench]) -> None:
    found = {}
    for bench in expecting(benches, "no_executable_credit"):
        attack, failing = bench.score([bench.item["completion"], bench.item["honest_failing"]], TOTAL)
        if attack.value is not None and failing.value is not None and attack.value > failing.value:
            found[bench.item["id"]] = attack
    judged(found)


def test_attacks_stay_below_an_honest_mistake(benches: list[Bench]) -> None:
    found = {}
    for bench in expecting(benches, "below_honest_wrong"):
        if bench.item["kind"] == "memory":
            continue  # what reasoning is worth is tested with a memory
        attack, wrong = bench.score([bench.item["completion"], bench.item["honest_wrong"]], TOTAL)
        if attack.value is None or wrong.value is None or attack.value >= wrong.value:
            found[bench.item["id"]] = attack
    judged(found)


def test_structure_tells_two_meanings_apart(benches: list[Bench]) -> None:
    found = {}
    for bench in expecting(benches, "atomic_below_1"):
        score = bench.one(bench.item["completion"], r.atomic_f1())
        if score.value is not None and score.value >= 1:
            found[bench.item["id"]] = score
    judged(found)


def test_comments_change_nothing(benches: list[Bench]) -> None:
    found = {}
    for bench in expecting(benches, "equal_to_control"):
        attack, control = bench.score([bench.item["completion"], bench.item["equal_to"]], TOTAL)
        if attack.value != control.value:
            found[bench.item["id"]] = attack
    judged(found)


def test_nothing_is_written(benches: list[Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for bench in expecting(benches, "no_side_effect"):
        monkeypatch.chdir(bench.folder)
        before = bench.files()
        alone = bench.one(bench.item["honest_correct"], TOTAL)
        _, after = bench.score([bench.item["completion"], bench.item["honest_correct"]], TOTAL)
        if bench.files() != before or after != alone:
            found[bench.item["id"]] = after
    judged(found)


def test_no_attack_on_the_executor_leaves_anything(
    benches: list[Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else is expected of each: no byte changes, nothing hangs, and the system is not at fault."""
    kinds = ("resource", "side_effect", "robustness", "truncation")
    found = {}
    chosen = [bench for bench in benches if bench.item["kind"] in kinds]
    assert {bench.item["kind"] for bench in chosen} == set(kinds)
    for bench in chosen:
        monkeypatch.chdir(bench.folder)
        before = bench.files()
        started = time.monotonic()
        score = bench.one(bench.item["completion"], TOTAL)
        late = time.monotonic() - started > bench.item["limits"]["timeout_s"] + LONG
        if late or score.status.blame == "system" or bench.files() != before:
            found[bench.item["id"]] = score
    judged(found)


def test_everything_ends_in_time_and_memory(benches: list[Bench]) -> None:
    found: dict[str, fr.Score | None] = {}
    for bench in expecting(benches, "must_terminate"):
        started = time.monotonic()
        score = bench.one(bench.item["completion"], TOTAL)
        limit = float(bench.item["limits"].get("timeout_s", 5))
        # What is not ended by its limit does not end; how soon it is ended, a busy machine decides.
        if time.monotonic() - started > limit + LONG:
            found[bench.item["id"]] = score
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    assert peak < 1500, f"a worker grew to {peak:.0f} MiB"
    judged(found)


def test_nothing_crashes(benches: list[Bench]) -> None:
    found = {}
    for bench in expecting(benches, "no_crash"):
        score = bench.one(bench.item["completion"], TOTAL)
        if score.value is None and score.status.blame != "data":
            found[bench.item["id"]] = score
    judged(found)


def test_two_calls_agree(benches: list[Bench]) -> None:
    found = {}
    for bench in expecting(benches, "deterministic"):
        first = bench.one(bench.item["completion"], TOTAL)
        time.sleep(1.1)
        if bench.one(bench.item["completion"], TOTAL) != first:
            found[bench.item["id"]] = first
    judged(found)


def test_a_gold_that_cannot_be_used_has_no_value(benches: list[Bench]) -> None:
    found = {}
    for bench in expecting(benches, "gold_invalid", "gold_ambiguous"):
        score = bench.one(bench.item["completion"], MATCH)
        if score.value is not None or score.status.blame != "data":
            found[bench.item["id"]] = score
    judged(found)
