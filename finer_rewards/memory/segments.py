"""Where traces live on disk: append-only segments, one a writer, every record checksummed.

    FOLDER/
      memory.json        what the vectors are: embedder, masking, centring; written once
      centre.json        the vector that is subtracted, written once
      segments/*.traces  one file a writer, only ever appended to

A record is `magic, length, crc32, payload`. A writer that dies leaves at most one cut record at the end of
its own file, which readers skip and report. Nobody writes to another's file, so no one waits; a record in two
files (after an interrupted `compact`) counts once, because a trace is known by its content.

A folder may come from anywhere, so what is in it is checked, and reading it takes time in proportion to its size.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from finer_rewards._util.atomic_files import replacing, sync
from finer_rewards.errors import ConfigError, DataError
from finer_rewards.memory.trace import Trace

_MAGIC = b"\xf1TRC"
_HEAD = struct.Struct("<4sII")
_LENGTH = struct.Struct("<I")
_SUFFIX = ".traces"
#: Longest payload of a record, and longest description of a memory.
MOST_BYTES: Final = 64 << 20
#: Bytes that may be checksummed in vain, a byte of a segment: heads that lead nowhere cost no more than that.
_IN_VAIN: Final = 4
ROUNDING: Final = 0.02  # More than float16 numbers change the square of the length of a unit vector by.


@dataclass(frozen=True)
class Record:
    """A trace and its vector, as the bytes of float16 numbers."""

    trace: Trace
    vector: bytes


@dataclass(frozen=True)
class Tally:
    """How many samples one call refused, by reason."""

    id: str
    refused: Mapping[str, int]


Entry = Record | Tally


@dataclass(frozen=True)
class Damage:
    """Bytes of a segment that hold no whole record.

    Args:
        file: name of the segment.
        start: first byte.
        size: how many.
        torn: true for a cut record at the very end, as a killed writer leaves; false for corruption.
        reason: what is wrong with a record that was read whole; empty for bytes that are none.
    """

    file: str
    start: int
    size: int
    torn: bool
    reason: str = ""


def frame(entry: Entry) -> bytes:
    """Return an entry as the bytes that are appended."""
    content = entry.trace.as_record() if isinstance(entry, Record) else asdict(entry)
    text = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    vector = entry.vector if isinstance(entry, Record) else b""
    payload = _LENGTH.pack(len(text)) + text + vector
    return _HEAD.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload


def scan(data: bytes, file: str = "", offset: int = 0) -> tuple[list[Entry], list[Damage], int]:
    """Read all whole records out of the bytes of a segment.

    Args:
        data: bytes of the segment from `offset` on.
        file: name of the segment, for the report.
        offset: where in the segment the bytes begin.

    Returns:
        The entries, what could not be read, and the offset to go on from next time (before a cut end).
    """
    entries: list[Entry] = []
    damages: list[Damage] = []
    heads = _Heads(data)
    place = 0
    while place < len(data):
        size = heads.whole(place)
        if size:
            try:
                entries.append(_entry(data, place, size))
            except DataError as error:
                damages.append(Damage(file, offset + place, size, torn=False, reason=str(error)))
            place += size
            continue
        found = data.find(_MAGIC, place + 1)
        while found != -1 and not heads.whole(found):
            # Past what may be done in vain nothing more is looked for: no accident leaves so many heads.
            found = -1 if heads.exhausted else data.find(_MAGIC, found + 1)
        end = len(data) if found == -1 else found
        torn = found == -1 and not heads.exhausted and _is_cut(data, place)
        damages.append(Damage(file, offset + place, end - place, torn))
        if torn:
            break
        place = end
    return entries, damages, offset + place


class _Heads:
    """Looks at heads of records, and counts the bytes checksummed for those that were none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._view = memoryview(data)
        self.in_vain = 0

    @property
    def exhausted(self) -> bool:
        """True when more was done in vain than an accident explains."""
        return self.in_vain > _IN_VAIN * len(self._data) + MOST_BYTES // 64

    def whole(self, place: int) -> int:
        """Return the size of the whole record at `place`, 0 when there is none."""
        if len(self._data) - place < _HEAD.size:
            return 0
        magic, length, checksum = _HEAD.unpack_from(self._data, place)
        start = place + _HEAD.size
        end = start + int(length)
        if magic != _MAGIC or not _LENGTH.size <= length <= MOST_BYTES or end > len(self._data):
            return 0
        if zlib.crc32(self._view[start:end]) == checksum:
            return end - place
        self.in_vain += length
        return 0


