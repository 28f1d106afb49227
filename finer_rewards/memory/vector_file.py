"""A cache of vectors on disk, by text and embedder, so that a run that is started again embeds nothing twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Final

from finer_rewards.memory.segments import is_unit

# Keys in one statement; SQLite limits the number of parameters.
_AT_ONCE: Final = 500
# Seconds to wait while another process writes.
_PATIENCE: Final = 10.0


class VectorFile:
    """A SQLite file that several processes may share. Vectors that cannot be read from it are made again.

    Args:
        folder: its folder, made when it is missing.
        fingerprint: that of the embedder; the same file may hold vectors of other embedders.
    """

    def __init__(self, folder: str | Path, fingerprint: str) -> None:
        self.path = Path(folder) / "embeddings.sqlite"
        self._fingerprint = fingerprint

    def get(self, texts: Sequence[str]) -> dict[str, bytes]:
        """Return the vectors of those texts that are known, as the bytes of float16 numbers."""
        keys = {self._key(text): text for text in texts}
        found: dict[str, bytes] = {}
        waiting = iter(keys)
        if not self.path.exists():
            return found
        try:
            with self._opened() as opened:
                while some := list(islice(waiting, _AT_ONCE)):
                    marks = ",".join("?" * len(some))
                    rows = opened.execute(f"SELECT key, vector FROM vectors WHERE key IN ({marks})", some)
                    found.update({keys[key]: vector for key, vector in rows if _is_vector(vector)})
        except (sqlite3.Error, KeyError):
            return {}
        return found

    def put(self, vectors: Mapping[str, bytes]) -> None:
        """Keep vectors, if the file can be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as opened, opened:
                opened.execute(
                    "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID"
                )
                rows = ((self._key(text), vector) for text, vector in vectors.items())
                opened.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError):
            return

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        # Opened anew each time, because a connection does not survive a fork.
        with closing(sqlite3.connect(self.path, timeout=_PATIENCE)) as opened:
            opened.execute("PRAGMA journal_mode = WAL")
            yield opened

    def _key(self, text: str) -> bytes:
        return sha256(f"{self._fingerprint}\0{text}".encode("utf-8", "surrogatepass")).digest()


def _is_vector(found: object) -> bool:
    return isinstance(found, bytes) and len(found) % 2 == 0 and is_unit(found)
