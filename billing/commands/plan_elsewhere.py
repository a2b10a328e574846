"""A plan change where another system collects: its own preview is the quote, and confirming it asks that system for the change.

The preview is asked for outside of any transaction. The quote keeps its figures as they were shown; the adapter looks at
them once more before it sends, and a change that has become dearer is refused (safety 4.8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from sqlalchemy import select

from billing import plans
from billing.commands.cancelling import load
from billing.commands.forwarding import forwards
from billing.commands.plan_quote import ELSEWHERE, check
from billing.elsewhere import Elsewhere
from billing.plans import Wanted
from billing.quotes import VALID, Quote
from billing.subscriptions import Subscription
from core import clock
from core.db import Database
from core.errors import Conflict, Invalid, NotFound, Unavailable
from core.ids import new_id
from core.money import round_half_up
from core.scope import Scope, system

Json = dict[str, Any]


def foresee(
    database: Database, systems: Mapping[str, Elsewhere], scope: Scope, subscription_id: str, product_id: str, quantity: int | None,
    addons: Sequence[Json] | None, codes: Sequence[str] = (), staying: Sequence[str] = (),
) -> str:
    """The id of a quote with the other system's figures. Opens its own sessions. `codes`: discounts that were typed, of which that
    system is the judge; `staying`: those it keeps by itself, which are named only beside typed ones.

    Raises NotFound, Forbidden, Conflict, Invalid as `plan_quote.quote`, and Unavailable where the system does not answer.
    """
    with database.open(scope) as db:
        subscription = db.scalar(select(Subscription).where(Subscription.id == subscription_id))
        if subscription is None:
            raise NotFound(sentence="There is no such subscription.")
        business = check(db, subscription, scope.is_customer)
        wanted = plans.wanted(db, subscription, product_id, quantity, addons)
        held = (subscription.product_id, subscription.quantity, list(subscription.addons))
        if (wanted.product.id, wanted.quantity, list(wanted.addons)) == held:
            raise Invalid(sentence="This is the present plan.", fields={"product_id": "Choose another plan."})
        which = plans.direction(subscription, wanted)
        kind = "downgrade" if which == "downgrade" else "upgrade"
        effective_at, mode, failure = (plans.default(db, business, subscription, name) for name in
                                       (f"effective_on_{kind}", f"proration_on_{kind}", "on_payment_failure"))
    there = systems.get(subscription.collected_by)
    if there is None:
        raise Unavailable("NOT_CONNECTED", "This business's billing system is not connected here any more.")
    wish: Json = {
        "product_id": wanted.product.id, "quantity": wanted.quantity, "effective_at": effective_at, "mode": mode,
        "on_payment_failure": failure, "addons": [{"addon_id": one["addon_id"], "quantity": one["quantity"]} for one in wanted.addons],
    }
    if codes:
        wish["codes"] = [*staying, *codes]
    shown = there.preview(subscription.business_id, subscription.id, wish)
    with database.open(system(subscription.business_id, scope.actor), write=True) as db:
        row = _quote(load(db, subscription_id), wanted, which, wish, shown)
        row.discounts = _discounts(shown["new_plan"].get("discounts") or [], wish.get("codes") or [], codes, subscription.period_n + 1)
        db.add(row)
        return row.id


def order(database: Database, scope: Scope, quote_id: str) -> str:
    """Ask for the change as it was shown; once. Returns the quote's outcome. Raises NotFound, Conflict QUOTE_STALE, ACT_PENDING."""
    with database.open(scope) as db:
        found = db.execute(select(Quote.business_id, Quote.subscription_id).where(Quote.id == quote_id)).first()
    if found is None:
        raise NotFound(sentence="There is no such quote.")
    with database.open(system(found[0], scope.actor), write=True) as db:
        subscription = load(db, found[1])
        quote = db.scalar(select(Quote).where(Quote.id == quote_id).with_for_update())
        assert quote is not None
        if quote.used_at is not None:
            return quote.outcome or "forwarded"
        if clock.now() > quote.expires_at or quote.version != subscription.version:
            raise Conflict("QUOTE_STALE", "Something changed since these figures were shown. Look at the new ones.")
        forwards(
            db, subscription, "change_plan", ELSEWHERE, product_id=quote.product_id, quantity=quote.quantity, due_minor=quote.due_minor,
            addons=[{"addon_id": one["addon_id"], "quantity": one["quantity"]} for one in quote.addons], mode=quote.mode,
            effective_at=quote.effective_at, on_payment_failure=quote.on_payment_failure,
            **({"codes": [one["code"] for one in quote.discounts]} if any(one["named"] for one in quote.discounts) else {}),
        )
        quote.used_at, quote.outcome = clock.now(), "forwarded"
        return quote.outcome


