"""Discounts of an imported subscription (reference §2.1), which apply to its renewals here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from billing.model import bounds
from billing.model.discounts import AT_MOST
from tenants.imports.fields import Id, Instant, Json, Metadata, Words


class DiscountRecord(BaseModel):
    """A discount of the API. Lists contain only its id. `restricted_to_items`: the plan and add-ons that it reduces, by default all."""

    discount_id: Id | None = None
    code: Words | None = None
    name: Words | None = None
    type: Literal["percentage", "flat"] | None = None
    amount: Annotated[int, Field(ge=0, le=bounds.MOST_MINOR)] | None = None
    position: Annotated[int, Field(ge=0, le=1000)] = 0
    preserve_on_plan_change: bool = False
    restricted_to: Annotated[list[Id], Field(max_length=1000)] = []
    restricted_to_items: Annotated[list[Id], Field(max_length=100)] = []
    cycles_remaining: Annotated[int, Field(ge=0, le=100_000)] | None = None
    subscription_cycles: Annotated[int, Field(ge=0, le=100_000)] | None = None
    usage_limit: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    times_used: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    metadata: Metadata = {}
    created_at: Instant | None = None
    expires_at: Instant | None = None

    @model_validator(mode="after")
    def _fits(self) -> DiscountRecord:
        if self.type == "percentage" and self.amount is not None and self.amount > 10_000:
            raise ValueError("a discount can be at most 100 % (10000 basis points)")
        return self

    @property
    def is_read(self) -> bool:
        """Whether the amount and the remaining cycles are known."""
        has_amount = self.type is not None and self.amount is not None
        return has_amount and not (self.subscription_cycles and self.cycles_remaining is None)


Discounts = Annotated[list[DiscountRecord], Field(max_length=AT_MOST)]


def carried(discounts: list[DiscountRecord]) -> list[Json]:
    """Return discounts in the shape of billing/charging/discount_redemption.py, by position. Used-up discounts and discounts without
    an amount are left out.

    `since` is the next period; the import writes its number.
    """
    return [
        {"discount_id": item.discount_id or "", "code": item.code or "", "name": item.name, "type": item.type, "amount": item.amount,
         "most": None, "least": 0, "restricted_to": list(item.restricted_to),
         **({"items": list(item.restricted_to_items)} if item.restricted_to_items else {}), "keeps": item.preserve_on_plan_change,
         "cycles": item.subscription_cycles if item.cycles_remaining is None else item.cycles_remaining, "since": 1, "position": place,
         "created_at": item.created_at.isoformat() if item.created_at else "1970-01-01T00:00:00+00:00",
         "expires_at": item.expires_at.isoformat() if item.expires_at else None, "usage_limit": item.usage_limit,
         "times_used": item.times_used, "meta": item.metadata}
        for place, item in enumerate(sorted(discounts, key=lambda discount: discount.position))
        if item.type is not None and item.amount is not None and item.cycles_remaining != 0
    ]  # fmt: skip


def unread(discounts: list[DiscountRecord], discount_id: str | None, cycles_remaining: int | None) -> str | None:
    """Return the name of a discount whose terms are unknown, so that renewals would be billed wrongly; None if all are known.

    `cycles_remaining`: of the subscription, which may have no other data about its discount.
    """
    if cycles_remaining and not discounts:
        return discount_id or "discount_cycles_remaining"
    incomplete = next((discount for discount in discounts if not discount.is_read), None)
    if incomplete is not None:
        return incomplete.code or incomplete.discount_id or "a discount without a code"
    return None if not discount_id or any(discount.discount_id == discount_id for discount in discounts) else discount_id
