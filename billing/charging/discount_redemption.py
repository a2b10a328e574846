"""Checks and redeems discount codes. Uses are counted under a lock of the code's row.

A redeemed code is copied as {discount_id, code, name, type, amount, most, least, restricted_to, keeps, cycles, since, …}. Amounts are in
minor units of the invoice's currency, percentages in basis points. `since` is the first period to which the discount applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from billing.model.discounts import AT_MOST, Discount, Redemption, fits
from billing.model.parties import Business, Customer
from billing.model.payments import Payment
from core import clock
from core.db import ScopedSession
from core.errors import Invalid
from core.ids import new_id
from core.outbox import emit

DiscountCopy = dict[str, Any]


class DiscountRefused(Invalid):
    """A code that cannot be used. `which` is the code, or empty if the error is about all codes."""

    def __init__(self, code: str, sentence: str, which: str = "") -> None:
        super().__init__(code, sentence, fields={"discount_codes": sentence})
        self.which = which


def discounts_for_codes(
    db: ScopedSession,
    business: Business,
    customer: Customer,
    codes: Sequence[str],
    *,
    currency: str,
    product_ids: Sequence[str],
    since: int = 1,
    changing: bool = False,
) -> list[DiscountCopy]:
    """Return the discounts of these codes, in their order.

    `changing`: the codes are for a plan change, which has its own error code for a code of other products. Raises DiscountRefused
    (contract §1.5, discount).
    """
    normalized = ["".join(code.split()).upper() for code in codes]
    if len(set(normalized)) != len(normalized) or len(normalized) > AT_MOST:
        raise DiscountRefused("INVALID_DISCOUNT_CODE", f"Use each code once, and at most {AT_MOST} codes.")
    query = select(Discount).where(Discount.code.in_(normalized), Discount.deleted_at.is_(None))
    rows = {row.code: row for row in db.scalars(query)} if normalized else {}
    out = []
    for place, code in enumerate(normalized):
        row = rows.get(code)
        if row is None:
            raise DiscountRefused("INVALID_DISCOUNT_CODE", f"The code {code[:20]} does not exist.", code)
        _check(db, row, customer)
        discount = _copy(row, business, currency, place, since)
        if not any(fits(discount, product_id) for product_id in product_ids):
            error_code = "DISCOUNT_NOT_APPLICABLE_TO_NEW_PRODUCT" if changing else "DISCOUNT_NOT_AVAILABLE_FOR_PRODUCT"
            raise DiscountRefused(error_code, f"{code} does not apply to this product.", code)
        out.append(discount)
    return out


def redeem(
    db: ScopedSession,
    customer: Customer,
    discounts: Sequence[DiscountCopy],
    payment_id: str | None,
    subscription_id: str | None,
    *,
    anyway: bool = False,
) -> None:
    """Count one use of each discount. Raises DiscountRefused if another customer used the last one in the meantime.

    `anyway`: do not check, because the customer already had the discounts.
    """
    ids = sorted(item["discount_id"] for item in discounts)
    if not ids:
        return
    query = select(Discount).where(Discount.id.in_(ids)).order_by(Discount.id).with_for_update()  # always lock in this order
    for row in db.scalars(query.execution_options(populate_existing=True)):
        if not anyway:
            _check(db, row, customer)
        row.times_used += 1
        db.add(
            Redemption(
                business_id=customer.business_id,
                customer_id=customer.customer_id,
                id=new_id("dsr"),
                discount_id=row.id,
                payment_id=payment_id,
                subscription_id=subscription_id,
                created_at=clock.now(),
            )
        )
        emit(
            db,
            "discount.redeemed",
            business_id=customer.business_id,
            customer_id=customer.customer_id,
            noun=row.id,
            data={"discount_id": row.id, "code": row.code, "payment_id": payment_id},
        )


def release(db: ScopedSession, payment: Payment) -> None:
    """Release the codes of a payment whose purchase or plan change did not happen."""
    if not payment.discounts:
        return
    _delete_redemptions(db, list(db.scalars(select(Redemption).where(Redemption.payment_id == payment.id))))


def release_scheduled(db: ScopedSession, customer_id: str, subscription_id: str, discounts: Sequence[DiscountCopy]) -> None:
    """Release the newest use of each code of a scheduled plan change that was cancelled."""
    ids = {item["discount_id"] for item in discounts}
    if not ids:
        return
    mine = select(Redemption).where(
        Redemption.customer_id == customer_id,
        Redemption.subscription_id == subscription_id,
        Redemption.payment_id.is_(None),
        Redemption.discount_id.in_(sorted(ids)),
    )
    _delete_redemptions(db, list({row.discount_id: row for row in db.scalars(mine.order_by(Redemption.created_at))}.values()))


def _delete_redemptions(db: ScopedSession, rows: Sequence[Redemption]) -> None:
    locked = select(Discount).where(Discount.id.in_([entry.discount_id for entry in rows])).order_by(Discount.id).with_for_update()
    for code in db.scalars(locked):
        code.times_used = max(code.times_used - 1, 0)
    for row in rows:
        db.delete(row)


def _check(db: ScopedSession, row: Discount, customer: Customer) -> None:
    at = clock.now()
    if row.deleted_at is not None:
        raise DiscountRefused("INVALID_DISCOUNT_CODE", f"The code {row.code} does not exist.", row.code)
    if row.starts_at is not None and row.starts_at > at:
        raise DiscountRefused("DISCOUNT_NOT_YET_ACTIVE", f"{row.code} cannot be used yet.", row.code)
    if row.expires_at is not None and row.expires_at <= at:
        raise DiscountRefused("DISCOUNT_CODE_EXPIRED", f"{row.code} has expired.", row.code)
    if row.usage_limit is not None and row.times_used >= row.usage_limit:
        raise DiscountRefused("DISCOUNT_CODE_USAGE_LIMIT_EXCEEDED", f"{row.code} has reached its usage limit.", row.code)
    if (row.eligibility == "first_time" and customer.first_paid_at) or (row.eligibility == "existing" and not customer.first_paid_at):
        raise DiscountRefused("DISCOUNT_CUSTOMER_NOT_ELIGIBLE", f"{row.code} is not available to this customer.", row.code)
    if row.per_customer_limit is not None:
        mine = (
            select(func.count())
            .select_from(Redemption)
            .where(Redemption.discount_id == row.id, Redemption.customer_id == customer.customer_id)
        )
        if (db.scalar(mine) or 0) >= row.per_customer_limit:
            raise DiscountRefused("DISCOUNT_PER_CUSTOMER_USAGE_LIMIT_EXCEEDED", f"This customer has already used {row.code}.", row.code)


def _copy(row: Discount, business: Business, currency: str, place: int, since: int) -> DiscountCopy:
    option = next((item for item in row.currencies if item["currency"] == currency), None)
    if row.kind == "flat" and option is None and (row.currencies or currency != business.currency):
        raise DiscountRefused("DISCOUNT_NOT_AVAILABLE_FOR_PRODUCT", f"{row.code} does not apply to prices in {currency}.", row.code)
    flat = row.kind == "flat"
    most = option["max_amount_possible"] if option else None
    return {
        "discount_id": row.id, "code": row.code, "name": row.name, "type": row.kind, "amount": most if flat and most else row.amount,
        "most": None if flat else most, "least": option["minimum_subtotal"] if option else 0, "restricted_to": list(row.restricted_to),
        "keeps": row.keeps, "cycles": row.cycles, "since": since, "position": place, "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat() if row.expires_at else None, "usage_limit": row.usage_limit,
        "times_used": row.times_used + 1, "meta": row.meta,
    }  # fmt: skip
