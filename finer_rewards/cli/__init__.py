"""The command line: `finer-rewards VERB`.

Data goes to standard output; progress, signature, warnings and summary go to standard error. The exit status is
0 when all is done; 1 when the system failed (a database or a worker), when a gold cannot be used and
`--strict-golds` is given, when the mean is below `--fail-under`, or when a verb that looks for faults found one;
2 after wrong usage; 130 when interrupted.

Each verb is one file here, with `register(subparsers)` and `run(arguments) -> int`, and one line of `VERBS`. The
program imports only the file of the verb that is used, so that it starts quickly.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn, TextIO, cast

from finer_rewards.cli.terminal import Shown
from finer_rewards.errors import ConfigError, FinerError, suggest

__all__ = ["VERBS", "main"]

#: The verbs under the headings of `--help`, each with the line that it shows there.
GROUPS: Final = {
    "score": {
        "score": "score predicted SQL against gold SQL, statement by statement",
        "explain": "show why: operations, results and where they differ, the score",
        "evaluate": "evaluate predictions on Spider, BIRD or a benchmark like them",
        "vote": "choose one of several candidates for each question by what they return",
        "rescore": "score saved rollouts again, and say what changed and why",
    },
    "data": {
        "check": "find golds that fail, prove nothing or are not reproducible",
        "prepare": "turn Spider, BIRD or your own questions into rows for a trainer",
        "testsuite": "build neighbour databases that tell a lucky guess from a right query",
        "memory": "build, search and check a folder of verified reasoning traces",
    },
    "train": {
        "preflight": "say whether a run may begin: rows, forms, pass rate, time, trainer",
        "redteam": "try known attacks and the laws of a reward on a reward function",
        "serve": "score over HTTP, for trainers on other machines or in other languages",
        "report": "turn score logs into a page with curves and tables",
    },
    "look up": {
        "presets": "list the presets and rewards, with their formulas",
        "modes": "list the ways two results can be compared",
        "demo": "score a small packaged example and explain it, offline",
        "doctor": "check versions, extras, time limits and safety on this machine",
        "completion": "print a completion script for a shell",
    },
}
#: Every verb with its line, without the headings.
VERBS: Final = {name: line for group in GROUPS.values() for name, line in group.items()}

_EXAMPLES = """examples:
  finer-rewards demo
  finer-rewards score pred.sql gold.sql --db databases/
  finer-rewards explain pred.sql gold.sql --db concert.sqlite --only 3
  finer-rewards evaluate pred.sql spider/
  finer-rewards check spider/ -o clean.json

`finer-rewards VERB --help` says more. Exit status: 0 done; 1 below --fail-under, or the system failed, or (with
--strict-golds) a gold cannot be used, or check, preflight, redteam or doctor found a fault; 2 wrong usage.
"""

#: Names that other tools give to an option, and the option here that does the same: an error suggests it.
_ALSO_CALLED = {
    "--quiet": "--summary", "--short": "--summary", "--score-only": "--summary", "--failures": "--wrong",
    "--metric": "--mode", "--database": "--db", "--verbose": "--explain", "--out": "--output",
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one sentence instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of leaving the process, so that `main` returns."""
        message = re.sub(r"^argument (?:-\w/)?(\S+?)(?:/\S+)?: ", r"`\1` ", message)
        message = re.sub(
            r"invalid choice: (.+) \(choose from (.+)\)", r"should be one of \2, but got \1", message
        )
        raise ConfigError(f"{message[:1].upper()}{message[1:]}. See `{self.prog} --help`.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: the arguments after the program's name; `None` for those of this process.

    Returns:
        The exit status.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    # A stream that the shell closed is None; the file opened next would get its number, and what is printed.
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A character that the terminal's encoding lacks is shown as an escape instead of ending the run.
            stream.reconfigure(errors="backslashreplace")
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast(TextIO, Shown(sys.stdout)), cast(TextIO, Shown(sys.stderr))
    try:
        status = _run(given)
        sys.stdout.flush()
        return status
    except SystemExit as leaving:
        # argparse leaves in this way after --help and --version.
        return int(leaving.code or 0)
    except FinerError as error:
        return _say(str(error))
    except BrokenPipeError:
        # The reader (`head`, for example) has gone. Python flushes the stream once more at its exit, which would
        # fail again; 141 is the status of a program that the signal SIGPIPE ended.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _say(f"{error.strerror or error}{where}.")
    except KeyboardInterrupt:
        print("\nfiner-rewards: interrupted", file=sys.stderr)
        return 130
    finally:
        sys.stdout, sys.stderr = streams


def _run(given: list[str]) -> int:
    if given[:1] == ["help"]:
        given = [*given[1:2], "--help"]
    chosen = given[0] if given else ""
    if chosen == "--version":
        from finer_rewards._version import VERSION

        print(f"finer-rewards {VERSION}")
        return 0
    if chosen and not chosen.startswith("-") and chosen not in VERBS:
        raise ConfigError(f"There is no verb {chosen!r}. {suggest(chosen, VERBS)}Known: {', '.join(VERBS)}.")
    parser = Parser(
        prog="finer-rewards",
        description="Rewards and scores for text-to-SQL.",
        epilog=f"{_verbs()}\n\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", help="see below", parser_class=Parser)
    for name in VERBS:
        if name != chosen:
            subparsers.add_parser(name, add_help=False)
    if not chosen:
        parser.print_help(sys.stderr)
        return 2
    if chosen not in VERBS:
        # Without a verb there can only be --help, --version or a mistake, which the parser reports.
        parser.parse_args(given)
        return 2
    if any(word.partition("=")[0] == "--import" for word in given):
        from finer_rewards.cli.importing import import_named

        import_named(given)
    verb = import_module(f"finer_rewards.cli.{chosen}")
    verb.register(subparsers)
    options = _options(subparsers.choices[chosen])
    # A misspelt option is reported before argparse complains that a required one is missing: it may be that one.
    unknown = [
        word for word in given[1:] if _OPTION.fullmatch(word) and word.partition("=")[0] not in options
    ]
    if not unknown:
        arguments, unknown = parser.parse_known_args(given)
    if unknown:
        name = unknown[0].partition("=")[0].replace("_", "-")
        meant = _ALSO_CALLED.get(name, "")
        near = f"Did you mean {meant!r}? " if meant in options else suggest(name, options)
        raise ConfigError(
            f"`{chosen}` has no place for {' '.join(unknown)!r}. {near}See `finer-rewards {chosen} --help`."
        )
    return int(verb.run(arguments))


def _options(parser: argparse.ArgumentParser) -> list[str]:
    """Return the long options of a verb and of its subcommands."""
    found: list[str] = []
    for action in parser._actions:
        found += [name for name in action.option_strings if name.startswith("--")]
        if isinstance(action, argparse._SubParsersAction):
            found += [name for below in action.choices.values() for name in _options(below)]
    return found


_OPTION = re.compile(r"--[a-zA-Z][\w-]*(=.*)?", re.DOTALL)


def _verbs() -> str:
    lines = []
    for group, verbs in GROUPS.items():
        lines += [f"{group}:", *(f"  {name:10}  {line}" for name, line in verbs.items())]
    return "\n".join(lines)


def _say(sentence: str) -> int:
    print(f"finer-rewards: {sentence}", file=sys.stderr)
    return 2
