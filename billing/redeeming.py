"""A code becomes a discount: may this customer use it, for this, now? Uses are counted under the code's row lock.

What is given is a copy: {discount_id, code, name, type, amount, most, least, restricted_to, keeps, cycles, since, …},
amounts in minor units of the bill's currency (a share in basis points). `since`: the first period it holds for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from billing.discounts import AT_MOST, Discount, Redemption, fits
from billing.parties import Business, Customer
from billing.payments import Payment
from core import clock
from core.db import ScopedSession
from core.errors import Invalid
from core.ids import new_id
from core.outbox import emit

Held = dict[str, Any]


class Refused(Invalid):
    """A code that cannot be had. `which`: the code; empty where it is about all of them."""

    def __init__(self, code: str, words: str, which: str = "") -> None:
        super().__init__(code, words, fields={"discount_codes": words})
        self.which = which


def held_for(
    db: ScopedSession, business: Business, customer: Customer, codes: Sequence[str], *, currency: str, product_ids: Sequence[str],
    since: int = 1, changing: bool = False,
) -> list[Held]:
    """The discounts of these codes, in their order. `changing`: the plan of a subscription; a code for other products is said so.

    Raises Invalid (contract §1.5, discount).
    """
    named = ["".join(code.split()).upper() for code in codes]
    if len(set(named)) != len(named) or len(named) > AT_MOST:
        raise Refused("INVALID_DISCOUNT_CODE", f"Each code once, {AT_MOST} of them at most.")
    query = select(Discount).where(Discount.code.in_(named), Discount.deleted_at.is_(None))
    rows = {row.code: row for row in db.scalars(query)} if named else {}
    out = []
    for place, code in enumerate(named):
        row = rows.get(code)
        if row is None:
            raise Refused("INVALID_DISCOUNT_CODE", f"There is no code {code[:20]}.", code)
        _check(db, row, customer)
        held = _copy(row, business, currency, place, since)
        if not any(fits(held, one) for one in product_ids):
            wrong = "DISCOUNT_NOT_APPLICABLE_TO_NEW_PRODUCT" if changing else "DISCOUNT_NOT_AVAILABLE_FOR_PRODUCT"
            raise Refused(wrong, f"{code} is not for this product.", code)
        out.append(held)
    return out


def use(
    db: ScopedSession, customer: Customer, held: Sequence[Held], payment_id: str | None, subscription_id: str | None, *,
    anyway: bool = False,
) -> None:
    """Count one use of each. Raises Refused where somebody else had the last one meanwhile; not `anyway`, for what was theirs before."""
    ids = sorted(one["discount_id"] for one in held)
    if not ids:
        return
    query = select(Discount).where(Discount.id.in_(ids)).order_by(Discount.id).with_for_update()  # one lock order
    for row in db.scalars(query.execution_options(populate_existing=True)):
        if not anyway:
            _check(db, row, customer)
        row.times_used += 1
        db.add(Redemption(business_id=customer.business_id, customer_id=customer.customer_id, id=new_id("dsr"), discount_id=row.id,
                          payment_id=payment_id, subscription_id=subscription_id, created_at=clock.now()))
        emit(db, "discount.redeemed", business_id=customer.business_id, customer_id=customer.customer_id, noun=row.id,
             data={"discount_id": row.id, "code": row.code, "payment_id": payment_id})


def give_back(db: ScopedSession, payment: Payment) -> None:
    """What the payment was for did not come about: its codes are unused again."""
    if not payment.discounts:
        return
    _uncount(db, list(db.scalars(select(Redemption).where(Redemption.payment_id == payment.id))))


def give_back_planned(db: ScopedSession, customer_id: str, subscription_id: str, held: Sequence[Held]) -> None:
    """A change of plan that waited is not made: the codes it would have begun with are unused again, the newest use of each."""
    ids = {one["discount_id"] for one in held}
    if not ids:
        return
    mine = select(Redemption).where(Redemption.customer_id == customer_id, Redemption.subscription_id == subscription_id,
                                    Redemption.payment_id.is_(None), Redemption.discount_id.in_(sorted(ids)))
    _uncount(db, list({row.discount_id: row for row in db.scalars(mine.order_by(Redemption.created_at))}.values()))


def _uncount(db: ScopedSession, rows: Sequence[Redemption]) -> None:
    locked = select(Discount).where(Discount.id.in_([one.discount_id for one in rows])).order_by(Discount.id).with_for_update()
    for code in db.scalars(locked):
        code.times_used = max(code.times_used - 1, 0)
    for row in rows:
        db.delete(row)


def _check(db: ScopedSession, row: Discount, customer: Customer) -> None:
    at = clock.now()
    if row.deleted_at is not None:
        raise Refused("INVALID_DISCOUNT_CODE", f"There is no code {row.code}.", row.code)
    if row.starts_at is not None and row.starts_at > at:
        raise Refused("DISCOUNT_NOT_YET_ACTIVE", f"{row.code} cannot be used yet.", row.code)
    if row.expires_at is not None and row.expires_at <= at:
        raise Refused("DISCOUNT_CODE_EXPIRED", f"{row.code} has run out.", row.code)
    if row.usage_limit is not None and row.times_used >= row.usage_limit:
        raise Refused("DISCOUNT_CODE_USAGE_LIMIT_EXCEEDED", f"{row.code} was used up.", row.code)
    if (row.eligibility == "first_time" and customer.first_paid_at) or (row.eligibility == "existing" and not customer.first_paid_at):
        raise Refused("DISCOUNT_CUSTOMER_NOT_ELIGIBLE", f"{row.code} is not for this customer.", row.code)
    if row.per_customer_limit is not None:
        mine = select(func.count()).select_from(Redemption).where(
            Redemption.discount_id == row.id, Redemption.customer_id == customer.customer_id)
        if (db.scalar(mine) or 0) >= row.per_customer_limit:
            raise Refused("DISCOUNT_PER_CUSTOMER_USAGE_LIMIT_EXCEEDED", f"This customer has used {row.code} already.", row.code)


def _copy(row: Discount, business: Business, currency: str, place: int, since: int) -> Held:
    option = next((one for one in row.currencies if one["currency"] == currency), None)
    if row.kind == "flat" and option is None and (row.currencies or currency != business.currency):
        raise Refused("DISCOUNT_NOT_AVAILABLE_FOR_PRODUCT", f"{row.code} takes nothing off what costs {currency}.", row.code)
    flat = row.kind == "flat"
    most = option["max_amount_possible"] if option else None
    return {
        "discount_id": row.id, "code": row.code, "name": row.name, "type": row.kind, "amount": most if flat and most else row.amount,
        "most": None if flat else most, "least": option["minimum_subtotal"] if option else 0, "restricted_to": list(row.restricted_to),
        "keeps": row.keeps, "cycles": row.cycles, "since": since, "position": place, "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat() if row.expires_at else None, "usage_limit": row.usage_limit,
        "times_used": row.times_used + 1, "meta": row.meta,
    }  # fmt: skip
