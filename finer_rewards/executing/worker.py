"""What the worker processes of all engines share: the protocol, the loop that answers, the confinement.

A worker can be killed at any moment, and nothing else is lost with it. It is started by `launch.py`, and uses the
standard library only. An engine brings `open_databases`, a function that makes, of the settings, the object whose
`answer` answers.

Protocol. Both pipes carry frames: four bytes, the little-endian length, then that many bytes of `marshal`.

    parent → worker   first frame: the settings, one dict (made by the executor and in `process.py`)
                      then: a list of requests, (number, kind, database, sql, timeout, allowance)
                          kind       "run", "schema", or what else the engine knows; of every engine besides
                                     "whole"      as run; what is longer is read on, for the fingerprint of all rows
                                     "glance"     as run; of a large result a few rows and its fingerprint
                                     "scan"       likewise, and all rows are read; "scan:MOST", until there are
                                                  more different ones, "scan:MOST:counted", until there are more
                                     "compare"    see `deciding.py`
                          database   (key, how to open it); the connection is kept by its key, if any
                          timeout    seconds that the statement may take
                          allowance  seconds of a processor that it may take
    worker → parent   first frame: anything; the worker is ready
                      then: one frame a request, in the order received:
                          (number, status, columns, chunks, seconds, error, truncated, tables, volatile, steps,
                           cpu)
                          status     name of a member of `finer_rewards.Status`
                          truncated  whether rows were left out, or the fingerprint of all
                          chunks     list of marshalled lists of rows, to be joined
                          tables     base tables read, or None when the query did not run
                          volatile   "", "clock" or "random"
                          steps      thousands of steps that ran; None from an engine that does not count them
                          cpu        seconds of a processor that this process took

A worker that closes its pipe without answering died on the first request that it did not answer. The kernel
ends it with SIGALRM, or SIGPROF where it was the time of a processor, when that request ran past a limit where the
engine does not look at the time.
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

    #: Whether rows were left out, or the fingerprint of all those of which the first are sent.
    Rest = bool | tuple[Any, ...]

#: What an engine answers: see above, less the number and the time of a processor.
Answer = tuple[str, tuple[str, ...], list[bytes], float, str, "Rest", "list[str] | None", str, "int | None"]
#: Status, columns, chunks, message, what was left out.
Outcome = tuple[str, tuple[str, ...], list[bytes], str, "Rest"]

FIRST_WORD = r"(?s)(?:[ \t\n\f\r\ufeff;]|--[^\n]*|/\*.*?(?:\*/|\Z))*([A-Za-z]*)"
INFINITY = float("inf")
SLACK = 0.01  # seconds that the kernel may come later, so that the timer is not set for each query
FIRST_CHUNK, LARGEST_CHUNK = 16, 1024
LOOK_UP_SECONDS = 0.25  # how often a worker looks whether its parent is still there
SAMPLE_BYTES, LONGEST_CELL = 2048, 200  # of a result that is too large to be sent
SCAN_SHARE = 16  # of the memory, for the rows of one result as bytes
MANY = 1 << 40
READY = marshal.dumps(("ready",))
MOST_ROWS_UNCOLLECTED = 50_000  # rows are tuples of plain values: looking for cycles among them finds none


class Shipping:
    """How much of a result goes to the parent; `respond` sets it for each request.

    Attributes:
        most: bytes; of a larger result a few rows and the fingerprint go. None: all goes that the limits allow.
        enough: more rows than this need not be read if they are all different.
        scans: whether the limits are those of this process, so that reaching them is not the query's failure.
        reads_on: bytes up to which a result is read, for its fingerprint, that has more rows than are shown.
        until: when that ends.
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
    """Return marshalled lists of rows, `None` when they are too large, and what was left out."""
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
        # The rows ahead are taken to be as wide as those seen: no chunk goes far past the limit.
        want = max(1, min(LARGEST_CHUNK, (max_bytes - size) * count // max(size, 1)))


def sample(rows: list[Any]) -> bytes:
    """Return the first rows, marshalled, as far as they are short; of the first row the long cells are cut."""
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
    """Return the answer to one request, as said above."""
    SHIPPING.reads_on = 0
    if kind == "glance":
        SHIPPING.most, kind = settings["ship"], "run"
    elif kind == "whole":
        # For half of its time: what cannot be read to its end may still tell enough.
        SHIPPING.most, kind = None, "run"
        SHIPPING.reads_on, SHIPPING.until = settings["memory"] // SCAN_SHARE, time.monotonic() + limits[0] / 2
    elif kind == "compare":
        from finer_rewards.executing.deciding import decide

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
    """Return the answer to a statement of which more rows are read than may be shown."""
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
    """Return the first word after white space and comments, lower case; `"?"` when there is another sign."""
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
    """How long a query may take, and which limit it reached.

    Args:
        timeout: seconds.
        allowance: seconds of a processor, which pass no faster than seconds do.
    """

    def __init__(self, timeout: float, allowance: float = INFINITY) -> None:
        self.timeout, self.allowance = timeout, allowance
        self.deadline = time.monotonic() + timeout
        self.cpu_deadline = INFINITY if allowance == INFINITY else time.process_time() + allowance
        self.look_again = self.deadline - timeout + min(timeout, allowance) if timeout < INFINITY else 0.0
        self.over = ""

    def left(self) -> float:
        """Return the least time in which a limit can be reached; none when one was."""
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

    It stays set from query to query, and is moved when it must be.

    Args:
        timer: which one.
        clock: the time that it counts.
    """

    def __init__(self, timer: int, clock: Callable[[], float]) -> None:
        self.timer = timer
        self.clock = clock
        self.rings = 0.0

    def set(self, seconds: float) -> None:
        """End this process after so many seconds, or at most `SLACK` later."""
        if seconds == INFINITY:
            self.off()
            return
        now = self.clock()
        if not seconds <= self.rings - now <= seconds + SLACK:
            signal.setitimer(self.timer, seconds + SLACK)
            self.rings = now + seconds + SLACK

    def off(self) -> None:
        """Let this process live, however long it waits."""
        if self.rings:
            signal.setitimer(self.timer, 0)
            self.rings = 0.0


class Alarms:
    """The timers of a query: for the time it takes, and for the time it takes of a processor."""

    def __init__(self) -> None:
        self.wall = Alarm(signal.ITIMER_REAL, time.monotonic)
        self.cpu = Alarm(signal.ITIMER_PROF, time.process_time)

    def set(self, timeout: float, allowance: float) -> None:
        """End this process when a query is past a limit."""
        self.wall.set(timeout)
        # The kernel counts by its ticks, and on a busy machine is soon ahead of the clock.
        self.cpu.set(allowance * 1.05 + 0.1)

    def off(self) -> None:
        """Time nothing."""
        self.wall.off()
        self.cpu.off()


ALARMS = Alarms()


def confine(settings: dict[str, Any]) -> None:
    """Give up every right that reading a database does not need: a second line of defence."""
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
            continue  # macOS has no address space limit that works
    if sys.platform != "linux":
        return
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
    except (ImportError, OSError):
        return
    set_no_new_privileges = 38
    libc.prctl(set_no_new_privileges, 1, 0, 0, 0)
    # Landlock without one rule that allows: no file is written, made, moved or run, no port opened.
    create_ruleset, restrict_self = 444, 446
    libc.syscall.restype = ctypes.c_long
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
    """End this process soon after its parent, whatever it does then.

    The pipe does not tell: a fork of the parent may hold it open. Nor does the kernel: it ends a process with the
    thread that started it.
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
        open_databases: makes, of the settings, the object whose `answer` answers. When its `spent` is true, a new
            process takes over.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
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
                os._exit(0)  # what waits in the pipe goes to the process that follows
        ALARMS.off()


def tell(data: bytes) -> None:
    """Write to the parent; waiting for it to read is not timed."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(1, rest) :]
        except BlockingIOError:
            ALARMS.off()
            select.select([], [1], [])
