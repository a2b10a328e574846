"""A subscription of Ada's in every state, led there by the commands that real ones come through; and the doors to act on it.

The only thing written by hand is time for one subscription alone (`a_month_passes`): the clock itself would age every other.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from typing import Any

from bs4 import BeautifulSoup
from sqlalchemy import func, select

from billing import renewals
from billing.commands import billing_details, cancelling, ending, methods, pausing, paying, plan_change
from billing.commands.buying import subscribe
from billing.invoices import Invoice
from billing.parties import Business
from billing.payments import Payment
from billing.quotes import Quote, ScheduledChange
from billing.subscriptions import Subscription
from core.errors import PortalError
from core.scope import customer_of, everything, system
from tenants.keys import new_key
from tests.cast import VISA
from tests.unpaid import FAILS_LATER
from tests.visitor import Visitor

STATES = ("pending", "trial", "active", "planned", "under way", "ending", "on hold", "on hold, ending", "past due", "past due, ending",
          "paused", "paused, ending", "cancelled", "cancelled at its end", "expired", "failed")  # fmt: skip
ADDRESS = {"name": "Ada Marlow", "street": "2 New Street", "city": "London", "state": "", "zipcode": "SE1 3LD", "country": "GB"}
AGAINST_POLICY = {"schedule_cancel": "cancel", "cancel": "cancel", "pause": "pause", "change_plan": "plan_change"}
"""Verb → the setting that lets a business's customers do it."""
COLUMNS = [getattr(Subscription, attribute.key) for attribute in Subscription.__mapper__.column_attrs]


@dataclass
class Answer:
    """What a door said. `code` and `sentence` of a refusal are None and "" where it was done."""

    status: int
    code: str | None = None
    sentence: str = ""
    text: str = ""


