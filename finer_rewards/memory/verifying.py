"""Checking every byte of a memory's folder (`verify`), and copying what can be read to a new one (`repair`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from finer_rewards._util.extras import optional
from finer_rewards.errors import ConfigError, DataError
from finer_rewards.memory.embedders import HashingEmbedder
from finer_rewards.memory.manifest import agreed_embedder, checked_centres
from finer_rewards.memory.segments import (
    Damage,
    Entry,
    Record,
    SegmentStore,
    file_content,
    is_unit,
    replace_file,
)
from finer_rewards.memory.thought_embedder import ThoughtEmbedder


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Args:
        verified: number of verified traces.
        failed: number of failed traces.
        damages: bytes that hold no whole record, incomplete records at the end of a file included.
        problems: what is wrong; empty when all is well. An incomplete record at the end of a file is no problem.
        remade: true if the vectors were made again from their texts and compared.
    """

    verified: int
    failed: int
    damages: tuple[Damage, ...] = ()
    problems: tuple[str, ...] = ()
    remade: bool = False

    @property
    def ok(self) -> bool:
        """Whether every record that was written completely can be read."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        torn = sum(damage.torn for damage in self.damages)
        lines = [f"{self.verified} verified and {self.failed} failed traces"]
        lines += [f"{torn} unfinished records at the end of a segment, ignored"] if torn else []
        if not self.remade and self.verified + self.failed:
            lines.append(
                "vectors taken as they are: only those of the hashing embedder are made again (by numpy)"
            )
        return "\n".join([*lines, *self.problems])


def verify_folder(path: str | Path) -> Verification:
    """Read every segment of a memory and check it; needs neither its embedder nor numpy.

    Vectors should be of length 1. Those of the hashing embedder are made again and compared, if NumPy is there: a
    vector that differs from that of its text was planted.

    Raises:
        ConfigError: there is no memory in the folder.
    """
    return _read(Path(path))[1]


def repair_folder(path: str | Path, to: str | Path) -> Verification:
    """Copy all that can be read of a memory to a new folder; the old one stays as it is.

    Args:
        path: folder of the damaged memory.
        to: folder to make; must not exist.

    Returns:
        The verification of the old folder; the bytes in its `damages` are not in the copy.

    Raises:
        ConfigError: `to` exists, or there is no memory in `path`.
    """
    source, target = Path(path), Path(to)
    if target.exists():
        raise ConfigError(
            f"`repair(to=...)` should be a new folder, but {str(target)!r} exists. Name another."
        )
    entries, found = _read(source)
    (target / "segments").mkdir(parents=True)
    for name in ("memory.json", "centre.json"):
        if (source / name).exists():
            replace_file(target / name, file_content(source / name))
    store = SegmentStore(target)
    store.append(entries)
    store.close()
    return found


def _read(folder: Path) -> tuple[list[Entry], Verification]:
    if not (folder / "memory.json").exists():
        raise ConfigError(
            f"`{folder}` should hold a memory, but there is no memory.json in it. Check the path."
        )
    store = SegmentStore(folder)
    entries = list(store.read_new())
    damages = tuple(damage for found in store.damages.values() for damage in found)
    problems = [
        f"{damage.file}: {damage.size} bytes at {damage.start} are corrupt"
        f"{': ' if damage.reason else ''}{damage.reason}"
        for damage in damages
        if not damage.torn
    ]
    good: list[Entry] = []
    records: dict[str, Record] = {}
    planted = 0
    for entry in entries:
        if isinstance(entry, Record):
            if not is_unit(entry.vector):
                planted += 1
                continue
            records[entry.trace.key] = entry
        good.append(entry)
    if planted:
        problems.append(f"{planted} vectors are not of length 1")
    sizes = Counter(len(record.vector) // 2 for record in records.values())
    if len(sizes) > 1:
        problems.append(f"vectors of different lengths: {dict(sizes)}")
    differences: list[str] | None
    try:
        differences = _compared(folder, store, list(records.values()))
    except DataError as error:
        differences = [str(error)]
    except ConfigError:
        # The folder names an embedder that must not be loaded just because a folder names it.
        differences = None
    problems += differences or []
    verified = sum(record.trace.verified for record in records.values())
    remade = differences is not None
    return good, Verification(verified, len(records) - verified, damages, tuple(problems), remade)


def _compared(folder: Path, store: SegmentStore, records: list[Record]) -> list[str] | None:
    """Return what is wrong with the vectors of a memory that uses the hashing embedder; `None` for any other memory."""
    embedder, flags = agreed_embedder(folder, None, None, None, create=False)
    if not isinstance(embedder, HashingEmbedder) or optional("numpy") is None:
        return None
    import numpy as np

    thought_embedder = ThoughtEmbedder(embedder, masks=flags["delexicalise"], centres=flags["centre"])
    problems: list[str] = []
    if flags["centre"]:
        learnt = thought_embedder.learn_centres()
        if (folder / "centre.json").exists():
            kept = checked_centres(
                folder / "centre.json",
                store.describe_once("centre.json", {}),
                thought_embedder.parts,
                embedder.dimension,
            )
            if np.shape(kept) != np.shape(learnt) or not np.allclose(kept, learnt, atol=1e-3):
                problems.append(f"centre.json does not hold the means that {embedder.fingerprint} makes")
        thought_embedder.use_centres(learnt)
    columns = ([getattr(record.trace, name) for record in records] for name in ("text", "question", "sql"))
    strange = 0
    for record, made in zip(records, thought_embedder.vectors(*columns), strict=True):
        held = np.frombuffer(record.vector, dtype="<f2").astype(np.float32)
        strange += made is None or len(made) != len(held) or not np.allclose(made, held, atol=0.01)
    if strange:
        problems.append(f"{strange} vectors are not those of their texts")
    return problems
