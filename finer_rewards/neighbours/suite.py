"""The neighbours of a database on disk: `ID/neighbours/NN.sqlite`, and `manifest.json` that says what they do."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from finer_rewards._sqlite_catalog import quote
from finer_rewards.engines.sqlite.files import SQLiteFile, resolve_database
from finer_rewards.errors import ConfigError
from finer_rewards.neighbours.generating import Instance
from finer_rewards.neighbours.source import Source
from finer_rewards.replacing import take_place
from finer_rewards.sql_text import normalise

__all__ = [
    "GoldReport",
    "Neighbour",
    "Suite",
    "neighbours_folder",
    "neighbours_of",
    "read_suite",
    "suites_digest",
]

_FORMAT: Final = 2
_MANIFEST: Final = "manifest.json"


@dataclass(frozen=True)
class Neighbour:
    """One instance: its file, how it was made, its rows and bytes, and a digest of them."""

    file: str
    recipe: str
    rows: int
    bytes: int
    digest: str


@dataclass(frozen=True)
class GoldReport:
    """What the neighbours do for one gold.

    Args:
        sql: the gold, as given.
        mutants: its near misses and guesses that run and are not known to be equivalent.
        equivalent: near misses left out, for they mean the same where keys and references hold that the data
            obeys (and so does every neighbour).
        killed_by_source: near misses that already the database itself tells from the gold.
        killed: near misses that the database or a neighbour tells from the gold.
        serves: the neighbours on which the gold can be used, by number.
        pinned: true when some neighbour gives it another result, so that a recited result fails.
        problem: why it cannot be pinned down; empty when it is.
        survivors: the near misses that live, each with its kind.
    """

    sql: str
    mutants: int = 0
    equivalent: int = 0
    killed_by_source: int = 0
    killed: int = 0
    serves: tuple[int, ...] = ()
    pinned: bool = False
    problem: str = ""
    survivors: tuple[str, ...] = ()

    @property
    def kill_rate(self) -> float | None:
        """The share of near misses killed; `None` when there are none."""
        return self.killed / self.mutants if self.mutants else None


@dataclass(frozen=True)
class Suite:
    """The neighbours of one database.

    Args:
        folder: where they lie.
        source: name of the database file.
        digest: digest of the database they were made from.
        seed: the seed they were made with.
        instances: the neighbours, the most telling first.
        golds: what they do for each gold.
        notes: what of the database could not be taken over.
    """

    folder: Path
    source: str
    digest: str
    seed: int
    instances: tuple[Neighbour, ...]
    golds: tuple[GoldReport, ...]
    notes: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """The files of all neighbours."""
        return tuple(str(self.folder / one.file) for one in self.instances)

    @property
    def kill_rate(self) -> float | None:
        """The share of all near misses killed; `None` when there are none."""
        mutants = sum(one.mutants for one in self.golds)
        return sum(one.killed for one in self.golds) / mutants if mutants else None

    def knows(self, gold: str) -> bool:
        """Return whether the neighbours were made for this gold."""
        return normalise(gold) in self._serving

    def paths_for(self, gold: str) -> tuple[str, ...]:
        """Return the neighbours on which a gold can be used; none for a gold that they were not made for."""
        return self._serving.get(normalise(gold), ())

    @cached_property
    def _serving(self) -> dict[str, tuple[str, ...]]:
        paths = self.paths
        return {normalise(one.sql): tuple(paths[number] for number in one.serves) for one in self.golds}

    def write_manifest(self) -> None:
        """Write the manifest into the folder."""
        record = {
            "format": _FORMAT,
            "source": self.source,
            "digest": self.digest,
            "seed": self.seed,
            "kill_rate": self.kill_rate,
            "instances": [asdict(one) for one in self.instances],
            "golds": [{**asdict(one), "kill_rate": one.kill_rate} for one in self.golds],
            "notes": self.notes,
        }
        text = json.dumps(record, indent=1, ensure_ascii=False)
        (self.folder / _MANIFEST).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def neighbours_folder(db: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None) -> Path:
    """Return where the neighbours of a database file lie: beside it, or under another folder, by its id.

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


