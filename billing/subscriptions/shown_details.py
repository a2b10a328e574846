"""Billing details as a form shows them, and their version, so that a form that became stale overwrites nobody's change."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

from billing.external.details import shown_details
from core.models import dumps


class HasDetails(Protocol):
    """A subscription, or a row that a page shows of one."""

    @property
    def billing(self) -> Any: ...
    @property
    def business_name(self) -> Any: ...
    @property
    def tax_id(self) -> Any: ...


def details_of(subscription: HasDetails, customer_name: str | None) -> dict[str, str | None]:
    """Return {street, city, state, zipcode, country, name, business_name, tax_id}, empty as None."""
    billing = subscription.billing or {}
    own = {"business_name": subscription.business_name, "tax_id": subscription.tax_id}
    return shown_details({**billing, "name": billing.get("name") or customer_name, **own})


def version_of(details: dict[str, str | None]) -> str:
    return hashlib.sha256(dumps(details).encode()).hexdigest()[:32]
