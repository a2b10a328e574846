"""Actions on a subscription and its payment method with the official SDK: their effects and their refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from dodopayments import APIStatusError, DodoPayments, NotFoundError

from billing.renewals import renew as renewing
from core import clock, mailbox
from tests.api.conftest import BILLING, MONTHLY, Site

FAILS_LATER, DECLINED_WORD = "4000 0000 0000 0341", "failed"


@dataclass
class Ada:
    """Ada's active subscription to Acorn Team with a saved card. `more` is a more expensive plan, `less` a cheaper one."""

    site: Site
    sdk: DodoPayments
    customer: str
    subscription: str
    team: str
    more: str
    less: str
    card: str

    @property
    def now(self) -> Any:
        return self.sdk.subscriptions.retrieve(self.subscription)

    def events(self) -> list[str]:
        from sqlalchemy import select

        from core.outbox import Event
        from core.scope import system

        with self.site.services.database.open(system(self.site.acorn)) as db:
            return list(db.scalars(select(Event.type).where(Event.noun_id == self.subscription).order_by(Event.at, Event.id)))

    def payments(self) -> list[Any]:
        return self.sdk.payments.list(subscription_id=self.subscription).items

    def paid(self) -> list[tuple[str, str, int]]:
        return [(payment.payment_id, payment.status or "", payment.total_amount) for payment in self.payments()]

    def change(self, **options: Any) -> Any:
        options = {"product_id": self.more, "quantity": 1, "proration_billing_mode": "prorated_immediately", **options}
        return self.sdk.subscriptions.change_plan(self.subscription, **options)

    def foresee(self, **options: Any) -> Any:
        options = {"product_id": self.more, "quantity": 1, "proration_billing_mode": "prorated_immediately", **options}
        return self.sdk.subscriptions.preview_change_plan(self.subscription, **options)

    def new_card(self, number: str) -> str:
        page = self.sdk.subscriptions.update_payment_method(self.subscription, payment_method={"type": "new"})
        assert page.payment_link and page.expires_on
        assert self.site.pay(page.payment_link, number).status_code == 303
        self.site.settle()
        return self.now.payment_method_id or ""

    def renew(self) -> None:
        renewing.run_due(self.site.services.processor)
        self.site.settle()


def settled(site: Site) -> Ada:
    sdk = site.sdk()
    customer = sdk.customers.create(email="ada@marlow.example", name="Ada Marlow").customer_id
    team, more, less = (
        sdk.products.create(name=f"Acorn {name}", price={**MONTHLY, "price": price}, tax_category="saas").product_id
        for name, price in (("Team", 2400), ("Max", 6000), ("Solo", 1200))
    )
    began = sdk.subscriptions.create(
        billing=BILLING, customer={"customer_id": customer}, product_id=team, quantity=1, payment_link=True, metadata={"seat": "1"}
    )
    assert site.pay(began.payment_link or "").status_code == 303
    site.settle()
    card = sdk.subscriptions.retrieve(began.subscription_id).payment_method_id
    assert card
    return Ada(site, sdk, customer, began.subscription_id, team, more, less, card)


@pytest.fixture
def ada(site: Site) -> Ada:
    return settled(site)


@pytest.fixture(scope="module")
def shared_ada(api_site: Site) -> Ada:
    """One Ada for all refusals, which change nothing."""
    return settled(api_site)


def wait(**span: float) -> None:
    clock.turn(clock.offset() + timedelta(**span))


def refused(call: Callable[[], Any], status: int, code: str | None = None) -> dict[str, Any]:
    """Assert that the call is refused with this error, and that the SDK is told not to retry a conflict."""
    with pytest.raises(APIStatusError) as error:
        call()
    answer, body = error.value.response, error.value.response.json()
    assert (answer.status_code, body["code"]) == (status, code or body["code"]), body
    if status in (409, 422):
        assert answer.headers["x-should-retry"] == "false"
    return body


# --- PATCH


