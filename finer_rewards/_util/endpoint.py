"""Sends requests to an OpenAI-compatible endpoint, for judges and embedders, with the standard library only."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from finer_rewards.errors import ConfigError

#: Bytes that are read of an answer at most.
_LONGEST_ANSWER = 64 << 20
#: Bytes that are read of an error at most, and characters of it that are shown.
_LONGEST_ERROR, _SHOWN = 1 << 16, 300


class EndpointError(OSError):
    """An endpoint gave no answer; its text holds neither the key nor what was sent."""


class EndpointGoneError(EndpointError):
    """An endpoint cannot be reached at all."""


@dataclass(frozen=True, eq=False, repr=False)
class Endpoint:
    """A model behind an OpenAI-compatible server.

    The key and what is asked go to its address alone: a redirect is an error. A request that is refused because of load
    (429) or by a server error (5xx), or whose connection is lost, is repeated, after a wait that doubles each time; any
    other failure raises at once.

    Args:
        url: base URL, e.g. `"http://localhost:8000/v1"`.
        model: the model's name on the server.
        timeout: seconds a request may take.
        retries: further attempts after the first.
        key_variable: environment variable that holds the API key, if there is one. The key itself is kept nowhere.

    Raises:
        ConfigError: the URL is not http or https, or holds a password or a query, which would be printed and logged.
    """

    url: str
    model: str
    _: KW_ONLY
    timeout: float = 60.0
    retries: int = 3
    key_variable: str = "OPENAI_API_KEY"

    def __post_init__(self) -> None:
        where = type(self).__name__
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(
                f"`{where}(url=...)` should begin with http:// or https://, but got {self.url!r}. "
                "Write for example 'http://localhost:8000/v1'."
            )
        if "@" in self.url or "?" in self.url:
            raise ConfigError(
                f"`{where}(url=...)` should hold no password or query, as it is printed and logged. "
                "Put the key into an environment variable: key_variable='OPENAI_API_KEY'."
            )
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def ask(self, path: str, body: Mapping[str, Any], *, once: bool = False) -> Any:
        """Return the answer to `POST URL/PATH`.

        Args:
            path: the path after the base URL.
            body: the JSON to send, to which the model's name is added.
            once: whether to try only once.

        Raises:
            EndpointError: there was no answer, or it was not JSON. The key is not in its text.
        """
        key = os.environ.get(self.key_variable, "").strip()
        if not key.isprintable() or not key.isascii():
            raise EndpointError(
                f"the key in the environment variable {self.key_variable} should be one line of ASCII. Set it again"
            )
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = json.dumps({"model": self.model, **body}).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data=data, headers=headers)
        retries = 0 if once else self.retries
        for attempt in range(retries + 1):
            try:
                with _OPENER.open(request, timeout=self.timeout) as response:
                    answer = response.read(_LONGEST_ANSWER)
                break
            except urllib.error.HTTPError as error:
                with error:
                    detail = error.read(_LONGEST_ERROR).decode("utf-8", "replace")
                if attempt == retries or (error.code != 429 and error.code < 500):
                    # Some servers repeat the key that they refuse.
                    shown = detail.replace(key, "...") if key else detail
                    raise EndpointError(f"{self.url} answered {error.code}: {shown[:_SHOWN]}") from None
            except (OSError, http.client.HTTPException) as error:
                if attempt == retries:
                    raise EndpointGoneError(f"{self.url} cannot be reached: {error}") from error
            time.sleep(0.25 * 2**attempt)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise EndpointError(f"{self.url} did not answer in JSON: {error}") from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, {self.model!r})"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key and the texts go to the address that the user gave, and nowhere else."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Return no further request, so that the answer is an error."""


_OPENER = urllib.request.build_opener(_NoRedirect)
