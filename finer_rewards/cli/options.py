"""Options that several verbs share, and the objects (executor, reward, memory, judge) that they ask for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finer_rewards.errors import ConfigError

if TYPE_CHECKING:
    from finer_rewards._neighbour_observer import Neighbours
    from finer_rewards.cli.database_option import ChosenDatabases
    from finer_rewards.executing.pooled import PooledExecutor
    from finer_rewards.judging import EndpointJudge
    from finer_rewards.memory import TraceMemory
    from finer_rewards.reward import Reward
    from finer_rewards.types import Status

FORMATS = ("text", "json", "jsonl", "csv")


def add_parser(subparsers: Any, verb: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Add the parser of a verb, with examples at the end of its help."""
    from finer_rewards.cli import VERBS

    parser: argparse.ArgumentParser = subparsers.add_parser(
        verb,
        help=VERBS[verb],
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        metavar="MODULE",
        help="first import this module or .py file, which may register modes, rewards and engines",
    )
    return parser


def number(name: str, kind: Callable[[str], float], what: str) -> Callable[[str], float]:
    """Return a type for argparse: a number, which is positive or from 0 up if `what` says so."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if (
            not (float("-inf") < value < float("inf"))
            or ("positive" in what and value <= 0)
            or ("from 0" in what and value < 0)
        ):
            raise argparse.ArgumentTypeError(
                f"should be {what}, but got {text!r}. Write for example {name} 1"
            )
        return value

    return read


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add PRED, GOLD and --db."""
    files = "SQL, `sql<TAB>db_id` lines, JSON (Spider, BIRD) or JSONL, or `-` for standard input"
    parser.add_argument(
        "predicted", metavar="PRED", help=f"predicted statements: a file ({files}), or one statement itself"
    )
    parser.add_argument("gold", metavar="GOLD", help="gold statements, as many and in the same order")
    parser.add_argument(
        "--db",
        required=True,
        metavar="PATH",
        help="a database file for all statements, or a folder laid out ID/ID.sqlite or ID.sqlite",
    )
    for side in ("predicted", "gold"):
        parser.add_argument(
            f"--{side}-format",
            metavar="FORMAT",
            help="json, jsonl, lines (one statement a line) or sql; recognised when left out",
        )


def add_executor(parser: argparse.ArgumentParser, *, matches: bool = True) -> None:
    """Add the limits under which SQL runs.

    Args:
        parser: of the verb.
        matches: whether the verb decides what is a match, which may have to hold on neighbours too.
    """
    from finer_rewards.engines.registry import ENGINES

    seconds = number("--timeout", float, "a positive number of seconds")
    rows = number("--max-rows", int, "a positive whole number")
    workers = number("--workers", int, "a positive whole number")
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="S", help="seconds a query may take (30)"
    )
    group.add_argument(
        "--deadline",
        choices=("relative", "absolute"),
        default="relative",
        help="relative: a prediction may take 2 s of CPU or 20 times its gold's; absolute: always --timeout",
    )
    group.add_argument(
        "--max-rows", type=rows, default=10_000, metavar="N", help="rows kept of a result (10000)"
    )
    group.add_argument(
        "--engine",
        choices=tuple(ENGINES),
        help="what runs the statements; by the database when left out (.duckdb, Parquet, postgresql://...)",
    )
    group.add_argument("--workers", type=workers, metavar="N", help="processes (one a core, at most 8)")
    group.add_argument("--cache", metavar="FOLDER", help="keep gold results here from run to run")
    if not matches:
        return
    group.add_argument(
        "--neighbours",
        type=number("--neighbours", int, "a whole number from 0 up"),
        default=0,
        metavar="N",
        help="a match must hold on up to N neighbours too; see `finer-rewards testsuite`",
    )
    group.add_argument(
        "--neighbours-from", metavar="FOLDER", help="where they are, if not beside the databases"
    )


def chosen_neighbours(arguments: argparse.Namespace) -> Neighbours:
    """Return how many neighbours the options ask for, with their folder if it is named; 0 without the option."""
    folder = arguments.neighbours_from
    if folder is not None and not Path(folder).is_dir():
        raise ConfigError(f"`--neighbours-from` should be a folder, but {folder} is none. Check the path.")
    return (arguments.neighbours, folder) if arguments.neighbours and folder else arguments.neighbours


def made_executor(arguments: argparse.Namespace, databases: ChosenDatabases) -> PooledExecutor:
    """Return the executor for `--db` and the limits."""
    from finer_rewards.engines.registry import ENGINES

    cache = arguments.cache
    if cache is not None and Path(cache).exists() and not Path(cache).is_dir():
        raise ConfigError(f"`--cache` should be a folder, but {cache} is a file. Pass another path.")
    make = databases.engine.executor
    limits: dict[str, Any] = {
        "timeout": arguments.timeout,
        "deadline": arguments.deadline,
        "max_rows": arguments.max_rows,
        "workers": arguments.workers,
    }
    if "cache" in signature(make).parameters:
        limits["cache"] = cache
    elif cache:
        others = [one.name for one in ENGINES.values() if "cache" in signature(one.executor).parameters]
        raise ConfigError(
            f"`--cache` should be left out with {getattr(make, '__name__', make)}, but got {cache!r}. "
            f"Only {' and '.join(others)} have that."
        )
    return make(databases.place.root, **limits, **databases.place.options)


