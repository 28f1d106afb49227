"""Keeps sqlglot's warnings out of the log while this library parses."""

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
    """Drop what sqlglot logs in this thread; other threads and other users of sqlglot are not touched."""
    logging.getLogger("sqlglot").addFilter(_loud)  # adding it twice is adding it once
    before = getattr(_here, "quiet", False)
    _here.quiet = True
    try:
        yield
    finally:
        _here.quiet = before
