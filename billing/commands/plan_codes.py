"""The codes of a plan change: one more or one fewer is a new quote, which keeps what else was chosen.

Codes are rows of the business, which no customer reads: they are looked up under its scope, for a customer whose quote was
found under their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from billing.commands import plan_quote
from billing.discounts import fits
from billing.quotes import Quote
from billing.redeeming import Refused
from billing.subscriptions import Subscription
from core.db import Database
from core.errors import NotFound
from core.scope import Scope, system

Addons = Sequence[dict[str, Any]] | None


def with_codes(database: Database, scope: Scope, quote_id: str, codes: Sequence[str]) -> str:
    """The same change with these codes, all there will be: the id of a new quote. Opens its own sessions.

    Raises Refused for a code that cannot be had, and as `plan_quote.quote`.
    """
    seen, subscription = _seen(database, scope, quote_id)
    chosen = [{"addon_id": one["addon_id"], "quantity": one["quantity"]} for one in seen.addons]
    return _quote(database, scope, subscription, seen.product_id, seen.quantity, chosen, codes)


def anew(
    database: Database, scope: Scope, earlier_id: str, subscription_id: str, product_id: str, quantity: int | None, addons: Addons
) -> tuple[str, list[str]]:
    """Another plan, quantity or add-ons with the codes of an earlier quote: (the id of a new one, codes that are not for it).

    Opens its own sessions. Raises as `plan_quote.quote`.
    """
    seen, subscription = _seen(database, scope, earlier_id)
    if seen.subscription_id != subscription_id:
        raise NotFound(sentence="There is no such quote.")
    had = {one["code"]: one for one in seen.discounts}
    codes = [one for one in _staying(subscription, product_id) if one in had or one not in _staying(subscription, seen.product_id)]
    codes += [code for code, one in had.items() if code not in codes and fits(one, product_id)]
    left_out = [code for code in had if code not in codes]
    while True:
        try:
            return _quote(database, scope, subscription, product_id, quantity, addons, codes), left_out
        except Refused as gone:  # it ran out while somebody was choosing
            if gone.which not in codes:
                raise
            codes.remove(gone.which)
            left_out.append(gone.which)


def _staying(subscription: Subscription, product_id: str) -> list[str]:
    """Codes that the subscription takes along to a plan without anybody saying so."""
    return [one["code"] for one in subscription.discounts or [] if one["keeps"] and fits(one, product_id)]


def _seen(database: Database, scope: Scope, quote_id: str) -> tuple[Quote, Subscription]:
    with database.open(scope) as db:
        quote = db.scalar(select(Quote).where(Quote.id == quote_id))
        if quote is None:
            raise NotFound(sentence="There is no such quote.")
        return quote, plan_quote.load(db, quote.subscription_id)


def _quote(
    database: Database, scope: Scope, subscription: Subscription, product_id: str, quantity: int | None, addons: Addons,
    codes: Sequence[str],
) -> str:
    with database.open(system(subscription.business_id, scope.actor), write=True) as db:
        return plan_quote.quote(
            db, subscription.id, product_id, quantity, addons, codes=codes, customer=scope.is_customer).id