def _quote(subscription: Subscription, wanted: Wanted, which: str, wish: Json, shown: Json) -> Quote:
    now, after = shown["immediate_charge"], shown["new_plan"]
    waits = wish["effective_at"] == "next_billing_date"
    at, ends = clock.now(), subscription.next_billing_at or clock.now()
    due = 0 if waits else int(now["summary"]["total_amount"])
    credits = 0 if waits else int(now["summary"].get("customer_credits") or 0)
    bought, unused = ([], 0) if waits else _lines(now["line_items"])
    total = sum(one["net_minor"] + one["tax_minor"] for one in bought)
    if bought and (odd := due + unused - credits - total):  # what rounding of single lines leaves over
        bought[0]["net_minor"] += odd
        total += odd
    comes = _instant(after.get("next_billing_date")) or ends
    rate = max((one["tax_bps"] for one in bought), default=0)
    pre_tax = int(after.get("recurring_pre_tax_amount") or wanted.price_minor)
    return Quote(
        business_id=subscription.business_id, customer_id=subscription.customer_id, id=new_id("quo"), subscription_id=subscription.id,
        version=subscription.version, product_id=wanted.product.id, quantity=wanted.quantity, unit_minor=wanted.unit_minor,
        addons=list(wanted.addons), direction=which, mode=wish["mode"], effective_at=wish["effective_at"],
        on_payment_failure=wish["on_payment_failure"], restarts=comes != ends and not waits, lines=bought, total_minor=total,
        tax=0 if waits else _tax(now, bought), unused_minor=unused, balance_minor=max(-credits, 0),
        credit_applied_minor=max(-credits, 0), credit_minor=max(credits, 0), due_minor=due,
        value_minor=0, withdrawn_minor=0, currency=subscription.currency, as_of=at,
        payment_method_id=subscription.payment_method_id, next_billing_at=ends if waits else comes,
        next_renewal_minor=pre_tax if after.get("tax_inclusive") else pre_tax + round_half_up(Fraction(pre_tax * rate, 10_000)),
        expires_at=min(at + VALID, ends) if ends > at else at + timedelta(minutes=1), created_at=at,
    )  # fmt: skip


def _tax(now: Json, bought: list[Json]) -> int:
    """Contained in what is due: as the other system says, else that of the lines less that of what was not used."""
    said = now["summary"].get("tax")
    if said is not None:
        return int(said)
    credited = sum(int(one.get("tax") or 0) for one in now["line_items"] if int(one.get("tax") or 0) < 0)
    return sum(one["tax_minor"] for one in bought) + credited


def _lines(items: list[Json]) -> tuple[list[Json], int]:
    """(what is bought, in the shape of billing/cart.py; what of the old plan was paid and is not used, tax included)"""
    bought, unused = [], 0
    for one in items:
        gross = int(one["subtotal"]) if one["type"] == "meter" else round_half_up(
            Fraction(int(one["unit_price"]) * int(one["quantity"])) * Fraction(str(one["proration_factor"])))
        tax = int(one.get("tax") or 0)
        net = gross - tax if one.get("tax_inclusive") else gross
        if net + tax < 0:
            unused -= net + tax
            continue
        count = int(one.get("quantity") or 1)
        bought.append({
            "description": one.get("name") or "", "quantity": count, "unit_minor": int(one.get("unit_price") or net), "net_minor": net,
            "tax_minor": tax, "tax_bps": round_half_up(Fraction(str(one.get("tax_rate") or 0)) * 100), "product_id": one.get("product_id"),
        })  # fmt: skip
    return bought, unused


def _discounts(found: list[Json], asked: Sequence[str], codes: Sequence[str], since: int) -> list[Json]:
    """In the shape of billing/redeeming.py. `named`: the customer typed it; else it stays by itself. What the system does not describe
    has its code alone."""
    described = {str(one.get("code")): one for one in found}
    out: list[Json] = []
    for code in dict.fromkeys([*asked, *described]):
        one = described.get(code, {})
        out.append({
            "discount_id": one.get("discount_id"), "code": code, "type": one.get("type"), "amount": one.get("amount") or 0, "most": None,
            "least": 0, "restricted_to": [], "keeps": bool(one.get("preserve_on_plan_change")), "named": code in codes, "since": since,
            "cycles": one.get("cycles_remaining"),
        })  # fmt: skip
    return out


def _instant(text: Any) -> datetime | None:
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None
