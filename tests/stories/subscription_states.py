"""Ada's subscription in every state, reached by the regular commands, and the page, command and API to act on it.

Only the dates of one subscription are written directly (`a_month_passes`), because the clock would affect every other one.
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

from billing.model.invoices import Invoice
from billing.model.parties import Business, Customer
from billing.model.payments import Payment
from billing.model.quotes import Quote, ScheduledChange
from billing.model.subscriptions import Subscription
from billing.plan_changes import confirm as confirm_plan_change
from billing.renewals import pay_dues as dues_payment
from billing.renewals import payment_methods
from billing.renewals import renew as renewing
from billing.subscriptions import billing_details, end_now
from billing.subscriptions import cancel as cancel_subscription
from billing.subscriptions import pause as pause_subscription
from billing.subscriptions.subscribe import subscribe
from core.errors import PortalError
from core.scope import customer_of, everything, system
from tenants.api_keys import new_key
from tests.cast import VISA
from tests.unpaid_renewals import FAILS_LATER
from tests.visitor import Visitor

STATES = ("pending", "trial", "active", "planned", "under way", "ending", "on hold", "on hold, ending", "past due", "past due, ending",
          "paused", "paused, ending", "cancelled", "cancelled at its end", "expired", "failed")  # fmt: skip
ADDRESS = {"name": "Ada Marlow", "street": "2 New Street", "city": "London", "state": "", "zipcode": "SE1 3LD", "country": "GB"}
AGAINST_POLICY = {"schedule_cancel": "cancel", "cancel": "cancel", "pause": "pause", "change_plan": "plan_change"}
"""Verb → the setting that lets a business's customers do it."""
COLUMNS = [getattr(Subscription, attribute.key) for attribute in Subscription.__mapper__.column_attrs]


@dataclass
class Answer:
    """The answer of a page, command or API call. `code` and `sentence` of a refusal are None and "" after a success."""

    status: int
    code: str | None = None
    sentence: str = ""
    text: str = ""


