"""The traces on disk: append-only files (segments), one for each writing process, with a checksum for every record.

    FOLDER/
      memory.json        how the vectors are made: embedder, masking, centring; written once
      centre.json        the vectors that are subtracted; written once
      segments/*.traces  one file for each writer, only ever appended to

A record is `magic, length, crc32, payload`. A writer that is killed leaves at most one incomplete record, at the end of
its own file; readers skip and report it. No process writes to another's file, so none has to wait. A record that is in
two files (after an interrupted `compact`) counts once, because traces are identified by their content.

A folder may come from anywhere, so its content is checked, and the time to read it grows only with its size.
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
#: Bytes that may be checksummed in vain for each byte of a segment, to bound the time that false record heads can cost.
_IN_VAIN: Final = 4
# The squared length of a unit vector in float16 numbers differs from 1 by less than this.
ROUNDING: Final = 0.02


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
        start: the first byte.
        size: how many bytes.
        torn: true for an incomplete record at the very end, as a killed writer leaves; false for corruption.
        reason: what is wrong with a record whose checksum is right; empty for bytes that are no record.
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
        The entries, what could not be read, and the offset to continue from next time (before an incomplete record).
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
            # No accident leaves so many false heads: somebody made this file, so stop searching it.
            found = -1 if heads.exhausted else data.find(_MAGIC, found + 1)
        end = len(data) if found == -1 else found
        torn = found == -1 and not heads.exhausted and _is_cut(data, place)
        damages.append(Damage(file, offset + place, end - place, torn))
        if torn:
            break
        place = end
    return entries, damages, offset + place


class _Heads:
    """Reads record heads, and counts the bytes that were checksummed for heads that turned out false."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._view = memoryview(data)
        self.in_vain = 0

    @property
    def exhausted(self) -> bool:
        """Whether more bytes were checksummed in vain than an accident explains."""
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
    """Whether the bytes from `place` on are the beginning of a record that was never finished."""
    if len(data) - place < _HEAD.size:
        return _MAGIC.startswith(data[place : place + 4])
    magic, length, _ = _HEAD.unpack_from(data, place)
    return bool(magic == _MAGIC and length <= MOST_BYTES and place + _HEAD.size + length > len(data))


def _entry(data: bytes, place: int, size: int) -> Entry:
    """Return the entry in a whole record; raise `DataError` when this library cannot have written it."""
    start = place + _HEAD.size
    (length,) = _LENGTH.unpack_from(data, start)
    text, vector = (
        data[start + _LENGTH.size : place + size][:length],
        data[start + _LENGTH.size + length : place + size],
    )
    content = _json_object(text, "record")
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
    """Whether float16 numbers form a vector of length 1, or of zeros, which stands for a thought about no query.

    Example:
        >>> is_unit(struct.pack("<2e", 0.6, 0.8)), is_unit(struct.pack("<2e", 60_000, 0)), is_unit(b"")
        (True, False, False)
    """
    numbers = struct.unpack(f"<{len(vector) // 2}e", vector)
    square = sum(number * number for number in numbers)
    return bool(numbers) and (square == 0.0 or abs(square - 1.0) <= ROUNDING)


def _json_object(text: bytes, where: str) -> dict[str, Any]:
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
        """Return the content of a JSON file, after writing it if it is missing; of two writers the first wins."""
        path = self.folder / name
        if not path.exists():
            with self._writing():
                self.segments.mkdir(parents=True, exist_ok=True)
                replace_file(path, json.dumps(dict(content), indent=1).encode(), exclusive=True)
        return _json_object(file_content(path), str(path))

    def append(self, entries: Iterable[Entry]) -> None:
        """Append entries to this process's segment; when this returns they are on the disk (if `durable`)."""
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
                # An incomplete record has to stay the last of its file, so further records go to a new file.
                self.close()
                raise

    def read_new(self) -> Iterator[Entry]:
        """Yield the entries that were written since the last call, by whatever process."""
        gone = True
        while gone:
            gone = False
            for path in self.files():
                try:
                    yield from self._read_on(path)
                except FileNotFoundError:
                    # Another process has merged it. Its entries are in a newer segment, so list the files again.
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
        """Return the segment files, sorted by name."""
        if self.segments.is_symlink() or (self.segments.exists() and not self.segments.is_dir()):
            raise DataError(
                f"`{self.segments}` should be a folder, but it is a link or a file: what is written would go "
                "elsewhere. Copy what it stands for."
            )
        return sorted(self.segments.glob(f"*{_SUFFIX}"))

    def idle(self) -> list[Path]:
        """Return the undamaged segments that no living process writes to; they will never change again."""
        damaged = {name for name, found in self.damages.items() if any(not damage.torn for damage in found)}
        return [
            path for path in self.files() if path.name not in damaged and path != self._own and _is_idle(path)
        ]

    def merge(self, entries: Iterable[Entry], idle: Iterable[Path]) -> None:
        """Write the entries to one new segment, then delete the idle segments, whose entries have to be among them.

        If the process is killed at any point, every entry is still in at least one segment.
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
        # Lock the file before it gets its name: another process's `merge` would take a segment without a lock for that
        # of a process that has ended.
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
    """Write a whole file so that no reader ever sees half of it; with `exclusive` an existing file stays as it is."""
    with replacing(path, durable=True, exclusive=exclusive) as draft:
        draft.write_bytes(data)


def file_content(path: Path, offset: int = 0) -> bytes:
    """Return the bytes of a file of the memory from `offset` on.

    Raises:
        DataError: it is no regular file. A link would lead out of the folder; a pipe or device would never end.
    """
    if not stat.S_ISREG(path.lstat().st_mode):
        raise DataError(
            f"`{path}` should be a regular file, but it is something else. Copy what it stands for."
        )
    with path.open("rb") as handle:
        handle.seek(offset)
        return handle.read()


def _lock(descriptor: int) -> None:
    """Lock a segment as being written to; the lock goes when this process ends."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_idle(path: Path) -> bool:
    """Whether no living process appends to the segment."""
    try:
        import fcntl

        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (ImportError, OSError):
        return False
    return True