def _is_cut(data: bytes, place: int) -> bool:
    """True when the bytes from `place` on are the beginning of a record that was never finished."""
    if len(data) - place < _HEAD.size:
        return _MAGIC.startswith(data[place : place + 4])
    magic, length, _ = _HEAD.unpack_from(data, place)
    return bool(magic == _MAGIC and length <= MOST_BYTES and place + _HEAD.size + length > len(data))


def _entry(data: bytes, place: int, size: int) -> Entry:
    """Return what a whole record holds; raise `DataError` when its writer was not this library."""
    start = place + _HEAD.size
    (length,) = _LENGTH.unpack_from(data, start)
    text, vector = (
        data[start + _LENGTH.size : place + size][:length],
        data[start + _LENGTH.size + length : place + size],
    )
    content = json_object(text, "record")
    if "refused" not in content:
        if len(vector) % 2:
            raise DataError(f"`record` should hold float16 numbers, but has {len(vector)} bytes of them.")
        return Record(Trace.from_record(content), vector)
    name, refused = content.get("id"), content["refused"]
    counts = refused.items() if isinstance(refused, dict) else [("", None)]
    if not isinstance(name, str) or any(type(count) is not int or count < 0 for _, count in counts):
        raise DataError(f"`record` should count refusals, but holds {refused!r:.80}.")
    return Tally(name, refused)


def is_unit(vector: bytes) -> bool:
    """True for the float16 numbers of a vector of length 1, or of a thought about nothing: all 0.

    Example:
        >>> is_unit(struct.pack("<2e", 0.6, 0.8)), is_unit(struct.pack("<2e", 60_000, 0)), is_unit(b"")
        (True, False, False)
    """
    numbers = struct.unpack(f"<{len(vector) // 2}e", vector)
    square = sum(number * number for number in numbers)
    return bool(numbers) and (square == 0.0 or abs(square - 1.0) <= ROUNDING)


def json_object(text: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object in some bytes.

    Raises:
        DataError: there is none, or none that can be read: not UTF-8, nested too deep, a number too long.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"`{where}` should be JSON, but it is damaged ({error}). Restore it from a copy."
        ) from None
    if not isinstance(content, dict):
        raise DataError(
            f"`{where}` should be a JSON object, but holds {content!r:.80}. Restore it from a copy."
        )
    return content


