"""Create and read subscriptions of the calling business."""

from __future__ import annotations

from typing import Annotated, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints, model_validator

from billing.charging.payment_processor import PAGE_LIFE
from billing.history import api_lists as read
from billing.plan_changes.scheduled import scheduled
from billing.subscriptions.subscribe import subscribe
from core.request_context import db, services
from portal.billing_services import processor
from tenants.api.authentication import bp, caller
from tenants.api.consents import Consents
from tenants.api.customer_input import CustomerInput, customer_for
from tenants.api.idempotency.money_calls import idempotent
from tenants.api.request_parsing import (
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
    ShortText,
    body,
    codes,
    query,
    return_url,
)
from tenants.api.route_spec import route_spec
from tenants.api.shapes import CustomerLimited, Json, Shape, Stamp, items, json_response
from tenants.api.shapes.discounts import discount_ids
from tenants.api.shapes.subscriptions import SubscriptionItem, SubscriptionShape, addons_shape, subscription_shape

Status = Literal["pending", "active", "on_hold", "paused", "cancelled", "failed", "expired", "past_due"]


class AddonInput(Body):
    addon_id: Id
    quantity: Quantity


class NewSubscription(Body):
    """A new subscription. `redirect_immediately` has no effect: the hosted page always redirects at the end.

    `consents` is an addition to the contract: what the customer agreed to before.
    """

    billing: Billing
    customer: CustomerInput
    product_id: Id
    quantity: Quantity
    addons: Annotated[list[AddonInput], Field(max_length=50)] | None = None
    billing_currency: CurrencyCode | None = None
    customer_business_name: ShortText | None = None
    discount_code: str | None = None
    discount_codes: Codes | None = None
    consents: Consents | None = None
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
            raise ValueError("customer_business_name requires a tax_id")
        if self.payment_method_id and not self.customer.customer_id:
            raise ValueError("payment_method_id requires a customer_id")
        if self.payment_method_id and self.payment_link:
            raise ValueError("payment_link cannot be true with a payment_method_id, which is charged immediately")
        return self


class SubscriptionQuery(PageQuery, Localized):
    brand_id: str | None = None
    cancel_at_next_billing_date: bool | None = None
    customer_id: str | None = None
    product_id: str | None = None
    status: Annotated[list[Status] | None, Many] = None


class SubscriptionCreated(Shape):
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
@idempotent
@route_spec(SubscriptionCreated, body=NewSubscription, errors=(503,))
def create() -> ResponseReturnValue:
    """Create a subscription.

    With a `payment_method_id` it is charged immediately. Otherwise the customer pays on the hosted page at `payment_link`.
    """
    sent = body(NewSubscription)
    url = return_url(sent.return_url, caller().business_id)
    started = subscribe(
        processor(), caller().scope, customer_id=customer_for(sent.customer), product_id=sent.product_id, quantity=sent.quantity,
        billing=sent.billing.model_dump(exclude_none=True), payment_method_id=sent.payment_method_id, return_url=url,
        trial_days=sent.trial_period_days, addons=[addon.model_dump() for addon in sent.addons or []], metadata=sent.metadata,
        tax_id=sent.tax_id, business_name=sent.customer_business_name, currency=sent.billing_currency,
        discount_codes=codes(sent.discount_code, sent.discount_codes) or (), consents=[item.agreed for item in sent.consents or ()],
    )  # fmt: skip
    with services().database.open(caller().scope) as db:
        row, customer, _name = read.subscription(db, started.subscription_id or "")
    return json_response(
        SubscriptionCreated(
            addons=addons_shape(row.addons), customer=CustomerLimited.of(customer), metadata=row.meta or {}, payment_id=started.payment_id,
            recurring_pre_tax_amount=started.recurring_pre_tax_minor, subscription_id=row.id, payment_link=started.link,
            expires_on=row.created_at + PAGE_LIFE if started.link else None, **discount_ids(row.discounts),
        )
    )  # fmt: skip


@bp.get("/subscriptions", endpoint="subscriptions")
@route_spec(SubscriptionItem, form="items", query=SubscriptionQuery)
def index() -> ResponseReturnValue:
    """List subscriptions, newest first."""
    params = query(SubscriptionQuery)
    rows = read.subscriptions(
        db(), params.page, customer_id=params.customer_id, product_id=params.product_id, status=params.status,
        cancelling=params.cancel_at_next_billing_date, brand_id=params.brand_id,
    )  # fmt: skip
    planned = scheduled(db(), [row[0].id for row in rows])
    return items(SubscriptionItem.of(*row, planned.get(row[0].id)) for row in rows)


@bp.get("/subscriptions/<subscription_id>", endpoint="subscription")
@route_spec(SubscriptionShape, query=Localized)
def show(subscription_id: str) -> ResponseReturnValue:
    """Return a subscription."""
    query(Localized)
    return json_response(subscription_shape(db(), subscription_id))
