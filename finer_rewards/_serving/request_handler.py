"""What every request passes: checks of the client and of the size, a limit on how many run, and a thread for its work.

The event loop only reads and writes; what takes time is done in threads, so that `/healthz` is always answered.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from hmac import compare_digest
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from finer_rewards._serving.metrics import Metrics
from finer_rewards._util.lossless_json import dumps, loads
from finer_rewards.errors import ConfigError
from finer_rewards.executing.stopping import STOP, Stop

#: Seconds between two signs of life; a client waits several times as long.
SIGN_OF_LIFE = 5.0
#: Seconds within which a body has to arrive.
UPLOAD_SECONDS = 60.0
#: In each `SLOW_SECONDS`, `SLOW_BYTES` of the body have to arrive, or its end.
SLOW_SECONDS = 10.0
SLOW_BYTES = 10_000
#: Bytes of a body that are read even if the server is full of other bodies.
_SMALL = 64 << 10
#: Seconds for which the remainder of a refused body is read, so that the client gets to read the refusal.
DISCARD_SECONDS = 2.0
RETRY_AFTER = "1"

#: A `Host` header: `name`, `name:port` or `[::1]:port`, and nothing after it.
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\[\]:@/]+)(:\d{1,5})?")

#: A function from the payload, and an event that is set when the client has gone, to the answer.
Work = Callable[[Any, threading.Event], Any]


class RefusedError(Exception):
    """A request is refused; holds the HTTP status and the sentence that say why."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> Response:
        """Return the response that the client gets."""
        return Response(dumps({"error": str(self)}), self.status, self.headers, "application/json")


class GoneError(Exception):
    """The client has closed the connection, so that nobody waits for the answer."""


class RequestHandler:
    """Admits requests and runs their work in threads.

    Args:
        token: the token that a client has to send, if any.
        hosts: the names of the server that a request may use in `Host`; `None` for any.
        max_bytes: the most bytes in a body.
        queue: the most requests that are served or wait; further ones get 503.
        threads: the number of requests that are served at once.
        hide: takes the paths of this machine out of a message.
    """

    def __init__(
        self,
        *,
        token: str | None,
        hosts: frozenset[str] | None,
        max_bytes: int,
        queue: int,
        threads: int,
        hide: Callable[[str], str] = str,
    ) -> None:
        self.metrics = Metrics()
        self.max_bytes = max_bytes
        self.queue = queue
        self.draining = False
        #: Requests that have a place: those that wait and those that are served.
        self.present = 0
        #: Threads at work, also those for clients that have gone.
        self.running = 0
        self._token = None if token is None else token.encode()
        self._hosts = hosts
        self._hide = hide
        self._hands = asyncio.Semaphore(threads)
        #: Bytes of the bodies that have arrived, in whole or in part, and are not yet served.
        self._bytes = 0

    def check(self, request: Request) -> None:
        """Raise `RefusedError` if the client may not use this server."""
        sent = request.headers.get("host", "")
        host = _HOST.fullmatch(sent)
        if self._hosts is not None and (host is None or host["name"].lower() not in self._hosts):
            # A web page in a browser on this machine can let its own domain point here, and then send requests
            # as if to itself (DNS rebinding). The `Host` header shows that domain.
            raise RefusedError(
                403,
                f"`Host` should be a name of this machine ({', '.join(sorted(self._hosts))}), but got {sent!r:.80}. "
                "Set a token to serve under other names.",
            )
        if self._token is not None and not compare_digest(_sent_token(request), self._token):
            raise RefusedError(
                401,
                "`Authorization` should be `Bearer TOKEN` with this server's token, but it is not. "
                "Pass token=... to the client.",
                WWW_Authenticate="Bearer",
            )

    async def serve(self, request: Request, work: Work, *, alive: bool = False) -> Response:
        """Answer one request.

        Args:
            request: the request.
            work: the function that answers the payload, in a thread.
            alive: send signs of life meanwhile: white space, which JSON allows before its first character. The
                status is then sent before the work is known to succeed, so only clients of this package get it.
        """
        began = time.monotonic()
        path = request.url.path
        response: Response
        try:
            payload, size = await self._received(request)
            response = await self._reply(request, asyncio.create_task(self._job(payload, work, size)), alive)
        except RefusedError as refused:
            response = refused.response()
        except (GoneError, ClientDisconnect):
            # Nobody reads this response; its status is counted.
            response = Response(status_code=499)
        self.metrics.add("requests", path=path, code=str(response.status_code))
        self.metrics.took(path, time.monotonic() - began)
        return response

    async def _received(self, request: Request) -> tuple[Callable[[], Any], int]:
        """Take a place for the request, and return a function that parses its payload, and the payload's size.

        Parsing a large payload takes a while, so it is left to the thread. A place is taken, and bytes are counted,
        only for what has arrived: a client that announces a body and sends nothing takes no room from others.
        """
        body = bytearray()
        try:
            self._admit(request)
            if request.method == "POST":
                await self._read(request, body)
            self._check_room()
        except BaseException as error:
            self._bytes -= len(body)
            if isinstance(error, RefusedError):
                # The remainder of the body may never come, so the connection cannot be used for another request.
                error.headers["Connection"] = "close"
                await _discard(request)
            raise
        self.present += 1
        if request.method != "POST":
            query = dict(request.query_params)
            return lambda: query, 0
        return lambda: _parsed(bytes(body)), len(body)

    def _admit(self, request: Request) -> None:
        """Raise `RefusedError` if the head of the request is reason enough not to read its body."""
        self.check(request)
        if self.draining:
            raise RefusedError(
                503,
                "The server is shutting down. Ask another one.",
                Retry_After=RETRY_AFTER,
            )
        if request.method == "POST":
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                # A web page may send a body of certain other types to any address; for JSON the browser asks the
                # server first, which does not agree.
                raise RefusedError(
                    415,
                    f"`Content-Type` should be application/json, but got {kind!r:.80}. Send JSON, and say so.",
                )
            if int(request.headers.get("content-length", "0")) > self.max_bytes:
                raise self._too_large()
        self._check_room()

    def _check_room(self) -> None:
        if self.present >= self.queue:
            raise self._full(f"as many requests as it takes ({self.present})")

    def _full(self, of_what: str) -> RefusedError:
        return RefusedError(503, f"The server has {of_what}. Try again in a second.", Retry_After=RETRY_AFTER)

    def _too_large(self) -> RefusedError:
        return RefusedError(
            413,
            f"The body should have at most {self.max_bytes} bytes, but it has more. Send smaller batches.",
        )

    async def _read(self, request: Request, body: bytearray) -> None:
        """Read the body, as long as it arrives fast enough and is not too large."""

        async def read() -> None:
            async for chunk in request.stream():
                body.extend(chunk)
                self._bytes += len(chunk)
                if len(body) > self.max_bytes:
                    raise self._too_large()
                if len(body) > _SMALL and self._bytes > 8 * self.max_bytes:
                    raise self._full("as many bytes to read as it takes")

        loop = asyncio.get_running_loop()
        reading = loop.create_task(read())
        end = loop.time() + UPLOAD_SECONDS
        try:
            while True:
                before = len(body)
                done, _ = await asyncio.wait({reading}, timeout=SLOW_SECONDS)
                if done:
                    return reading.result()
                if len(body) - before < SLOW_BYTES or loop.time() > end:
                    raise RefusedError(
                        408,
                        f"The body should arrive within {UPLOAD_SECONDS:g} s, at {SLOW_BYTES / SLOW_SECONDS:g} bytes "
                        "a second at least, but it did not. Send less at once.",
                    )
        finally:
            reading.cancel()

    async def _job(self, payload: Callable[[], Any], work: Work, size: int) -> bytes:
        """Do the work in a thread, when one is free, and then free the request's place.

        When the client closes the connection, this is cancelled: the place is free at once, the thread soon after.
        """
        leaving = Stop()
        try:
            await self._hands.acquire()
            loop = asyncio.get_running_loop()
            done: asyncio.Future[bytes] = loop.create_future()

            def finish(answer: bytes, error: BaseException | None) -> None:
                self._hands.release()
                self.running -= 1
                if not done.done():
                    done.set_result(answer) if error is None else done.set_exception(error)

            def run() -> None:
                answer, problem = b"", None
                # Queries that run for this request end when its client has gone.
                STOP.set(leaving)
                try:
                    answer = dumps(work(payload(), leaving))
                except BaseException as error:  # noqa: BLE001  Raised again in the request that waits.
                    problem = error
                # The loop is closed already if the server was stopped without waiting.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(finish, answer, problem)

            self.running += 1
            # A thread of a pool would keep the process alive after the server is told to stop; a daemon does not.
            try:
                threading.Thread(target=run, daemon=True).start()
            except RuntimeError as error:
                # The system allows no more threads.
                finish(b"", error)
            return await done
        finally:
            leaving.set()
            self.present -= 1
            self._bytes -= size

    async def _reply(self, request: Request, job: asyncio.Task[bytes], alive: bool) -> Response:
        watch = asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait(
                {job, watch}, timeout=SIGN_OF_LIFE if alive else None, return_when=asyncio.FIRST_COMPLETED
            )
            if job.done():
                return Response(await job, media_type="application/json")
            if watch.done():
                raise GoneError
        except ConfigError as error:
            raise RefusedError(422, self._hide(str(error))) from None
        finally:
            if job.done() or watch.done():
                job.cancel()
                watch.cancel()
        return _Streamed(job, watch, self._hide)


