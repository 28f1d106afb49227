"""For the drivers of the trainer tests, which are processes of their own: SQL workers die while they score."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["losing_workers"]


@contextmanager
def losing_workers(kills: int = 3, pause: float = 0.2) -> Iterator[list[int]]:
    """Kill so many SQL workers below this process, one after the other, and yield the list of those killed."""
    import psutil  # here, so that collecting this file needs nothing

    killed: list[int] = []
    stop = threading.Event()

    def kill() -> None:
        while len(killed) < kills and not stop.wait(pause):
            for child in psutil.Process().children(recursive=True):
                try:
                    if any("executing/launch.py" in part for part in child.cmdline()):
                        child.kill()
                        killed.append(child.pid)
                        break
                except psutil.Error:  # it ended by itself
                    continue

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()