def neighbours_of(
    db: str | os.PathLike[str], gold: str | None = None, *, folder: str | os.PathLike[str] | None = None
) -> tuple[str, ...]:
    """Return the files of a database's neighbours, for `Sample(db=(path, *neighbours_of(path, gold)))`.

    Args:
        db: the path of the database file.
        gold: leave out the neighbours on which this gold cannot be used (its LIMIT cuts a tie there, say);
            of a gold that the neighbours were not made for, nothing is known, and there are none.
            `None` returns all.
        folder: where the neighbours were put, if not beside the database.

    Raises:
        ConfigError: there are none, or the database is no longer the one they were made from.
    """
    suite = read_suite(db, folder=folder)
    return suite.paths if gold is None else suite.paths_for(gold)


def read_suite(db: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None) -> Suite:
    """Return the neighbours built for a database file.

    Raises:
        ConfigError: there are none, or the database is no longer the one they were made from.
    """
    path = resolve_database(str(Path(db).absolute()))
    home = neighbours_folder(path, folder)
    build = f"Build them: finer-rewards testsuite build --db {path} --gold FILE."
    try:
        found: Mapping[str, Any] = json.loads((home / _MANIFEST).read_text(encoding="utf-8"))
        if found["format"] != _FORMAT:
            raise ValueError(f"its format is {found['format']}")
        suite = Suite(
            home,
            found["source"],
            found["digest"],
            found["seed"],
            tuple(Neighbour(**one) for one in found["instances"]),
            tuple(_report(one) for one in found["golds"]),
            tuple(found["notes"]),
        )
    except FileNotFoundError:
        raise ConfigError(f"{path} should have neighbours in {home}, but there are none. {build}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{home / _MANIFEST} should describe neighbours, but it cannot be used: {error}. {build}"
        ) from None
    if suite.digest != SQLiteFile.look(path).digest():
        raise ConfigError(
            f"The neighbours in {home} should be those of {path}, but were made from another content. {build}"
        )
    return suite


def suites_digest(under: str | os.PathLike[str], homes: Iterable[Path] = ()) -> str:
    """Return what tells the neighbours in a folder from others: a digest of their manifests; empty without any.

    A manifest holds the digest of each neighbour and which golds it serves. It is read once for each state of
    the file.

    Args:
        under: the folder in which they lie as `ID/neighbours`.
        homes: folders of further neighbours.
    """
    found = set()
    for manifest in {*Path(under).glob(f"*/neighbours/{_MANIFEST}"), *(home / _MANIFEST for home in homes)}:
        try:
            seen = manifest.stat()
            found.add(_digest(str(manifest.absolute()), seen.st_ino, seen.st_size, seen.st_mtime_ns))
        except OSError:
            continue
    return sha256("".join(sorted(found)).encode()).hexdigest()[:16] if found else ""


@lru_cache(maxsize=4096)
def _digest(path: str, *_state: int) -> str:
    return sha256(Path(path).read_bytes()).hexdigest()


def _report(found: Mapping[str, Any]) -> GoldReport:
    values: dict[str, Any] = {name: value for name, value in found.items() if name != "kill_rate"}
    return GoldReport(
        **{**values, "serves": tuple(values["serves"]), "survivors": tuple(values["survivors"])}
    )


def write_instance(path: Path, source: Source, instance: Instance) -> int:
    """Write an instance as a database, and return its number of rows.

    What the schema forbids (a CHECK, say) is left out, so the schema always holds.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")
        # What a statement refers to may come later, and what this SQLite lacks is lacking in the source too.
        for statement in source.script:
            _try(connection, statement)
        for name, rows in instance.tables.items():
            table = source.tables[name]
            places = ", ".join("?" * len(table.columns))
            insert = (
                f"INSERT OR IGNORE INTO {quote(table.name)} ({', '.join(map(quote, table.columns))})"
                f" VALUES ({places})"
            )
            for row in rows:
                _try(connection, insert, row)
        connection.execute("COMMIT")
        return sum(
            int(connection.execute(f"SELECT count(*) FROM {quote(table.name)}").fetchone()[0])
            for table in source.tables.values()
        )


def _try(connection: sqlite3.Connection, statement: str, values: tuple[Any, ...] = ()) -> None:
    try:
        connection.execute(statement, values)
    except (sqlite3.Error, OverflowError, UnicodeError):
        return


def install(draft: Path, home: Path) -> None:
    """Put a finished folder in the place of an older one, which is removed if it was made here."""
    if home.exists() and not (home / _MANIFEST).exists() and any(home.iterdir()):
        raise ConfigError(
            f"{home} should be a folder of neighbours, but it holds something else. Move it away, or pass -o."
        )
    home.parent.mkdir(parents=True, exist_ok=True)
    take_place(draft, home)
