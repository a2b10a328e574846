"""The services of billing that the pages of customers and staff and the API call, with their types."""

from __future__ import annotations

from typing import cast

from billing.charging.payment_processor import PaymentProcessor
from billing.external.dispatch import ActionDispatcher
from core.request_context import services


def processor() -> PaymentProcessor:
    return cast(PaymentProcessor, services().processor)


def dispatcher() -> ActionDispatcher:
    return cast(ActionDispatcher, services().forwarder)
