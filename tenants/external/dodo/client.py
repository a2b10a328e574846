"""The official SDK over our own outgoing HTTP client, which checks the operator's base URL. Failed calls raise CallFailed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from core.outgoing import BROKEN, Outgoing
from tenants.external.account import Reach
from tenants.external.system import CallFailed, ObjectMissing, retry_after

Found = TypeVar("Found")
NO_ANSWER = {"APITimeoutError": "no answer in time", "APIConnectionError": "no connection"}


def client(outgoing: Outgoing, reach: Reach, *, timeout: float = 30.0, retries: int = 0) -> Any:
    """Return a `dodopayments.DodoPayments`. The import is here to keep start-up fast."""
    from dodopayments import DodoPayments

    logging.getLogger("dodopayments").setLevel(logging.WARNING)
    return DodoPayments(
        bearer_token=reach.api_key, base_url=reach.base_url, max_retries=retries, timeout=timeout,
        http_client=outgoing.client(timeout=timeout, max_bytes=20 * 1024 * 1024),
    )  # fmt: skip


def call(request: Callable[[], Found]) -> Found:
    """Return the answer of a call of the SDK. Raises CallFailed."""
    from dodopayments import APIError

    try:
        return request()
    except BROKEN as broken:  # the connection broke in the middle of a document
        raise CallFailed(0, "", no_answer=type(broken).__name__) from None
    except APIError as failed:
        raise _failure(failed) from None


def _failure(failed: Any) -> CallFailed:
    status, body = getattr(failed, "status_code", None), getattr(failed, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    if not status:
        return CallFailed(0, "", no_answer=NO_ANSWER.get(type(failed).__name__, type(failed).__name__))
    wait = retry_after(failed.response.headers.get("retry-after"))
    return (ObjectMissing if status == 404 else CallFailed)(status, str(message or ""), retry_after=wait)
