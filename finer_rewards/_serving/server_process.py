"""Runs the application: opens the socket, handles signals, and lets running requests finish before it ends."""

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

#: The number of connections that the system keeps until the server accepts them.
_WAITING = 2048
#: The number of connections that are accepted before the event loop serves those it has.
_AT_ONCE = 8
#: How long a client may leave an answer unread.
_UNREAD_MILLISECONDS = 60_000


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any that is free.

    Raises:
        ConfigError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's delay of small answers off only on sockets that name their protocol.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        # Only Linux has this option, which ends a connection whose client does not read.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
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

    After the first signal, running requests have `drain` seconds to finish, and new ones get 503. The second signal
    ends the server at once.

    Args:
        app: what `build_app` returned.
        drain: the seconds that running requests may take when the server is told to end.
        started: is called when the server listens.
    """

    def __init__(
        self, app: FastAPI, *, drain: float = 60.0, started: Callable[[], None] = lambda: None
    ) -> None:
        # `_drain` waits for requests that run; uvicorn's own grace is for answers that are being sent after that.
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
        """Begin to listen, and call `started`."""
        await super().startup(sockets)
        for listening in sockets or ():
            # uvicorn has one setting for both numbers, and has just made this queue as short as `_AT_ONCE`.
            listening.listen(_WAITING)
        self._loop = asyncio.get_running_loop()
        self._started()

    def stop(self) -> None:
        """End the server as the first signal does; any thread may call this."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the signals here: uvicorn would raise them again at the end, and they would set the exit status."""
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
            # uvicorn would log an error for each answer that is cut off, which the second signal asks for.
            logging.getLogger("uvicorn.error").disabled = True
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
