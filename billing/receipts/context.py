"""What the text of a receipt is made from: the parties, the subscription, and its amounts and dates in the customer's language."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from billing.documents.view_model import Figures
from billing.documents.words import labels_for
from billing.model import policy
from billing.model.catalogue import Product
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey
from billing.model.lifecycle import LIVE
from billing.model.parties import Business, Customer
from billing.model.subscriptions import Subscription
from billing.receipts.languages import de, en, it, pt_br, sv
from core.db import ScopedSession

WORDS: dict[str, dict[str, str]] = {"en": en.WORDS, "de": de.WORDS, "it": it.WORDS, "pt_BR": pt_br.WORDS, "sv": sv.WORDS}
OTHERS = 10
"""Maximum number of other subscriptions that a receipt names."""


@dataclass(frozen=True)
class Context:
    """The rows that a receipt is about. `at`: when the action was received. `subscription`: None for a one-time purchase."""

    db: ScopedSession
    business: Business
    customer: Customer
    subscription: Subscription | None
    currency: str
    at: datetime

    @property
    def language(self) -> str:
        """The language of the receipt: the customer's, if the business offers it and receipts have it."""
        return labels_for(policy.language(self.business, self.customer.locale))["language"]

    @property
    def words(self) -> dict[str, str]:
        return WORDS[self.language]

    @property
    def figures(self) -> Figures:
        return Figures({"locale": self.language, "currency": self.currency, "zone": self.business.zone})

    def say(self, name: str, **values: Any) -> str:
        """Return a sentence of the receipt's language with its values."""
        return self.words[name].format(**{"business": self.business.name, "product": self.product, **values})

    def day(self, at: datetime) -> str:
        return self.figures.day(at.isoformat())

    def money(self, minor: int) -> str:
        return self.figures.money(minor)

    @property
    def product(self) -> str:
        return self.product_name(self.subscription.product_id) if self.subscription else ""

    def product_name(self, product_id: str) -> str:
        found = select(Product.name).where(Product.business_id == self.business.business_id, Product.id == product_id)
        return self.db.scalar(found) or product_id

    @property
    def dues_minor(self) -> int:
        """What the open invoices of the subscription still cost."""
        open_invoices = select(func.coalesce(func.sum(Invoice.due_minor), 0))
        return int(self.db.scalar(open_invoices.where(*self._of_subscription(Invoice), Invoice.status == "open")) or 0)

    @property
    def has_keys(self) -> bool:
        keys = select(LicenseKey.id).where(*self._of_subscription(LicenseKey), LicenseKey.status.in_(("active", "disabled")))
        return self.db.scalar(keys.limit(1)) is not None

    @property
    def others(self) -> list[str]:
        """The names of the customer's other subscriptions with the business, each once."""
        assert self.subscription is not None
        names = (
            select(Product.name)
            .join(Subscription, (Subscription.business_id == Product.business_id) & (Subscription.product_id == Product.id))
            .where(
                Subscription.business_id == self.business.business_id,
                Subscription.customer_id == self.customer.customer_id,
                Subscription.id != self.subscription.id,
                Subscription.status.in_(LIVE),
            )
            .order_by(Subscription.created_at, Subscription.id)
            .limit(OTHERS)
        )
        return list(dict.fromkeys(self.db.scalars(names)))

    def _of_subscription(self, kind: Any) -> tuple[Any, ...]:
        assert self.subscription is not None
        return kind.business_id == self.subscription.business_id, kind.subscription_id == self.subscription.id


def load_context(
    db: ScopedSession, business_id: str, customer_id: str, subscription: Subscription | None, currency: str, at: datetime
) -> Context:
    business = db.scalar(select(Business).where(Business.business_id == business_id))
    customer = db.scalar(select(Customer).where(Customer.business_id == business_id, Customer.customer_id == customer_id))
    assert business is not None and customer is not None
    return Context(db, business, customer, subscription, currency, at)
