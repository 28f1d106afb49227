"""Keeps sqlglot's warnings out of the user's log while this library parses."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_here = threading.local()


def _loud(record: logging.LogRecord) -> bool:
    return not getattr(_here, "quiet", False)


@contextmanager
def quiet_sqlglot() -> Iterator[None]:
    """Drop what sqlglot logs in this thread during the block; other threads and uses of sqlglot are not affected."""
    # The filter stays for good; adding it again has no effect.
    logging.getLogger("sqlglot").addFilter(_loud)
    before = getattr(_here, "quiet", False)
    _here.quiet = True
    try:
        yield
    finally:
        _here.quiet = before
