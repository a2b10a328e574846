"""Every state of the payment flows, created through the commands: name → path of the page that shows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing.charging.ports import ChargeOutcome
from billing.charging.refund import refund
from billing.licenses.activations import activate
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey
from billing.model.subscriptions import Subscription
from billing.plan_changes import confirm as confirm_plan_change
from billing.renewals.pay_dues import DuesResult, pay_dues
from billing.subscriptions.cancel import cancel_at_period_end
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.pause import pause
from core import clock
from core.scope import system
from tests import unpaid_renewals
from tests.browser.served_portal import Town
from tests.cast import Buyer

EXPIRED = "4000000000000069"


def hang(town: Town) -> dict[str, str]:
    """Move the clock of this process a month ahead."""
    held = {
        name: town.subscribe(card=unpaid_renewals.FAILS_LATER) for name in ("declined", "expired", "asked", "refused", "unknown", "paid")
    }
    clock.turn(clock.offset() + unpaid_renewals.MONTH)
    unpaid_renewals.renew_due(town.services)
    paths = {f"on hold, {name}": town.at(item) for name, item in held.items() if name in ("declined", "unknown")}
    paths |= {f"dues, {name}": town.at(item, "/payment-method") for name, item in held.items() if name != "paid"}
    payments = _pay(town, held)
    paths |= {f"payment, {name}": f"{town.door}payments/{item.payment_id}" for name, item in payments.items()}
    paths["bank asks"] = payments["asked"].link or ""
    paths |= _plans(town) | _ends(town) | _things(town)
    paths["dashboard"] = town.door
    return paths


def _pay(town: Town, held: dict[str, Buyer]) -> dict[str, DuesResult]:
    def pay(name: str, card: str) -> DuesResult:
        item = held[name]
        return pay_dues(
            town.services.processor,
            unpaid_renewals.scope_of(item),
            item.subscription_id,
            payment_method_id=town.cast.card(item, card),
            return_url=town.services.settings.base_url + town.door + "payments/{payment_id}",
        )

    gateway: Any = town.services.gateway
    done = {
        "declined": pay("declined", unpaid_renewals.POOR),
        "expired": pay("expired", EXPIRED),
        "asked": pay("asked", unpaid_renewals.BANK_ASKS),
        "refused": pay("refused", unpaid_renewals.BANK_ASKS),
        "paid": pay("paid", "4242424242424242"),
    }
    unpaid_renewals.confirm(town.cast, done["refused"].link or "", approved=False)
    really = gateway.look_up
    gateway.look_up = lambda trace: (
        ChargeOutcome("unknown", trace.key) if f":{held['unknown'].subscription_id}:" in trace.key else really(trace)
    )
    done["unknown"] = pay("unknown", unpaid_renewals.LOST)
    assert done["unknown"].status == "processing"
    return done


def _plans(town: Town) -> dict[str, str]:
    up, down, poor = town.subscribe(), town.subscribe("acorn.more"), town.subscribe()
    more, less = town.cast.products["acorn.more"], town.cast.products["acorn.plan"]

    def quote(buyer: Buyer, product: str) -> str:
        with town.services.database.open(unpaid_renewals.scope_of(buyer), write=True) as db:
            return confirm_plan_change.quote(db, buyer.subscription_id, product).id

    broke = town.cast.card(poor, unpaid_renewals.POOR)
    with town.services.database.open(system(poor.business_id), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == poor.subscription_id)).one().payment_method_id = broke
    refused = quote(poor, more)
    confirm_plan_change.confirm(town.services.processor, unpaid_renewals.scope_of(poor), refused)
    paths = {
        "plans": town.at(up, "/plan-change"),
        "quote up": town.at(up, f"/plan-change/quotes/{quote(up, more)}"),
        "quote declined": town.at(poor, f"/plan-change/quotes/{refused}"),
        "quote down": town.at(down, f"/plan-change/quotes/{quote(down, less)}"),
    }
    waits = town.subscribe("acorn.more")
    confirm_plan_change.confirm(town.services.processor, unpaid_renewals.scope_of(waits), quote(waits, less))
    return paths | {"change that waits": town.at(waits)}


def _ends(town: Town) -> dict[str, str]:
    ending, ended, paused, active = (town.subscribe() for _ in range(4))
    with town.services.database.open(unpaid_renewals.scope_of(ending), write=True) as db:
        cancel_at_period_end(db, ending.subscription_id)
        pause(db, paused.subscription_id)
    cancel_now(town.services.processor, unpaid_renewals.scope_of(ended), ended.subscription_id, "unused")
    return {
        "active": town.at(active),
        "ending": town.at(ending),
        "cancelled": town.at(ended),
        "paused": town.at(paused),
        "cancel": town.at(active, "/cancellation"),
        "pause": town.at(active, "/pause"),
        "resume": town.at(paused, "/pause"),
        "method": town.at(active, "/payment-method"),
        "billing details": town.at(active, "/billing-details"),
        "in use": f"{town.door}payment-methods/{active.method_id}/removal",
    }


def _things(town: Town) -> dict[str, str]:
    ada, services = town.cast.ada_at_acorn, town.services
    back = refund(services.processor, system(ada.business_id), ada.purchase_id, amount_minor=100, reason="One evening was cancelled")
    with services.database.open(system(ada.business_id), write=True) as db:
        key = db.scalars(select(LicenseKey.id).where(LicenseKey.customer_id == ada.customer_id)).first()
        activate(db, str(key), "Ada's laptop")
        invoice = db.scalars(select(Invoice.id).where(Invoice.customer_id == ada.customer_id, Invoice.status == "paid")).first()
    return {
        "methods": f"{town.door}payment-methods",
        "keys": f"{town.door}license-keys",
        "history": f"{town.door}billing-history",
        "invoice": f"{town.door}invoices/{invoice}",
        "correction": f"{town.door}invoices/{invoice}/correction",
        "refund": f"{town.door}refunds/{back.id}",
        "purchase": f"{town.door}purchases/{ada.purchase_id}",
        "profile": f"{town.door}profile",
        "subscriptions": f"{town.door}subscriptions",
        "purchases": f"{town.door}purchases",
        "journal": "/sandbox/",
        "mailbox": "/mailbox",
        "clock": "/clock",
    }


def older_proof(town: Town, by: timedelta) -> None:
    """Set the age of Ada's session and her last sign-in."""
    from auth.models import BrowserSession
    from core.scope import everything

    with town.services.database.open(everything("time passes in a test"), write=True) as db:
        for browser_session in db.scalars(select(BrowserSession).where(BrowserSession.proved_at.is_not(None))):
            browser_session.proved_at = clock.wall() - by
