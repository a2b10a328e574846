"""Discounts of a subscription at Stripe: of its items, then its own, else the customer's. The terms are in the coupon.

`once` counts for one invoice, after which Stripe removes the discount. `repeating` counts for invoices before the discount's end.
https://docs.stripe.com/billing/subscriptions/coupons
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from billing.model.discounts import AT_MOST
from billing.pricing.calendar import nth
from tenants.external.stripe.catalogue import INTERVALS
from tenants.external.stripe.subscriptions import items_of
from tenants.external.stripe.values import EPOCH, child, children, currency, first_text, id_of, minor
from tenants.external.system import CallFailed, Json

if TYPE_CHECKING:
    from tenants.external.reader import AccountReader

MOST_PERIODS = 600


def discounts_of(reader: AccountReader, data: Json) -> list[Json]:
    """Return the discounts of the next charges in the shape of the import. Raises CallFailed.

    A discount whose coupon cannot be read is left out and counted, so the amount that is shown is too high rather than too low.
    """
    items, out = items_of(data), list[Json]()
    if data.get("status") in ("canceled", "incomplete_expired"):
        return []
    found: list[tuple[Json, Sequence[Json]]] = [(held, [item]) for item in items for held in children(item, "discounts")]
    of_customer = child(data, "customer", "discount")
    own = children(data, "discounts") or ([of_customer] if isinstance(of_customer, dict) else [])
    found += [(held, items) for held in own]
    for held, of_items in found[:AT_MOST]:
        coupon = _read(reader, "coupon", child(held, "source", "coupon"))
        if coupon is None:
            reader.skip("the terms of a discount cannot be read", [f"discount/{id_of(held)}"])
        elif terms := _terms(coupon, held, data, items, of_items):
            code = _read(reader, "promotion_code", held.get("promotion_code"))
            name = first_text(coupon.get("name"), coupon.get("id"))[:100]
            out.append({**terms, "name": name, "code": first_text(child(code, "code"))[:100] or name, "position": len(out)})
    return out


def _read(reader: AccountReader, kind: str, value: Any) -> Json | None:
    """Return an object that may be expanded. None if there is none, and if the key may not read it."""
    if isinstance(value, dict):
        return value
    if value is None:
        return None
    if (kind, value) not in reader.terms:
        try:
            reader.terms[kind, value] = reader.fetch(kind, value)
        except CallFailed as failed:
            if failed.status not in (401, 403):
                raise
            reader.terms[kind, value] = None
    return reader.terms[kind, value]


def _terms(coupon: Json, held: Json, data: Json, items: Sequence[Json], of_items: Sequence[Json]) -> Json | None:
    """Return the terms of a discount for these items; None if it reduces none of the next charges."""
    fits = _fitting(coupon, of_items)
    amount = _amount(coupon, currency(data.get("currency")))
    left = _periods_left(coupon, held, items[0])
    if not fits or amount is None or left == 0:
        return None
    only = [] if len(fits) == len(items) else [id_of(item.get("price")) for item in fits]
    return {
        "discount_id": id_of(held), **amount, "restricted_to_items": only, "cycles_remaining": left, "subscription_cycles": left,
        "preserve_on_plan_change": True,
    }  # fmt: skip


def _fitting(coupon: Json, items: Sequence[Json]) -> list[Json]:
    sold = child(coupon, "applies_to", "products")
    return [item for item in items if not isinstance(sold, list) or id_of(child(item, "price", "product")) in sold]


def _amount(coupon: Json, code: str) -> Json | None:
    """Return {type, amount}; None for an amount in another currency only."""
    percent = coupon.get("percent_off")
    if percent is not None:
        if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
            raise ValueError("a percentage must be between 0 and 100")
        points = (Decimal(str(percent)) * 100).quantize(Decimal(1), ROUND_HALF_UP)
        return {"type": "percentage", "amount": int(points)}
    if coupon.get("amount_off") is None or currency(coupon.get("currency")) != code:
        return None
    return {"type": "flat", "amount": minor(coupon["amount_off"], code)}


def _periods_left(coupon: Json, held: Json, plan: Json) -> int | None:
    """Return how many of the next charges have the discount; None for all."""
    ends, at, most = held.get("end"), plan.get("current_period_end"), 1 if coupon.get("duration") == "once" else None
    if not isinstance(ends, int) or not isinstance(at, int):
        return most
    recurring = child(plan, "price", "recurring")
    interval, count, first = INTERVALS.get(child(recurring, "interval")), child(recurring, "interval_count") or 1, _moment(at)
    if interval is None or not isinstance(count, int):
        return most
    dates = (nth(first, "UTC", interval, count, n) for n in range(MOST_PERIODS))
    left = next((n for n, date in enumerate(dates) if date >= _moment(ends)), None)
    return most if left is None else min(left, most or left)


def _moment(seconds: int) -> Any:
    return EPOCH + timedelta(seconds=seconds)
