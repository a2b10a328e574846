"""DiscountDetail (reference §2.1): the copy that a subscription or a payment carries."""

from __future__ import annotations

from typing import Any

from billing.discounts import cycles_left
from tenants.api.shapes import Json, Shape


class DiscountDetail(Shape):
    amount: int
    business_id: str
    code: str
    created_at: str
    discount_id: str
    metadata: Json
    position: int
    preserve_on_plan_change: bool
    restricted_to: list[str]
    times_used: int
    type: str
    cycles_remaining: int | None
    expires_at: str | None
    name: str | None
    subscription_cycles: int | None
    usage_limit: int | None


def details(held: list[Json] | None, business_id: str, period_n: int | None = None) -> list[DiscountDetail]:
    """`period_n`: how many periods the subscription has paid for; None for a payment."""
    return [
        DiscountDetail(
            amount=one["amount"], business_id=business_id, code=one["code"], created_at=one["created_at"].replace("+00:00", "Z"),
            discount_id=one["discount_id"], metadata=one["meta"] or {}, position=one["position"], preserve_on_plan_change=one["keeps"],
            restricted_to=one["restricted_to"], times_used=one["times_used"], type=one["type"],
            cycles_remaining=None if period_n is None else cycles_left(one, period_n),
            expires_at=one["expires_at"].replace("+00:00", "Z") if one["expires_at"] else None, name=one["name"],
            subscription_cycles=one["cycles"], usage_limit=one["usage_limit"],
        )
        for one in held or []
    ]  # fmt: skip


def in_a_list(held: list[Json] | None, period_n: int) -> list[Json]:
    return [{"discount_id": one["discount_id"], "discount_cycles_remaining": cycles_left(one, period_n)} for one in held or []]


def ids_of(held: list[Json] | None) -> dict[str, Any]:
    """The fields that name them, the old single one too."""
    ids = [one["discount_id"] for one in held or []]
    return {"discount_id": ids[0] if ids else None, "discount_ids": ids or None}
