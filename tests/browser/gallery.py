"""Every state of the flows that touch money, made through the commands: name → path of the page that shows it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing import renewals
from billing.commands import plan_change
from billing.commands.cancelling import cancel_at_period_end
from billing.commands.ending import cancel_now
from billing.commands.licensing import activate
from billing.commands.pausing import pause
from billing.commands.paying import Paid, pay_dues
from billing.commands.refunding import refund
from billing.invoices import Invoice
from billing.licences import LicenseKey
from billing.ports import Outcome
from billing.subscriptions import Subscription
from core import clock
from core.scope import system
from tests import unpaid
from tests.browser.town import Town
from tests.cast import Buyer

EXPIRED = "4000000000000069"


def hang(town: Town) -> dict[str, str]:
    """The clock is a month ahead afterwards, in this process."""
    held = {name: town.subscribe(card=unpaid.FAILS_LATER) for name in ("declined", "expired", "asked", "refused", "unknown", "paid")}
    clock.turn(clock.offset() + unpaid.MONTH)
    while renewals.run_due(town.house.till):
        pass
    paths = {f"on hold, {name}": town.at(one) for name, one in held.items() if name in ("declined", "unknown")}
    paths |= {f"dues, {name}": town.at(one, "/payment-method") for name, one in held.items() if name != "paid"}
    payments = _pay(town, held)
    paths |= {f"payment, {name}": f"{town.door}payments/{one.payment_id}" for name, one in payments.items()}
    paths["bank asks"] = payments["asked"].link or ""
    paths |= _plans(town) | _ends(town) | _things(town)
    paths["dashboard"] = town.door
    return paths


def _pay(town: Town, held: dict[str, Buyer]) -> dict[str, Paid]:
    def pay(name: str, card: str) -> Paid:
        one = held[name]
        return pay_dues(town.house.till, unpaid.scope_of(one), one.subscription_id, payment_method_id=town.cast.card(one, card),
                        return_url=town.house.settings.base_url + town.door + "payments/{payment_id}")

    gateway: Any = town.house.gateway
    done = {"declined": pay("declined", unpaid.POOR), "expired": pay("expired", EXPIRED), "asked": pay("asked", unpaid.BANK_ASKS),
            "refused": pay("refused", unpaid.BANK_ASKS), "paid": pay("paid", "4242424242424242")}
    unpaid.confirm(town.cast, done["refused"].link or "", approved=False)
    really = gateway.look_up
    gateway.look_up = lambda key: Outcome("unknown", key) if f":{held['unknown'].subscription_id}:" in key else really(key)
    done["unknown"] = pay("unknown", unpaid.LOST)
    assert done["unknown"].status == "processing"
    return done


def _plans(town: Town) -> dict[str, str]:
    up, down, poor = town.subscribe(), town.subscribe("acorn.more"), town.subscribe()
    more, less = town.cast.products["acorn.more"], town.cast.products["acorn.plan"]

    def quote(one: Buyer, product: str) -> str:
        with town.house.database.open(unpaid.scope_of(one), write=True) as db:
            return plan_change.quote(db, one.subscription_id, product).id

    broke = town.cast.card(poor, unpaid.POOR)
    with town.house.database.open(system(poor.business_id), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == poor.subscription_id)).one().payment_method_id = broke
    refused = quote(poor, more)
    plan_change.confirm(town.house.till, unpaid.scope_of(poor), refused)
    paths = {"plans": town.at(up, "/plan-change"), "quote up": town.at(up, f"/plan-change/quotes/{quote(up, more)}"),
             "quote declined": town.at(poor, f"/plan-change/quotes/{refused}"),
             "quote down": town.at(down, f"/plan-change/quotes/{quote(down, less)}")}
    waits = town.subscribe("acorn.more")
    plan_change.confirm(town.house.till, unpaid.scope_of(waits), quote(waits, less))
    return paths | {"change that waits": town.at(waits)}


def _ends(town: Town) -> dict[str, str]:
    ending, ended, paused, active = (town.subscribe() for _ in range(4))
    with town.house.database.open(unpaid.scope_of(ending), write=True) as db:
        cancel_at_period_end(db, ending.subscription_id)
        pause(db, paused.subscription_id)
    cancel_now(town.house.till, unpaid.scope_of(ended), ended.subscription_id, "unused")
    return {"active": town.at(active), "ending": town.at(ending), "cancelled": town.at(ended), "paused": town.at(paused),
            "cancel": town.at(active, "/cancellation"), "pause": town.at(active, "/pause"), "resume": town.at(paused, "/pause"),
            "method": town.at(active, "/payment-method"), "billing details": town.at(active, "/billing-details"),
            "in use": f"{town.door}payment-methods/{active.method_id}/removal"}


def _things(town: Town) -> dict[str, str]:
    ada, house = town.cast.ada_at_acorn, town.house
    back = refund(house.till, system(ada.business_id), ada.purchase_id, amount_minor=100, reason="One evening was cancelled")
    with house.database.open(system(ada.business_id), write=True) as db:
        key = db.scalars(select(LicenseKey.id).where(LicenseKey.customer_id == ada.customer_id)).first()
        activate(db, str(key), "Ada's laptop")
        invoice = db.scalars(select(Invoice.id).where(Invoice.customer_id == ada.customer_id, Invoice.status == "paid")).first()
    return {"methods": f"{town.door}payment-methods", "keys": f"{town.door}license-keys", "history": f"{town.door}billing-history",
            "invoice": f"{town.door}invoices/{invoice}", "correction": f"{town.door}invoices/{invoice}/correction",
            "refund": f"{town.door}refunds/{back.id}", "purchase": f"{town.door}purchases/{ada.purchase_id}",
            "profile": f"{town.door}profile", "subscriptions": f"{town.door}subscriptions", "purchases": f"{town.door}purchases",
            "journal": "/sandbox/", "mailbox": "/mailbox", "clock": "/clock"}


def older_proof(town: Town, by: timedelta) -> None:
    """Ada's proof of who she is, and her session, are that old."""
    from auth.models import BrowserSession
    from core.scope import everything

    with town.house.database.open(everything("time passes in a test"), write=True) as db:
        for one in db.scalars(select(BrowserSession).where(BrowserSession.proved_at.is_not(None))):
            one.proved_at = clock.wall() - by
