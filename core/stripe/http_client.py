"""Lets Stripe's SDK send its requests through the portal's outgoing HTTP client. Importing this module imports the SDK: do it lazily."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import stripe

from core.outgoing import BROKEN, Outgoing, RequestRefused

API_VERSION = "2026-08-26.dahlia"
"""The version of the API that our code was written for, and that every request names."""
_PRIVATE = ("x-stripe-client-user-agent", "x-stripe-client-telemetry")  # they describe this machine

logging.getLogger("stripe").setLevel(logging.WARNING)  # its debug lines hold the parameters of each call


class OutgoingHTTPClient(stripe.HTTPClient):  # type: ignore[misc]  # the SDK is not read by mypy, see pyproject.toml
    name = "httpx"

    def __init__(self, outgoing: Outgoing, *, timeout: float, **limits: int):
        super().__init__()
        self._client = outgoing.client(timeout=timeout, **limits)

    def request(self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_usage: Any) -> Any:
        sent = {name: value for name, value in (headers or {}).items() if name.lower() not in _PRIVATE}
        try:
            answer = self._client.request(method, url, headers=sent, content=post_data)
        except (BROKEN, OSError, RequestRefused) as problem:
            raise stripe.APIConnectionError(str(problem) or type(problem).__name__) from problem
        return answer.content, answer.status_code, answer.headers

    def close(self) -> None:
        self._client.close()
