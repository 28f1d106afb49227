"""The neighbours on disk: for each database a folder with a record for each gold, and the files that these name.

    HOME/golds/GOLD.json       the record of one gold: its neighbours, and what they expose
    HOME/INSTANCE.sqlite       a neighbour, named by the digest of its content; golds may share it
    HOME/manifest.json         all records together, written by `testsuite build`

Every file appears whole or not at all, so processes can share a folder without waiting for each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from finer_rewards._util.atomic_files import replacing
from finer_rewards._util.lossless_json import parse_json
from finer_rewards._util.sql_text import normalise
from finer_rewards.errors import ConfigError
from finer_rewards.executing.siblings import neighbours_cache

#: Raised when a change of the code gives the same database and gold other neighbours.
GENERATOR: Final = 11
_MANIFEST: Final = "manifest.json"
_PAUSE = 0.02
_LARGEST: Final = 1 << 53
_KINDS: Final[Mapping[Any, type]] = {
    "str": str,
    "int": int,
    "bool": bool,
}  # as the fields of records declare them


@dataclass(frozen=True)
class Neighbour:
    """One neighbour.

    Args:
        file: the name of its file.
        recipe: how it was made.
        rows: its number of rows.
        bytes: the size of the file.
        digest: the digest of its content.
    """

    file: str
    recipe: str
    rows: int
    bytes: int
    digest: str


@dataclass(frozen=True)
class GoldReport:
    """The record of one gold: its neighbours, and what they expose.

    Args:
        sql: the gold, as given.
        source: digest of the database's content.
        seed: the seed that its neighbours were made with.
        most: how many neighbours it may have.
        instances: its neighbours, the most telling first.
        mutants: how many near misses and guesses are not known to be equivalent.
        equivalent: how many near misses mean the same as the gold, given the keys and references that the data (and so
            every neighbour) obeys.
        killed: how many near misses return another result than the gold on some neighbour.
        pinned: true when the gold has another result on some neighbour, so that a recited result fails.
        problem: why the gold is not pinned; empty when it is.
        survivors: the near misses that no neighbour exposes, each with its kind.
        notes: what of the database could not be copied.
        generator: the version of the code that made them.
    """

    sql: str
    source: str = ""
    seed: int = 0
    most: int = 0
    instances: tuple[Neighbour, ...] = ()
    mutants: int = 0
    equivalent: int = 0
    killed: int = 0
    pinned: bool = False
    problem: str = ""
    survivors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    generator: int = GENERATOR

    @property
    def kill_rate(self) -> float | None:
        """The share of near misses killed; `None` when there are none."""
        return self.killed / self.mutants if self.mutants else None


@dataclass(frozen=True)
class Suite:
    """The neighbours of one database.

    Args:
        folder: the folder that holds them.
        source: name of the database file.
        digest: digest of its content.
        golds: the record of each gold.
    """

    folder: Path
    source: str
    digest: str
    golds: tuple[GoldReport, ...]

    @property
    def instances(self) -> tuple[Neighbour, ...]:
        """All neighbours without repeats; golds may share some."""
        return tuple({one.digest: one for gold in self.golds for one in gold.instances}.values())

    @property
    def paths(self) -> tuple[str, ...]:
        """The files of all neighbours."""
        return tuple(str(self.folder / one.file) for one in self.instances)

    @property
    def notes(self) -> tuple[str, ...]:
        """What of the database could not be copied."""
        return tuple(dict.fromkeys(note for gold in self.golds for note in gold.notes))

    @property
    def kill_rate(self) -> float | None:
        """The share of all near misses killed; `None` when there are none."""
        mutants = sum(one.mutants for one in self.golds)
        return sum(one.killed for one in self.golds) / mutants if mutants else None

    def report(self, gold: str) -> GoldReport | None:
        """Return the record of a gold; `None` if no neighbours were made for it."""
        text = normalise(gold)
        return next((one for one in self.golds if normalise(one.sql) == text), None)

    def knows(self, gold: str) -> bool:
        """Return whether the neighbours were made for this gold."""
        return self.report(gold) is not None

    def paths_for(self, gold: str) -> tuple[str, ...]:
        """Return the files of a gold's neighbours; none if no neighbours were made for it."""
        found = self.report(gold)
        return () if found is None else tuple(str(self.folder / one.file) for one in found.instances)


