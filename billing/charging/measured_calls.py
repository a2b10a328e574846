"""Counts and times the calls to the payment gateway, by verb and by the state of the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from core.metrics.instruments import PROCESSOR_CALLS, PROCESSOR_SECONDS

CALLS = (
    "register", "collect", "charge", "refund", "look_up", "look_up_refund", "look_up_dispute", "cancel", "forget", "describe",
    "test_payment", "read_notification",
)  # fmt: skip
"""The verbs of `billing.charging.ports.Gateway`."""


class Measured:
    """A gateway that counts calls; everything else comes from the wrapped gateway."""

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._gateway, name)
        return _counted(name, found) if name in CALLS else found


def _counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        PROCESSOR_CALLS.labels(name, "error")  # creates the series at zero, which a rate needs
        try:
            answer = call(*args, **kwargs)
        except Exception:
            PROCESSOR_CALLS.labels(name, "error").inc()
            raise
        finally:
            PROCESSOR_SECONDS.labels(name).observe(time.monotonic() - began)
        PROCESSOR_CALLS.labels(name, getattr(answer, "state", "done")).inc()
        return answer

    return counted