class Rig:
    def __init__(self, street: Any) -> None:
        self.street, self.services, self.buyer = street, street.services, street.ada_at_acorn
        self.processor, self.business = street.services.processor, system(street.acorn)
        self.scope = customer_of(street.acorn, self.buyer.customer_id)
        self.failing, self.poor, self.other = (street.card(self.buyer, item) for item in (FAILS_LATER, "4000000000000002", VISA))
        self.plan, self.more = street.products["acorn.plan"], street.products["acorn.more"]
        self.ada = Visitor(street.app)
        self.ada.sign_in(street.ADA)
        self.ada.get("/profile")
        self.token = self.ada.token()
        with self.services.database.open(everything("a key"), write=True) as db:
            self.key = new_key(db, street.acorn, "A key", False, settings=self.services.settings)[1]

    # --- states
    def make(self, state: str) -> str:
        """Create a subscription in this state. Returns its id."""
        name = state.removesuffix(", ending")
        card = {"pending": None, "failed": self.poor, "on hold": self.failing, "past due": self.failing}.get(name, self.buyer.method_id)
        if name == "past due":
            self.set(grace_days=3)
        item = subscribe(self.processor, self.business, customer_id=self.buyer.customer_id, product_id=self.plan, payment_method_id=card,
                        billing={"country": "GB"}, trial_days=14 if name == "trial" else None).subscription_id or ""  # fmt: skip
        if name in ("on hold", "past due", "under way"):
            if name == "under way":
                self.services.gateway.turn_knob("next_charge", "lost")
            self.renew(item)
        elif name == "cancelled":
            end_now.cancel_now(self.processor, self.business, item)
        elif name == "paused":
            self.do(pause_subscription.pause, item)
        elif name == "planned":
            with self.services.database.open(self.business, write=True) as db:
                shown = confirm_plan_change.quote(db, item, self.more, effective_at="next_billing_date").id
            confirm_plan_change.confirm(self.processor, self.business, shown)
        if state in ("ending", "cancelled at its end") or state.endswith(", ending"):
            self.do(cancel_subscription.cancel_at_period_end, item)
        if state == "cancelled at its end":
            self.renew(item)
        elif state == "expired":
            self.renew(item, term_is_over=True)
        if name == "past due":
            self.set(grace_days=0)
        return item

    def do(self, command: Any, *args: Any, **kwargs: Any) -> Any:
        """Act as the business, so that the rules for customers do not apply during setup."""
        with self.services.database.open(self.business, write=True) as db:
            return command(db, *args, **kwargs)

    def renew(self, item: str, *, term_is_over: bool = False) -> None:
        """Move the dates of this subscription by a month and renew it."""
        with self.services.database.open(self.business, write=True) as db:
            row = db.scalar(select(Subscription).where(Subscription.id == item))
            for name in ("anchor_at", "previous_billing_at", "next_billing_at"):
                setattr(row, name, getattr(row, name) - timedelta(days=32))
            if term_is_over:
                row.expires_at = row.next_billing_at
        payment = renewing.prepare(self.processor, self.street.acorn, item)
        if payment:
            self.processor.start(self.street.acorn, payment)

    def set(self, **settings: Any) -> None:
        with self.services.database.open(everything("settings"), write=True) as db:
            acorn = db.scalar(select(Business).where(Business.business_id == self.street.acorn))
            acorn.settings = {**acorn.settings, **settings}

    def allow(self, on: bool) -> None:
        """Allow customers everything, or nothing. The setting of cancelling binds business customers only."""
        self.set(cancel=on, pause=on, plan_change=on)
        with self.services.database.open(self.business, write=True) as db:
            customer = db.scalars(select(Customer).where(Customer.customer_id == self.buyer.customer_id)).one()
            customer.customer_type, customer.customer_type_by = (None, None) if on else ("business", "business")
            for row in db.scalars(select(Subscription).where(Subscription.customer_id == self.buyer.customer_id)):
                row.customer_type = "consumer" if on else "business"

    def row(self, item: str) -> Subscription:
        with self.services.database.open(self.business) as db:
            return db.scalar(select(Subscription).where(Subscription.id == item))

    def state(self, item: str) -> str:
        row = self.row(item)
        return row.status + (", ending" if row.cancel_at_period_end else "")

    def facts(self, item: str) -> Any:
        """Return what a refused action must not change: the whole row, and the number of related rows."""
        many = [select(func.count()).select_from(kind).where(kind.subscription_id == item).scalar_subquery()
                for kind in (Payment, Invoice, Quote, ScheduledChange)]  # fmt: skip
        with self.services.database.open(self.business) as db:
            return tuple(db.execute(select(*COLUMNS, *many).where(Subscription.id == item)).one())

    def remember(self) -> Any:
        """On SQLite, save both databases to return to this moment. Creating a state again takes ten times as long."""
        files = [self.services.settings.database_url.removeprefix("sqlite:///"), str(self.services.gateway.store.path)]
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

    # --- page, command and API
    def act(self, door: str, verb: str, item: str) -> Answer:
        """`door`: command, api, or the prefix of a page's URL."""
        if door == "command":
            return self.by_command(verb, item)
        return self.by_api(verb, item) if door == "api" else self.by_page(door, verb, item)

    def look(self, path: str) -> BeautifulSoup:
        answer = self.ada.client.get(path, headers=self.ada.headers, environ_base=self.ada.environ)
        assert answer.status_code == 200, path
        return BeautifulSoup(answer.data, "html.parser")

    def by_page(self, prefix: str, verb: str, item: str) -> Answer:
        url = f"{prefix}/subscriptions/{item}"
        path, form = {
            "schedule_cancel": ("/cancellation", {}), "cancel": ("/cancellation", {"when": "now"}),
            "keep": ("/cancellation/revocation", {}),
            "pause": ("/pause", {}), "resume": ("/pause/resumption", {}), "keep_plan": ("/plan-change/revocation", {}),
            "change_plan": ("/plan-change/quotes", {"product_id": self.more}), "edit_billing": ("/billing-details", ADDRESS),
            "change_method": ("/payment-method", {"method": self.other}), "pay_dues": ("/payment-method", {"method": self.other}),
        }[verb]  # fmt: skip
        if verb == "pay_dues":
            with self.services.database.open(self.scope) as db:
                due = dues_payment.dues(db, item)
            form = {**form, "due": f"{due.invoice_id} {due.due_minor}" if due else "inv_none 1"}
        page = self.post(url + path, form)
        if verb == "change_plan" and page.status_code == 303:
            assert "/plan-change/quotes/" in page.location, page.location
            page = self.post(page.location + "/confirmation", {})
        assert "/login" not in page.headers.get("Location", "")
        return Answer(page.status_code, text=unescape(page.text))

    def post(self, path: str, form: dict[str, str]) -> Any:
        """Submit as Ada's browser does, without linting the page: `tests/pages` does that."""
        headers = {**self.ada.headers, "Origin": self.services.settings.base_url}
        return self.ada.client.post(path, data={**form, "csrf_token": self.token}, headers=headers, environ_base=self.ada.environ)

    def by_command(self, verb: str, item: str) -> Answer:
        try:
            self._command(verb, item)
        except PortalError as refused:
            return Answer(refused.status, refused.code, refused.sentence)
        return Answer(200)

    def _command(self, verb: str, item: str) -> None:
        if verb == "cancel":
            end_now.cancel_now(self.processor, self.scope, item)
        elif verb == "change_method":
            payment_methods.change_method(self.processor, self.scope, item, payment_method_id=self.other)
        elif verb == "pay_dues":
            dues_payment.pay_dues(self.processor, self.scope, item, payment_method_id=self.other)
        else:
            quote = None
            with self.services.database.open(self.scope, write=True) as db:
                if verb == "change_plan":
                    quote = confirm_plan_change.quote(db, item, self.more).id
                elif verb == "edit_billing":
                    billing_details.edit_billing(db, item, **ADDRESS)
                else:
                    {"schedule_cancel": cancel_subscription.cancel_at_period_end, "keep": cancel_subscription.keep,
                     "pause": pause_subscription.pause, "resume": pause_subscription.resume,
                     "keep_plan": confirm_plan_change.cancel_scheduled}[verb](db, item)  # fmt: skip
            if quote:
                assert confirm_plan_change.confirm(self.processor, self.scope, quote).status == "succeeded"

    def by_api(self, verb: str, item: str) -> Answer:
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
            f"/api/subscriptions/{item}{path}", method=method, json=body, headers={"Authorization": f"Bearer {self.key}"}
        )
        if answer.status_code < 400:
            return Answer(answer.status_code)
        assert answer.status_code not in (409, 422) or answer.headers["x-should-retry"] == "false"
        return Answer(answer.status_code, answer.json["code"], answer.json["message"])
