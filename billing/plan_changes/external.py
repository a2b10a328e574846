"""Plan changes of subscriptions with external billing. The other system's preview is the quote; confirming requests the change there.

The preview is fetched outside any transaction. The quote stores its figures as they were shown. The adapter compares them
again before it sends, and refuses a change that has become more expensive (safety 4.8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from sqlalchemy import select

from billing.external.enqueue import is_delegated
from billing.external.port import ExternalBilling
from billing.model.quotes import VALID, Quote
from billing.model.subscriptions import Subscription, load_subscription
from billing.plan_changes import eligibility
from billing.plan_changes.eligibility import PlanSelection, Wanted
from billing.plan_changes.quote import EXTERNAL, check
from core import clock
from core.db import Database
from core.errors import N_, Conflict, Invalid, NotFound, Unavailable
from core.ids import new_id
from core.money import round_half_up
from core.scope import Scope, system

Json = dict[str, Any]


def quote_external(
    database: Database,
    systems: Mapping[str, ExternalBilling],
    scope: Scope,
    selection: PlanSelection,
    *,
    codes: Sequence[str] = (),
    staying: Sequence[str] = (),
) -> str:
    """Return the id of a quote with the other system's figures. Opens its own sessions.

    `codes`: discount codes that were entered; the other system decides about them. `staying`: codes that stay without being
    entered; they are sent only together with entered ones.
    Raises NotFound, Forbidden, Conflict, Invalid as `quote.quote`, and Unavailable when the system does not answer.
    """
    with database.open(scope) as db:
        subscription = load_subscription(db, selection.subscription_id, lock=False)
        business = check(db, subscription, scope.is_customer)
        wanted = eligibility.wanted(db, subscription, selection.product_id, selection.quantity, selection.addons)
        current = (subscription.product_id, subscription.quantity, list(subscription.addons))
        if (wanted.product.id, wanted.quantity, list(wanted.addons)) == current:
            raise Invalid(sentence=N_("This is the current plan."), fields={"product_id": N_("Choose another plan.")})
        direction = eligibility.direction(subscription, wanted)
        kind = "downgrade" if direction == "downgrade" else "upgrade"
        effective_at, mode, failure = (
            eligibility.default(db, business, subscription, name)
            for name in (f"effective_on_{kind}", f"proration_on_{kind}", "on_payment_failure")
        )
    external = systems.get(subscription.collected_by)
    if external is None:
        raise Unavailable("NOT_CONNECTED", N_("This business's billing system is no longer connected."))
    change: Json = {
        "as_of": clock.wall().replace(microsecond=0).isoformat(),
        "product_id": wanted.product.id,
        "quantity": wanted.quantity,
        "effective_at": effective_at,
        "mode": mode,
        "on_payment_failure": failure,
        "addons": [{"addon_id": addon["addon_id"], "quantity": addon["quantity"]} for addon in wanted.addons],
    }
    if codes:
        change["codes"] = [*staying, *codes]
    shown = external.preview(subscription.business_id, subscription.id, change)
    with database.open(system(subscription.business_id, scope.actor), write=True) as db:
        row = _quote(load_subscription(db, subscription.id), wanted, direction, change, shown)
        row.discounts = _discounts(shown["new_plan"].get("discounts") or [], change.get("codes") or [], codes, subscription.period_n + 1)
        db.add(row)
        return row.id


def order(database: Database, scope: Scope, quote_id: str) -> str:
    """Request the change as quoted. Idempotent. Returns the quote's outcome. Raises NotFound, Conflict QUOTE_STALE, ACT_PENDING."""
    with database.open(scope) as db:
        found = db.execute(select(Quote.business_id, Quote.subscription_id).where(Quote.id == quote_id)).first()
    if found is None:
        raise NotFound(sentence=N_("There is no such quote."))
    with database.open(system(found[0], scope.actor), write=True) as db:
        subscription = load_subscription(db, found[1])
        quote = db.scalar(select(Quote).where(Quote.id == quote_id).with_for_update())
        assert quote is not None
        if quote.used_at is not None:
            return quote.outcome or "delegated"
        if clock.now() > quote.expires_at or quote.version != subscription.version:
            raise Conflict("QUOTE_STALE", N_("Something has changed since this price was shown. Review the new price."))
        is_delegated(
            db,
            subscription,
            "change_plan",
            EXTERNAL,
            product_id=quote.product_id,
            quantity=quote.quantity,
            due_minor=quote.due_minor,
            addons=[{"addon_id": addon["addon_id"], "quantity": addon["quantity"]} for addon in quote.addons],
            mode=quote.mode,
            effective_at=quote.effective_at,
            on_payment_failure=quote.on_payment_failure,
            as_of=quote.as_of.isoformat(),
            **(
                {"codes": [discount["code"] for discount in quote.discounts]}
                if any(discount["named"] for discount in quote.discounts)
                else {}
            ),
        )
        quote.used_at, quote.outcome = clock.now(), "delegated"
        return quote.outcome


