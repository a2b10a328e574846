"""Quote a plan change for a program of the customer, and find the quote that it was shown: programs name the plan, not the quote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import or_, select

from billing.model.quotes import Quote, scheduled_change
from billing.model.subscriptions import Subscription, business_of, load_subscription
from billing.plan_changes import quote as quote_plan_change
from billing.plan_changes.eligibility import PlanSelection
from core import clock
from core.db import Database, ScopedSession
from core.scope import Scope, system

LOOKED_AT = 20
PREVIEWED = "previewed"  # outcome of an unused quote that a program of the customer has shown


def quote(database: Database, scope: Scope, selection: PlanSelection, codes: Sequence[str] | None) -> str:
    """Quote a change for the customer and return the quote's id. `codes`: all discount codes after the change; None keeps them.

    Codes are rows of the business, so they are looked up in its scope. Opens its own sessions. Raises as `quote.quote`.
    """
    business_id = business_of(database, scope, selection.subscription_id)  # 404 for another customer's subscription
    with database.open(system(business_id, scope.actor), write=True) as db:
        return quote_plan_change.quote(db, *selection, codes=codes, customer=True).id


def mark_previewed(database: Database, scope: Scope, quote_id: str) -> None:
    """Mark a quote as shown to the customer's program. Only such a quote is confirmed for a program. Opens its own session."""
    with database.open(scope, write=True) as db:
        row = db.scalar(select(Quote).where(Quote.id == quote_id, Quote.used_at.is_(None)))
        if row is not None:
            row.outcome = PREVIEWED


def last_shown(database: Database, scope: Scope, selection: PlanSelection, codes: Sequence[str] | None) -> str | None:
    """Return the id of the newest valid quote of the same change that was shown, or that was confirmed and is in effect.

    None if nothing was shown. Quotes that staff made, or that replaced a stale one, have figures that the customer has not seen.
    """
    wanted = sorted((addon["addon_id"], int(addon["quantity"])) for addon in selection.addons or [])
    query = select(Quote).where(
        Quote.subscription_id == selection.subscription_id,
        Quote.product_id == selection.product_id,
        or_(Quote.used_at.is_not(None), Quote.outcome == PREVIEWED),
        Quote.expires_at >= clock.now(),
    )
    with database.open(scope) as db:
        subscription = load_subscription(db, selection.subscription_id, lock=False)
        for found in db.scalars(query.order_by(Quote.as_of.desc(), Quote.id.desc()).limit(LOOKED_AT)):
            same_addons = selection.addons is None or wanted == sorted((item["addon_id"], item["quantity"]) for item in found.addons)
            same_codes = codes is None or _folded(codes) == _folded(item["code"] for item in found.discounts)
            same = selection.quantity in (None, found.quantity) and same_addons and same_codes
            if same and (found.used_at is None or _is_in_effect(db, subscription, found)):
                return found.id
    return None


def _is_in_effect(db: ScopedSession, subscription: Subscription, used: Quote) -> bool:
    """Whether a repeated call should get the outcome of this confirmed quote: it is being charged, or nothing has replaced it."""
    if used.outcome == "scheduled":
        planned = scheduled_change(db, subscription)
        return planned is not None and planned.product_id == used.product_id
    if used.outcome == "applied":
        return (subscription.product_id, subscription.quantity) == (used.product_id, used.quantity)
    return used.outcome in ("charging", "delegated")


def _folded(codes: Iterable[str]) -> list[str]:
    return sorted("".join(code.split()).upper() for code in codes)