def neighbours_folder(db: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder for the neighbours of a database file: beside it, or under another folder, by its id.

    Example:
        >>> neighbours_folder("databases/concert/concert.sqlite").as_posix()
        'databases/concert/neighbours'
        >>> neighbours_folder("databases/concert.sqlite").as_posix()
        'databases/concert/neighbours'
    """
    path = Path(db)
    if folder is not None:
        return Path(folder) / path.stem / "neighbours"
    home = path.parent if path.parent.name == path.stem else path.parent / path.stem
    return home / "neighbours"


def report_path(home: Path, gold: str) -> Path:
    """Return the path of a gold's record."""
    return home / "golds" / _report_name(gold)


@lru_cache(maxsize=8192)
def _report_name(gold: str) -> str:
    return f"{sha256(normalise(gold).encode(errors='replace')).hexdigest()[:16]}.json"


def read_report(home: Path, gold: str, source: str) -> GoldReport | None:
    """Return the record of a gold, for a database with the content `source`.

    `None` when there is none, or it is damaged, was made from another content or by another generator.
    """
    path = f"{home}/golds/{_report_name(gold)}"
    try:
        seen = os.stat(path)  # noqa: PTH116  # every step of a training looks: a Path takes four times as long
        found = _report(path, seen.st_ino, seen.st_size, seen.st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    current = found.source == source and found.generator == GENERATOR
    return found if current and (found.sql == gold or normalise(found.sql) == normalise(gold)) else None


@lru_cache(maxsize=8192)
def _report(path: str, *_state: int) -> GoldReport:
    """Return the record in a file, checked; read only once for each state of the file."""
    found: Mapping[str, Any] = parse_json(Path(path).read_text(encoding="utf-8"))
    values = {one.name: found[one.name] for one in fields(GoldReport)}
    instances = tuple(Neighbour(**one) for one in values["instances"])
    for record, kind in ((values, GoldReport), *((vars(one), Neighbour) for one in instances)):
        for field in fields(kind):
            value = record[field.name]
            if field.type in _KINDS and type(value) is not _KINDS[field.type]:
                raise TypeError(f"{field.name} is of another type")
            if isinstance(value, int) and abs(value) > _LARGEST:
                raise ValueError(f"{field.name} is too large")
    if not all(isinstance(text, str) for text in (*values["survivors"], *values["notes"])):
        raise TypeError("a note is no text")
    for one in instances:
        if not (len(one.digest) >= 16 and one.file == f"{one.digest[:16]}.sqlite" and one.digest.isalnum()):
            raise ValueError(f"{one.file!r} is no file of a neighbour")
    return GoldReport(
        **{
            **values,
            "instances": instances,
            "survivors": tuple(values["survivors"]),
            "notes": tuple(values["notes"]),
        }
    )


def store_report(home: Path, report: GoldReport, contents: Mapping[str, bytes]) -> None:
    """Write the record of a gold, after the files that it names.

    Args:
        home: the folder of the database's neighbours.
        report: the record.
        contents: file name -> content of each neighbour.
    """
    path = report_path(home, report.sql)
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        if not (home / name).exists():
            with replacing(home / name) as draft:
                draft.write_bytes(content)
    text = json.dumps(asdict(report), ensure_ascii=False)
    with replacing(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def write_manifest(suite: Suite) -> None:
    """Write all records into one file, for people and their scripts."""
    record = {
        "format": GENERATOR,
        "source": suite.source,
        "digest": suite.digest,
        "kill_rate": suite.kill_rate,
        "instances": [asdict(one) for one in suite.instances],
        "golds": [{**asdict(one), "kill_rate": one.kill_rate} for one in suite.golds],
        "notes": suite.notes,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    with replacing(suite.folder / _MANIFEST) as draft:
        draft.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def read_suite(
    db: str | os.PathLike[str], digest: str, *, folder: str | os.PathLike[str] | None = None
) -> Suite:
    """Return the neighbours built for a database file, beside it or under a folder.

    Raises:
        ConfigError: there are none for the database's present content.
    """
    path = Path(db).absolute()
    home = neighbours_folder(path, folder)
    found = []
    others = 0
    for file in sorted((home / "golds").glob("*.json")):
        try:
            seen = file.stat()
            report = _report(str(file), seen.st_ino, seen.st_size, seen.st_mtime_ns)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if report.source == digest and report.generator == GENERATOR:
            found.append(report)
        else:
            others += 1
    if not found:
        why = "were made from another content, or by another version" if others else "are not there"
        raise ConfigError(
            f"{path} should have neighbours in {home}, but they {why}. "
            f"Build them: finer-rewards testsuite build --db {path} --gold FILE."
        )
    return Suite(home, path.name, digest, tuple(found))


def suites_digest(under: str | os.PathLike[str]) -> str:
    """Return a digest of all neighbours under a folder; empty if there are none.

    Args:
        under: the folder that holds them as `ID/neighbours`.
    """
    found = set()
    for file in Path(under).glob("*/neighbours/golds/*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            seen = file.stat()
            report = _report(str(file), seen.st_ino, seen.st_size, seen.st_mtime_ns)
            found.add(f"{report.source}:{report.sql}:{[one.digest for one in report.instances]}")
    return sha256("\n".join(sorted(found)).encode(errors="replace")).hexdigest()[:16] if found else ""


def cached(report: GoldReport, home: Path) -> bool:
    """Copy the neighbours of a gold into the cache, where executors look for their ids.

    Returns:
        False when a file is missing, or its content is not the one in the record; nothing else gets into the cache.
    """
    cache = neighbours_cache(report.source)
    for one in report.instances:
        place = cache / one.file
        if not place.exists():
            try:
                content = (home / one.file).read_bytes()
            except OSError:
                return False
            if sha256(content).hexdigest() != one.digest:
                return False
            place.parent.mkdir(parents=True, exist_ok=True)
            with replacing(place) as draft:
                draft.write_bytes(content)
    return True


@contextlib.contextmanager
def locked(home: Path, *, patience: float) -> Iterator[None]:
    """Let one process at a time work in a folder; after `patience` seconds go on without the lock.

    The system releases the lock when a process ends. Work done twice does no harm, since files appear whole.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("wb") as file:
        end = time.monotonic() + patience
        while time.monotonic() < end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(_PAUSE)
        yield


def unique_golds(golds: Iterable[str]) -> list[str]:
    """Return the golds without those that differ from an earlier one only in white space."""
    found: dict[str, str] = {}
    for gold in golds:
        found.setdefault(normalise(gold), gold)
    return list(found.values())