def _quote(subscription: Subscription, wanted: Wanted, direction: str, change: Json, shown: Json) -> Quote:
    now, after = shown["immediate_charge"], shown["new_plan"]
    waits = change["effective_at"] == "next_billing_date"
    at, ends = clock.now(), subscription.next_billing_at or clock.now()
    carried, deferred = (0 if waits else int(now["summary"].get(name) or 0) for name in ("carried", "deferred"))
    due = 0 if waits else int(now["summary"]["total_amount"])
    credits = 0 if waits else int(now["summary"].get("customer_credits") or 0)
    bought, unused = ([], 0) if waits else _lines(now["line_items"])
    total = sum(item["net_minor"] + item["tax_minor"] for item in bought)
    if bought and (odd := due + unused - credits - carried + deferred - total):  # rounding difference of the single lines
        bought[0]["net_minor"] += odd
        total += odd
    comes = _instant(after.get("next_billing_date")) or ends
    rate = max((item["tax_bps"] for item in bought), default=0)
    pre_tax = int(after.get("recurring_pre_tax_amount") or wanted.price_minor)
    return Quote(
        business_id=subscription.business_id, customer_id=subscription.customer_id, id=new_id("quo"), subscription_id=subscription.id,
        version=subscription.version, product_id=wanted.product.id, quantity=wanted.quantity, unit_minor=wanted.unit_minor,
        addons=list(wanted.addons), direction=direction, mode=change["mode"], effective_at=change["effective_at"],
        on_payment_failure=after.get("on_payment_failure") or change["on_payment_failure"],
        restarts=comes != ends and not waits, lines=bought, total_minor=total,
        tax=0 if waits else _tax(now, bought), unused_minor=unused, balance_minor=max(-credits, 0) - carried,
        credit_applied_minor=max(-credits, 0), credit_minor=max(credits, 0) - deferred, due_minor=due,
        value_minor=0, withdrawn_minor=0, currency=subscription.currency, as_of=datetime.fromisoformat(change["as_of"]),
        payment_method_id=subscription.payment_method_id, next_billing_at=ends if waits else comes,
        next_renewal_minor=pre_tax if after.get("tax_inclusive") else pre_tax + round_half_up(Fraction(pre_tax * rate, 10_000)),
        expires_at=min(at + VALID, ends) if ends > at else at + timedelta(minutes=1), created_at=at,
    )  # fmt: skip


def _tax(now: Json, bought: list[Json]) -> int:
    """The tax within the amount due: the other system's total, or else that of the lines less that of unused time."""
    total = now["summary"].get("tax")
    if total is not None:
        return int(total)
    credited = sum(int(item.get("tax") or 0) for item in now["line_items"] if int(item.get("tax") or 0) < 0)
    return sum(int(item["tax_minor"]) for item in bought) + credited


def _lines(items: list[Json]) -> tuple[list[Json], int]:
    """(lines bought, in the shape of billing/pricing/line_items.py; unused paid time of the old plan with tax, in minor units)"""
    bought, unused = [], 0
    for line in items:
        gross = (
            int(line["subtotal"])
            if line["type"] == "meter"
            else round_half_up(Fraction(int(line["unit_price"]) * int(line["quantity"])) * Fraction(str(line["proration_factor"])))
        )
        tax = int(line.get("tax") or 0)
        net = gross - tax if line.get("tax_inclusive") else gross
        if net + tax < 0:
            unused -= net + tax
            continue
        count = int(line.get("quantity") or 1)
        bought.append({
            "description": line.get("name") or "", "quantity": count, "unit_minor": int(line.get("unit_price") or net), "net_minor": net,
            "tax_minor": tax, "tax_bps": round_half_up(Fraction(str(line.get("tax_rate") or 0)) * 100),
            "product_id": line.get("product_id"),
        })  # fmt: skip
    return bought, unused


def _discounts(found: list[Json], requested: Sequence[str], codes: Sequence[str], since: int) -> list[Json]:
    """Discounts in the shape of billing/charging/discount_redemption.py. `named`: the customer entered the code.

    A code that the other system does not describe has no terms.
    """
    described = {str(item.get("code")): item for item in found}
    out: list[Json] = []
    for code in dict.fromkeys([*requested, *described]):
        row = described.get(code, {})
        out.append({
            "discount_id": row.get("discount_id"), "code": code, "type": row.get("type"), "amount": row.get("amount") or 0, "most": None,
            "least": 0, "restricted_to": [], "keeps": bool(row.get("preserve_on_plan_change")), "named": code in codes, "since": since,
            "cycles": row.get("cycles_remaining"),
        })  # fmt: skip
    return out


def _instant(text: Any) -> datetime | None:
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None