def test_pause_and_resume_take_no_other_field(ada: Ada) -> None:
    before = ada.now
    refused(lambda: ada.sdk.subscriptions.update(ada.subscription, status="paused", metadata={"a": "b"}), 422)
    rests = ada.sdk.subscriptions.update(ada.subscription, status="paused")
    assert rests.status == "paused" and rests.paused_at
    refused(lambda: ada.sdk.subscriptions.update(ada.subscription, status="paused"), 409, "SUBSCRIPTION_ALREADY_PAUSED")
    wait(days=3)
    goes_on = ada.sdk.subscriptions.update(ada.subscription, status="active")
    assert goes_on.status == "active" and goes_on.paused_at is None
    assert timedelta(days=3) <= goes_on.next_billing_date - before.next_billing_date < timedelta(days=3, minutes=5)
    refused(lambda: ada.sdk.subscriptions.update(ada.subscription, status="active"), 409, "SUBSCRIPTION_NOT_PAUSED")
    refused(lambda: ada.sdk.subscriptions.update(ada.subscription, pause=True), 422, "INVALID_REQUEST_BODY")


def test_cancel_now_and_at_the_next_date(ada: Ada) -> None:
    update = ada.sdk.subscriptions.update
    refused(lambda: update(ada.subscription, cancellation_comment="Too loud"), 422)
    refused(lambda: update(ada.subscription, status="cancelled", cancel_at_next_billing_date=True), 422)
    later = update(
        ada.subscription,
        cancel_at_next_billing_date=True,
        cancellation_feedback="unused",
        cancellation_comment="Too loud",
        cancel_reason="cancelled_by_customer",
    )
    assert later.status == "active" and later.cancel_at_next_billing_date and later.cancellation_comment == "Too loud"
    assert later.cancelled_by and later.cancelled_by.actor_type == "customer" and later.cancellation_feedback == "unused"
    refused(lambda: update(ada.subscription, next_billing_date=clock.now() + timedelta(days=3)), 409)
    refused(lambda: ada.change(), 409, "PLAN_CHANGE_NOT_ALLOWED_FOR_SCHEDULED_CANCELLATION")
    assert not update(ada.subscription, cancel_at_next_billing_date=False).cancel_at_next_billing_date
    ended = update(ada.subscription, status="cancelled", cancel_reason="cancelled_by_merchant", metadata={"why": "asked"})
    assert ended.status == "cancelled" and ended.cancelled_by and ended.cancelled_by.actor_type == "api_key"
    assert ended.metadata == {"why": "asked"}
    refused(lambda: update(ada.subscription, status="cancelled"), 409, "SUBSCRIPTION_INACTIVE")
    refused(lambda: update(ada.subscription, cancel_at_next_billing_date=False), 409, "SUBSCRIPTION_INACTIVE")
    refused(lambda: update(ada.subscription, customer_name="Ada"), 409, "SUBSCRIPTION_INACTIVE")
    refused(lambda: ada.sdk.subscriptions.update_payment_method(ada.subscription, payment_method={"type": "new"}), 409)


def test_patch_changes_the_billing_details_of_invoices(ada: Ada) -> None:
    update = ada.sdk.subscriptions.update
    berlin = {"country": "DE", "city": "Berlin", "street": "Spreeufer 1", "zipcode": "10178", "state": "BE"}
    company = update(
        ada.subscription, billing=berlin, tax_id="DE136695976", customer_business_name="Marlow GmbH", customer_name="Ada M. Marlow"
    )
    assert (company.billing.country, company.billing.street, company.tax_id) == ("DE", "Spreeufer 1", "DE136695976")
    assert company.customer_business_name == "Marlow GmbH" and company.customer.name == "Ada M. Marlow"
    assert update(ada.subscription, customer_business_name=None).customer_business_name is None
    assert update(ada.subscription, tax_id=None).tax_id is None
    body = refused(lambda: update(ada.subscription, tax_id="DE1", metadata={"kept": "no"}), 422, "INVALID_TAX_ID")
    assert set(body["fields"]) == {"tax_id"} and ada.now.metadata == {"seat": "1"}
    assert set(refused(lambda: update(ada.subscription, customer_business_name="Marlow"), 422)["fields"]) == {"tax_id"}
    assert "subscription.billing_details_changed" in ada.events()


