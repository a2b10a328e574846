"""Discount codes, their redemptions, and the amounts they deduct. A subscription has a copy, which later edits do not change.

Percentages are in basis points (540 = 5.4 %). A flat amount is in minor units and applies once per invoice, spread over its lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, BusinessOwned, CustomerOwned, of_customer, within_business, within_customer
from core.money import round_half_up

AT_MOST = 20  # codes on one invoice


class Discount(Base, BusinessOwned):
    """`currencies`: [{currency, is_default, minimum_subtotal, max_amount_possible}] (contract §2.5)."""

    __tablename__ = "discount_codes"
    __table_args__ = (
        Index(
            "uq_discount_codes_code", "business_id", "code", unique=True,
            sqlite_where=text("deleted_at IS NULL"), postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("ix_discount_codes_created", "business_id", "created_at", "id"),
        CheckConstraint("times_used >= 0", name="used"),
    )  # fmt: skip

    code: Mapped[str]
    name: Mapped[str | None]
    kind: Mapped[str]  # percentage, flat
    amount: Mapped[int]
    currencies: Mapped[list[Any]] = mapped_column(default=list)
    eligibility: Mapped[str] = mapped_column(default="any")  # any, first_time, existing
    restricted_to: Mapped[list[Any]] = mapped_column(default=list)  # product ids; empty: all products
    usage_limit: Mapped[int | None]
    per_customer_limit: Mapped[int | None]
    times_used: Mapped[int] = mapped_column(default=0)
    cycles: Mapped[int | None]  # billing cycles of a subscription; None: all
    keeps: Mapped[bool] = mapped_column(default=False)  # the discount stays when the plan changes
    starts_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    meta: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Redemption(Base, CustomerOwned):
    """One use of a code. It is deleted if the payment it was used for does not succeed."""

    __tablename__ = "discount_redemptions"
    __table_args__ = (
        of_customer(),
        within_business("discount_id", "discount_codes"),
        within_customer("payment_id", "payments", at_commit=True),
        within_customer("subscription_id", "subscriptions", at_commit=True),
        Index("ix_discount_redemptions_payment", "business_id", "payment_id"),
        Index("ix_discount_redemptions_discount", "business_id", "discount_id", "customer_id"),
    )

    discount_id: Mapped[str]
    payment_id: Mapped[str | None]
    subscription_id: Mapped[str | None]
    created_at: Mapped[datetime]


def is_on(discount: dict[str, Any], n: int) -> bool:
    """Return whether a discount of a subscription applies to its n-th period. `since` is the first period it applies to."""
    return discount["cycles"] is None or discount["since"] <= n < discount["since"] + discount["cycles"]


def cycles_left(discount: dict[str, Any], period_n: int) -> int | None:
    """Return how many periods will still be billed with the discount after period `period_n`. None: all."""
    return None if discount["cycles"] is None else max(discount["since"] + discount["cycles"] - 1 - max(period_n, discount["since"] - 1), 0)


def fits(discount: dict[str, Any], product_id: str, item_id: str = "") -> bool:
    """Return whether a discount applies to a product. `item_id`: of the plan or add-on, for a discount of some items (`items`) only."""
    is_sold = not discount["restricted_to"] or product_id in discount["restricted_to"]
    return is_sold and (not item_id or not discount.get("items") or item_id in discount["items"])


def discount_label(discount: dict[str, Any]) -> str:
    """Return the text for an invoice line: `WELCOME −20 %` for a percentage, the code alone for a flat amount."""
    if discount["type"] != "percentage":
        return str(discount["code"])
    share = Fraction(discount["amount"], 100)
    number = str(int(share)) if share.denominator == 1 else f"{float(share):.2f}".rstrip("0")
    return f"{discount['code']} −{number} %"


def discount_amounts(
    amounts: Sequence[int], product_ids: Sequence[str], discounts: Sequence[dict[str, Any]], item_ids: Sequence[str] = ()
) -> list[int]:
    """Return the discount of each line in minor units, at most the amount of the line. Discounts apply one after another, in order."""
    left = list(amounts)
    for discount in discounts:
        ids = zip(product_ids, item_ids or [""] * len(product_ids), strict=True)
        places = [i for i, (product_id, item_id) in enumerate(ids) if left[i] > 0 and fits(discount, product_id, item_id)]
        base = sum(left[i] for i in places)
        if not base or base < discount.get("least", 0):
            continue
        off = round_half_up(Fraction(base * discount["amount"], 10_000)) if discount["type"] == "percentage" else discount["amount"]
        off = min(off, base, base if discount.get("most") is None else discount["most"])
        given = 0
        for place, i in enumerate(places):  # in proportion; the last line takes the rounding difference
            rest = sum(left[j] for j in places[place:])
            part = off - given if place == len(places) - 1 else min(left[i], (off - given) * left[i] // rest)
            left[i] -= part
            given += part
    return [was - now for was, now in zip(amounts, left, strict=True)]
