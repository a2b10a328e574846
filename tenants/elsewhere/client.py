"""The official SDK, over our own outgoing client: the address is the operator's word, and is still checked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from core.outgoing import Outgoing
from tenants.elsewhere.account import Reach

log = structlog.get_logger()

Found = TypeVar("Found")
LONGEST_WAIT = 900.0  # seconds: what an account may ask us to wait
TRIES = 8
SILENCE = {"APITimeoutError": "no answer in time", "APIConnectionError": "no connection"}


def client(outgoing: Outgoing, reach: Reach, *, timeout: float = 30.0, retries: int = 0) -> Any:
    """A `dodopayments.DodoPayments`. Imported here: start-up counts."""
    from dodopayments import DodoPayments

    logging.getLogger("dodopayments").setLevel(logging.WARNING)
    return DodoPayments(
        bearer_token=reach.api_key, base_url=reach.base_url, max_retries=retries, timeout=timeout,
        http_client=outgoing.client(timeout=timeout, max_bytes=20 * 1024 * 1024),
    )  # fmt: skip


def patiently(ask: Callable[[], Found], sleep: Callable[[float], None] = time.sleep) -> Found:
    """Ask again while the account is busy or away: as long as its Retry-After says, else twice as long each time.

    Raises what the SDK raises for anything that waiting does not mend, and after the last try.
    """
    from dodopayments import APIConnectionError, APIStatusError

    for tried in range(1, TRIES + 1):
        try:
            return ask()
        except APIStatusError as refused:
            if (refused.status_code < 500 and refused.status_code not in (408, 429)) or tried == TRIES:
                raise
            pause = _said(refused.response.headers.get("retry-after")) or 2.0**tried
        except APIConnectionError:
            if tried == TRIES:
                raise
            pause = 2.0**tried
        log.info("the account asks us to wait", seconds=pause)
        sleep(min(pause, LONGEST_WAIT))
    raise AssertionError("unreachable")


def why(failed: Any) -> str:
    """What went wrong, in a line for whoever runs this: `503: Busy.`, `no answer in time`."""
    status, body = getattr(failed, "status_code", None), getattr(failed, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    return f"{status}: {said or 'without a word'}" if status else SILENCE.get(type(failed).__name__, type(failed).__name__)


def _said(header: str | None) -> float:
    try:
        return max(float(header or 0), 0.0)
    except ValueError:
        return 60.0  # a date: rarely sent, and a minute is polite