@pytest.mark.parametrize(
    "body",
    [
        {"disable_on_demand": {"next_billing_date": "2031-01-01T00:00:00Z"}},
        {"quantity": 2},
        {"credit_entitlement_cart": []},
        {"pause": None},
        {"pause": False},
        {"status": "expired"},
        {"next_billing_date": "2031-01-01T00:00:00"},
        {"next_billing_date": "2020-01-01T00:00:00Z"},
        {"next_billing_date": "2099-01-01T00:00:00Z"},
        {"subscription_period_count": 1},
        {"subscription_period_interval": "Month"},
        {"subscription_period_count": 0},
        {"cancel_reason": "dodo_team"},
        {"billing": {"country": "XX"}},
        {"customer_name": " "},
        {"customer_name": "A\u0000"},
        {"metadata": {"a": []}},
    ],
)
def test_patch_names_the_fields_that_it_refuses(shared_ada: Ada, body: dict[str, Any]) -> None:
    before = shared_ada.now
    answer = shared_ada.site.raw("PATCH", f"/subscriptions/{shared_ada.subscription}", shared_ada.site.key, json=body)
    assert answer.status_code in (400, 422), answer.text
    assert answer.status_code == 400 or any(name in answer.text for name in body), answer.text
    assert shared_ada.now == before


def test_moving_the_next_billing_date_adds_at_most_two_charges(ada: Ada) -> None:
    first = clock.now() + timedelta(days=5)
    moved = ada.sdk.subscriptions.update(ada.subscription, next_billing_date=first)
    assert moved.next_billing_date == first and "subscription.next_billing_date_changed" in ada.events()
    wait(days=5, minutes=1)
    ada.renew()
    assert [payment.charge_type for payment in ada.payments()] == ["renewal", "new"]
    after = ada.now
    assert 27 <= (after.next_billing_date - first).days <= 31
    again = clock.now() + timedelta(days=5)
    body = refused(lambda: ada.sdk.subscriptions.update(ada.subscription, next_billing_date=again), 409, "BILLING_DATE_LIMIT_REACHED")
    emails = [recent_email.subject for recent_email in mailbox.recent_emails(ada.site.services.database, to="ada@marlow.example")]
    assert emails.count("[test] The next payment for Acorn Team was moved") == 1
    assert "third charge" in body["message"] and ada.now.next_billing_date == after.next_billing_date
    assert ada.sdk.subscriptions.update(ada.subscription, next_billing_date=first + timedelta(days=40)).next_billing_date


def test_patch_extends_the_expiry_date(ada: Ada) -> None:
    before = ada.now
    longer = ada.sdk.subscriptions.update(ada.subscription, subscription_period_count=12)
    assert longer.subscription_period_count == 12 and longer.subscription_period_interval == "Year"
    assert longer.expires_at and before.expires_at and 729 <= (longer.expires_at - before.expires_at).days <= 732


# --- plan changes


@pytest.mark.parametrize(
    ("mode", "due"),
    [
        ("full_immediately", 7200),
        ("difference_immediately", 4320),
        ("do_not_bill", 0),
        ("prorated_immediately", None),
        ("prorated_immediately_keep_cycle", None),
    ],
)
def test_the_previewed_amount_is_charged(ada: Ada, mode: str, due: int | None) -> None:
    wait(days=10)
    before = ada.now
    seen = ada.foresee(proration_billing_mode=mode)
    charge, total = seen.immediate_charge, seen.immediate_charge.summary.total_amount
    gross = sum(
        round(line_item.unit_price * line_item.quantity * line_item.proration_factor)
        + (0 if line_item.tax_inclusive else line_item.tax or 0)
        for line_item in charge.line_items
    )
    assert abs(gross + charge.summary.customer_credits - total) <= 1
    assert due is None or total == due
    assert ada.now == before and len(ada.payments()) == 1
    done = ada.change(proration_billing_mode=mode, metadata={"ticket": "9"})
    assert (done.payment_id, done.payment_link, done.client_secret, done.expires_on) == (None, None, None, None)
    after = ada.now
    assert (after.product_id, after.recurring_pre_tax_amount) == (ada.more, 6000) == (seen.new_plan.product_id, 6000)
    assert abs(after.next_billing_date - seen.new_plan.next_billing_date) < timedelta(minutes=1)
    made = [payment for payment in ada.payments() if payment.charge_type == "plan_change"]
    assert sum(item.total_amount for item in made) == pytest.approx(total, abs=2)
    assert all(item.metadata == {"ticket": "9"} for item in made)


