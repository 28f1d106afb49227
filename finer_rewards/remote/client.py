"""One HTTP connection a thread to a server of ours, kept open, tried again; the standard library alone."""

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

_BATCH_CHARACTERS = 2 << 20  # at most six bytes each, so well below what a server takes by default
_PAUSES = (0.1, 0.3, 1.0, 2.0)  # seconds between tries, the last one again and again
_LONGEST_PAUSE = 10.0  # seconds, whatever a server asks for
_BUSY = frozenset((408, 429, 502, 503, 504))  # 408: the network was slow
_QUICK = 1.0  # seconds in which a try may fail and still be worth one more


T = TypeVar("T")
S = TypeVar("S", bound="ServerBacked")


class ServerLostError(FinerError):
    """The server could not be reached, or did not answer, for as long as the client was to try."""


class _Loss(NamedTuple):
    """A server that was given up: until when it is not waited for again, and whether a try takes long."""

    until: float
    slow: bool
    why: str


class Client:
    """Sends JSON to a server and returns the JSON it answers.

    Any number of threads may use it; a fork leaves the parent's connections alone; it pickles.

    Args:
        url: where the server is, such as `http://127.0.0.1:8000`.
        token: sent as `Authorization: Bearer`.
        timeout: seconds without a byte after which the server is taken for lost. A server of ours that works on
            a request sends one every few seconds.
        patience: seconds to keep trying a server that cannot be reached or is busy. One that could not be
            reached for so long is not waited for again for as long: a call then tries once, or where a try itself
            takes long, not at all.

    Raises:
        ConfigError: the url or a number cannot be used.
    """

    def __init__(self, url: str, token: str | None, timeout: float, patience: float) -> None:
        parts = urlsplit(url) if isinstance(url, str) else None
        try:
            usable = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)
            port = parts.port if parts is not None else None
        except ValueError:  # a port that is no number
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
        self._idle: deque[HTTPConnection] = deque()  # its methods are atomic: no lock to fork with
        weakref.finalize(self, _close_all, self._idle)

    def get(self, path: str) -> Any:
        """Return what the server answers to a GET."""
        return self._ask("GET", path, None)

    def post(self, path: str, payload: Any, *, within: float = float("inf")) -> Any:
        """Return what the server answers to a POST.

        Args:
            path: which of its services.
            payload: what to send.
            within: seconds the answer may take, however alive the server seems.

        Raises:
            ServerLostError: it was not reached, failed, or was busy, for all of `patience`.
            ConfigError: it refused the request: a wrong token, or something that is no request.
            StoppedError: the caller no longer waits; the server is told so, by the end of the connection.
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
            give_up = give_up or now + self.patience  # counted from the first failure
            if loss is not None or now + pause > give_up:
                text = f"the server at {self.url} was lost after {tries} {'try' if tries == 1 else 'tries'}: {why}"
                if not reached:
                    until = loss.until if loss is not None else now + self.patience
                    self._loss = _Loss(until, now - began > _QUICK, text)
                raise ServerLostError(text)
            _rest(pause)

    def _read(self, data: bytes) -> Any:
        answer = loads(data)
        # A long answer began before it was known how it would end.
        if isinstance(answer, dict) and set(answer) == {"error"}:
            raise ConfigError(f"The server at {self.url} refused: {answer['error']}")
        return answer

    def _once(self, method: str, path: str, body: bytes | None, end: float) -> tuple[int, Any, bytes]:
        """Ask once; a kept connection that the server had closed meanwhile does not count."""
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
            except BaseException:  # also Ctrl-C: half an answer must not be read by whoever comes next
                connection.close()
                raise

    def _exchange(
        self, connection: HTTPConnection, method: str, path: str, body: bytes | None, end: float
    ) -> tuple[int, Any, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        # A server that refuses does not wait for the whole body; its answer may be there all the same.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, self._path + path, body, headers)
        response: HTTPResponse = connection.getresponse()
        data = bytearray()
        while chunk := response.read1(1 << 16):
            data += chunk
            if time.monotonic() > end:
                raise TimeoutError("the answer did not come to an end")
        response.read()  # there is nothing left, but only now is the connection free again
        if response.will_close:
            connection.close()
        else:
            self._connections().append(connection)
        return response.status, response.headers, bytes(data)

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self._secure else HTTPConnection
        return kind(self._host, self._port, timeout=self.timeout)

    def _connections(self) -> deque[HTTPConnection]:
        if os.getpid() != self._process:  # forked: the sockets belong to the parent
            self._process = os.getpid()
            _close_all(self._idle)
        return self._idle


class ServerBacked:
    """What a server of ours does for its clients: an address, connections, and no secret in a log.

    Args:
        url: where the server is, such as `"http://node-1:8000"`.
        token: the server's token, if it has one.
        timeout: seconds without a sign of life after which the server is taken for lost.
        patience: seconds to keep trying when it cannot be reached or is busy; see `Client`.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout: float = 30.0, patience: float = 30.0
    ) -> None:
        self._client = Client(url, token, timeout, patience)

    @property
    def url(self) -> str:
        """Where the server is."""
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
        token = "" if self._client.token is None else ", token=..."  # no secret in a log
        return f"{type(self).__name__}({self.url!r}{token})"

    def _lost(self, error: ServerLostError) -> ConfigError:
        """Return the sentence for one who cannot go on without an answer."""
        return ConfigError(
            f"`{type(self).__name__}(url)` should be a server that runs, but {error}. Start it, or check the url."
        )


def first_batch(items: Sequence[T], sizes: Sequence[int]) -> Sequence[T]:
    """Return as many of the first items as one request should carry, one at least; at most one a size given."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and total > _BATCH_CHARACTERS:
            return items[:count]
    return items[: len(sizes)]


def _hang_up(connection: HTTPConnection) -> None:
    """Let whoever reads from a connection find its end."""
    if connection.sock is not None:
        with suppress(OSError):  # it is not connected yet, or no more
            connection.sock.shutdown(socket.SHUT_RDWR)


def _rest(seconds: float) -> None:
    stop = STOP.get()
    if stop is None:
        time.sleep(seconds)
    elif stop.wait(seconds):
        stop.check()


def _close_all(connections: deque[HTTPConnection]) -> None:
    while connections:
        with suppress(IndexError):  # another thread took it
            connections.pop().close()


def _sentence(status: int, data: bytes) -> str:
    try:
        return str(loads(data)["error"])
    except (ValueError, KeyError, TypeError):
        return data[:200].decode("utf-8", "replace") or f"HTTP {status}"
