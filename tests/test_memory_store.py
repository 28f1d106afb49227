"""The store: nothing acknowledged is lost, whatever dies or breaks."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bounds import examples
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy", reason="the memory extra is not installed")

from finer_rewards.errors import ConfigError, DataError  # noqa: E402
from finer_rewards.memory import Trace, TraceMemory  # noqa: E402
from finer_rewards.memory.segments import Record, Tally, frame, scan  # noqa: E402

FORKS = pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")


def keep_writing(folder: Path, name: str, descriptor: int) -> None:
    """Import batches of three traces for ever; write the number of each to the pipe once it is acknowledged."""
    memory = TraceMemory.open(folder, "hashing:64", durable=False)
    source = folder.parent / f"{folder.name}-{name}.jsonl"
    number = 0
    parent = os.getppid()
    while os.getppid() == parent:
        texts = [
            f"{name} {number} {item} " + "count the rows of the table " * (number % 7) for item in range(3)
        ]
        lines = [json.dumps({"text": text, "db": text[-1], "question": f"{name}-{number}"}) for text in texts]
        source.write_text("\n".join(lines))
        memory.import_(source)
        os.write(descriptor, f"{number}\n".encode())
        number += 1
        if number % 9 == 0:
            memory.compact()


def filled(folder: Path, count: int = 4) -> TraceMemory:
    source = folder.parent / f"{folder.name}.jsonl"
    source.write_text(
        "".join(json.dumps({"text": f"count the rows of table {n}", "db": "a"}) + "\n" for n in range(count))
    )
    memory = TraceMemory.open(folder, "hashing:64", durable=False)
    memory.import_(source)
    memory.close()
    return memory


def segment(memory: TraceMemory) -> Path:
    [path] = (memory.path / "segments").iterdir()
    return path


def crash(folder: Path, draw: random.Random) -> None:
    """Kill four concurrent writers at random moments; after each, all that was acknowledged must be there."""
    TraceMemory.open(folder, "hashing:64", durable=False).close()
    context = multiprocessing.get_context("fork")
    expected: set[str] = set()
    writers = {}
    for number in range(4):
        read, write = os.pipe()
        process = context.Process(target=keep_writing, args=(folder, f"w{number}", write))
        writers[f"w{number}"] = process, os.fdopen(read)
        process.start()
        os.close(write)
    try:
        for name, (writer, acknowledged) in writers.items():
            numbers = [acknowledged.readline()]
            time.sleep(draw.uniform(0.0, 0.1))
            writer.kill()
            numbers += acknowledged.read().splitlines()
            expected |= {f"{name}-{number.strip()}" for number in numbers}
            check(folder, expected)
    finally:
        for writer, acknowledged in writers.values():
            writer.kill()
            writer.join()
            acknowledged.close()
    with TraceMemory.open(folder, durable=False) as memory:
        before = memory.digest
        memory.compact()
        assert memory.stats()["torn"] == 0
        assert TraceMemory.open(folder).digest == before


def check(folder: Path, expected: set[str]) -> None:
    with TraceMemory.open(folder, durable=False) as memory:
        found = memory.verify()
        assert found.ok, str(found)
        counts = Counter(trace.question for trace in memory.traces())
        lost = [question for question in expected if counts[question] != 3]
        assert not lost


@FORKS
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    crash(tmp_path / "memory", random.Random(0))


@FORKS
@pytest.mark.slow
def test_kill_9_at_200_moments(tmp_path: Path) -> None:
    for number in range(50):
        crash(tmp_path / str(number), random.Random(100 + number))


entries = st.one_of(
    st.builds(
        Record,
        st.builds(Trace, text=st.text(max_size=20), db=st.text(max_size=5), verified=st.booleans()),
        st.binary(max_size=8).map(lambda data: data * 2),
    ),
    st.builds(
        Tally, st.text(max_size=5), st.dictionaries(st.text(max_size=5), st.integers(1, 9), max_size=3)
    ),
)


@settings(max_examples=examples(100), deadline=None)
@given(written=st.lists(entries, max_size=5), cut=st.integers(0, 400))
def test_a_cut_segment_gives_every_whole_record_before_the_cut(written: list[Any], cut: int) -> None:
    frames = list(map(frame, written))
    data = b"".join(frames)[:cut]
    whole = sum(len(b"".join(frames[: place + 1])) <= cut for place in range(len(frames)))
    read, damages, offset = scan(data)
    assert read == written[:whole]
    assert offset == len(b"".join(frames[:whole]))
    assert all(damage.torn for damage in damages)
    assert bool(damages) == (offset < len(data))
    rest, damages, _ = scan(b"".join(frames)[offset:], offset=offset)
    assert (read + rest, damages) == (written, [])


@settings(max_examples=examples(150), deadline=None)
@given(
    written=st.lists(entries, min_size=1, max_size=5), place=st.integers(0, 10**6), flip=st.integers(1, 255)
)
def test_one_wrong_byte_is_found_and_costs_one_record_at_most(
    written: list[Any], place: int, flip: int
) -> None:
    data = bytearray(b"".join(map(frame, written)))
    data[place % len(data)] ^= flip
    read, damages, _ = scan(bytes(data))
    assert len(damages) == 1
    assert len(read) >= len(written) - 1
    assert all(entry in written for entry in read)


def test_a_torn_end_is_ignored_and_reported(tmp_path: Path) -> None:
    memory = filled(tmp_path / "memory")
    path = segment(memory)
    path.write_bytes(path.read_bytes()[:-5])
    again = TraceMemory.open(tmp_path / "memory")
    assert len(again) == 3
    assert again.stats()["torn"] == 1
    found = again.verify()
    assert found.ok
    assert "1 unfinished record" in str(found)


def test_corruption_is_refused_and_a_repaired_copy_offered(tmp_path: Path) -> None:
    memory = filled(tmp_path / "memory")
    path = segment(memory)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"corrupt.*repair"):
        TraceMemory.open(tmp_path / "memory")
    found = TraceMemory.repair(tmp_path / "memory", tmp_path / "copy")
    assert not found.ok
    assert "are corrupt" in found.problems[0]
    assert bytes(data) == path.read_bytes()
    copy = TraceMemory.open(tmp_path / "copy")
    assert len(copy) == 3
    assert copy.verify().ok
    with pytest.raises(ConfigError, match="exists"):
        TraceMemory.repair(tmp_path / "memory", tmp_path / "copy")


def test_corruption_that_appears_later_is_not_passed_over(tmp_path: Path) -> None:
    memory = filled(tmp_path / "memory")
    data = bytearray(segment(memory).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (memory.path / "segments" / "00-broken.traces").write_bytes(data)
    for _ in range(2):
        with pytest.raises(DataError, match="corrupt"):
            memory.snapshot()
    assert not memory.verify().ok
    assert len(memory) == 4


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    memory = filled(tmp_path / "memory")
    (memory.path / "memory.json").write_text("{")
    with pytest.raises(DataError, match=r"memory\.json.*should be JSON"):
        TraceMemory.open(tmp_path / "memory")


def test_a_disk_that_cannot_be_written_can_still_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = filled(tmp_path / "memory")
    before = memory.digest

    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("finer_rewards.memory.segments.os.open", refuse)
    again = TraceMemory.open(tmp_path / "memory")
    assert again.digest == before
    assert again.search(["count the rows"], ["b"])[0].verified
    extra = tmp_path / "extra.jsonl"
    extra.write_text(json.dumps({"text": "sort the rows", "db": "a"}))
    with pytest.raises(ConfigError, match=r"writable.*Read-only file system"):
        again.import_(extra)
    assert again.digest == before


def test_a_full_disk_loses_nothing_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = filled(tmp_path / "memory")
    extra = tmp_path / "extra.jsonl"
    extra.write_text(json.dumps({"text": "sort the rows", "db": "a"}))
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) > 50:
            return write(descriptor, data[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("finer_rewards.memory.segments.os.write", half)
    with pytest.raises(ConfigError, match="No space left"):
        memory.import_(extra)
    monkeypatch.undo()
    assert len(memory) == 4
    assert memory.import_(extra) == 1
    again = TraceMemory.open(tmp_path / "memory")
    assert len(again) == 5
    assert again.verify().ok