def test_a_scheduled_change_is_shown_replaced_and_cancelled(ada: Ada) -> None:
    refused(lambda: ada.change(effective_at="next_billing_date"), 422, "INVALID_PRORATION_MODE_WITH_NEXT_BILLING_DATE")
    later = {"effective_at": "next_billing_date", "proration_billing_mode": "full_immediately"}
    assert ada.foresee(product_id=ada.less, **later).immediate_charge.summary.total_amount == 0
    assert ada.change(product_id=ada.less, **later).payment_id is None
    planned = ada.now.scheduled_change
    assert planned and (planned.product_id, planned.product_name, planned.quantity) == (ada.less, "Acorn Solo", 1)
    assert planned.effective_at == ada.now.next_billing_date and ada.now.product_id == ada.team
    assert ada.sdk.subscriptions.list().items[0].scheduled_change
    refused(lambda: ada.change(), 409, "SCHEDULED_PLAN_CHANGE_EXISTS")
    refused(lambda: ada.foresee(), 409, "SCHEDULED_PLAN_CHANGE_EXISTS")
    assert ada.foresee(cancel_scheduled_change_plan=True, adaptive_currency_fees_inclusive=True).new_plan.product_id == ada.more
    ada.change(quantity=3, cancel_scheduled_change_plan=True, **later)
    again = ada.now.scheduled_change
    assert again and again.id != planned.id and (again.product_id, again.quantity) == (ada.more, 3)
    moved = ada.sdk.subscriptions.update(ada.subscription, next_billing_date=clock.now() + timedelta(days=9))
    assert moved.scheduled_change and moved.scheduled_change.effective_at == moved.next_billing_date
    assert ada.sdk.subscriptions.cancel_change_plan(ada.subscription) is None
    assert ada.now.scheduled_change is None
    with pytest.raises(NotFoundError) as nothing:
        ada.sdk.subscriptions.cancel_change_plan(ada.subscription)
    assert nothing.value.response.json()["code"] == "SCHEDULED_PLAN_CHANGE_NOT_FOUND"


def test_a_scheduled_change_stays_while_its_replacement_is_unpaid(ada: Ada) -> None:
    ada.change(product_id=ada.less, effective_at="next_billing_date", proration_billing_mode="full_immediately")
    planned = ada.now.scheduled_change
    ada.new_card(FAILS_LATER)
    declined = ada.change(cancel_scheduled_change_plan=True, on_payment_failure="prevent_change")
    assert ada.sdk.payments.retrieve(declined.payment_id or "").status == DECLINED_WORD
    assert ada.now.product_id == ada.team and ada.now.scheduled_change == planned


def test_a_plan_change_without_a_card_returns_a_payment_link(ada: Ada) -> None:
    refused(lambda: ada.change(return_url="https://acorn.example/done"), 422)
    refused(lambda: ada.change(collect_via_payment_link=True, on_payment_failure="apply_change"), 422)
    page = ada.change(collect_via_payment_link=True, return_url="https://acorn.example/done")
    assert page.payment_link and page.payment_id and page.expires_on and ada.now.product_id == ada.team
    refused(lambda: ada.change(), 409, "PENDING_PLAN_CHANGE_EXISTS")
    other = ada.change(quantity=2, collect_via_payment_link=True, cancel_older_payment_link=True)
    assert other.payment_id != page.payment_id and ada.sdk.payments.retrieve(page.payment_id).status == "cancelled"
    assert ada.site.pay(other.payment_link or "").status_code == 303
    ada.site.settle()
    assert (ada.now.product_id, ada.now.quantity) == (ada.more, 2)


def test_a_declined_change_with_apply_change_puts_it_on_hold(ada: Ada) -> None:
    ada.new_card(FAILS_LATER)
    done = ada.change(on_payment_failure="apply_change")
    assert done.payment_id and done.payment_link is None and (ada.now.product_id, ada.now.status) == (ada.more, "on_hold")
    refused(lambda: ada.change(product_id=ada.less), 409, "INACTIVE_SUBSCRIPTION_PLAN_CHANGE_NOT_SUPPORTED")