class _Streamed(Response):
    """An answer that takes long: white space every few seconds, and finally the JSON."""

    def __init__(
        self, job: asyncio.Task[bytes], watch: asyncio.Task[None], hide: Callable[[str], str]
    ) -> None:
        super().__init__()
        self._hide = hide
        self._job = job
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while not self._job.done() and not self._watch.done():
                await send({"type": "http.response.body", "body": b"\n", "more_body": True})
                await asyncio.wait(
                    {self._job, self._watch}, timeout=SIGN_OF_LIFE, return_when=asyncio.FIRST_COMPLETED
                )
            if self._job.done():
                try:
                    answer = await self._job
                except (ConfigError, RefusedError) as error:
                    answer = dumps({"error": self._hide(str(error))})
                await send({"type": "http.response.body", "body": answer})
        finally:
            self._job.cancel()
            self._watch.cancel()


def _parsed(body: bytes) -> Any:
    try:
        return loads(body)
    except ValueError as error:
        raise RefusedError(400, f"The body should be JSON, but it is not: {error}. Correct it.") from None


def _sent_token(request: Request) -> bytes:
    """Return the token of `Bearer TOKEN`, or the password of `Basic`, the only form that OpenRLHF's client can send."""
    kind, _, sent = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            return b64decode(sent, validate=True).partition(b":")[2]
        except ValueError:
            return b""
    return sent.strip().encode() if kind.lower() == "bearer" else b""


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _discard(request: Request) -> None:
    """Read the remainder of a body for a moment, since a client that is still sending would not read the refusal."""

    async def read() -> None:
        async for _ in request.stream():
            pass

    # A `RuntimeError` says that the body has been read to its end.
    with suppress(asyncio.TimeoutError, ClientDisconnect, RuntimeError):
        await asyncio.wait_for(read(), DISCARD_SECONDS)