class SegmentStore:
    """The segments of one folder, read as they grow, and the one segment this process appends to.

    Not thread-safe by itself: `TraceMemory` holds the lock, and closes the segment after a fork.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.folder = folder
        self.segments = folder / "segments"
        self.durable = durable
        self.damages: dict[str, list[Damage]] = {}
        self._read: dict[str, int] = {}
        self._descriptor = -1
        self._own: Path | None = None

    def describe_once(self, name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Write a JSON file unless there is one, and return what it holds: of two writers the first wins."""
        path = self.folder / name
        if not path.exists():
            with self._writing():
                self.segments.mkdir(parents=True, exist_ok=True)
                replace_file(path, json.dumps(dict(content), indent=1).encode(), exclusive=True)
        return json_object(file_content(path), str(path))

    def append(self, entries: Iterable[Entry]) -> None:
        """Append entries; when this returns they are on the disk, whatever happens to this process."""
        data = b"".join(map(frame, entries))
        if not data:
            return
        with self._writing():
            if self._own is None:
                self._own = self._open_segment()
            written = 0
            try:
                while written < len(data):
                    written += os.write(self._descriptor, data[written:])
                if self.durable:
                    os.fsync(self._descriptor)
                self._read[self._own.name] = self._read.get(self._own.name, 0) + len(data)
            except OSError:
                # A cut record must stay the last one of its file: what follows goes to a new one.
                self.close()
                raise

    def read_new(self) -> Iterator[Entry]:
        """Yield the entries that came since the last call, whoever wrote them."""
        gone = True
        while gone:
            gone = False
            for path in self.files():
                try:
                    yield from self._read_on(path)
                except FileNotFoundError:
                    # Merged meanwhile. What it held is in a newer segment, which the list may not have shown.
                    gone = True

    def _read_on(self, path: Path) -> list[Entry]:
        offset = self._read.get(path.name, 0)
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_size <= offset:
            return []
        data = file_content(path, offset)
        entries, damages, self._read[path.name] = scan(data, path.name, offset)
        known = [damage for damage in self.damages.get(path.name, []) if not damage.torn]
        self.damages[path.name] = known + damages
        return entries

    def files(self) -> list[Path]:
        """Return the segments there are, in order of name."""
        if self.segments.is_symlink() or (self.segments.exists() and not self.segments.is_dir()):
            raise DataError(
                f"`{self.segments}` should be a folder, but it is a link or a file: what is written would go "
                "elsewhere. Copy what it stands for."
            )
        return sorted(self.segments.glob(f"*{_SUFFIX}"))

    def idle(self) -> list[Path]:
        """Return the segments that no live writer holds and that are whole: they will never change again."""
        damaged = {name for name, found in self.damages.items() if any(not damage.torn for damage in found)}
        return [
            path for path in self.files() if path.name not in damaged and path != self._own and _is_idle(path)
        ]

    def merge(self, entries: Iterable[Entry], idle: Iterable[Path]) -> None:
        """Write the entries to one new segment, then delete the idle ones, whose entries must be among them.

        A kill at any point leaves every entry in at least one segment.
        """
        with self._writing():
            target = self.segments / f"{time.time_ns():020d}-merged-{secrets.token_hex(4)}{_SUFFIX}"
            replace_file(target, b"".join(map(frame, entries)), exclusive=True)
            for path in idle:
                path.unlink(missing_ok=True)
                self._read.pop(path.name, None)
                self.damages.pop(path.name, None)

    def close(self) -> None:
        """Close this process's segment; the next append begins a new one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._own = -1, None

    def _open_segment(self) -> Path:
        self.segments.mkdir(parents=True, exist_ok=True)
        name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        path = self.segments / name
        # Locked before it can be seen: `merge` in another process would take a free segment for a dead writer's.
        hidden = path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(hidden, flags, 0o644)
        _lock(self._descriptor)
        hidden.rename(path)
        if self.durable:
            sync(self.segments)
        return path

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                f"The memory at `{self.folder}` should be writable, but writing failed: "
                f"{error.strerror or error}. Free the disk, or copy the folder to one that can be written."
            ) from error


def replace_file(path: Path, data: bytes, *, exclusive: bool = False) -> None:
    """Write a whole file so that no reader ever sees half of it; with `exclusive` an existing one stays."""
    with replacing(path, durable=True, exclusive=exclusive) as draft:
        draft.write_bytes(data)


def file_content(path: Path, offset: int = 0) -> bytes:
    """Return the bytes of a file of the memory from `offset` on.

    Raises:
        DataError: it is no file: a link would lead out of the folder, a pipe or a device would never end.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise DataError(
            f"`{path}` should be a regular file, but it is something else. Copy what it stands for."
        )
    with path.open("rb") as handle:
        handle.seek(offset)
        return handle.read()


def _lock(descriptor: int) -> None:
    """Mark a segment as being written to, for as long as this process lives."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_idle(path: Path) -> bool:
    """True when no live process appends to the segment."""
    try:
        import fcntl

        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (ImportError, OSError):
        return False
    return True
