"""The files of databases that were given as text: in the cache folder, by the content of the text."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from hashlib import blake2b
from itertools import count
from pathlib import Path

from finer_rewards._util.atomic_files import replacing
from finer_rewards.executing.siblings import cache_folder

#: Bytes that the files may take together; beyond, those go whose last use is the longest ago.
MOST_BYTES = 4 << 30
# A file that was used so few seconds ago stays: a batch that has looked it up may not have opened it yet.
_IN_USE = 3600
# Use is noted in the file's time only this often: another time is another state, of which no result is known.
_NOTED_EVERY = 600
# The folder is looked through at the first file that a process keeps, and then at each of so many.
_BETWEEN = 64
_KEPT = count()


def text_file(text: str) -> Path:
    """Return where the database lies that a text makes, if it was made."""
    name = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
    return cache_folder() / "texts" / f"{name}.sqlite"


def is_kept(path: Path) -> bool:
    """Return whether the file of a text is there, and note that it is used."""
    try:
        if time.time() - path.stat().st_mtime > _NOTED_EVERY:
            os.utime(path)
    except FileNotFoundError:
        return False
    # The cache folder is somebody else's, who alone may write there.
    except OSError:
        return path.exists()
    return True


def keep_text_file(path: Path, content: bytes) -> None:
    """Write the file of a text. Now and then the oldest are removed, which are made again when asked for.

    Raises:
        OSError: the cache folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_bytes(content)
    if next(_KEPT) % _BETWEEN == 0:
        _remove_oldest(path.parent, MOST_BYTES)


def _remove_oldest(folder: Path, most: int) -> None:
    in_use = time.time_ns() - _IN_USE * 10**9
    files = []
    for path in folder.iterdir():
        # Another process may have removed it.
        with suppress(FileNotFoundError):
            seen = path.stat()
            files.append((seen.st_mtime_ns, seen.st_size, path))
    total = sum(size for _, size, _ in files)
    for used, size, path in sorted(files):
        if total <= most or used > in_use:
            return
        path.unlink(missing_ok=True)
        total -= size
