"""Discount codes of a plan change. Changing the codes makes a new quote that keeps the other choices.

Customers cannot read the business's discount rows. The quote is found under the customer's scope, the codes under the business's.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from billing.charging.discount_redemption import DiscountRefused
from billing.model.discounts import fits
from billing.model.quotes import Quote
from billing.model.subscriptions import Subscription, load_subscription
from billing.plan_changes import quote as quote_plan_change
from billing.plan_changes.eligibility import PlanSelection
from core.db import Database
from core.errors import N_, NotFound
from core.scope import Scope, system


def with_codes(database: Database, scope: Scope, quote_id: str, codes: Sequence[str]) -> str:
    """Quote the same change with exactly these codes and return the new quote's id. Opens its own sessions.

    Raises DiscountRefused for a code that cannot be used, and as `quote.quote`.
    """
    earlier, subscription = _load_quote(database, scope, quote_id)
    chosen = [{"addon_id": addon["addon_id"], "quantity": addon["quantity"]} for addon in earlier.addons]
    selection = PlanSelection(earlier.subscription_id, earlier.product_id, earlier.quantity, chosen)
    return _quote(database, scope, subscription, selection, codes)


def requote(database: Database, scope: Scope, earlier_id: str, selection: PlanSelection) -> tuple[str, list[str]]:
    """Quote another plan, quantity or add-ons with the codes of an earlier quote.

    Returns (the new quote's id, codes that do not apply). Opens its own sessions. Raises as `quote.quote`.
    """
    earlier, subscription = _load_quote(database, scope, earlier_id)
    if earlier.subscription_id != selection.subscription_id:
        raise NotFound(sentence=N_("There is no such quote."))
    present = {discount["code"]: discount for discount in earlier.discounts}
    codes = [
        item
        for item in _kept_codes(subscription, selection.product_id)
        if item in present or item not in _kept_codes(subscription, earlier.product_id)
    ]
    codes += [code for code, item in present.items() if code not in codes and fits(item, selection.product_id)]
    left_out = [code for code in present if code not in codes]
    while True:
        try:
            return _quote(database, scope, subscription, selection, codes), left_out
        except DiscountRefused as refused:  # the code expired since the earlier quote
            if refused.which not in codes:
                raise
            codes.remove(refused.which)
            left_out.append(refused.which)


def _kept_codes(subscription: Subscription, product_id: str) -> list[str]:
    """Codes of the subscription that stay when it moves to this product."""
    return [discount["code"] for discount in subscription.discounts or [] if discount["keeps"] and fits(discount, product_id)]


def _load_quote(database: Database, scope: Scope, quote_id: str) -> tuple[Quote, Subscription]:
    with database.open(scope) as db:
        quote = db.scalar(select(Quote).where(Quote.id == quote_id))
        if quote is None:
            raise NotFound(sentence=N_("There is no such quote."))
        return quote, load_subscription(db, quote.subscription_id, lock=False)


def _quote(database: Database, scope: Scope, subscription: Subscription, selection: PlanSelection, codes: Sequence[str]) -> str:
    with database.open(system(subscription.business_id, scope.actor), write=True) as db:
        return quote_plan_change.quote(db, *selection, codes=codes, customer=scope.is_customer).id
