"""The ids of siblings (neighbours) of a database, and where their files lie in the cache folder.

An id names a sibling by the digests of both contents, so that the machine that holds the cache finds the file.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

_ID = re.compile(r".*#neighbour-([0-9a-f]{16})-([0-9a-f]{16})", re.DOTALL)


class Siblings(NamedTuple):
    """The siblings on which a gold can be judged.

    Args:
        dbs: their ids, which an executor takes in place of the database.
        error: why there are none; empty when there are.
    """

    dbs: tuple[str, ...] = ()
    error: str = ""


def cache_folder() -> Path:
    """Return the folder for files that can be remade: $FINER_REWARDS_CACHE, else `finer-rewards` in the user's cache.

    The user's cache is $XDG_CACHE_HOME, else `~/.cache`.
    """
    own = os.environ.get("FINER_REWARDS_CACHE")
    if own:
        return Path(own).absolute()
    users = os.environ.get("XDG_CACHE_HOME")
    if users:
        return Path(users).absolute() / "finer-rewards"
    try:
        return Path.home() / ".cache" / "finer-rewards"
    except RuntimeError:
        # A user without a home folder.
        return Path(tempfile.gettempdir()) / f"finer-rewards-{os.getuid()}"


def neighbours_cache(content: str) -> Path:
    """Return the cache folder of the neighbours of a database with this content."""
    return cache_folder() / "neighbours" / content[:16]


def sibling_id(db: str, content: str, instance: str) -> str:
    """Return the id of a sibling.

    Args:
        db: the database as the sample names it; only for people who read the id.
        content: digest of the database's content.
        instance: digest of the sibling's content.

    Example:
        >>> sibling_id("concert", "0123456789abcdef0123", "fedcba98765432100000")
        'concert#neighbour-0123456789abcdef-fedcba9876543210'
    """
    return f"{db}#neighbour-{content[:16]}-{instance[:16]}"


def sibling_path(db: str) -> Path | None:
    """Return the file that the id of a sibling means; `None` for a text that is no such id."""
    found = _ID.fullmatch(db)
    return neighbours_cache(found[1]) / f"{found[2]}.sqlite" if found else None
