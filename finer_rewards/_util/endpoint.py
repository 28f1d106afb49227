"""Asking an OpenAI-compatible endpoint, with the standard library only."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from finer_rewards.errors import ConfigError

_LONGEST_ANSWER = 64 << 20  # bytes
_LONGEST_ERROR, _SHOWN = 1 << 16, 300  # bytes read of a refusal, characters shown of it


class EndpointError(OSError):
    """An endpoint gave no answer; its text holds neither the key nor what was sent."""


class EndpointGoneError(EndpointError):
    """An endpoint cannot be reached at all."""


def checked_url(where: str, url: str) -> str:
    """Return a base URL without the slash at its end.

    Raises:
        ConfigError: it is not http or https, or holds a password or a query, which would be printed and logged.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"`{where}(url=...)` should begin with http:// or https://, but got {url!r}. "
            "Write for example 'http://localhost:8000/v1'."
        )
    if "@" in url or "?" in url:
        raise ConfigError(
            f"`{where}(url=...)` should hold no password or query, as it is printed and logged. "
            "Put the key into an environment variable: key_variable='OPENAI_API_KEY'."
        )
    return url.rstrip("/")


def ask_endpoint(
    url: str, path: str, body: Mapping[str, Any], *, key_variable: str, timeout: float, retries: int
) -> Any:
    """Return what `POST URL/PATH` answers.

    The key and the body go to that address alone: a redirect is an error. A refusal for load (429) or by the server
    (5xx), and a lost connection, are tried again, each time after twice the wait; anything else raises at once.

    Args:
        url: base URL.
        path: what is asked for there.
        body: what is sent, as JSON.
        key_variable: environment variable that holds the API key, if there is one.
        timeout: seconds a request may take.
        retries: further attempts after the first.

    Raises:
        EndpointError: there was no answer, or none in JSON. The key is not in its text.
    """
    key = os.environ.get(key_variable, "").strip()
    if not key.isprintable() or not key.isascii():
        raise EndpointError(
            f"the key in the environment variable {key_variable} should be one line of ASCII. Set it again"
        )
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{url}/{path}", data=json.dumps(body).encode(), headers=headers)
    for attempt in range(retries + 1):
        try:
            with _OPENER.open(request, timeout=timeout) as response:
                answer = response.read(_LONGEST_ANSWER)
            break
        except urllib.error.HTTPError as error:
            with error:
                detail = error.read(_LONGEST_ERROR).decode("utf-8", "replace")
            if attempt == retries or (error.code != 429 and error.code < 500):
                # Servers repeat the key that they refuse.
                shown = detail.replace(key, "...") if key else detail
                raise EndpointError(f"{url} answered {error.code}: {shown[:_SHOWN]}") from None
        except (OSError, http.client.HTTPException) as error:
            if attempt == retries:
                raise EndpointGoneError(f"{url} cannot be reached: {error}") from error
        time.sleep(0.25 * 2**attempt)
    try:
        return json.loads(answer)
    except ValueError as error:
        raise EndpointError(f"{url} did not answer in JSON: {error}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key and the texts go to the address that the user gave, and nowhere else."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Return no further request, so that the answer is an error."""


_OPENER = urllib.request.build_opener(_NoRedirect)
