"""The official SDK over our own outgoing HTTP client, which checks the operator's base URL."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from core.outgoing import Outgoing
from tenants.external.account import Reach

log = structlog.get_logger()

Found = TypeVar("Found")
MAX_WAIT = 900.0  # seconds that Retry-After may request
TRIES = 8
NO_ANSWER = {"APITimeoutError": "no answer in time", "APIConnectionError": "no connection"}


def client(outgoing: Outgoing, reach: Reach, *, timeout: float = 30.0, retries: int = 0) -> Any:
    """Return a `dodopayments.DodoPayments`. The import is here to keep start-up fast."""
    from dodopayments import DodoPayments

    logging.getLogger("dodopayments").setLevel(logging.WARNING)
    return DodoPayments(
        bearer_token=reach.api_key, base_url=reach.base_url, max_retries=retries, timeout=timeout,
        http_client=outgoing.client(timeout=timeout, max_bytes=20 * 1024 * 1024),
    )  # fmt: skip


def with_retries(call: Callable[[], Found], sleep: Callable[[float], None] = time.sleep) -> Found:
    """Retry while the account is busy or unreachable: after its Retry-After, else with exponential backoff.

    Raises the SDK's error if a retry cannot help, and after the last try.
    """
    from dodopayments import APIConnectionError, APIStatusError

    for tried in range(1, TRIES + 1):
        try:
            return call()
        except APIStatusError as refused:
            if (refused.status_code < 500 and refused.status_code not in (408, 429)) or tried == TRIES:
                raise
            pause = _retry_after(refused.response.headers.get("retry-after")) or 2.0**tried
        except APIConnectionError:
            if tried == TRIES:
                raise
            pause = 2.0**tried
        log.info("external account retry scheduled", seconds=pause)
        sleep(min(pause, MAX_WAIT))
    raise AssertionError("unreachable")


def failure_reason(failed: Any) -> str:
    """Return the reason of a failure in one line: `503: Busy.`, `no answer in time`."""
    status, body = getattr(failed, "status_code", None), getattr(failed, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    return f"{status}: {message or 'no message'}" if status else NO_ANSWER.get(type(failed).__name__, type(failed).__name__)


def _retry_after(header: str | None) -> float:
    try:
        return max(float(header or 0), 0.0)
    except ValueError:
        return 60.0  # a date, which is rarely sent
