"""Limits on the connections of clients: how long one may be open without a request, and how many there may be."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

#: Seconds within which the head of a request has to arrive.
HEAD_SECONDS = 10.0
#: The number of open files that the server asks the system for.
_FILES = 4096
#: The least number of open files that are not for connections but for the workers and the databases.
_KEPT_FILES = 32
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


class ClientConnection(H11Protocol):
    """uvicorn's connection with two limits that it lacks: by itself it waits for ever for the head of a request.

    When there are as many connections as the limit of open files allows, the connection that has been silent for
    the longest time is closed for the new one.
    """

    _due: asyncio.TimerHandle | None = None
    _since = 0.0

    @property
    def idle(self) -> bool:
        """True while no complete request waits for its answer."""
        return self._between or bool(self.cycle.more_body)

    @property
    def _between(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a client, or tell it to try again if there is no room."""
        if len(self.connections) >= _most_connections():
            idle = [one for one in self.connections if isinstance(one, ClientConnection) and one.idle]
            if not idle:
                transport.write(_BUSY)
                transport.close()
                return
            longest = min(idle, key=lambda one: one._since)
            self.connections.discard(longest)
            longest.transport.abort()
        super().connection_made(transport)
        self._since = self.loop.time()
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Read on. The time for the head does not start again with each piece, however small they are."""
        if self.transport is None:
            # `connection_made` had no room for this client.
            return
        self._since = self.loop.time()
        super().data_received(data)
        if not self._between:
            self._stop_waiting()
        elif self._due is None:
            self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._stop_waiting()
        if self.transport is not None:
            super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        self._due = self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _hang_up(self) -> None:
        self._due = None
        if self._between:
            self.transport.close()


def raise_file_limit() -> None:
    """Ask the system for as many open files as a busy server needs, or as many as it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _most_connections() -> int:
    soft: Any = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    files = _FILES if soft == resource.RLIM_INFINITY else min(soft, _FILES)
    return max(8, files - max(_KEPT_FILES, files // 4))