def test_available_plans_are_listed(ada: Ada) -> None:
    sdk = ada.sdk
    once = sdk.products.create(
        name="Mug",
        price={"type": "one_time_price", "currency": "EUR", "price": 900, "discount": 0, "purchasing_power_parity": False},
        tax_category="saas",
    ).product_id
    dollars = sdk.products.create(name="Max", price={**MONTHLY, "currency": "USD"}, tax_category="saas").product_id
    for product in (once, dollars, ada.team):
        for act in (ada.change, ada.foresee):
            refused(lambda act=act, product=product: act(product_id=product), 422)
    birch = ada.site.sdk(ada.site.other_key).products.create(name="Birch Max", price=MONTHLY, tax_category="saas").product_id
    for act in (ada.change, ada.foresee):
        refused(lambda act=act: act(product_id=birch), 404)
        refused(lambda act=act: act(addons=[{"addon_id": "adn_nobody", "quantity": 1}]), 404)
        refused(lambda act=act: act(discount_codes=["HALF"]), 422, "INVALID_DISCOUNT_CODE")
        refused(lambda act=act: act(quantity=0), 422, "INVALID_REQUEST_BODY")
    assert len(ada.payments()) == 1


# --- payment methods


def test_the_payment_method_is_updated(ada: Ada) -> None:
    update = ada.sdk.subscriptions.update_payment_method
    second = ada.new_card("5555 5555 5555 4444")
    assert second != ada.card
    done = update(ada.subscription, payment_method={"type": "existing", "payment_method_id": ada.card})
    assert (done.payment_id, done.payment_link) == (None, None) and ada.now.payment_method_id == ada.card
    assert "subscription.update_payment_method" in ada.events()
    refused(lambda: update(ada.subscription, payment_method={"type": "existing", "payment_method_id": "pm_nobody"}), 404)
    refused(lambda: update(ada.subscription, payment_method={"type": "existing"}), 422)  # type: ignore[typeddict-item]

    remove = ada.sdk.customers.delete_payment_method
    refused(lambda: remove(ada.card, customer_id=ada.customer), 409, "PAYMENT_METHOD_IN_USE")
    assert remove(second, customer_id=ada.customer) is None
    refused(lambda: remove(second, customer_id=ada.customer), 404)
    assert [item.payment_method_id for item in ada.sdk.customers.retrieve_payment_methods(ada.customer).items] == [ada.card]
    wallets = ada.sdk.customers.wallets.list(ada.customer)
    assert wallets.items == [] and wallets.total_balance_usd == 0


def test_updating_the_card_on_hold_pays_the_dues(ada: Ada) -> None:
    ada.new_card(FAILS_LATER)
    wait(days=32)
    ada.renew()
    failed = ada.payments()[0]
    assert ada.now.status == "on_hold" and failed.status == DECLINED_WORD
    state = ada.sdk.payments.retrieve_retry_state(failed.payment_id)
    assert state.can_retry and state.sends_used == 0 and state.sends_allowed == 10
    sent = ada.sdk.payments.retry(failed.payment_id)
    assert sent.status == DECLINED_WORD and sent.retry_attempt == 1 and sent.sends_used == 1 and ada.now.status == "on_hold"
    paid = ada.sdk.subscriptions.update_payment_method(ada.subscription, payment_method={"type": "existing", "payment_method_id": ada.card})
    assert ada.sdk.payments.retrieve(paid.payment_id or "").status == "succeeded" and ada.now.status == "active"
    assert ada.now.payment_method_id == ada.card
    state = ada.sdk.payments.retrieve_retry_state(failed.payment_id)
    assert not state.can_retry and state.reason == "SUBSCRIPTION_INACTIVE"
    refused(lambda: ada.sdk.payments.retry(failed.payment_id), 409, "SUBSCRIPTION_INACTIVE")


def test_on_demand_charges_are_refused(ada: Ada) -> None:
    body = refused(lambda: ada.sdk.subscriptions.charge(ada.subscription, product_price=500), 422, "SUBSCRIPTION_NOT_ON_DEMAND")
    assert "on demand" in body["message"] and len(ada.payments()) == 1


