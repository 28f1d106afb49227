"""Reading every byte of a memory's folder, to check it or to save what can be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from finer_rewards.errors import ConfigError
from finer_rewards.memory.store import Damage, Entry, Record, Store, replace_file

__all__ = ["Verification", "repair_folder", "verify_folder"]


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Args:
        verified: number of verified traces.
        failed: number of failed traces.
        damages: bytes that hold no whole record, cut ends included.
        problems: what is wrong; empty when all is well. A cut end is not a problem.
    """

    verified: int
    failed: int
    damages: tuple[Damage, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when every record ever written whole can be read."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        torn = sum(damage.torn for damage in self.damages)
        lines = [f"{self.verified} verified and {self.failed} failed traces"]
        lines += [f"{torn} unfinished records at the end of a segment, ignored"] if torn else []
        return "\n".join([*lines, *self.problems])


def verify_folder(path: str | Path) -> Verification:
    """Read every segment of a memory and check it; needs neither its embedder nor numpy.

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
        What was found in the old folder: the bytes in `damages` are not in the copy.

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
            replace_file(target / name, (source / name).read_bytes())
    store = Store(target)
    store.append(entries)
    store.close()
    return found


def _read(folder: Path) -> tuple[list[Entry], Verification]:
    if not (folder / "memory.json").exists():
        raise ConfigError(
            f"`{folder}` should hold a memory, but there is no memory.json in it. Check the path."
        )
    store = Store(folder)
    entries = list(store.read_new())
    damages = tuple(damage for found in store.damages.values() for damage in found)
    records = {entry.trace.key: entry for entry in entries if isinstance(entry, Record)}
    problems = [
        f"{damage.file}: {damage.size} bytes at {damage.start} are corrupt"
        for damage in damages
        if not damage.torn
    ]
    sizes = Counter(len(record.vector) // 2 for record in records.values())
    if len(sizes) > 1:
        problems.append(f"vectors of different lengths: {dict(sizes)}")
    verified = sum(record.trace.verified for record in records.values())
    return entries, Verification(verified, len(records) - verified, damages, tuple(problems))
