"""The row of a new subscription."""

from __future__ import annotations

from typing import Any

from billing.model.buyer_details import BuyerDetails
from billing.model.catalogue import Product
from billing.model.customer_types import CustomerType
from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from core import clock
from core.ids import new_id


def new_subscription(
    business: Business,
    product: Product,
    customer_id: str,
    quantity: int,
    trial_days: int | None,
    *,
    details: BuyerDetails,
    customer_type: CustomerType,
    addons: list[dict[str, Any]],
    discounts: list[dict[str, Any]],
    metadata: dict[str, Any] | None,
) -> Subscription:
    """A pending subscription at the product's current price."""
    return Subscription(
        business_id=business.business_id,
        customer_id=customer_id,
        id=new_id("sub"),
        product_id=product.id,
        brand_id=product.brand_id,
        status="pending",
        quantity=quantity,
        currency=product.currency,
        unit_minor=product.price_minor,
        tax_inclusive=product.tax_inclusive,
        addons=addons,
        meters=list(product.meters),
        discounts=discounts,
        interval=product.interval,
        interval_count=product.interval_count,
        term_interval=product.term_interval or "Year",
        term_count=product.term_count,
        zone=business.zone,
        period_n=0,
        next_billing_at=clock.now(),
        previous_billing_at=clock.now(),
        trial_days=product.trial_days if trial_days is None else trial_days,
        billing=details.address,
        tax_id=details.tax_id,
        business_name=details.business_name,
        customer_type=customer_type,
        collected_by="us",
        credit_minor=0,
        cancel_at_period_end=False,
        meta=metadata or {},
        created_at=clock.now(),
    )
