"""The HTTP client for `finer-rewards serve`: it keeps connections open and repeats requests to a lost or busy server.

It uses the standard library only.
"""

from __future__ import annotations

import os
import socket
import time
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from finer_rewards._util.lossless_json import dumps, loads
from finer_rewards.errors import ConfigError, FinerError
from finer_rewards.executing.stopping import STOP

# The most characters of one request. At six bytes each at most, it stays well below what a server accepts by default.
_BATCH_CHARACTERS = 2 << 20
# Seconds between tries; the last value repeats.
_PAUSES = (0.1, 0.3, 1.0, 2.0)
# The longest pause, even if a server asks for a longer one.
_LONGEST_PAUSE = 10.0
# HTTP statuses after which the request is repeated (408: the network was slow).
_BUSY = frozenset((408, 429, 502, 503, 504))
# A lost server is tried again in the next call only if the last try failed within so many seconds.
_QUICK = 1.0


T = TypeVar("T")
S = TypeVar("S", bound="ServerBacked")


class ServerLostError(FinerError):
    """The server could not be reached, or did not answer, for as long as the client tries."""


class _Loss(NamedTuple):
    """The memory of a lost server: until when it is not waited for again, whether a try takes long, and the cause."""

    until: float
    slow: bool
    why: str


class Client:
    """Sends JSON to a server and returns the JSON that it answers.

    Any number of threads may use it; it does not touch the parent's connections after a fork; it can be pickled.

    Args:
        url: the address of the server, such as `http://127.0.0.1:8000`.
        token: sent as `Authorization: Bearer`.
        timeout: seconds without a byte after which the server counts as lost. While it works on a request,
            `finer-rewards serve` sends a byte every few seconds.
        patience: seconds to keep trying a server that cannot be reached or is busy. After a server could not be
            reached for that long, calls during the same time again do not wait for it: they try once, or, if a try
            itself takes long, not at all.

    Raises:
        ConfigError: the url or a number cannot be used.
    """

    def __init__(self, url: str, token: str | None, timeout: float, patience: float) -> None:
        parts = urlsplit(url) if isinstance(url, str) else None
        try:
            usable = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
            port = parts.port if parts is not None else None
        except ValueError:
            # The port is no number.
            usable, port = False, None
        if not usable or parts is None:
            raise ConfigError(
                f"`url` should be the address of a server, but got {url!r}. Write for example "
                "'http://127.0.0.1:8000'."
            )
        for name, value in (("timeout", timeout), ("patience", patience)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
                raise ConfigError(
                    f"`{name}` should be a positive number of seconds, but got {value!r}. Pass `{name}=30`."
                )
        if token is not None and (
            not isinstance(token, str) or not token.isascii() or not token.isprintable()
        ):
            raise ConfigError("`token` should be printable ASCII, but it is not. Pass the server's token.")
        self.url = url.rstrip("/")
        self.token = token
        self.timeout = float(timeout)
        self.patience = float(patience)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = port
        self._path = parts.path.rstrip("/")
        self._loss: _Loss | None = None
        self._process = os.getpid()
        # The methods of a deque are atomic, so no lock is needed, which a fork might leave locked.
        self._idle: deque[HTTPConnection] = deque()
        weakref.finalize(self, _close_all, self._idle)

    def get(self, path: str) -> Any:
        """Return the server's answer to a GET request; raises as `post` does."""
        return self._ask("GET", path, None)

    def post(self, path: str, payload: Any, *, within: float = float("inf")) -> Any:
        """Return the server's answer to a POST request.

        Args:
            path: the path of the service.
            payload: the values to send.
            within: seconds the whole answer may take, even if bytes keep arriving.

        Raises:
            ServerLostError: the server could not be reached, failed, or was busy, for all of `patience`.
            ConfigError: the server refused the request, for example because of a wrong token.
            StoppedError: the caller no longer waits; the closed connection tells the server so.
        """
        return self._ask("POST", path, dumps(payload), within)

    def close(self) -> None:
        """Close the connections that are not in use; the client opens new ones when it is used again."""
        _close_all(self._connections())

    def __reduce__(self) -> tuple[type[Client], tuple[Any, ...]]:
        return type(self), (self.url, self.token, self.timeout, self.patience)

    def _ask(self, method: str, path: str, body: bytes | None, within: float = float("inf")) -> Any:
        loss = self._loss
        if loss is not None and time.monotonic() >= loss.until:
            loss = None
        if loss is not None and loss.slow:
            raise ServerLostError(loss.why)
        give_up = 0.0
        tries = 0
        while True:
            asked = 0.0
            began = time.monotonic()
            try:
                status, headers, data = self._once(method, path, body, began + within)
            except (OSError, HTTPException) as error:
                why = f"{type(error).__name__}: {error}".rstrip(": ")
                reached = False
            else:
                reached, loss, self._loss = True, None, None
                if status == 200:
                    try:
                        return self._read(data)
                    except ValueError as error:
                        if isinstance(error, ConfigError):
                            raise
                        raise ServerLostError(f"{self.url}{path} answered what is no JSON: {error}") from None
                why = _sentence(status, data)
                if status not in _BUSY and status < 500:
                    raise ConfigError(f"The server at {self.url} refused {path} ({status}): {why}")
                if status == 503:
                    with suppress(TypeError, ValueError):
                        asked = min(float(headers.get("Retry-After")), _LONGEST_PAUSE)
            pause = max(asked, _PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1
            now = time.monotonic()
            # Patience counts from the first failure.
            give_up = give_up or now + self.patience
            if loss is not None or now + pause > give_up:
                text = f"the server at {self.url} was lost after {tries} {'try' if tries == 1 else 'tries'}: {why}"
                if not reached:
                    until = loss.until if loss is not None else now + self.patience
                    self._loss = _Loss(until, now - began > _QUICK, text)
                raise ServerLostError(text)
            _rest(pause)

    def _read(self, data: bytes) -> Any:
        answer = loads(data)
        # A long answer begins, with status 200, before the server knows whether it will succeed.
        if isinstance(answer, dict) and set(answer) == {"error"}:
            raise ConfigError(f"The server at {self.url} refused: {answer['error']}")
        return answer

    def _once(self, method: str, path: str, body: bytes | None, end: float) -> tuple[int, Any, bytes]:
        """Send the request once; a kept connection that the server has closed in the meantime does not count."""
        while True:
            idle = self._connections()
            try:
                connection, kept = idle.pop(), True
            except IndexError:
                connection, kept = self._connect(), False
            stop = STOP.get()
            try:
                with nullcontext() if stop is None else stop.interrupting(partial(_hang_up, connection)):
                    return self._exchange(connection, method, path, body, end)
            except (ConnectionError, HTTPException) as error:
                connection.close()
                if not kept:
                    raise error
            except BaseException:
                # Also after Ctrl-C: nobody may read the second half of this answer from the connection later.
                connection.close()
                raise

    def _exchange(
        self, connection: HTTPConnection, method: str, path: str, body: bytes | None, end: float
    ) -> tuple[int, Any, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        # A server that refuses closes its side before it has read the whole body; its answer can still be read.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, self._path + path, body, headers)
        response: HTTPResponse = connection.getresponse()
        data = bytearray()
        while chunk := response.read1(1 << 16):
            data += chunk
            if time.monotonic() > end:
                raise TimeoutError("the answer did not come to an end")
        # Nothing is left to read, but only this call frees the connection.
        response.read()
        if response.will_close:
            connection.close()
        else:
            self._connections().append(connection)
        return response.status, response.headers, bytes(data)

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self._secure else HTTPConnection
        return kind(self._host, self._port, timeout=self.timeout)

    def _connections(self) -> deque[HTTPConnection]:
        if os.getpid() != self._process:
            # After a fork the sockets belong to the parent.
            self._process = os.getpid()
            _close_all(self._idle)
        return self._idle


class ServerBacked:
    """The base of `Remote` and `RemoteMemory`: holds the client, and keeps the token out of `repr`.

    Args:
        url: the address of the server, such as `"http://node-1:8000"`.
        token: the server's token, if it has one.
        timeout: seconds without a sign of life after which the server counts as lost.
        patience: seconds to keep trying when it cannot be reached or is busy; see `Client`.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = 30.0, patience: float = 30.0
    ) -> None:
        self._client = Client(url, token, timeout, patience)

    @property
    def url(self) -> str:
        """The address of the server."""
        return self._client.url

    def close(self) -> None:
        """Close the connections; they are opened again when this is used again."""
        self._client.close()

    def __enter__(self: S) -> S:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[partial[ServerBacked], tuple[str]]:
        client = self._client
        options: dict[str, Any] = {
            "token": client.token,
            "timeout": client.timeout,
            "patience": client.patience,
        }
        return partial(type(self), **options), (client.url,)

    def __repr__(self) -> str:
        # A `repr` may end up in a log, so the token is not shown.
        token = "" if self._client.token is None else ", token=..."
        return f"{type(self).__name__}({self.url!r}{token})"

    def _lost(self, error: ServerLostError) -> ConfigError:
        """Return the error for a call that cannot go on without an answer."""
        return ConfigError(
            f"`{type(self).__name__}(url)` should be a server that runs, but {error}. Start it, or check the url."
        )


def first_batch(items: Sequence[T], sizes: Sequence[int]) -> Sequence[T]:
    """Return as many of the first items as one request should carry, at least one.

    Args:
        items: the items.
        sizes: the characters of each of the first items; no more items than sizes are returned.
    """
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and total > _BATCH_CHARACTERS:
            return items[:count]
    return items[: len(sizes)]


def _hang_up(connection: HTTPConnection) -> None:
    """Shut a connection down, so that a thread that waits for its data wakes up."""
    if connection.sock is not None:
        # It may not be connected yet, or no longer.
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _rest(seconds: float) -> None:
    stop = STOP.get()
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        stop.check()


def _close_all(connections: deque[HTTPConnection]) -> None:
    while connections:
        # Another thread may have taken the last one.
        with suppress(IndexError):
            connections.pop().close()


def _sentence(status: int, data: bytes) -> str:
    try:
        return str(loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        return data[:200].decode("utf-8", "replace") or f"HTTP {status}"
