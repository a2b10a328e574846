"""Stripe's API through the official SDK, over our own outgoing HTTP client. Answers are plain dictionaries; failed calls raise CallFailed.

`raw_request` is used, so that the SDK builds no objects: a page of a list has thousands of them.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

from core.outgoing import HostUnreachable, Outgoing, RequestRefused
from tenants.external.account import Reach
from tenants.external.system import CallFailed, Json, ObjectMissing, retry_after

MAX_BYTES = 20 * 1024 * 1024
REDIRECTS = 4
"""Calls of one download. Each address is checked like any other that an account gives."""


class StripeAccount:
    """The API of one account."""

    def __init__(self, outgoing: Outgoing, reach: Reach, timeout: float) -> None:
        import stripe

        from core.stripe.http_client import API_VERSION, OutgoingHTTPClient

        self._errors, self._outgoing, self._timeout = stripe.StripeError, outgoing, timeout
        self._client = stripe.StripeClient(
            reach.api_key or "no_key",
            stripe_version=API_VERSION,
            base_addresses={"api": reach.base_url},
            http_client=OutgoingHTTPClient(outgoing, timeout=timeout, max_bytes=MAX_BYTES),
            max_network_retries=0,
        )

    def get(self, path: str, **parameters: Any) -> Json:
        return self._request("get", path, parameters)

    def post(self, path: str, key: str = "", **parameters: Any) -> Json:
        """`key`: the idempotency key."""
        return self._request("post", path, parameters | ({"idempotency_key": key} if key else {}))

    def delete(self, path: str, **parameters: Any) -> Json:
        return self._request("delete", path, parameters)

    def download(self, url: str) -> bytes:
        """Return a document of the account. Raises CallFailed."""
        for _ in range(REDIRECTS):
            try:
                answer = self._outgoing.request("GET", url, timeout=self._timeout, max_bytes=MAX_BYTES)
            except (RequestRefused, HostUnreachable) as broken:
                raise CallFailed(0, "", no_answer=str(broken)) from None
            if answer.status not in (301, 302, 303, 307, 308):
                break
            url = urljoin(url, answer.headers.get("location", ""))
        if answer.status != 200 or answer.truncated:
            raise CallFailed(answer.status if answer.status >= 400 else 502, "The document could not be read.")
        return answer.body

    def _request(self, method: str, path: str, parameters: dict[str, Any]) -> Json:
        try:
            answer = self._client.raw_request(method, path, **parameters).data
        except self._errors as error:
            raise _failure(error) from None
        if not isinstance(answer, dict):
            raise ValueError("the answer of the account is not an object")
        return answer


def _failure(error: Any) -> CallFailed:
    status, message = error.http_status or 0, str(error.user_message or "")
    if not status:
        return CallFailed(0, "", no_answer="no connection")
    if status < 400:  # the call may have been carried out
        return CallFailed(0, "", no_answer="an unreadable answer")
    if status == 409:  # another call with this key is still running
        status = 429
    wait = retry_after(dict(error.headers or {}).get("retry-after"))
    return (ObjectMissing if status == 404 else CallFailed)(status, message, retry_after=wait)
