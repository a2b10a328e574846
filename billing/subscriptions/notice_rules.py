"""The rule of law for a notice about a subscription: by its billing address, its customer and the length of its period."""

from __future__ import annotations

from sqlalchemy import select

from billing.model.catalogue import Product
from billing.model.customer_types import concluded_type
from billing.model.parties import Customer
from billing.model.quotes import scheduled_change
from billing.model.subscriptions import Subscription
from billing.rights.places import place_of
from billing.rights.table import TERMS, NoticeRule, Occasion, Term, notice_rule
from core.db import ScopedSession

_DAYS = {"Day": 1, "Week": 7}
_MONTHS = {"Month": 1, "Year": 12}


def term_of(interval: str, count: int) -> Term:
    """Return how long a period is, as the table of rights names it."""
    if interval in _MONTHS:
        months = _MONTHS[interval] * count
        return "year" if months >= 12 else "half_year" if months >= 6 else "over_month" if months > 1 else "month"
    days = _DAYS[interval] * count
    return "year" if days >= 364 else "half_year" if days >= 181 else "over_month" if days > 31 else "month"


def rule_of(db: ScopedSession, subscription: Subscription, occasion: Occasion) -> NoticeRule:
    """Return the rule for a subscription: by its billing address, by who concluded the contract, and by the longer of its present and its
    scheduled period."""
    customer = db.scalar(
        select(Customer).where(Customer.business_id == subscription.business_id, Customer.customer_id == subscription.customer_id)
    )
    assert customer is not None
    terms = [term_of(subscription.interval, subscription.interval_count)]
    if change := scheduled_change(db, subscription):
        planned = db.scalar(select(Product).where(Product.business_id == change.business_id, Product.id == change.product_id))
        if planned is not None and planned.interval:
            terms.append(term_of(planned.interval, planned.interval_count))
    return notice_rule(place_of(subscription.billing), concluded_type(subscription, customer), occasion, max(terms, key=TERMS.index))
