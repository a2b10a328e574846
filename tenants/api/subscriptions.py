"""Subscriptions of the calling business: begin one, look at them."""

from __future__ import annotations

from typing import Annotated, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints, model_validator

from billing.commands.buying import subscribe
from billing.queries import api as read
from billing.queries.scheduled import scheduled
from billing.till import PAGE_LIFE
from core.web import db, house
from tenants.api.buyers import Buyer, customer_for
from tenants.api.door import bp, caller
from tenants.api.once import once
from tenants.api.reading import (
    Billing,
    Body,
    Codes,
    CurrencyCode,
    Id,
    Localized,
    Many,
    Metadata,
    PageQuery,
    Quantity,
    Words,
    body,
    codes,
    query,
    return_url,
)
from tenants.api.saying import says
from tenants.api.shapes import CustomerLimited, Json, Shape, Stamp, items, one
from tenants.api.shapes.discounts import ids_of
from tenants.api.shapes.subscriptions import SubscriptionItem, SubscriptionShape, addons_shape, whole

Status = Literal["pending", "active", "on_hold", "paused", "cancelled", "failed", "expired", "past_due"]


class AddonWanted(Body):
    addon_id: Id
    quantity: Quantity


class NewSubscription(Body):
    """The hosted page always leads back at once (`redirect_immediately`)."""

    billing: Billing
    customer: Buyer
    product_id: Id
    quantity: Quantity
    addons: Annotated[list[AddonWanted], Field(max_length=50)] | None = None
    billing_currency: CurrencyCode | None = None
    customer_business_name: Words | None = None
    discount_code: str | None = None
    discount_codes: Codes | None = None
    metadata: Metadata | None = None
    payment_link: bool | None = None
    payment_method_id: Id | None = None
    redirect_immediately: bool | None = None
    return_url: str | None = None
    tax_id: Annotated[str, StringConstraints(max_length=50)] | None = None
    trial_period_days: Annotated[int, Field(ge=0, le=10_000)] | None = None

    @model_validator(mode="after")
    def fits(self) -> NewSubscription:
        if self.customer_business_name and not self.tax_id:
            raise ValueError("customer_business_name needs a tax_id")
        if self.payment_method_id and not self.customer.customer_id:
            raise ValueError("payment_method_id needs a customer_id")
        if self.payment_method_id and self.payment_link:
            raise ValueError("payment_link: a payment_method_id is charged at once, without a link")
        return self


class SubscriptionQuery(PageQuery, Localized):
    brand_id: str | None = None
    cancel_at_next_billing_date: bool | None = None
    customer_id: str | None = None
    product_id: str | None = None
    status: Annotated[list[Status] | None, Many] = None


class Begun(Shape):
    addons: list[Json]
    customer: CustomerLimited
    metadata: Json
    payment_id: str
    payment_method_required: bool = True
    recurring_pre_tax_amount: int
    subscription_id: str
    client_secret: str | None = None
    discount_id: str | None = None
    discount_ids: list[str] | None = None
    expires_on: Stamp | None = None
    one_time_product_cart: list[Json] | None = None
    payment_link: str | None
    trial_amount: int | None = None


@bp.post("/subscriptions", endpoint="create_subscription")
@once
@says(Begun, takes=NewSubscription, refuses=(503,))
def create() -> ResponseReturnValue:
    """With a payment_method_id it is charged now; otherwise `payment_link` is the hosted page where the buyer pays."""
    sent = body(NewSubscription)
    back = return_url(sent.return_url, caller().business_id)
    started = subscribe(
        house().till, caller().scope, customer_id=customer_for(sent.customer), product_id=sent.product_id, quantity=sent.quantity,
        billing=sent.billing.model_dump(exclude_none=True), payment_method_id=sent.payment_method_id, return_url=back,
        trial_days=sent.trial_period_days, addons=[one.model_dump() for one in sent.addons or []], metadata=sent.metadata,
        tax_id=sent.tax_id, business_name=sent.customer_business_name, currency=sent.billing_currency,
        discount_codes=codes(sent.discount_code, sent.discount_codes) or (),
    )  # fmt: skip
    with house().database.open(caller().scope) as db:
        row, customer, _name = read.subscription(db, started.subscription_id or "")
    return one(
        Begun(
            addons=addons_shape(row.addons), customer=CustomerLimited.of(customer), metadata=row.meta or {}, payment_id=started.payment_id,
            recurring_pre_tax_amount=started.recurring_pre_tax_minor, subscription_id=row.id, payment_link=started.link,
            expires_on=row.created_at + PAGE_LIFE if started.link else None, **ids_of(row.discounts),
        )
    )  # fmt: skip


@bp.get("/subscriptions", endpoint="subscriptions")
@says(SubscriptionItem, form="items", asks=SubscriptionQuery)
def index() -> ResponseReturnValue:
    asked = query(SubscriptionQuery)
    rows = read.subscriptions(
        db(), asked.page, customer_id=asked.customer_id, product_id=asked.product_id, status=asked.status,
        cancelling=asked.cancel_at_next_billing_date, brand_id=asked.brand_id,
    )  # fmt: skip
    planned = scheduled(db(), [row[0].id for row in rows])
    return items(SubscriptionItem.of(*row, planned.get(row[0].id)) for row in rows)


@bp.get("/subscriptions/<subscription_id>", endpoint="subscription")
@says(SubscriptionShape, asks=Localized)
def show(subscription_id: str) -> ResponseReturnValue:
    query(Localized)
    return one(whole(db(), subscription_id))
