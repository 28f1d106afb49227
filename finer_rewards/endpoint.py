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

__all__ = ["ask_endpoint"]


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
        OSError: there was no answer, or none in JSON. The key is not in its text.
    """
    key = os.environ.get(key_variable, "")
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{url}/{path}", data=json.dumps(body).encode(), headers=headers)
    for attempt in range(retries + 1):
        try:
            with _OPENER.open(request, timeout=timeout) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                detail = error.read(300).decode("utf-8", "replace")
            if attempt == retries or (error.code != 429 and error.code < 500):
                # Servers repeat the key that they refuse.
                shown = detail.replace(key, "...") if key else detail
                raise OSError(f"{url} answered {error.code}: {shown}") from error
        except (OSError, http.client.HTTPException) as error:
            if attempt == retries:
                raise OSError(f"{url} cannot be reached: {error}") from error
        except ValueError as error:
            raise OSError(f"{url} did not answer in JSON: {error}") from error
        time.sleep(0.25 * 2**attempt)
    raise AssertionError("unreachable")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key and the texts go to the address that the user gave, and nowhere else."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Return no further request, so that the answer is an error."""


_OPENER = urllib.request.build_opener(_NoRedirect)
