"""Write the receipt of an action, in the transaction of the action."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import select

from billing.documents.issuing import seller_of
from billing.model.catalogue import Product
from billing.model.payments import Refund
from billing.model.receipts import Receipt
from billing.model.statements import digest
from billing.model.subscriptions import Subscription
from billing.receipts.context import Context, load_context
from billing.receipts.outcomes import OUTCOMES, Given
from core import clock, ids
from core.db import ScopedSession
from core.scope import Actor

BY_PEOPLE = ("customer", "staff", "api_key")
"""Actors whose actions on a subscription give a receipt. What the system does by itself follows from an earlier action."""
PREFIXES = {"cancellation": "C", "pause": "P", "resume": "P", "plan": "L", "refund": "R"}
"""The first character of a number, by the first word of the kind. Statements begin with S."""
NOTHING = Given()


def write_receipt(
    db: ScopedSession, subscription: Subscription, kind: str, *, actor: Actor | None = None, given: Given = NOTHING
) -> dict[str, Any]:
    """Add the receipt of an action. Returns what its event says of it, empty if the action gives none.

    `actor`: who acted, if not the actor of the session. The caller has locked the subscription.
    """
    actor = actor or db.scope.actor
    if actor.type not in BY_PEOPLE:
        return {}
    context = load_context(db, subscription.business_id, subscription.customer_id, subscription, subscription.currency, clock.now())
    return _add(db, context, kind, actor, given)


class PlanWithQuantity(Protocol):
    """A plan with its quantity, such as a quote."""

    @property
    def product_id(self) -> str: ...
    @property
    def quantity(self) -> int: ...


def write_plan_receipt(
    db: ScopedSession,
    subscription: Subscription,
    kind: str,
    new: PlanWithQuantity,
    *,
    old: tuple[str, int] | None = None,
    actor: Actor | None = None,
    amount_minor: int = 0,
) -> dict[str, Any]:
    """Add the receipt of a plan change. `old`: product id and quantity before, if the subscription has the new plan already."""

    def label(product_id: str, quantity: int) -> str:
        name = db.scalar(select(Product.name).where(Product.business_id == subscription.business_id, Product.id == product_id))
        return f"{name} × {quantity}" if quantity > 1 else str(name)

    credit = subscription.credit_minor if old else 0
    before = label(*(old or (subscription.product_id, subscription.quantity)))
    given = Given(before, label(new.product_id, new.quantity), amount_minor=amount_minor, credit_minor=credit)
    return write_receipt(db, subscription, kind, actor=actor, given=given)


def write_refund_receipt(
    db: ScopedSession, refund: Refund, *, actor: Actor | None, paid_at: datetime, method: str | None
) -> dict[str, Any]:
    """Add the receipt of a refund that succeeded, whoever made it. `method`: the label of what it was paid with."""
    of_business = (Subscription.business_id == refund.business_id, Subscription.id == refund.subscription_id)
    subscription = db.scalar(select(Subscription).where(*of_business)) if refund.subscription_id else None
    context = load_context(db, refund.business_id, refund.customer_id, subscription, refund.currency, clock.now())
    given = Given(amount_minor=refund.amount_minor, paid_at=paid_at, method=method, document=refund.number)
    return _add(db, context, "refund", actor or db.scope.actor, given)


def _add(db: ScopedSession, context: Context, kind: str, actor: Actor, given: Given) -> dict[str, Any]:
    content = _content(context, kind, actor, given)
    row = Receipt(
        business_id=context.business.business_id,
        customer_id=context.customer.customer_id,
        id=ids.new_id("rcp"),
        number=content["number"],
        kind=kind,
        subscription_id=context.subscription.id if context.subscription else None,
        content=content,
        sha256=digest(content),
        issued_at=context.at,
    )
    db.add(row)
    return {"receipt_id": row.id, "receipt": row.number}


def _content(context: Context, kind: str, actor: Actor, given: Given) -> dict[str, Any]:
    """Return everything that the receipt prints, as text in the customer's language.

    `declared`: what the customer declared, or what was done on their behalf, which `on_behalf` says. `facts`: [label, value].
    """
    outcome = OUTCOMES[kind](context, given)
    is_own = actor.type == "customer"
    values = {"old": given.old, "new": given.new, "amount": context.money(given.amount_minor)}
    on_behalf = f"by_{actor.type}" if actor.type in ("staff", "api_key") and kind != "refund" else None
    return {
        "version": 1,
        "number": new_number(kind, context.at),
        "kind": kind,
        "received_at": context.at.isoformat(),
        "zone": context.figures.zone,
        "language": context.language,
        "title": context.words[_title(kind)],
        "seller": seller_of(context.business),
        "customer": {"name": context.customer.name, "email": context.customer.email},
        "by": actor.type,
        "declared": context.say(f"says_{kind}" if is_own and kind != "refund" else f"did_{kind}", **values),
        "on_behalf": context.say(on_behalf) if on_behalf else "",
        "facts": [list(row) for row in outcome.facts],
        "total": list(outcome.total) if outcome.total else None,
        "follows": outcome.follows,
    }


def _title(kind: str) -> str:
    if kind == "cancellation_undone":
        return "title_undone"
    return "title_plan_change" if kind.startswith("plan_change") else f"title_{kind.partition('_')[0]}"


def new_number(kind: str, at: datetime) -> str:
    """Return a number such as C-261122-7KQ4M2XD. Its second half is random, so that it does not tell how many receipts there are."""
    return f"{PREFIXES[kind.partition('_')[0]]}-{at:%y%m%d}-{ids.code_from(secrets.token_bytes(16))}"
