"""Discount codes of the calling business."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from billing.catalogue import api_queries as read
from billing.catalogue import discount_codes as commands
from core.errors import Invalid
from core.money import LARGEST_ANYWHERE
from core.request_context import db
from tenants.api.authentication import bp, caller
from tenants.api.request_parsing import Amount, Body, CurrencyCode, Id, Instant, Metadata, PageQuery, body, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import items, json_response
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
    """Terms of a discount in one currency, in minor units.

    `max_amount_possible` is the amount of a flat discount, or the maximum of a percentage discount. The discount applies from
    `minimum_subtotal`.
    """

    currency: CurrencyCode
    is_default: bool = False
    max_amount_possible: Positive | None = None
    minimum_subtotal: Amount = 0


class _DiscountTerms(Body):
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
        """Return {column: value} of the fields that were sent. null clears optional fields and is ignored for others.

        Raises Invalid (UNSUPPORTED_ACTION) for codes that are limited to specific customers.
        """
        if self.customer_eligibility == "specific":
            message = "Codes for specific customers are not supported."
            raise Invalid("UNSUPPORTED_ACTION", f"customer_eligibility: {message}", fields={"customer_eligibility": message})
        plain = self.model_dump()
        return {COLUMNS[name]: plain[name] for name in self.model_fields_set if plain[name] is not None or name in CLEARABLE}


class NewDiscount(_DiscountTerms):
    """A new discount code. Without `code` a code of 16 characters is generated.

    `amount` is in basis points for a percentage (540 = 5.4 %). For a flat discount it is in minor units of the currency of the
    business, unless `currency_options` names others.
    """

    amount: Positive
    type: Kind


class DiscountChange(_DiscountTerms):
    amount: Positive | None = None
    type: Kind | None = None


class DiscountQuery(PageQuery):
    active: bool | None = None
    code: str | None = None
    discount_type: Kind | None = None
    product_id: str | None = None


@bp.post("/discounts", endpoint="create_discount")
@route_spec(DiscountShape, body=NewDiscount)
def create() -> ResponseReturnValue:
    """Create a discount code."""
    terms = body(NewDiscount).terms()
    return json_response(DiscountShape.of(commands.create_discount(db(), caller().business_id, **terms)))


@bp.get("/discounts", endpoint="discounts")
@route_spec(DiscountShape, form="items", query=DiscountQuery)
def index() -> ResponseReturnValue:
    """List discount codes, newest first."""
    params = query(DiscountQuery)
    rows = read.discounts(
        db(), params.page, active=params.active, code=params.code, kind=params.discount_type, product_id=params.product_id
    )
    return items(DiscountShape.of(row) for row in rows)


@bp.get("/discounts/code/<code>", endpoint="discount_by_code")
@route_spec(DiscountShape)
def by_code(code: str) -> ResponseReturnValue:
    """Return the discount with this code."""
    return json_response(DiscountShape.of(read.discount_by_code(db(), code)))


@bp.get("/discounts/<discount_id>", endpoint="discount")
@route_spec(DiscountShape)
def show(discount_id: str) -> ResponseReturnValue:
    """Return a discount."""
    return json_response(DiscountShape.of(read.discount(db(), discount_id)))


@bp.patch("/discounts/<discount_id>", endpoint="change_discount")
@route_spec(DiscountShape, body=DiscountChange)
def change(discount_id: str) -> ResponseReturnValue:
    """Update a discount code. The change applies to later uses of the code; null clears a limit or a date."""
    read.discount(db(), discount_id)
    return json_response(DiscountShape.of(commands.update_discount(db(), discount_id, **body(DiscountChange).terms())))


@bp.delete("/discounts/<discount_id>", endpoint="delete_discount")
@route_spec(status=204)
def delete(discount_id: str) -> ResponseReturnValue:
    """Delete a discount code."""
    commands.delete_discount(db(), discount_id)
    return "", 204