class Rig:
    def __init__(self, street: Any) -> None:
        self.street, self.house, self.buyer = street, street.house, street.ada_at_acorn
        self.till, self.business = street.house.till, system(street.acorn)
        self.scope = customer_of(street.acorn, self.buyer.customer_id)
        self.failing, self.poor, self.other = (street.card(self.buyer, one) for one in (FAILS_LATER, "4000000000000002", VISA))
        self.plan, self.more = street.products["acorn.plan"], street.products["acorn.more"]
        self.ada = Visitor(street.app)
        self.ada.sign_in(street.ADA)
        self.ada.get("/profile")
        self.token = self.ada.token()
        with self.house.database.open(everything("a key"), write=True) as db:
            self.key = new_key(db, street.acorn, "A key", False, settings=self.house.settings)[1]

    # --- states
    def make(self, state: str) -> str:
        """A new subscription in this state. Returns its id."""
        name = state.removesuffix(", ending")
        card = {"pending": None, "failed": self.poor, "on hold": self.failing, "past due": self.failing}.get(name, self.buyer.method_id)
        if name == "past due":
            self.set(grace_days=3)
        one = subscribe(self.till, self.business, customer_id=self.buyer.customer_id, product_id=self.plan, payment_method_id=card,
                        billing={"country": "GB"}, trial_days=14 if name == "trial" else None).subscription_id or ""  # fmt: skip
        if name in ("on hold", "past due", "under way"):
            if name == "under way":
                self.house.gateway.turn_knob("next_charge", "lost")
            self.renew(one)
        elif name == "cancelled":
            ending.cancel_now(self.till, self.business, one)
        elif name == "paused":
            self.do(pausing.pause, one)
        elif name == "planned":
            with self.house.database.open(self.business, write=True) as db:
                shown = plan_change.quote(db, one, self.more, effective_at="next_billing_date").id
            plan_change.confirm(self.till, self.business, shown)
        if state in ("ending", "cancelled at its end") or state.endswith(", ending"):
            self.do(cancelling.cancel_at_period_end, one)
        if state == "cancelled at its end":
            self.renew(one)
        elif state == "expired":
            self.renew(one, term_is_over=True)
        if name == "past due":
            self.set(grace_days=0)
        return one

    def do(self, command: Any, *args: Any, **kwargs: Any) -> Any:
        """As the business: what customers may is not asked while a state is made."""
        with self.house.database.open(self.business, write=True) as db:
            return command(db, *args, **kwargs)

    def renew(self, one: str, *, term_is_over: bool = False) -> None:
        """A month passes for this subscription alone, and its date comes."""
        with self.house.database.open(self.business, write=True) as db:
            row = db.scalar(select(Subscription).where(Subscription.id == one))
            for name in ("anchor_at", "previous_billing_at", "next_billing_at"):
                setattr(row, name, getattr(row, name) - timedelta(days=32))
            if term_is_over:
                row.expires_at = row.next_billing_at
        payment = renewals.prepare(self.till, self.street.acorn, one)
        if payment:
            self.till.start(self.street.acorn, payment)

    def set(self, **settings: Any) -> None:
        with self.house.database.open(everything("settings"), write=True) as db:
            acorn = db.scalar(select(Business).where(Business.business_id == self.street.acorn))
            acorn.settings = {**acorn.settings, **settings}

    def allow(self, on: bool) -> None:
        self.set(cancel=on, pause=on, plan_change=on)

    def row(self, one: str) -> Subscription:
        with self.house.database.open(self.business) as db:
            return db.scalar(select(Subscription).where(Subscription.id == one))

    def state(self, one: str) -> str:
        row = self.row(one)
        return row.status + (", ending" if row.cancel_at_period_end else "")

    def facts(self, one: str) -> Any:
        """Everything a refused act must leave as it is: the whole row, and how much there is of what hangs on it."""
        many = [select(func.count()).select_from(kind).where(kind.subscription_id == one).scalar_subquery()
                for kind in (Payment, Invoice, Quote, ScheduledChange)]  # fmt: skip
        with self.house.database.open(self.business) as db:
            return tuple(db.execute(select(*COLUMNS, *many).where(Subscription.id == one)).one())

    def remember(self) -> Any:
        """On SQLite: how to come back to this moment, in both books. Making a state anew takes ten times as long."""
        files = [self.house.settings.database_url.removeprefix("sqlite:///"), str(self.house.gateway.store.path)]
        copies = []
        for name in files:
            copies.append(sqlite3.connect(":memory:"))
            with closing(sqlite3.connect(name)) as original:
                original.backup(copies[-1])

        def back() -> None:
            for name, copy in zip(files, copies, strict=True):
                with closing(sqlite3.connect(name)) as original:
                    copy.backup(original)

        return back

    # --- doors
    def act(self, door: str, verb: str, one: str) -> Answer:
        """`door`: command, api, or the prefix of a page's address."""
        if door == "command":
            return self.by_command(verb, one)
        return self.by_api(verb, one) if door == "api" else self.by_page(door, verb, one)

    def look(self, path: str) -> BeautifulSoup:
        answer = self.ada.client.get(path, headers=self.ada.headers, environ_base=self.ada.environ)
        assert answer.status_code == 200, path
        return BeautifulSoup(answer.data, "html.parser")

    def by_page(self, prefix: str, verb: str, one: str) -> Answer:
        url = f"{prefix}/subscriptions/{one}"
        path, form = {
            "schedule_cancel": ("/cancellation", {}), "cancel": ("/cancellation", {"when": "now"}),
            "keep": ("/cancellation/revocation", {}),
            "pause": ("/pause", {}), "resume": ("/pause/resumption", {}), "keep_plan": ("/plan-change/revocation", {}),
            "change_plan": ("/plan-change/quotes", {"product_id": self.more}), "edit_billing": ("/billing-details", ADDRESS),
            "change_method": ("/payment-method", {"method": self.other}), "pay_dues": ("/payment-method", {"method": self.other}),
        }[verb]  # fmt: skip
        if verb == "pay_dues":
            with self.house.database.open(self.scope) as db:
                due = paying.dues(db, one)
            form = {**form, "due": f"{due.invoice_id} {due.due_minor}" if due else "inv_none 1"}
        page = self.post(url + path, form)
        if verb == "change_plan" and page.status_code == 303:
            assert "/plan-change/quotes/" in page.location, page.location
            page = self.post(page.location + "/confirmation", {})
        assert "/login" not in page.headers.get("Location", "")
        return Answer(page.status_code, text=unescape(page.text))

    def post(self, path: str, form: dict[str, str]) -> Any:
        """As Ada's browser sends it. `tests/pages` lint these pages; here are too many of them."""
        headers = {**self.ada.headers, "Origin": self.house.settings.base_url}
        return self.ada.client.post(path, data={**form, "csrf_token": self.token}, headers=headers, environ_base=self.ada.environ)

    def by_command(self, verb: str, one: str) -> Answer:
        try:
            self._command(verb, one)
        except PortalError as refused:
            return Answer(refused.status, refused.code, refused.sentence)
        return Answer(200)

    def _command(self, verb: str, one: str) -> None:
        if verb == "cancel":
            ending.cancel_now(self.till, self.scope, one)
        elif verb == "change_method":
            methods.change_method(self.till, self.scope, one, payment_method_id=self.other)
        elif verb == "pay_dues":
            paying.pay_dues(self.till, self.scope, one, payment_method_id=self.other)
        else:
            quote = None
            with self.house.database.open(self.scope, write=True) as db:
                if verb == "change_plan":
                    quote = plan_change.quote(db, one, self.more).id
                elif verb == "edit_billing":
                    billing_details.edit_billing(db, one, **ADDRESS)
                else:
                    {"schedule_cancel": cancelling.cancel_at_period_end, "keep": cancelling.keep, "pause": pausing.pause,
                     "resume": pausing.resume, "keep_plan": plan_change.cancel_scheduled}[verb](db, one)  # fmt: skip
            if quote:
                assert plan_change.confirm(self.till, self.scope, quote).status == "succeeded"

    def by_api(self, verb: str, one: str) -> Answer:
        patch = {"schedule_cancel": {"cancel_at_next_billing_date": True}, "keep": {"cancel_at_next_billing_date": False},
                 "cancel": {"status": "cancelled"}, "pause": {"status": "paused"}, "resume": {"status": "active"},
                 "edit_billing": {"billing": {name: value for name, value in ADDRESS.items() if name != "name"}}}  # fmt: skip
        method, path, body = {
            "change_plan": ("POST", "/change-plan",
                            {"product_id": self.more, "quantity": 1, "proration_billing_mode": "prorated_immediately"}),
            "change_method": ("POST", "/update-payment-method", {"type": "existing", "payment_method_id": self.other}),
            "keep_plan": ("DELETE", "/change-plan/scheduled", None),
        }.get(verb, ("PATCH", "", patch.get(verb)))  # fmt: skip
        answer = self.street.app.test_client().open(
            f"/api/subscriptions/{one}{path}", method=method, json=body, headers={"Authorization": f"Bearer {self.key}"})
        if answer.status_code < 400:
            return Answer(answer.status_code)
        assert answer.status_code not in (409, 422) or answer.headers["x-should-retry"] == "false"
        return Answer(answer.status_code, answer.json["code"], answer.json["message"])
