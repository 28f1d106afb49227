"""What every request passes: who may ask, how much, how many at once; and work done off the event loop."""

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

SIGN_OF_LIFE = 5.0  # seconds between them; a client may wait several times as long
UPLOAD_SECONDS = 60.0  # that a body may take to arrive
SLOW_SECONDS = 10.0  # in which SLOW_BYTES of it have to arrive, or its end
SLOW_BYTES = 10_000
_SMALL = 64 << 10  # bytes of a body that are read however many others are being read
DISCARD_SECONDS = 2.0  # that the rest of a refused body is read for, so that the refusal is heard
RETRY_AFTER = "1"

#: `name`, `name:port`, `[::1]:port`, and nothing after it
_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[^\[\]:@/]+)(:\d{1,5})?")

#: Gets the payload and an event that is set when the client has gone; returns what to answer.
Work = Callable[[Any, threading.Event], Any]


class RefusedError(Exception):
    """A request that is not served, and the status that says why."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> Response:
        """Return it as the client gets it."""
        return Response(dumps({"error": str(self)}), self.status, self.headers, "application/json")


class GoneError(Exception):
    """The client has gone, so that nobody waits for the rest."""


class RequestHandler:
    """Admits requests and runs their work in threads.

    Args:
        token: what a client has to send, if anything.
        hosts: names under which the server may be asked for; `None` for any.
        max_bytes: size of a body.
        queue: requests that are served or wait, at most; more are told to come back.
        threads: requests that are served at once.
        hide: takes out of a message what is nobody else's business.
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
        self.present = 0  # requests that have a place: waiting or served
        self.running = 0  # threads at work, also those for clients that have gone
        self._token = None if token is None else token.encode()
        self._hosts = hosts
        self._hide = hide
        self._hands = asyncio.Semaphore(threads)
        self._bytes = 0  # of the bodies that are here, wholly or in part

    def check(self, request: Request) -> None:
        """Raise `RefusedError` for who may not ask."""
        sent = request.headers.get("host", "")
        host = _HOST.fullmatch(sent)
        if self._hosts is not None and (host is None or host["name"].lower() not in self._hosts):
            # A page in a browser can make a name of its own point at this machine, and then ask.
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
            work: what is done with its payload, in a thread.
            alive: show signs of life while it is done: white space, which JSON allows before its first
                character. The status is then sent before the end is known, so this is for our own clients.
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
            response = Response(status_code=499)  # nobody reads it
        self.metrics.add("requests", path=path, code=str(response.status_code))
        self.metrics.took(path, time.monotonic() - began)
        return response

    async def _received(self, request: Request) -> tuple[Callable[[], Any], int]:
        """Return what reads the payload, which takes a while for a large one, and its size; take a place for it.

        A place is taken, and bytes are counted, for what has arrived: what a client only promises costs nobody
        else anything.
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
                error.headers["Connection"] = "close"  # the rest of the body may never come
                await _discard(request)
            raise
        self.present += 1
        if request.method != "POST":
            query = dict(request.query_params)
            return lambda: query, 0
        return lambda: _parsed(bytes(body)), len(body)

    def _admit(self, request: Request) -> None:
        """Refuse what need not be read."""
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
                # A page in a browser may send any other type to any address without asking first.
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
        """Read the body, as long as it comes."""

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
        """Do the work in a thread, when one is free, and give the place back.

        A client that goes away cancels this: the place is free at once, and soon the thread.
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
                STOP.set(leaving)  # queries end when the client has gone
                try:
                    answer = dumps(work(payload(), leaving))
                except BaseException as error:  # noqa: BLE001  Raised again in the request that waits.
                    problem = error
                with suppress(RuntimeError):  # the loop is closed: the server was stopped without waiting
                    loop.call_soon_threadsafe(finish, answer, problem)

            self.running += 1
            # Not of a pool: a pool's threads would keep a server that is told to stop from ending.
            try:
                threading.Thread(target=run, daemon=True).start()
            except RuntimeError as error:  # the system lends no more threads
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
    """An answer that takes long: white space now and then, and the JSON at last."""

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
    """Return the token of `Bearer TOKEN`, or the password of `Basic`: all that OpenRLHF's client can send."""
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
    """Read the rest of a body for a moment: a client that is still sending would not hear the refusal."""

    async def read() -> None:
        async for _ in request.stream():
            pass

    with suppress(asyncio.TimeoutError, ClientDisconnect, RuntimeError):  # the last: there is no rest
        await asyncio.wait_for(read(), DISCARD_SECONDS)
