"""The part of a worker process that all engines share: the protocol, the loop that answers requests, the confinement.

A worker can be killed at any moment without harm to anything else. `launch.py` starts it; it uses the standard library
only. An engine supplies `open_databases(settings)`, which returns an object whose method `answer` answers one request.

Protocol. Both pipes carry frames: four bytes, the little-endian length, then that many bytes of `marshal`.

    parent → worker   first frame: the settings, one dict (made by the executor and in `process.py`)
                      then: a list of requests, (number, kind, database, sql, timeout, allowance)
                          kind       "run", "schema", or another kind of the engine; every engine also has
                                     "whole"      like run, but a result longer than max_rows is read on for the
                                                  fingerprint of all its rows
                                     "glance"     like run, but of a large result only a few rows and the
                                                  fingerprint are sent
                                     "scan"       like glance, and all rows are read, whatever max_rows says;
                                                  "scan:MOST" stops after more than MOST different rows,
                                                  "scan:MOST:counted" after more than MOST rows
                                     "compare"    see `comparing_in_worker.py`
                          database   (key, how to open it); with a key, the connection is kept open under it
                          timeout    seconds that the statement may take
                          allowance  CPU seconds that it may take
    worker → parent   first frame: anything; it says that the worker is ready
                      then: one frame a request, in the order received:
                          (number, status, columns, chunks, seconds, error, truncated, tables, volatile, steps,
                           cpu)
                          status     name of a member of `finer_rewards.Status`
                          truncated  whether rows were left out; or the fingerprint of all rows, as a tuple
                          chunks     list of marshalled lists of rows, to be joined
                          tables     base tables read, or None when the query did not run
                          volatile   "", "clock" or "random"
                          steps      thousands of steps that ran; None from an engine that does not count them
                          cpu        CPU seconds that this process took

When the pipe closes, the worker died while it ran the first request that it had not answered. An engine is expected to
stop a query at its limit; if it does not, the kernel kills the worker a little later, with SIGALRM for the time limit
and SIGPROF for the CPU limit.
"""

from __future__ import annotations

# A worker starts in a third of the time without `re`, `signal` (for its enums), `contextlib` and `typing`.
import _signal as signal  # type: ignore[import-not-found]
import _thread
import gc
import marshal
import os
import select
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    #: Whether rows were left out; or the fingerprint of all rows, when only the first are sent.
    Rest = bool | tuple[Any, ...]

#: What an engine answers: the fields above without number and cpu.
Answer = tuple[str, tuple[str, ...], list[bytes], float, str, "Rest", "list[str] | None", str, "int | None"]
#: Status, columns, chunks, message, what was left out.
Outcome = tuple[str, tuple[str, ...], list[bytes], str, "Rest"]

# White space, byte order marks, semicolons and comments, then the first word.
FIRST_WORD = r"(?s)(?:[ \t\n\f\r\ufeff;]|--[^\n]*|/\*.*?(?:\*/|\Z))*([A-Za-z]*)"
INFINITY = float("inf")
# The kernel's timer may ring this many seconds late. Thanks to the slack it need not be set anew for every query.
SLACK = 0.01
# Rows that are fetched at once, at first and at most.
FIRST_CHUNK, LARGEST_CHUNK = 16, 1024
# How often (seconds) a worker looks whether its parent is still there.
LOOK_UP_SECONDS = 0.25
# What is sent of a result that is too large: this many bytes of rows, with cells cut to this length.
SAMPLE_BYTES, LONGEST_CELL = 2048, 200
# The rows of a scanned result may take 1/16 of the memory limit, as bytes.
SCAN_SHARE = 16
# More rows than there can be: no limit.
MANY = 1 << 40
READY = marshal.dumps(("ready",))
# Threshold of the garbage collector. Rows are tuples of plain values, so searching them for cycles finds nothing.
MOST_ROWS_UNCOLLECTED = 50_000


