"""The calling business's discount codes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from billing.commands import discounts as commands
from billing.queries import catalogue as read
from core.errors import Invalid
from core.money import LARGEST_ANYWHERE
from core.web import db
from tenants.api.door import bp, caller
from tenants.api.reading import Amount, Body, CurrencyCode, Id, Instant, Metadata, PageQuery, body, query
from tenants.api.saying import says
from tenants.api.shapes import items, one
from tenants.api.shapes.catalogue import DiscountShape

Kind = Literal["percentage", "flat"]
Code = Annotated[str, StringConstraints(min_length=3, max_length=16)]
Positive = Annotated[int, Field(ge=1, le=LARGEST_ANYWHERE)]
COLUMNS = {
    "code": "code", "name": "name", "type": "kind", "amount": "amount", "currency_options": "currencies",
    "customer_eligibility": "eligibility", "restricted_to": "restricted_to", "usage_limit": "usage_limit",
    "per_customer_usage_limit": "per_customer_limit", "subscription_cycles": "cycles", "preserve_on_plan_change": "keeps",
    "starts_at": "starts_at", "expires_at": "expires_at", "metadata": "meta",
}  # fmt: skip
CLEARABLE = frozenset({"name", "usage_limit", "per_customer_usage_limit", "subscription_cycles", "starts_at", "expires_at"})


class CurrencyOption(Body):
    """`max_amount_possible`: what a flat discount takes off, or the most that a share does. `minimum_subtotal`: below it, nothing."""

    currency: CurrencyCode
    is_default: bool = False
    max_amount_possible: Positive | None = None
    minimum_subtotal: Amount = 0


class _Terms(Body):
    code: Code | None = None
    currency_options: Annotated[list[CurrencyOption], Field(max_length=50)] | None = None
    customer_eligibility: Literal["any", "first_time", "existing", "specific"] | None = None
    expires_at: Instant | None = None
    metadata: Metadata | None = None
    name: Annotated[str, StringConstraints(max_length=200)] | None = None
    per_customer_usage_limit: Positive | None = None
    preserve_on_plan_change: bool | None = None
    restricted_to: Annotated[list[Id], Field(max_length=200)] | None = None
    starts_at: Instant | None = None
    subscription_cycles: Annotated[int, Field(ge=1, le=10_000)] | None = None
    usage_limit: Positive | None = None

    def terms(self) -> dict[str, Any]:
        """What was given, by column. null clears what may be empty, and is nothing elsewhere."""
        if self.customer_eligibility == "specific":
            words = "Codes for named customers are not offered here."
            raise Invalid("UNSUPPORTED_ACTION", f"customer_eligibility: {words}", fields={"customer_eligibility": words})
        plain = self.model_dump()
        return {COLUMNS[name]: plain[name] for name in self.model_fields_set if plain[name] is not None or name in CLEARABLE}


class NewDiscount(_Terms):
    """`amount`: basis points of a share (540 = 5.4 %); minor units of the business's currency where a flat one names no other."""

    amount: Positive
    type: Kind


class DiscountChange(_Terms):
    amount: Positive | None = None
    type: Kind | None = None


class DiscountQuery(PageQuery):
    active: bool | None = None
    code: str | None = None
    discount_type: Kind | None = None
    product_id: str | None = None


@bp.post("/discounts", endpoint="create_discount")
@says(DiscountShape, takes=NewDiscount)
def create() -> ResponseReturnValue:
    """Without a code one of 16 characters is made up."""
    terms = body(NewDiscount).terms()
    return one(DiscountShape.of(commands.create_discount(db(), caller().business_id, **terms)))


@bp.get("/discounts", endpoint="discounts")
@says(DiscountShape, form="items", asks=DiscountQuery)
def index() -> ResponseReturnValue:
    asked = query(DiscountQuery)
    rows = read.discounts(db(), asked.page, active=asked.active, code=asked.code, kind=asked.discount_type, product_id=asked.product_id)
    return items(DiscountShape.of(row) for row in rows)


@bp.get("/discounts/code/<code>", endpoint="discount_by_code")
@says(DiscountShape)
def by_code(code: str) -> ResponseReturnValue:
    return one(DiscountShape.of(read.discount_by_code(db(), code)))


@bp.get("/discounts/<discount_id>", endpoint="discount")
@says(DiscountShape)
def show(discount_id: str) -> ResponseReturnValue:
    return one(DiscountShape.of(read.discount(db(), discount_id)))


@bp.patch("/discounts/<discount_id>", endpoint="change_discount")
@says(DiscountShape, takes=DiscountChange)
def change(discount_id: str) -> ResponseReturnValue:
    """For those who use the code from now on; null clears a limit or a date."""
    read.discount(db(), discount_id)
    return one(DiscountShape.of(commands.update_discount(db(), discount_id, **body(DiscountChange).terms())))


@bp.delete("/discounts/<discount_id>", endpoint="delete_discount")
@says(status=204)
def delete(discount_id: str) -> ResponseReturnValue:
    commands.delete_discount(db(), discount_id)
    return "", 204
