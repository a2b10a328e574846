"""Validates the preview of a plan change from an external account before it is shown."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from billing.model import bounds
from tenants.imports.discounts import Discounts
from tenants.imports.fields import Instant, Words

Sum = Annotated[int, Field(ge=-bounds.MOST_MINOR, le=bounds.MOST_MINOR)]


class PreviewLine(BaseModel):
    type: Literal["subscription", "addon", "meter"]
    name: Words | None = None
    description: Words | None = None
    product_id: Words | None = None
    id: Words | None = None
    unit_price: Sum = 0
    quantity: Annotated[int, Field(ge=0, le=100_000)] = 1
    proration_factor: Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)] = 1.0
    subtotal: Sum = 0
    tax: Sum | None = None
    tax_inclusive: bool = False
    tax_rate: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] | None = None
    currency: Words | None = None


class Summary(BaseModel):
    total_amount: Annotated[int, Field(ge=0, le=bounds.MOST_MINOR)]
    customer_credits: Sum | None = None
    carried: Sum | None = None
    """Earlier debt in minor units that is charged together with the change."""
    deferred: Sum | None = None
    """Minor units that are too few to be charged now, and are charged later."""
    tax: Sum | None = None


class Immediate(BaseModel):
    line_items: Annotated[list[PreviewLine], Field(max_length=200)]
    summary: Summary


class Plan(BaseModel):
    next_billing_date: Instant | None = None
    recurring_pre_tax_amount: Annotated[int, Field(ge=0, le=bounds.MOST_MINOR)] | None = None
    tax_inclusive: bool | None = None
    discounts: Discounts | None = None
    on_payment_failure: Literal["prevent_change", "apply_change"] | None = None


class Preview(BaseModel):
    immediate_charge: Immediate
    new_plan: Plan


def figures(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the validated preview as JSON. Raises ValueError."""
    return Preview.model_validate(answer).model_dump(mode="json")
