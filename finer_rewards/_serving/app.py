"""The HTTP application: which path leads to which method of `Service`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from finer_rewards._serving.confined import PathMask
from finer_rewards._serving.metrics import CONTENT_TYPE
from finer_rewards._serving.request_handler import RefusedError, RequestHandler, Work
from finer_rewards._serving.service import Service
from finer_rewards._version import VERSION
from finer_rewards.errors import ConfigError, suggest
from finer_rewards.scoring import Scorer

#: Paths that only the clients of this package call. Their answers may take minutes, so white space is sent meanwhile
#: to show that the server is alive; the status is then sent first, and an error comes in the body.
_ALIVE = ("/execute", "/settle", "/neighbours", "/memory/search", "/memory/remember")


def build_app(
    scorer: Scorer,
    *,
    token: str | None = None,
    hosts: Iterable[str] | None = None,
    max_batch: int = 4096,
    max_bytes: int = 32 << 20,
    queue: int = 1024,
    threads: int = 16,
    best: float = 1.0,
    fallback: float = 0.0,
) -> FastAPI:
    """Return the ASGI application over a scorer.

    Args:
        scorer: the scorer; its executor will open nothing outside its root.
        token: the token that every request except `/healthz` has to carry. With `None` none is needed, and
            requests cannot write the memory.
        hosts: the names of the server that a request may use in `Host`; `None` for any.
        max_batch: the most samples, queries or thoughts in a request.
        max_bytes: the most bytes in a request's body.
        queue: the most requests that are served or wait; further ones get 503 and should be repeated.
        threads: the number of requests that are served at once.
        best: the largest value of the reward, for OpenRLHF's `scores` in [0, 1].
        fallback: the reward that OpenRLHF and slime get for what cannot be scored.

    Raises:
        ConfigError: a limit cannot be used, or the token is empty.
    """
    for name, value in (
        ("max_batch", max_batch), ("max_bytes", max_bytes), ("queue", queue), ("threads", threads)
    ):  # fmt: skip
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"`{name}` should be a whole number from 1, but got {value!r}. Leave it out.")
    if token is not None and not (token and token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError(
            "`token` should be printable ASCII without spaces, but it is not. Make one with `openssl rand -hex 32`."
        )
    names = None if hosts is None else frozenset(name.lower() for name in hosts)
    folders = [Path(place).absolute() for place in (getattr(scorer.memory, "path", None),) if place]
    handler = RequestHandler(
        token=token,
        hosts=names,
        max_bytes=max_bytes,
        queue=queue,
        threads=threads,
        hide=PathMask("the server's memory", folders),
    )
    service = Service(
        scorer,
        max_batch=max_batch,
        best=best,
        fallback=fallback,
        metrics=handler.metrics,
        learns=token is not None,
    )
    app = FastAPI(title="finer-rewards", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.handler, app.state.service = handler, service

    def route(path: str, work: Work, *methods: str) -> None:
        async def answer(request: Request) -> Response:
            return await handler.serve(request, work, alive=path in _ALIVE)

        app.add_api_route(path, answer, methods=list(methods), response_class=Response)

    route("/score", service.score, "POST")
    route("/get_reward", service.get_reward, "POST")
    route("/remote_rm", service.remote_rm, "POST")
    route("/execute", service.execute, "POST")
    route("/settle", service.settle, "POST")
    route("/schema", service.schema, "GET", "POST")
    route("/neighbours", service.neighbours, "POST")
    route("/describe", service.describe, "GET")
    route("/memory/search", service.search, "POST")
    route("/memory/remember", service.remember, "POST")
    route("/memory/snapshot", service.snapshot, "POST")

    @app.get("/healthz")
    async def healthz() -> Response:
        state = "draining" if handler.draining else "ok"
        return JSONResponse({"status": state}, 503 if handler.draining else 200)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        try:
            handler.check(request)
        except RefusedError as refused:
            return refused.response()
        gauges = {"requests_present": handler.present, "threads_running": handler.running, **service.gauges()}
        return Response(handler.metrics.text(gauges), media_type=CONTENT_TYPE)

    paths = [str(getattr(one, "path", "")) for one in app.routes]

    @app.exception_handler(HTTPException)
    async def no_such_path(request: Request, error: HTTPException) -> Response:
        path = request.url.path
        known = f"Known: {', '.join(sorted(set(paths)))}."
        sentence = (
            f"`{path:.80}` cannot be asked with {request.method}. Send its fields with POST."
            if error.status_code == 405
            else f"There is no `{path:.80}`. {suggest(path, paths)}{known}"
        )
        return JSONResponse({"error": sentence}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "The server failed at this; its log says why."}, 500)

    return app
