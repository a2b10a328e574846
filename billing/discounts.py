"""Discount codes, who used them, and what they take off. What a subscription carries is a copy: later edits leave it alone.

Percentages are basis points (540 = 5.4 %). A flat amount is in minor units and holds once per bill, spread over its lines.
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

AT_MOST = 20  # on one bill


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
    currencies: Mapped[list] = mapped_column(default=list)
    eligibility: Mapped[str] = mapped_column(default="any")  # any, first_time, existing
    restricted_to: Mapped[list] = mapped_column(default=list)  # product ids; none: everything
    usage_limit: Mapped[int | None]
    per_customer_limit: Mapped[int | None]
    times_used: Mapped[int] = mapped_column(default=0)
    cycles: Mapped[int | None]  # billing cycles of a subscription; none: all of them
    keeps: Mapped[bool] = mapped_column(default=False)  # it stays when the plan changes
    starts_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    meta: Mapped[dict] = mapped_column(default=dict)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Redemption(Base, CustomerOwned):
    """One use of a code. It is given back when the payment that it was for is not made."""

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


def is_on(held: dict[str, Any], n: int) -> bool:
    """Whether a discount that a subscription carries holds for its n-th period. `since`: the first one it was given for."""
    return held["cycles"] is None or held["since"] <= n < held["since"] + held["cycles"]


def cycles_left(held: dict[str, Any], period_n: int) -> int | None:
    """Periods that are still to be billed with it, when `period_n` of them are."""
    return None if held["cycles"] is None else max(held["since"] + held["cycles"] - 1 - max(period_n, held["since"] - 1), 0)


def fits(held: dict[str, Any], product_id: str) -> bool:
    return not held["restricted_to"] or product_id in held["restricted_to"]


def words(held: dict[str, Any]) -> str:
    """For a line of an invoice: `WELCOME −20 %` for a share, the code alone for an amount."""
    if held["type"] != "percentage":
        return str(held["code"])
    share = Fraction(held["amount"], 100)
    number = str(int(share)) if share.denominator == 1 else f"{float(share):.2f}".rstrip("0")
    return f"{held['code']} −{number} %"


def taken_off(amounts: Sequence[int], product_ids: Sequence[str], held: Sequence[dict[str, Any]]) -> list[int]:
    """What each line loses: one discount after the other, in the order they were given. Never more than the line is."""
    left = list(amounts)
    for one in held:
        places = [i for i, product_id in enumerate(product_ids) if left[i] > 0 and fits(one, product_id)]
        base = sum(left[i] for i in places)
        if not base or base < one.get("least", 0):
            continue
        off = round_half_up(Fraction(base * one["amount"], 10_000)) if one["type"] == "percentage" else one["amount"]
        off = min(off, base, base if one.get("most") is None else one["most"])
        given = 0
        for place, i in enumerate(places):  # in proportion; the last line takes what rounding left
            rest = sum(left[j] for j in places[place:])
            part = off - given if place == len(places) - 1 else min(left[i], (off - given) * left[i] // rest)
            left[i] -= part
            given += part
    return [was - now for was, now in zip(amounts, left, strict=True)]
