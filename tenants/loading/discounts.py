"""Discounts that run on a subscription when it is loaded (reference §2.1): what they still take off is taken off here too."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from billing import bounds
from billing.discounts import AT_MOST
from tenants.loading.fields import Id, Instant, Json, Metadata, Words


class Discount(BaseModel):
    """As the API details it; lists leave all but the id out."""

    discount_id: Id | None = None
    code: Words | None = None
    name: Words | None = None
    type: Literal["percentage", "flat"] | None = None
    amount: Annotated[int, Field(ge=0, le=bounds.MOST_MINOR)] | None = None
    position: Annotated[int, Field(ge=0, le=1000)] = 0
    preserve_on_plan_change: bool = False
    restricted_to: Annotated[list[Id], Field(max_length=1000)] = []
    cycles_remaining: Annotated[int, Field(ge=0, le=100_000)] | None = None
    subscription_cycles: Annotated[int, Field(ge=0, le=100_000)] | None = None
    usage_limit: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    times_used: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    metadata: Metadata = {}
    created_at: Instant | None = None
    expires_at: Instant | None = None

    @model_validator(mode="after")
    def _fits(self) -> Discount:
        if self.type == "percentage" and self.amount is not None and self.amount > 10_000:
            raise ValueError("a discount takes off 100 % at most (10000 basis points)")
        return self

    @property
    def is_read(self) -> bool:
        """Whether it says what it takes off, and for how long: with a number of cycles, how many are left."""
        told = self.type is not None and self.amount is not None
        return told and not (self.subscription_cycles and self.cycles_remaining is None)


Discounts = Annotated[list[Discount], Field(max_length=AT_MOST)]


def carried(discounts: list[Discount]) -> list[Json]:
    """In the shape of billing/redeeming.py, the first one first. Those that are used up are left out, and those without an amount.

    `since` is the next period, whatever its number will be here: loading writes it.
    """
    return [
        {"discount_id": one.discount_id or "", "code": one.code or "", "name": one.name, "type": one.type, "amount": one.amount,
         "most": None, "least": 0, "restricted_to": list(one.restricted_to), "keeps": one.preserve_on_plan_change,
         "cycles": one.subscription_cycles if one.cycles_remaining is None else one.cycles_remaining, "since": 1, "position": place,
         "created_at": one.created_at.isoformat() if one.created_at else "1970-01-01T00:00:00+00:00",
         "expires_at": one.expires_at.isoformat() if one.expires_at else None, "usage_limit": one.usage_limit,
         "times_used": one.times_used, "meta": one.metadata}
        for place, one in enumerate(sorted(discounts, key=lambda one: one.position))
        if one.type is not None and one.amount is not None and one.cycles_remaining != 0
    ]  # fmt: skip


def unread(discounts: list[Discount], discount_id: str | None, cycles_remaining: int | None) -> str | None:
    """Why what is billed here would come out wrong: the name of a discount that cannot be read. None: all can.

    `cycles_remaining`: what the subscription says of its discount, which may be all that it says.
    """
    if cycles_remaining and not discounts:
        return discount_id or "discount_cycles_remaining"
    odd = next((one for one in discounts if not one.is_read), None)
    if odd is not None:
        return odd.code or odd.discount_id or "a discount without a code"
    return None if not discount_id or any(one.discount_id == discount_id for one in discounts) else discount_id