class Shipping:
    """How much of a result is read and sent to the parent; `respond` sets it for each request.

    Attributes:
        most: a result of more bytes is sent as a few rows and its fingerprint. None: all rows within the limits go.
        enough: reading stops after more than this many different rows.
        scans: true while limits of this process apply instead of the user's; reaching one then is not the query's
            failure.
        reads_on: bytes up to which a result with more than max_rows rows is read on for its fingerprint; 0: not at all.
        until: the time (monotonic) at which reading on ends.
    """

    most: int | None = None
    enough = 1 << 40
    scans = False
    reads_on = 0
    until = 0.0


SHIPPING = Shipping()


def collect(
    fetch: Callable[[int], list[Any]], max_rows: int, max_bytes: int
) -> tuple[list[bytes] | None, Rest]:
    """Read the rows of a result, as `SHIPPING` says.

    Args:
        fetch: returns the next rows, at most as many as asked for; fewer mean the end.
        max_rows: the most rows to return.
        max_bytes: the most bytes that they may take.

    Returns:
        Marshalled lists of rows, `None` when the result is too large; and whether rows were left out, or the
        fingerprint of all.
    """
    chunks: list[bytes] = []
    count, size, want = 0, 0, FIRST_CHUNK
    making = None
    scans, until = SHIPPING.scans, INFINITY
    while True:
        want = min(want, max_rows + 1 - count)
        rows = fetch(want)
        count += len(rows)
        ended = len(rows) < want
        truncated = count > max_rows
        if truncated and SHIPPING.reads_on and making is None:
            from finer_rewards._util.fingerprint import Fingerprinting

            chunks.append(marshal.dumps(rows[:-1]))
            making = Fingerprinting()
            for chunk in chunks:
                making.add(marshal.loads(chunk))
            rows = rows[-1:]
            max_rows, max_bytes, until = MANY, SHIPPING.reads_on, SHIPPING.until
            scans, truncated = True, False
        if truncated:
            rows.pop()
        if rows:
            if making is not None:
                making.add(rows)
                size = making.size
            else:
                chunk = marshal.dumps(rows)
                chunks.append(chunk)
                size += len(chunk)
            if size > max_bytes and not scans:
                return None, False
            truncated = (
                truncated
                or size > max_bytes
                or (until < INFINITY and time.monotonic() > until)
                or (making is not None and len(making.different) > SHIPPING.enough)
            )
            if making is None and SHIPPING.most is not None and size > SHIPPING.most:
                from finer_rewards._util.fingerprint import TOLD, Fingerprinting

                told = (SHIPPING.enough, MANY) if SHIPPING.scans else (0, TOLD)
                making = Fingerprinting(told)
                for chunk in chunks:
                    making.add(marshal.loads(chunk))
                chunks = [sample(marshal.loads(chunks[0]))]
        if ended or truncated:
            return chunks, truncated if making is None else tuple(making.end(not truncated))
        # Assume that further rows are as large as those read, and ask for no more than fit, so that no chunk goes far
        # past the limit.
        want = max(1, min(LARGEST_CHUNK, (max_bytes - size) * count // max(size, 1)))


def sample(rows: list[Any]) -> bytes:
    """Return the first rows, marshalled, as many as fit in SAMPLE_BYTES but at least one, whose long cells are cut."""
    shown = [tuple([cell[:LONGEST_CELL] if isinstance(cell, (str, bytes)) else cell for cell in rows[0]])]
    for row in rows[1:]:
        longer = marshal.dumps([*shown, row])
        if len(longer) > SAMPLE_BYTES:
            break
        shown.append(row)
    return marshal.dumps(shown)


def respond(
    databases: Any, settings: dict[str, Any], kind: str, database: tuple[Any, str], sql: Any, *limits: float
) -> Answer:
    """Return the answer to one request; the kinds are explained above."""
    SHIPPING.reads_on = 0
    if kind == "glance":
        SHIPPING.most, kind = settings["ship"], "run"
    elif kind == "whole":
        # Reading on may take half of the query's time; after that the rows and the fingerprint so far are sent.
        SHIPPING.most, kind = None, "run"
        SHIPPING.reads_on, SHIPPING.until = settings["memory"] // SCAN_SHARE, time.monotonic() + limits[0] / 2
    elif kind == "compare":
        from finer_rewards.executing.comparing_in_worker import decide

        SHIPPING.most = None
        return decide(
            sql, lambda sql, most: scanned(databases, settings, database, sql, limits, most or MANY)
        )
    elif kind.startswith("scan"):
        _, most, counted = f"{kind}::".split(":")[:3]
        SHIPPING.most, SHIPPING.enough = settings["ship"], int(most or MANY)
        return scanned(databases, settings, database, sql, limits, SHIPPING.enough if counted else MANY)
    else:
        SHIPPING.most = None
    answer: Answer = databases.answer(kind, database, sql, *limits)
    return answer


def scanned(
    databases: Any,
    settings: dict[str, Any],
    database: tuple[Any, str],
    sql: str,
    limits: tuple[float, ...],
    max_rows: int,
) -> Answer:
    """Run a statement with limits of this process (rows as given, bytes by its memory) instead of the user's."""
    shown = settings["max_rows"], settings["max_bytes"]
    settings["max_rows"], settings["max_bytes"] = max_rows, settings["memory"] // SCAN_SHARE
    SHIPPING.scans = True
    try:
        answer: Answer = databases.answer("run", database, sql, *limits)
    finally:
        settings["max_rows"], settings["max_bytes"] = shown
        SHIPPING.scans = False
    return answer


def first_word(sql: str) -> str:
    """Return the first word after white space and comments, in lower case; `"?"` if something else stands there."""
    start = sql[:7].lower()
    if start == "select ":
        return "select"
    import re

    found = re.match(FIRST_WORD, sql)
    return "?" if found is None or (not found.group(1) and found.end() < len(sql)) else found.group(1).lower()


def lost(error: BaseException) -> Answer:
    """Return the answer of a database that cannot be used."""
    return "unavailable", (), [], 0.0, str(error) or type(error).__name__, False, None, "", 0


class Budget:
    """How long a query may take, and in `over` which limit it reached.

    Args:
        timeout: seconds by the clock.
        allowance: CPU seconds. A query runs in one thread, so they pass no faster than the clock.
    """

    def __init__(self, timeout: float, allowance: float = INFINITY) -> None:
        self.timeout, self.allowance = timeout, allowance
        self.deadline = time.monotonic() + timeout
        self.cpu_deadline = INFINITY if allowance == INFINITY else time.process_time() + allowance
        self.look_again = self.deadline - timeout + min(timeout, allowance) if timeout < INFINITY else 0.0
        self.over = ""

    def left(self) -> float:
        """Return the seconds after which a limit may be reached at the earliest; 0 when one has been.

        Engines call this often. Until `look_again` no limit can be reached, so the CPU clock need not be read.
        """
        now = time.monotonic()
        if now < self.look_again:
            return self.look_again - now
        if now >= self.deadline:
            self.over = f"{self.timeout:g} s"
            return 0.0
        left = self.deadline - now
        if self.cpu_deadline < INFINITY:
            left = min(left, self.cpu_deadline - time.process_time())
            if left <= 0:
                self.over = f"{self.allowance:g} s of CPU"
                return 0.0
        self.look_again = now + left
        return left


class Alarm:
    """One of the kernel's timers that end this process.

    It stays set from query to query and is moved only when needed, since setting it is a system call.

    Args:
        timer: the kernel's number of the timer.
        clock: returns the time that the timer counts.
    """

    def __init__(self, timer: int, clock: Callable[[], float]) -> None:
        self.timer = timer
        self.clock = clock
        self.rings = 0.0

    def set(self, seconds: float) -> None:
        """Let the kernel end this process after this many seconds, or at most `SLACK` later."""
        if seconds == INFINITY:
            self.off()
            return
        now = self.clock()
        if not seconds <= self.rings - now <= seconds + SLACK:
            signal.setitimer(self.timer, seconds + SLACK)
            self.rings = now + seconds + SLACK

    def off(self) -> None:
        """Stop the timer."""
        if self.rings:
            signal.setitimer(self.timer, 0)
            self.rings = 0.0


class Alarms:
    """The two timers of a query: by the clock and by CPU time."""

    def __init__(self) -> None:
        self.wall = Alarm(signal.ITIMER_REAL, time.monotonic)
        self.cpu = Alarm(signal.ITIMER_PROF, time.process_time)

    def set(self, timeout: float, allowance: float) -> None:
        """Let the kernel end this process when a query is past a limit."""
        self.wall.set(timeout)
        # The kernel counts CPU time in whole ticks for this timer, and may be ahead of the CPU clock.
        self.cpu.set(allowance * 1.05 + 0.1)

    def off(self) -> None:
        """Stop both timers."""
        self.wall.off()
        self.cpu.off()


ALARMS = Alarms()


def confine(settings: dict[str, Any]) -> None:
    """Give up every right that reading a database does not need: the second line of defence behind the engine's own."""
    import resource

    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, settings["memory"]),
    ):
        hard = resource.getrlimit(kind)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(kind, (limit, limit))
        except (ValueError, OSError):
            # On macOS the limit of the address space does not work.
            continue
    if sys.platform != "linux":
        return
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        return
    set_no_new_privileges = 38
    libc.prctl(set_no_new_privileges, 1, 0, 0, 0)
    # Landlock, a ruleset with no exceptions: no file can be written, made, moved or run, and no port opened.
    create_ruleset, restrict_self = 444, 446
    libc.syscall.restype = ctypes.c_long
    # With flag 1 the call returns the version of Landlock that the kernel has.
    version = libc.syscall(create_ruleset, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return
    read_file, read_directory = 1 << 2, 1 << 3
    rights = (1 << {1: 13, 2: 14}.get(version, 15)) - 1 & ~(read_file | read_directory)
    ports = 0 if settings.get("network") else 3
    attributes = struct.pack("<QQ", rights, ports)[: 16 if version >= 4 else 8]
    ruleset = libc.syscall(create_ruleset, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset >= 0:
        libc.syscall(restrict_self, ctypes.c_int(ruleset), 0)
        os.close(ruleset)


def end_with(parent: int) -> None:
    """End this process soon after its parent has ended; runs in a thread of its own.

    Neither the closed pipe nor the kernel would do: a fork of the parent may hold the pipe open, and the kernel's
    "parent death" signal comes already when the thread that started this process ends.
    """
    while os.getppid() == parent:
        time.sleep(LOOK_UP_SECONDS)
    os._exit(0)


def read_exactly(length: int) -> bytes:
    """Return `length` bytes of input, or end the process when the pipe is closed."""
    parts = []
    while length:
        part = os.read(0, length)
        if not part:
            os._exit(0)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def main(open_databases: Callable[[dict[str, Any]], Any]) -> None:
    """Answer requests until the parent closes the pipe.

    Args:
        open_databases: takes the settings and returns the object whose `answer` answers a request. When the object's
            `spent` is true, this process ends and the parent starts a new one.
    """
    # Ctrl-C reaches the whole process group; only the parent answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for deadly in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(deadly, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM, signal.SIGPROF])
    header = struct.Struct("<I")

    def frame() -> Any:
        return marshal.loads(read_exactly(header.unpack(read_exactly(4))[0]))

    settings = frame()
    confine(settings)
    _thread.stack_size(1 << 18)
    _thread.start_new_thread(end_with, (settings["parent"],))
    databases = open_databases(settings)
    gc.freeze()
    gc.set_threshold(MOST_ROWS_UNCOLLECTED)
    os.set_blocking(1, False)
    tell(header.pack(len(READY)) + READY)
    while True:
        for number, kind, database, sql, timeout, allowance in frame():
            began = time.process_time()
            answer = respond(databases, settings, kind, database, sql, timeout, allowance)
            body = marshal.dumps((number, *answer, time.process_time() - began))
            tell(header.pack(len(body)) + body)
            if getattr(databases, "spent", False):
                # The parent gives the requests that still wait in the pipe to another worker.
                os._exit(0)
        ALARMS.off()


def tell(data: bytes) -> None:
    """Write to the parent. While it does not read, the timers are off: the wait is not the query's fault."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(1, rest) :]
        except BlockingIOError:
            ALARMS.off()
            select.select([], [1], [])
