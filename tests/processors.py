"""A payment processor on the sandbox without an application, wired as `wsgi.py` does."""

from __future__ import annotations

from typing import Any

from billing.charging import notifications
from billing.charging.payment_processor import PaymentProcessor
from billing.charging.payment_processors import PaymentProcessors
from billing.subscriptions import dispute_policy
from core.handlers import Handlers
from gateways.sandbox import SandboxKind


def on_sandbox(database: Any, gateway: Any, settings: Any, handlers: Handlers | None = None) -> PaymentProcessor:
    """Return the processor. The sandbox's notifications reach it; with `handlers`, the worker acts on them."""
    processor = PaymentProcessor(database, PaymentProcessors(database, settings, {"sandbox": SandboxKind(gateway)}), settings)
    gateway.notify = notifications.of_sandbox(processor)
    if handlers is not None:
        notifications.register(handlers, processor)
        dispute_policy.register(handlers, processor)
    return processor
