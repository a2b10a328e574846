"""Asks the hosted tax calculator for the tax of the next charge of running subscriptions that it has not taxed yet.

These are the subscriptions from before the business switched it on, and those whose billing address changed. Pages and reminders then show
the next charge with its tax. The charge itself has its own calculation.
"""

from __future__ import annotations

from sqlalchemy import select

from billing.charging.gateway_operations import GatewayOperations
from billing.model import job_names
from billing.model.catalogue import Product
from billing.model.lifecycle import LIVE
from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from billing.pricing import prices
from billing.pricing.calculated_tax import KnownAnswers
from billing.pricing.tax_setup import STRIPE
from billing.pricing.taxes import CALCULATED_MARK
from core import recurring_jobs
from core.scope import everything, system

BATCH = 20


def run_due(processor: GatewayOperations, limit: int = BATCH) -> int:
    """Calculate the tax of subscriptions without one, businesses in turn. Returns how many were tried."""
    with processor.database.open(everything("subscriptions without calculated tax")) as db:
        is_hosted = Business.tax_setup["calculator"].as_string() == STRIPE
        hosted = list(db.scalars(select(Business.business_id).where(is_hosted, Business.archived_at.is_(None))))
        if not hosted:
            return 0
        query = select(Subscription.business_id, Subscription.id).where(
            Subscription.business_id.in_(hosted),
            Subscription.collected_by == "us",
            Subscription.status.in_(LIVE),
            Subscription.next_billing_at.is_not(None),
            Subscription.cancel_at_period_end.is_(False),
            Subscription.billing[CALCULATED_MARK]["code"].as_string().is_(None),
            recurring_jobs.rested(job_names.TAX_ESTIMATES, Subscription.business_id, Subscription.id),
        )
        due = db.execute(
            recurring_jobs.in_turns(query, Subscription.business_id, Subscription.next_billing_at, Subscription.id, limit=limit)
        ).all()
    rows = [(row.business_id, row.id) for row in due]
    return recurring_jobs.run(
        processor.database,
        job_names.TAX_ESTIMATES,
        rows,
        lambda *row: processor.taxes.with_answers(lambda known: estimate(processor, row[0], row[1], known)),
    )


def estimate(processor: GatewayOperations, business_id: str, subscription_id: str, known: KnownAnswers) -> None:
    """Keep the tax of the next period on the subscription. Raises CalculationNeeded before it is known, Invalid for a missing address."""
    with processor.database.open(system(business_id), write=True) as db:
        subscription = db.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update())
        business = db.scalar(select(Business).where(Business.business_id == business_id))
        if subscription is None or business is None or subscription.next_billing_at is None:
            return
        product = db.scalar(select(Product).where(Product.id == subscription.product_id))
        assert product is not None
        at = subscription.next_billing_at
        lines = prices.for_period(business, subscription, product, at, at)
        taxed = known.apply(
            business, lines, [product.tax_category] * len(lines), subscription.billing or {},
            business_id=business_id, currency=subscription.currency, tax_id=subscription.tax_id, at=at,
        )  # fmt: skip
        taxed.note_on(subscription, nothing=taxed.answer is None)
