"""Quote a plan change for a program of the customer, and find the quote that it was shown: programs name the plan, not the quote."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from billing.model.quotes import Quote
from billing.model.subscriptions import business_of
from billing.plan_changes import quote as quote_plan_change
from billing.plan_changes.eligibility import PlanSelection
from core import clock
from core.db import Database
from core.scope import Scope, system

LOOKED_AT = 20


def quote(database: Database, scope: Scope, selection: PlanSelection, codes: Sequence[str] | None) -> str:
    """Quote a change for the customer and return the quote's id. `codes`: all discount codes after the change; None keeps them.

    Codes are rows of the business, so they are looked up in its scope. Opens its own sessions. Raises as `quote.quote`.
    """
    business_id = business_of(database, scope, selection.subscription_id)  # 404 for another customer's subscription
    with database.open(system(business_id, scope.actor), write=True) as db:
        return quote_plan_change.quote(db, *selection, codes=codes, customer=True).id


def last_shown(database: Database, scope: Scope, selection: PlanSelection, codes: Sequence[str] | None) -> str | None:
    """Return the id of the newest unused quote of the same change that is still valid, None if nothing was shown."""
    wanted = sorted((addon["addon_id"], int(addon["quantity"])) for addon in selection.addons or [])
    query = select(Quote).where(
        Quote.subscription_id == selection.subscription_id,
        Quote.product_id == selection.product_id,
        Quote.used_at.is_(None),
        Quote.expires_at >= clock.now(),
    )
    with database.open(scope) as db:
        for found in db.scalars(query.order_by(Quote.as_of.desc(), Quote.id.desc()).limit(LOOKED_AT)):
            same_addons = selection.addons is None or wanted == sorted((item["addon_id"], item["quantity"]) for item in found.addons)
            same_codes = codes is None or sorted(codes) == sorted(item["code"] for item in found.discounts)
            if selection.quantity in (None, found.quantity) and same_addons and same_codes:
                return found.id
    return None