def chosen_executor(arguments: argparse.Namespace, databases: ChosenDatabases) -> PooledExecutor:
    """Return the executor for `--db` and the limits, and print what the user should know of the databases."""
    from finer_rewards.executing.abilities import path_of

    executor = made_executor(arguments, databases)
    notes = [
        *databases.notes,
        *databases.missing(partial(path_of, executor)),
        databases.engine.warn(executor),
    ]
    for note in filter(None, notes):
        print(f"finer-rewards: {note}", file=sys.stderr)
    return executor


def add_reward(parser: argparse.ArgumentParser) -> None:
    """Add --reward, --preset, --mode, --memory and --judge."""
    group = parser.add_argument_group("reward (execution match when none is given)")
    group.add_argument(
        "--mode", metavar="NAME", help="how results are compared (answer); see `finer-rewards modes`"
    )
    group.add_argument(
        "--preset", metavar="NAME", help="a published or shipped reward; see `finer-rewards presets`"
    )
    group.add_argument("--reward", metavar="SPEC", help="e.g. '2 * execution_match() + executable()'")
    group.add_argument(
        "--memory",
        metavar="FOLDER",
        help="verified traces, for rewards that use them; see `finer-rewards memory`",
    )
    add_embedder(group)
    group.add_argument(
        "--judge",
        metavar="URL#MODEL",
        help="the language model that judge() asks, e.g. http://localhost:8000/v1#Qwen/Qwen3-32B",
    )


def add_embedder(parser: argparse._ActionsContainer) -> None:
    """Add --embedder."""
    parser.add_argument(
        "--embedder", metavar="NAME", help="hashing, URL#MODEL or a sentence-transformers model (the paper's)"
    )


def add_strict_golds(parser: argparse.ArgumentParser) -> None:
    """Add --strict-golds."""
    parser.add_argument(
        "--strict-golds",
        action="store_true",
        help="exit 1 when a gold cannot be used, not only when the system failed",
    )


def exit_status(unscored: Iterable[Status], arguments: argparse.Namespace) -> int:
    """Return 1 if the system failed, or if a gold cannot be used and --strict-golds is given; else 0.

    Args:
        unscored: the status of each sample without a value.
        arguments: the arguments of the verb.
    """
    faults = {"system", "data"} if arguments.strict_golds else {"system"}
    return int(any(status.blame in faults for status in unscored))


def add_output(parser: argparse.ArgumentParser, formats: Sequence[str] = FORMATS) -> None:
    """Add --format and -o."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--format",
        choices=formats,
        help="text, unless the name given with -o ends in one of the others",
    )
    group.add_argument("-o", "--output", metavar="FILE", help="write here instead of standard output")


def add_signature(parser: argparse.ArgumentParser) -> None:
    """Add --signature."""
    parser.add_argument(
        "--signature", action="store_true", help="spell the signature out: all that decides the scores"
    )


def chosen_reward(arguments: argparse.Namespace) -> Reward:
    """Return the reward that --reward, --preset and --mode ask for."""
    from finer_rewards.presets import PRESETS, preset
    from finer_rewards.rewards import execution_match
    from finer_rewards.spec import parse_reward

    if arguments.reward and (arguments.preset or arguments.mode):
        other = "--preset" if arguments.preset else "--mode"
        raise ConfigError(
            f"`--reward` should stand alone, but got {other} too. "
            "Write everything in the reward, e.g. --reward \"execution_match(mode='bird')\"."
        )
    mode = {"mode": arguments.mode} if arguments.mode else {}
    if arguments.reward:
        return parse_reward(arguments.reward)
    if not arguments.preset:
        return execution_match(**mode)
    if mode and arguments.preset in PRESETS and "mode" not in signature(PRESETS[arguments.preset]).parameters:
        raise ConfigError(
            f"`--mode` should be left out with --preset {arguments.preset}, which brings its own, but got "
            f"{arguments.mode!r}. Write the reward out with --reward to change it."
        )
    return preset(arguments.preset, **mode)


def chosen_memory(arguments: argparse.Namespace, reward: Reward) -> TraceMemory | None:
    """Return the trace memory that --memory names."""
    if arguments.memory is not None:
        from finer_rewards.memory import TraceMemory

        return TraceMemory.open(arguments.memory, arguments.embedder, create=False)
    if "memory" in reward.needs:
        without = "'finer(memory=False)'" if arguments.preset == "finer" else "one without memory()"
        raise ConfigError(
            "The reward compares reasoning with verified traces, but there are none. "
            f"Pass --memory FOLDER (see `finer-rewards memory build`), or another --reward: {without}."
        )
    return None


def chosen_judge(arguments: argparse.Namespace, reward: Reward) -> EndpointJudge | None:
    """Return the judge for rewards that need one; if it wants a key, the key is in $OPENAI_API_KEY."""
    if arguments.judge is None:
        if "judge" in reward.needs:
            raise ConfigError(
                "The reward asks a language model, but none is named. "
                "Pass --judge URL#MODEL, e.g. http://localhost:8000/v1#Qwen/Qwen3-32B, or a reward without judge()."
            )
        return None
    from finer_rewards.judging import EndpointJudge

    url, _, model = arguments.judge.partition("#")
    if not model:
        raise ConfigError(
            f"`--judge` should be URL#MODEL, but got {arguments.judge!r}, which names no model. "
            "Write for example http://localhost:8000/v1#Qwen/Qwen3-32B."
        )
    return EndpointJudge(url, model)
