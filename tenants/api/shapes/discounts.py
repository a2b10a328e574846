"""DiscountDetail (reference §2.1): the copy of a discount on a subscription or payment."""

from __future__ import annotations

from typing import Any

from billing.model.discounts import cycles_left
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


def discount_details(discounts: list[Json] | None, business_id: str, period_n: int | None = None) -> list[DiscountDetail]:
    """Return the details of each discount. `period_n` is the number of periods the subscription paid for; None for a payment."""
    return [
        DiscountDetail(
            amount=item["amount"], business_id=business_id, code=item["code"], created_at=item["created_at"].replace("+00:00", "Z"),
            discount_id=item["discount_id"], metadata=item["meta"] or {}, position=item["position"], preserve_on_plan_change=item["keeps"],
            restricted_to=item["restricted_to"], times_used=item["times_used"], type=item["type"],
            cycles_remaining=None if period_n is None else cycles_left(item, period_n),
            expires_at=item["expires_at"].replace("+00:00", "Z") if item["expires_at"] else None, name=item["name"],
            subscription_cycles=item["cycles"], usage_limit=item["usage_limit"],
        )
        for item in discounts or []
    ]  # fmt: skip


def discount_summaries(discounts: list[Json] | None, period_n: int) -> list[Json]:
    return [{"discount_id": item["discount_id"], "discount_cycles_remaining": cycles_left(item, period_n)} for item in discounts or []]


def discount_ids(discounts: list[Json] | None) -> dict[str, Any]:
    """Return the fields `discount_ids` and the older `discount_id`."""
    ids = [item["discount_id"] for item in discounts or []]
    return {"discount_id": ids[0] if ids else None, "discount_ids": ids or None}
