"""Lets an interrupted `score` go on where it stopped, and tells whether the score log has a sample already."""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from finer_rewards._util.atomic_files import replacing
from finer_rewards._util.lossless_json import parse_json
from finer_rewards.cli.output import checked_target, open_output
from finer_rewards.errors import ConfigError
from finer_rewards.types import Sample


class ResumedOutput(NamedTuple):
    """An output that begins with the records of an interrupted run.

    Args:
        file: the file that the next records are written to.
        done: how many records an interrupted run left.
    """

    file: TextIO
    done: int


@contextmanager
def open_draft(
    path: str | None, key: Sequence[object] | None, seen: Callable[[dict[str, Any]], None]
) -> Iterator[ResumedOutput]:
    """Yield the output; records are written to `PATH.part`, which stays if the run is interrupted, else becomes PATH.

    Args:
        path: the file; nothing is kept of standard output, nor of a pipe.
        key: everything that decides the records. It is the first line of `PATH.part`; the records there are used if
            theirs is the same. With `None`, as for other formats than JSONL, nothing is kept.
        seen: is called with each record that is there already.

    Raises:
        ConfigError: the file cannot be written, or another process is writing it.
    """
    target = checked_target(path)
    if target is None or key is None:
        with open_output(path) as file:
            yield ResumedOutput(file, 0)
        return
    part = target.with_name(f"{target.name}.part")
    part.touch()
    head = json.dumps(key).encode() + b"\n"
    with part.open("r+b") as raw:
        try:
            fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"`-o {path}` is being written by another process. Pass another path."
            ) from None
        done, end = 0, len(head)
        if raw.readline() == head:
            for line in raw:
                try:
                    seen(parse_json(line.decode()))
                except ValueError:
                    # The run was killed while it wrote this line.
                    break
                done, end = done + 1, end + len(line)
            raw.seek(end)
        else:
            raw.seek(0)
            raw.write(head)
        raw.truncate()
        raw.flush()
        if done:
            print(
                f"finer-rewards: going on after the {done} statements in {part}, which an earlier run left; remove "
                "it to begin anew",
                file=sys.stderr,
            )
        with part.open("a", encoding="utf-8", errors="backslashreplace", newline="") as file:
            try:
                yield ResumedOutput(file, done)
            except BaseException:
                file.flush()
                if part.stat().st_size > len(head):
                    print(
                        f"\nfiner-rewards: what was scored is kept in {part}: the same command goes on with it",
                        file=sys.stderr,
                    )
                else:
                    part.unlink()
                raise
        raw.seek(len(head))
        with replacing(target) as whole, whole.open("wb") as copy:
            shutil.copyfileobj(raw, copy)
        part.unlink()


def resume_key(*parts: object) -> list[object] | None:
    """Return what tells one run from another: the parts, with the size and time of those that are files.

    It is `None` if a part is standard input, which cannot be read again.
    """
    if "-" in parts:
        return None
    key: list[object] = []
    for part in parts:
        file = Path(part) if isinstance(part, str) and len(part) < 4096 and "\0" not in part else None
        try:
            state = file.stat() if file is not None else None
        except OSError:
            # The part is a statement, not a path.
            state = None
        key.append([str(part), state.st_size, state.st_mtime_ns] if state is not None else str(part))
    return key


def is_logged(log: str | None, sample: Sample, digest: str) -> bool:
    """Return whether a score log has this sample already, scored under the signature with this digest.

    Then `score` warns, and appends all the same: a report would count the samples twice.
    """
    if log is None or not Path(log).is_file():
        return False
    # Lines are compared as bytes first: parsing every line of a long log would take minutes.
    signed = digest.encode()
    begins = f'"completion":{json.dumps(sample.completion, ensure_ascii=False)}'.encode("utf-8", "replace")
    with Path(log).open("rb") as file:
        for line in file:
            if begins in line and signed in line:
                try:
                    record = parse_json(line.decode())
                except ValueError:
                    continue
                golds = record.get("gold")
                if record.get("db") == sample.db and sample.golds == (
                    (golds,) if isinstance(golds, str) else tuple(golds or ())
                ):
                    return True
    return False
