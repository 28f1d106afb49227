"""A PostgreSQL server of our own, for the tests.

It is made by `initdb` in a temporary folder and listens on a socket there. It refuses to run as root, so that root
starts it as the user `postgres`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


class Server:
    """A server of our own, until `stop`."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        # A socket's path may have 107 bytes, which pytest's own folders come near to.
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self.prefix: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
            self.prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self.do(
            "initdb",
            "-D",
            str(self.folder / "data"),
            "-U",
            "owner",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        )
        self.start()

    def do(self, program: str, *arguments: str) -> None:
        command = [*self.prefix, str(self.programs / program), *arguments]
        run = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
        assert run.returncode == 0, run.stdout + run.stderr

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        log = str(self.folder / "log")
        self.do("pg_ctl", "-D", str(self.folder / "data"), "-w", "-o", options, "-l", log, "start")

    def stop(self) -> None:
        self.do("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def dsn(self, user: str, database: str = "") -> str:
        return f"host={self.folder} user={user}" + (f" dbname={database}" if database else "")

    def script(self, database: str, text: str) -> None:
        import psycopg

        with psycopg.connect(self.dsn("owner", database), autocommit=True) as connection:
            connection.execute(text)


def programs() -> Path | None:
    """Return where the server's programs are; Debian keeps them out of the path."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("initdb")
    if found:
        places.insert(0, Path(found).resolve().parent)
    return next((place for place in places if (place / "pg_ctl").exists()), None)


def running() -> Iterator[Server]:
    """Yield a server with a role that may read; a test is skipped where there can be none."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'finer-rewards[postgres]'")
    place = programs()
    if place is None:
        pytest.skip("needs a PostgreSQL server: there is no initdb here (Debian: apt-get install postgresql)")
    if os.geteuid() == 0:
        import pwd

        try:
            pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("needs a user `postgres`: the server does not run as root")
    server = Server(place)
    server.script("postgres", "CREATE ROLE reader LOGIN; GRANT pg_read_all_data TO reader")
    yield server
    server.stop()
    shutil.rmtree(server.folder)
