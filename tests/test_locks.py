"""A lock that no fork leaves held."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable

import pytest
from bounds import LONG

from finer_rewards import operations
from finer_rewards._util.locks import ForkSafeLock
from finer_rewards.operations import guard, sql_operations

DEEP = "SELECT " + "(" * 60 + "1" + ")" * 60


def ends(work: Callable[[], object]) -> bool:
    """True when a forked child gets through the work."""
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    for _ in range(200):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("lock", "work"),
    [
        (operations._lock, lambda: sql_operations("SELECT 1")),
        (guard._stack_lock, lambda: guard.with_deep_stack(lambda: sql_operations(DEEP))),
    ],
)
def test_a_child_forked_while_another_thread_holds_it_goes_on(
    lock: ForkSafeLock, work: Callable[[], object]
) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait(LONG)

    def take() -> None:
        with lock:
            pass
        work()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(LONG)
        assert ends(take)
    finally:
        done.set()
        holder.join()


def test_it_pickles_as_one_that_is_free() -> None:
    lock = ForkSafeLock()
    with lock, pickle.loads(pickle.dumps(lock)):
        pass
