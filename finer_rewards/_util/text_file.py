"""Reads a text file by lines, more than once if needed; it may be compressed (gzip, Zstandard) or standard input."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import sys
import weakref
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Final, cast

from finer_rewards._util.extras import extra
from finer_rewards.errors import DataError

#: The most bytes that are unpacked of a compressed file.
_LARGEST: Final = 4 << 30
#: Up to so many bytes of standard input are kept in memory, without a file.
_IN_MEMORY = 8 << 20
_GZIP, _ZSTD, _SQLITE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"SQLite format 3\0"
# First bytes of files that are not read -> the command that unpacks them; Parquet has none.
_OTHERS = {b"PK\x03\x04": "unzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"PAR1": ""}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# A URL, which is refused with a message of its own.
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


class TextFile:
    """The text of a file in UTF-8, or in UTF-16 with a byte-order mark.

    The mark is left out, and Windows line ends become `\\n`. Only one line is in memory at a time, so that a file may
    be larger than memory; UTF-16 is read whole.

    Args:
        path: the file; `-` is standard input.

    Raises:
        DataError: the file is missing, a folder, not text, damaged, or compressed in another way.
    """

    def __init__(self, path: str | Path) -> None:
        self.name = "Standard input" if str(path) == "-" else f"`{path}`"
        if _ADDRESS.match(str(path)):
            raise DataError(
                f"{self.name} should be a file here, but it is an address: nothing is fetched. Download it first."
            )
        try:
            self._file = _seekable(sys.stdin.buffer if str(path) == "-" else Path(path).open("rb"))  # noqa: SIM115
        except FileNotFoundError:
            raise DataError(
                f"{self.name} should be a file, but there is none of that name. Check the path."
            ) from None
        except IsADirectoryError:
            raise DataError(f"{self.name} should be a file, but it is a folder. Name a file in it.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(
                f"{self.name} should be readable, but: {reason}. Check the path and its permissions."
            ) from None
        weakref.finalize(self, self._file.close)
        head = self._file.read(16)
        self._packing = next((one for one in (_GZIP, _ZSTD) if head.startswith(one)), b"")
        self._errors: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
        if self._packing:
            head = next(self._bytes(), b"")
        if head.startswith(_SQLITE):
            raise DataError(
                f"{self.name} should hold statements, but it is a SQLite database. Pass it as the database."
            )
        for begins, command in _OTHERS.items():
            if head.startswith(begins):
                how = f"Unpack it: `{command} FILE`." if command else "Write its rows as JSONL."
                raise DataError(
                    f"{self.name} should be text, or packed by gzip or Zstandard, but it is not. {how}"
                )
        self._utf16 = head.startswith(_UTF16)

    def lines(self) -> Iterator[str]:
        """Yield each line with the `\\n` that ends it."""
        if self._utf16:
            data = b"".join(self._bytes())
            yield from io.StringIO(self._decoded(data, 0, "UTF-16").replace("\r\n", "\n"), newline="\n")
            return
        at = 0
        for raw in self._bytes():
            skipped = 3 if not at and raw.startswith(b"\xef\xbb\xbf") else 0
            line = self._decoded(raw[skipped:], at + skipped, "UTF-8")
            at += len(raw)
            if line:
                yield f"{line[:-2]}\n" if line.endswith("\r\n") else line

    def text(self) -> str:
        """Return the whole text."""
        return "".join(self.lines())

    def _bytes(self) -> Iterator[bytes]:
        try:
            self._file.seek(0)
            stream, left = self._unpacking(), _LARGEST
            for line in iter(partial(stream.readline, left + 1 if self._packing else -1), b""):
                left -= len(line)
                if self._packing and left < 0:
                    raise DataError(
                        f"{self.name} should hold at most {_LARGEST >> 30} GiB unpacked, but it holds more. "
                        "Unpack it, and cut it."
                    )
                yield line
        except self._errors as error:
            if not self._packing:
                raise
            raise DataError(
                f"{self.name} should be whole, but unpacking it fails: {error}. Pack it again."
            ) from None

    def _unpacking(self) -> BinaryIO:
        if self._packing == _GZIP:
            return cast(BinaryIO, gzip.GzipFile(fileobj=self._file))
        if self._packing == _ZSTD:
            zstd = _zstd()
            self._errors = (*self._errors, zstd.ZstdError)
            return cast(BinaryIO, zstd.ZstdFile(self._file))
        return self._file

    def _decoded(self, data: bytes, at: int, encoding: str) -> str:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            place = at + error.start
            raise DataError(
                f"{self.name} should be {encoding} text, but byte {place} (0x{data[error.start]:02x}) is not. "
                "Save it as UTF-8."
            ) from None


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a log, compressed or not.

    Bytes that are not UTF-8 are replaced, since a process may have been killed while it wrote a character. A compressed
    log has to be whole.

    Raises:
        DataError: it is compressed, and cannot be unpacked or is not text.
    """
    with path.open("rb") as file:
        packed = file.read(4).startswith((_GZIP, _ZSTD))
    if packed:
        yield from TextFile(path).lines()
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        yield from lines


def _seekable(file: Any) -> BinaryIO:
    """Return the file; if it is a pipe, a copy of its content, since the file is read more than once."""
    if file.seekable() and file is not sys.stdin.buffer:
        return cast(BinaryIO, file)
    copied = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed with the text
    shutil.copyfileobj(file, copied)
    if file is not sys.stdin.buffer:
        file.close()
    copied.seek(0)
    return cast(BinaryIO, copied)


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        with extra("zstd", "Reading files packed by Zstandard", "backports.zstd"):
            from backports import zstd
    return zstd
