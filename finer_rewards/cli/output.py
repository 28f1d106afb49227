"""Writes the records of a verb to standard output or to a file, as text, JSON, JSONL or CSV."""

from __future__ import annotations

import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from finer_rewards._util.atomic_files import replacing
from finer_rewards._util.controls import escape_controls
from finer_rewards.errors import ConfigError

if TYPE_CHECKING:
    from finer_rewards._signature import Signature

Record = Mapping[str, Any]


def format_of(chosen: str | None, output: str | None) -> str:
    """Return the format that was chosen; else that of the output file's name; else text."""
    suffix = Path(output).suffix.lstrip(".").lower() if output else ""
    return chosen or (suffix if suffix in ("json", "jsonl", "csv") else "text")


@contextlib.contextmanager
def open_output(path: str | None) -> Iterator[TextIO]:
    """Yield standard output, or a file that appears under its name only when all of it is written.

    What is written to standard output passes `Shown`; a file gets it as it is.
    """
    if path is None or path == "-":
        yield sys.stdout
        # Without this, what is printed on standard error next could appear above the data in a terminal.
        sys.stdout.flush()
        return
    target = checked_target(path)
    if target is None:
        # A pipe or /dev/null cannot be replaced by a finished file: it is written in place.
        with Path(path).open("w", encoding="utf-8", errors="backslashreplace") as file:
            yield file
        return
    with (
        replacing(target) as draft,
        draft.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


def checked_target(path: str | None) -> Path | None:
    """Return the file to write; `None` for standard output and for what is no regular file, as a pipe.

    Raises:
        ConfigError: the path is a folder, or the folder it lies in is missing.
    """
    if path is None or path == "-":
        return None
    target = Path(path)
    if target.is_dir() or not target.absolute().parent.is_dir():
        what = "is a folder" if target.is_dir() else f"lies in {target.parent}, which is not there"
        raise ConfigError(f"`-o` should be a file to write, but {path!r} {what}. Pass another path.")
    return None if target.exists() and not target.is_file() else target


def say_signature(signature: Signature, *, whole: bool) -> None:
    """Print on standard error what decides the scores: the digest of the signature, or the whole signature."""
    text = str(signature) if whole else f"sha256:{signature.digest} (--signature spells it out)"
    print(f"signature: {text}", file=sys.stderr)


def write_records(
    records: Iterable[Record],
    kind: str,
    file: TextIO,
    columns: Sequence[str],
    text: Callable[[Record], Iterable[str]],
    head: Iterable[str] = (),
) -> None:
    """Write records as they come.

    Args:
        records: what to write.
        kind: `text`, `json` (one list), `jsonl` (one object a line) or `csv`.
        file: where to.
        columns: the names a CSV file has, in order.
        text: the lines of a record in the format `text`.
        head: the lines before the first record in the format `text`.
    """
    if kind == "csv":
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for record in records:
            writer.writerow({name: _cell(value) for name, value in record.items()})
    elif kind == "json":
        before = "[\n"
        for record in records:
            file.write(f"{before}{json_text(record)}")
            before = ",\n"
        file.write("\n]\n" if before == ",\n" else "[]\n")
    else:
        if kind == "text":
            file.writelines(f"{line}\n" for line in head)
        for record in records:
            lines = [json_text(record)] if kind == "jsonl" else text(record)
            file.writelines(f"{line}\n" for line in lines)


def json_text(value: Any, indent: int | None = None) -> str:
    """Return JSON with every control character escaped: JSON requires it for some, and terminals obey others."""
    return escape_controls(json.dumps(value, ensure_ascii=False, indent=indent, default=str))


def _cell(value: Any) -> Any:
    """Return the text of a CSV cell that a spreadsheet does not take for a formula, without control characters."""
    if not isinstance(value, str):
        return value
    text = escape_controls(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