class CutsAnswers(httpx.BaseTransport):
    """A transport that passes each first call on and drops its answer."""

    def __init__(self) -> None:
        self.inner, self.calls = httpx.HTTPTransport(), 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.inner.handle_request(request)
        answer.read()
        self.calls += 1
        if self.calls % 2:
            raise httpx.ReadError("cut", request=request)
        return answer


def test_a_repeated_call_after_a_cut_answer_has_one_effect(ada: Ada) -> None:
    line = CutsAnswers()
    sdk = ada.site.sdk(max_retries=2, http_client=httpx.Client(transport=line))
    sdk.subscriptions.change_plan(ada.subscription, product_id=ada.more, quantity=1, proration_billing_mode="full_immediately")
    assert line.calls == 2 and [payment.charge_type for payment in ada.payments()] == ["plan_change", "new"]
    ada.new_card(FAILS_LATER)
    wait(days=32)
    ada.renew()
    assert ada.now.status == "on_hold"
    chosen = {"type": "existing", "payment_method_id": ada.card}
    paid = sdk.subscriptions.update_payment_method(ada.subscription, payment_method=chosen)  # type: ignore[arg-type]
    assert line.calls == 4 and ada.now.status == "active"
    assert [payment.payment_id for payment in ada.payments() if payment.status == "succeeded" and payment.charge_type == "renewal"] == [
        paid.payment_id
    ]
    back = sdk.refunds.create(payment_id=paid.payment_id or "")
    assert line.calls == 6 and [item.refund_id for item in ada.sdk.refunds.list().items] == [back.refund_id]
    assert sdk.subscriptions.update(ada.subscription, status="cancelled").status == "cancelled" and line.calls == 8


# --- access

PLAN: dict[str, Any] = {"product_id": "{more}", "quantity": 1, "proration_billing_mode": "full_immediately"}
ACTS: list[tuple[str, str, Any]] = [
    ("PATCH", "/subscriptions/{subscription}", {"metadata": {"mine": "now"}}),
    ("PATCH", "/subscriptions/{subscription}", {"status": "paused"}),
    ("PATCH", "/subscriptions/{subscription}", {"status": "cancelled"}),
    ("PATCH", "/subscriptions/{subscription}", {"next_billing_date": "2030-01-01T00:00:00Z"}),
    ("PATCH", "/subscriptions/{subscription}", {"customer_name": "Mallory"}),
    ("PATCH", "/subscriptions/{subscription}", {"subscription_period_count": 12}),
    ("POST", "/subscriptions/{subscription}/change-plan", PLAN),
    ("POST", "/subscriptions/{subscription}/change-plan/preview", PLAN),
    ("DELETE", "/subscriptions/{subscription}/change-plan/scheduled", None),
    ("POST", "/subscriptions/{subscription}/update-payment-method", {"type": "new"}),
    ("POST", "/subscriptions/{subscription}/update-payment-method", {"type": "existing", "payment_method_id": "{card}"}),
    ("POST", "/subscriptions/{subscription}/charge", {"product_price": 500}),
    ("DELETE", "/customers/{customer}/payment-methods/{card}", None),
    ("POST", "/payments/{payment}/retry", None),
    ("GET", "/payments/{payment}/retry", None),
    ("GET", "/customers/{customer}/wallets", None),
]


@pytest.mark.parametrize(("method", "path", "sent"), ACTS, ids=lambda item: str(item)[:60])
def test_other_businesses_and_read_only_keys_are_refused(shared_ada: Ada, method: str, path: str, sent: Any) -> None:
    ada, site = shared_ada, shared_ada.site
    before = ada.now, ada.paid(), ada.sdk.customers.retrieve_payment_methods(ada.customer)
    names = {**vars(ada), "payment": ada.payments()[0].payment_id}
    sent = {name: value.format(**names) if isinstance(value, str) else value for name, value in sent.items()} if sent else None
    stranger = site.raw(method, path.format(**names), site.other_key, json=sent)
    assert (stranger.status_code, stranger.json()["code"]) == (404, "NOT_FOUND"), stranger.text
    reader = site.raw(method, path.format(**names), site.read_key, json=sent)
    assert reader.status_code == (200 if method == "GET" else 403), reader.text
    assert site.raw(method, path.format(**names), json=sent).status_code == 401
    assert before == (ada.now, ada.paid(), ada.sdk.customers.retrieve_payment_methods(ada.customer))
