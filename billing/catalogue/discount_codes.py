"""Create, change and delete discount codes. Subscriptions keep the terms of the codes they already use."""

from __future__ import annotations

import secrets
import string
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from billing.model.catalogue import Product
from billing.model.discounts import Discount
from billing.pricing.limits import check_currency
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit

_ALPHABET = string.ascii_uppercase + string.digits
CHANGEABLE = frozenset({
    "code", "name", "kind", "amount", "currencies", "eligibility", "restricted_to", "usage_limit", "per_customer_limit", "cycles", "keeps",
    "starts_at", "expires_at", "meta",
})  # fmt: skip


def create_discount(db: ScopedSession, business_id: str, *, kind: str, amount: int, code: str | None = None, **terms: Any) -> Discount:
    """Create a discount. `terms`: the columns in `CHANGEABLE`. Without `code`, 16 random characters are used.

    Raises Invalid, NotFound (a product), Conflict (DISCOUNT_CODE_ALREADY_EXISTS).
    """
    row = Discount(business_id=business_id, id=new_id("dsc"), kind=kind, amount=amount, code="", times_used=0, created_at=clock.now())
    _apply_terms(db, row, {"currencies": [], "restricted_to": [], "eligibility": "any", "keeps": False, "meta": {}, **terms,
                   "code": code or "".join(secrets.choice(_ALPHABET) for _ in range(16))})  # fmt: skip
    _save(db, row, new=True)
    emit(db, "discount.created", business_id=business_id, noun=row.id, data={"code": row.code})
    return row


def update_discount(db: ScopedSession, discount_id: str, **changes: Any) -> Discount:
    """Change the given columns, for future uses of the code. Raises as `create_discount`."""
    row = load_discount(db, discount_id)
    _apply_terms(db, row, changes)
    _save(db, row)
    emit(db, "discount.updated", business_id=row.business_id, noun=row.id, data={"fields": sorted(changes)})
    return row


def delete_discount(db: ScopedSession, discount_id: str) -> None:
    """Delete a discount. Its code can no longer be used and becomes available again. Raises NotFound."""
    row = load_discount(db, discount_id)
    row.deleted_at = clock.now()
    emit(db, "discount.deleted", business_id=row.business_id, noun=row.id, data={"code": row.code})


def load_discount(db: ScopedSession, discount_id: str) -> Discount:
    row = db.scalar(select(Discount).where(Discount.id == discount_id, Discount.deleted_at.is_(None)).with_for_update())
    if row is None:
        raise NotFound(sentence=f"There is no discount {discount_id[:80]}.")
    return row


def _apply_terms(db: ScopedSession, row: Discount, changes: dict[str, Any]) -> None:
    unknown = set(changes) - CHANGEABLE
    if unknown:
        raise TypeError(unknown)
    for name, value in changes.items():
        setattr(row, name, value)
    row.code = "".join(row.code.split()).upper()
    if not 3 <= len(row.code) <= 16 or not row.code.isascii() or not row.code.isprintable():
        _refuse("code", "Use 3 to 16 letters, digits or symbols.")
    if row.kind not in ("percentage", "flat") or row.eligibility not in ("any", "first_time", "existing"):
        _refuse("type", "Must be percentage or flat, for any, first_time or existing customers.")
    if row.amount < 1 or (row.kind == "percentage" and row.amount > 10_000):
        code = "INVALID_PERCENTAGE" if row.kind == "percentage" else None
        problem = "Must be 1 or more; a percentage is at most 10000 (100 %)."
        raise Invalid(code, f"amount: {problem}", fields={"amount": problem})
    if row.per_customer_limit and row.usage_limit and row.per_customer_limit > row.usage_limit:
        _refuse("per_customer_usage_limit", "Must not be above usage_limit.")
    if row.starts_at and row.expires_at and row.starts_at >= row.expires_at:
        _refuse("starts_at", "Must be before expires_at.")
    _check_currencies(row)
    if "restricted_to" in changes:
        known = set(db.scalars(select(Product.id).where(Product.id.in_(row.restricted_to)))) if row.restricted_to else set()
        for item in row.restricted_to:
            if item not in known:
                raise NotFound(sentence=f"There is no product {item[:80]}.")


def _check_currencies(row: Discount) -> None:
    listed = [currency["currency"] for currency in row.currencies]
    for item in listed:
        check_currency(item)
    if len(set(listed)) != len(listed) or sum(bool(currency["is_default"]) for currency in row.currencies) > 1:
        _refuse("currency_options", "List each currency once, with at most one default.")
    if row.kind == "flat" and any(currency["max_amount_possible"] is None for currency in row.currencies):
        _refuse("currency_options", "A flat discount needs max_amount_possible for each currency.")


def _save(db: ScopedSession, row: Discount, new: bool = False) -> None:
    taken = Conflict("DISCOUNT_CODE_ALREADY_EXISTS", f"The code {row.code} is in use.")
    with db.no_autoflush:
        if db.scalar(select(Discount.id).where(Discount.code == row.code, Discount.id != row.id, Discount.deleted_at.is_(None))):
            raise taken
    if new:
        db.add(row)
    try:
        db.flush()
    except IntegrityError:  # the same code was created concurrently
        raise taken from None


def _refuse(field: str, problem: str) -> None:
    raise Invalid(sentence=f"{field}: {problem}", fields={field: problem})
