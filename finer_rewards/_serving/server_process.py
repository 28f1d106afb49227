"""Running the application: a socket, signals, and an end that finishes what runs and leaves nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from fastapi import FastAPI

from finer_rewards._serving.connections import ClientConnection
from finer_rewards.errors import ConfigError

_WAITING = 2048  # connections that the system keeps until they are let in
_AT_ONCE = 8  # that are let in before the event loop looks at those it has
_UNREAD_MILLISECONDS = 60_000


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any that is free.

    Raises:
        ConfigError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sends small answers without delay only where it is.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        if hasattr(
            socket, "TCP_USER_TIMEOUT"
        ):  # Linux: a client that reads no answer is not written to for ever
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MILLISECONDS)
        listening.listen(_WAITING)
        return listening
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"`--host` and `--port` should be an address of this machine that is free, but {host} port {port} "
            f"is not: {reason}. Pass another one; --port 0 takes any."
        ) from None


class Server(uvicorn.Server):
    """Serves an application until a signal, or `stop()`, ends it.

    The first signal lets what runs come to its end, for `drain` seconds, while new requests get 503; the second
    one ends the server at once.

    Args:
        app: what `build_app` returned.
        drain: seconds that what runs may take when the server is told to end.
        started: called when the server listens.
    """

    def __init__(
        self, app: FastAPI, *, drain: float = 60.0, started: Callable[[], None] = lambda: None
    ) -> None:
        # The grace is for answers that are on their way out when nothing runs any more.
        super().__init__(
            uvicorn.Config(
                app,
                http=ClientConnection,
                ws="none",
                log_level="warning",
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=5,
                backlog=_AT_ONCE,
            )
        )
        self.app = app
        self.drain = drain
        self.ended_by = 0
        self._started = started
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(_WAITING)  # uvicorn has made it as short as what is let in at once
        self._loop = asyncio.get_running_loop()
        self._started()

    def stop(self) -> None:
        """End the server as a first signal does; any thread may call this."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals here, where the exit status is ours to choose."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, end at the second."""
        if self.ended_by:
            logging.getLogger(
                "uvicorn.error"
            ).disabled = True  # that answers are cut off is what was asked for
            self.force_exit = True
            self.should_exit = True
            return
        self.ended_by = sig
        if self._loop is None:
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self._draining is None:
            self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        handler = self.app.state.handler
        handler.draining = True
        end = asyncio.get_running_loop().time() + self.drain
        while handler.present and asyncio.get_running_loop().time() < end and not self.should_exit:
            await asyncio.sleep(0.05)
        if handler.present:
            self.force_exit = True
        self.should_exit = True
