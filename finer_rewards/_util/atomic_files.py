"""Writes files and folders so that they appear whole or not at all: a reader sees the old content or the new one.

While a folder is replaced, a reader may for a moment find none.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path, *, durable: bool = False, exclusive: bool = False) -> Iterator[Path]:
    """Yield a path beside `path`; the file or folder made there takes its place when the block ends.

    If the block fails or is interrupted, the previous file or folder stays.

    Args:
        path: the file or folder to write.
        durable: whether to wait until the content of a file is on the disk, before the file gets its name.
        exclusive: whether a file that is there when the block ends stays, and the new one is dropped: of several
            writers, the first wins.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.txt")
        ...     with replacing(path) as draft:
        ...         _ = draft.write_text("whole")
        ...     path.read_text(), len(list(Path(folder).iterdir()))
        ('whole', 1)
    """
    draft = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        yield draft
        if durable:
            sync(draft)
        if exclusive:
            _claim(draft, path)
        else:
            _take_place(draft, path)
        if durable:
            sync(path.parent)
    finally:
        _remove(draft)


def _take_place(draft: Path, path: Path) -> None:
    """Put a finished file or folder in the place of `path`, on the same file system."""
    if not path.is_dir():
        draft.replace(path)
        return
    # A folder that is not empty cannot be replaced in one step; if the second step fails, the old one is put back.
    old = path.with_name(f".{path.name}.{uuid4().hex}.old")
    path.replace(old)
    try:
        draft.replace(path)
    except BaseException:
        old.replace(path)
        raise
    _remove(old)


def _claim(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    except OSError:
        # The file system has no hard links. Between this look and the renaming another writer may still come first.
        if not path.exists():
            draft.rename(path)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
