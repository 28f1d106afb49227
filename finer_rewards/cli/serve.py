"""`finer-rewards serve`: scores over HTTP, for OpenRLHF, trainers on several nodes, and anything that speaks JSON."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

from finer_rewards._util.extras import extra
from finer_rewards.cli.options import (
    add_executor,
    add_parser,
    add_reward,
    chosen_executor,
    chosen_judge,
    chosen_memory,
    chosen_neighbours,
    chosen_reward,
    number,
)
from finer_rewards.errors import ConfigError
from finer_rewards.remote.wire import TOKEN

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def register(subparsers: Any) -> None:
    """Add the verb's parser."""
    parser = add_parser(
        subparsers,
        "serve",
        "Score over HTTP: /score, /get_reward (OpenRLHF), /remote_rm (slime), /execute, /settle,\n"
        "/schema, /memory/..., /healthz, /metrics.\n"
        "Ctrl-C or SIGTERM finishes what runs and refuses what is new; a second one ends at once.",
        "  finer-rewards serve --db databases/ --preset finer --memory traces/\n"
        "  finer-rewards serve --db databases/ --host 0.0.0.0 --port 8000 --token-file token.txt\n",
    )
    parser.add_argument(
        "--db",
        required=True,
        metavar="FOLDER",
        help="the databases, laid out ID/ID.sqlite or ID.sqlite; or DuckDB's, or postgresql://...",
    )
    whole = "a positive whole number"
    group = parser.add_argument_group("server")
    group.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (127.0.0.1: this machine only; others need a token)",
    )
    group.add_argument(
        "--port", type=_port, default=8000, help="port to listen on (8000); 0: any that is free"
    )
    group.add_argument(
        "--token-file", metavar="FILE", help=f"every request needs the token in it (also: ${TOKEN})"
    )
    for option, default, what in (
        ("--max-batch", 4096, "samples in a request"),
        ("--max-bytes", 32 << 20, "bytes in a request"),
        ("--queue", 1024, "requests served or waiting; more get 503"),
        ("--threads", 16, "requests served at once"),
    ):
        kind = number(option, int, whole)
        group.add_argument(option, type=kind, default=default, metavar="N", help=f"{what} ({default})")
    group.add_argument(
        "--drain",
        type=number("--drain", float, "a positive number of seconds"),
        default=60.0,
        metavar="S",
        help="seconds that what runs may take when the server is told to end (60)",
    )
    group.add_argument("--log", metavar="FILE", help="append a score log, for `report` and `rescore`")
    group = parser.add_argument_group("OpenRLHF's /get_reward, slime's /remote_rm")
    group.add_argument(
        "--best",
        type=number("--best", float, "a positive number"),
        default=1.0,
        metavar="X",
        help="the largest value of the reward, for scores in [0, 1] (1)",
    )
    group.add_argument(
        "--fallback",
        type=number("--fallback", float, "a number"),
        default=0.0,
        metavar="X",
        help="the reward of what cannot be scored, as these need a number (0)",
    )
    add_reward(parser)
    add_executor(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal ends it: 0 after SIGTERM, 130 after Ctrl-C."""
    with extra("server", "`finer-rewards serve`", "fastapi", "starlette", "uvicorn"):
        from finer_rewards._serving.app import build_app
        from finer_rewards._serving.connections import raise_file_limit
        from finer_rewards._serving.server_process import Server, listen
    from finer_rewards.cli.database_option import ChosenDatabases
    from finer_rewards.engines.registry import engine_at, engine_named, is_address
    from finer_rewards.scoring import Scorer

    if not (Path(arguments.db).is_dir() or is_address(arguments.db)):
        raise ConfigError(f"`--db` should be a folder of databases, but got {arguments.db!r}. Pass a folder.")
    token = _token(arguments.token_file)
    if token is None and arguments.host not in _LOOPBACK:
        raise ConfigError(
            f"`--host` should be this machine's own (127.0.0.1) without a token, but got {arguments.host!r}: whoever "
            f"reaches it may run SQL here. Make a token, `openssl rand -hex 32 > token.txt`, and pass --token-file."
        )
    reward = chosen_reward(arguments)
    memory = chosen_memory(arguments, reward)
    judge = chosen_judge(arguments, reward)
    neighbours = chosen_neighbours(arguments) or None
    engine = engine_named(arguments.engine) if arguments.engine else engine_at(arguments.db)
    databases = ChosenDatabases(engine, engine.look(arguments.db), arguments.db, ())
    scorer = Scorer(
        reward,
        chosen_executor(arguments, databases),
        memory=memory,
        judge=judge,
        neighbours=neighbours,
        log=arguments.log,
    )
    # Without a token only this machine's own names are accepted: a web page in the user's browser could reach
    # the server through a domain that it points to 127.0.0.1. Such a page does not know the token.
    hosts = (*_LOOPBACK, "[::1]") if token is None else None
    app = build_app(
        scorer,
        token=token,
        hosts=hosts,
        max_batch=arguments.max_batch,
        max_bytes=arguments.max_bytes,
        queue=arguments.queue,
        threads=arguments.threads,
        best=arguments.best,
        fallback=arguments.fallback,
    )
    raise_file_limit()
    listening = listen(arguments.host, arguments.port)
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    url = f"http://{host}:{listening.getsockname()[1]}"

    def started() -> None:
        print(
            f"finer-rewards: serving on {url}, signature {scorer.signature.digest}",
            file=sys.stderr,
            flush=True,
        )

    server = Server(app, drain=arguments.drain, started=started)
    try:
        server.run(sockets=[listening])
    finally:
        # After a second signal, threads still use the workers; these then end with the process.
        if not server.force_exit:
            app.state.service.close()
    return 130 if server.ended_by == signal.SIGINT else 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(
            f"should be a port from 0 to 65535, but got {text!r}. Write --port 8000"
        )
    return int(text)


def _token(path: str | None) -> str | None:
    if path is None:
        return os.environ.get(TOKEN) or None
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"`--token-file` should be a readable file, but {path!r} is not: {error}."
        ) from None
    if not text:
        raise ConfigError(f"`--token-file` should hold a token, but {path!r} is empty. Write one into it.")
    return text
