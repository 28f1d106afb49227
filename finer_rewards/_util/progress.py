"""A progress bar on standard error, shown only if that is a terminal."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType


class Progress:
    """Counts towards a total: `with Progress("scored", 1034) as bar: bar.advance(256)`."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._started = time.monotonic()
        self._shown = sys.stderr.isatty() and total > 0

    def __enter__(self) -> Progress:
        self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hide()

    def advance(self, count: int) -> None:
        """Move the bar: `count` more are done."""
        self._done += count
        self._draw()

    def hide(self) -> None:
        """Remove the bar, so that something else can be written."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _draw(self) -> None:
        if not self._shown:
            return
        if self._done >= self._total:
            self.hide()
            return
        spent = time.monotonic() - self._started
        left = (
            f", {spent / self._done * (self._total - self._done):.0f} s left"
            if self._done and spent > 1
            else ""
        )
        text = f" {self._done}/{self._total} {self._what}{left}"
        room = min(30, shutil.get_terminal_size().columns - len(text) - 2)
        filled = room * self._done // self._total
        bar = f"{'█' * filled}{'░' * (room - filled)}" if room >= 5 else ""
        sys.stderr.write(f"\r\x1b[K{bar}{text}")
        sys.stderr.flush()
