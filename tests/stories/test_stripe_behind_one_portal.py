"""Two businesses with Stripe accounts and one with the sandbox behind one portal, in pages: each payment stays at its own account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from billing.catalogue.products import create_product
from billing.customers.businesses import create_business
from billing.model.disputes import Dispute
from billing.model.payment_accounts import PaymentAccount, sandbox_account_id
from billing.model.payments import Payment, PaymentMethod
from billing.subscriptions.subscribe import subscribe
from core.scope import everything, system
from gateways.stripe import StripeKind
from tenants.memberships import invite
from tests.cast import MONTHLY, ONCE, Buyer
from tests.harness.stripe_standin import StandIn, running
from tests.harness.stripe_standin.cards import CARDS, is_decline
from tests.pages.console_setup import Site
from tests.visitor import Visitor

KEYS = {"acorn": "rk_test_acorn", "birch": "rk_test_birch"}
BANK_ASKS = "4000000000003220"
GOOD = "4242424242424242"
DECLINED = [card.number for card in CARDS if is_decline(card.behavior)]


class Portal(Site):
    """The portal with the stand-in for Stripe."""

    stand_in: StandIn
    accounts: dict[str, str]
    harbour: str

    def connect(self, name: str) -> str:
        """Sam connects the Stripe account of a business in the console and makes it the default. Returns the payment account's id."""
        business_id, key = getattr(self, name), KEYS[name]
        self.sam.get(f"/console/{business_id}/settings/payments/new")
        self.sam.submit("/payments/new", kind="stripe", label="Stripe", secret_key=key)
        found = self.row(PaymentAccount, PaymentAccount.business_id == business_id, PaymentAccount.kind == "stripe")
        self.sam.submit("webhook-secret", webhook_secret=self.stand_in.account(key).webhook_secret)
        self.sam.submit(f"{found.id}/default")
        return str(found.id)

    def deliver(self) -> None:
        """Send the events of both Stripe accounts to the portal, and let the worker act on them."""
        for name, key in KEYS.items():
            for headers, body in self.stand_in.take_events(key):
                answer = self.app.test_client().post(f"/incoming/stripe/{self.accounts[name]}", headers=headers, data=body)
                assert answer.status_code == 204, answer.get_data(as_text=True)
        self.services.worker.drain()

    def order(self, name: str, buyer: Buyer) -> Any:
        """Start a subscription of 24.17 EUR plus tax that is paid on a hosted page."""
        with self.app.app_context():
            return subscribe(
                self.services.processor,
                system(buyer.business_id),
                customer_id=buyer.customer_id,
                product_id=self.products[f"{name}.plan"],
                billing={"country": "GB", "street": "14 Tanner Street", "city": "London", "zipcode": "SE1 3LD"},
                return_url="https://acorn.example/thanks",
            )

    def charged(self, name: str) -> list[tuple[str, int]]:
        return [(kind, amount) for kind, _, amount, _ in self.stand_in.account(KEYS[name]).movements]

    def payment(self, payment_id: str) -> Payment:
        found: Payment = self.row(Payment, Payment.id == payment_id)
        return found


@pytest.fixture
def portal(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Portal]:
    urls, drop = request.getfixturevalue("sqlite").fresh()
    with running() as stand_in:
        site = Portal.open(urls, tmp_path, outgoing_loopback=True)
        site.stand_in = stand_in
        for key in KEYS.values():
            stand_in.account(key)
        site.services.processor.accounts.kinds["stripe"] = StripeKind(site.services.outgoing, stand_in.base_url)
        join_birch(site)
        site.accounts = {name: site.connect(name) for name in KEYS}
        yield site
        assert stand_in.mistakes == []
        site.services.database.dispose()
    drop()


def join_birch(site: Portal) -> None:
    with site.services.database.open(system(site.birch), write=True) as db:
        invite(db, site.birch, site.SAM, "owner")
    site.sam.get("/console")
    site.sam.submit("acceptance", follow=False, expect=303)


def fill(address: str, number: str) -> requests.Response:
    """Type a card into Stripe's page, as the browser of the customer does. Follows no redirect back to the portal."""
    typed = {"number": number, "expiry": "06/40", "cvc": "123", "name": "Ada Marlow", "country": "GB"}
    requests.post(address, data=typed, timeout=10, allow_redirects=False)
    return requests.get(address, timeout=10, allow_redirects=False)


def hosted(visitor: Visitor, link: str) -> str:
    """Open a payment link of the portal. Returns the address of Stripe's page that it leads to."""
    if "/c/pay/" in link:
        return link
    return visitor.get(link, follow=False, expect=303).location


def test_each_business_is_paid_at_its_own_account(portal: Portal) -> None:
    ada = portal.customer(portal.ADA)
    before = {name: portal.charged(name) for name in KEYS}
    assert before == {"acorn": [], "birch": []}  # the cast paid with cards at the sandbox
    for name in KEYS:
        began = portal.order(name, getattr(portal, f"ada_at_{name}"))
        page = hosted(ada, began.link)
        assert urlsplit(page).netloc == urlsplit(portal.stand_in.base_url).netloc
        for number in DECLINED:
            answer = fill(page, number)
            assert answer.status_code == 200 and 'role="alert"' in answer.text, number
        portal.deliver()
        assert portal.payment(began.payment_id).status != "succeeded" and portal.charged(name) == []
        bank = fill(page, BANK_ASKS)
        assert "/3ds/" in bank.headers["Location"]
        portal.deliver()
        assert portal.payment(began.payment_id).status != "succeeded"
        requests.post(bank.headers["Location"], data={"answer": "approve"}, timeout=10, allow_redirects=False)
        portal.deliver()
        paid = portal.payment(began.payment_id)
        assert (paid.status, paid.payment_account_id) == ("succeeded", portal.accounts[name])
        assert portal.charged(name) == [("charge", began.total_minor)]
        method = portal.row(PaymentMethod, PaymentMethod.id == paid.payment_method_id)
        assert (method.payment_account_id, method.last4) == (portal.accounts[name], BANK_ASKS[-4:])
    text = ada.get("/subscriptions").text
    assert "Acorn Team" in text and "Birch Team" in text
    assert "ending 3220" in ada.get("/payment-methods").text


def test_a_card_is_changed_and_money_refunded_at_the_account_that_was_paid(portal: Portal) -> None:
    ada, buyer = portal.customer(portal.ADA), portal.ada_at_acorn
    began = portal.order("acorn", buyer)
    fill(hosted(ada, began.link), GOOD)
    portal.deliver()
    ada.get(f"/subscriptions/{began.subscription_id}/payment-method")
    page = ada.submit("/payment-method", follow=False, expect=303, method="new").location
    answer = fill(hosted(ada, page), "5555555555554444")
    assert answer.status_code == 303
    portal.deliver()
    assert "ending 4444" in ada.get(f"/subscriptions/{began.subscription_id}").text
    sam = portal.sam
    sam.get(f"/console/{portal.acorn}/sales/payments/{began.payment_id}/refund")
    sam.submit("/refund", how="part", amount="10.00", reason="Two days late")
    assert "was refunded to Ada Marlow" in sam.submit("/refund").text
    assert portal.charged("acorn") == [("charge", began.total_minor), ("refund", 1000)] and portal.charged("birch") == []
    portal.deliver()
    assert portal.payment(began.payment_id).refunded_minor == 1000


def test_a_dispute_is_shown_to_the_business_that_was_paid(portal: Portal) -> None:
    ada = portal.customer(portal.ADA)
    began = portal.order("acorn", portal.ada_at_acorn)
    fill(hosted(ada, began.link), GOOD)
    portal.deliver()
    reference = portal.stand_in.open_dispute(portal.payment(began.payment_id).gateway_reference)
    portal.deliver()
    dispute = portal.row(Dispute)
    assert (dispute.business_id, dispute.payment_id, dispute.reference) == (portal.acorn, began.payment_id, reference)
    assert dispute.payment_account_id == portal.accounts["acorn"] and portal.payment(began.payment_id).left_minor == 0
    assert "Ada Marlow" in portal.sam.get(f"/console/{portal.acorn}/sales/disputes").text
    assert "No disputes" in portal.sam.get(f"/console/{portal.birch}/sales/disputes").text
    assert portal.sam.get(f"/console/{portal.birch}/sales/disputes/{dispute.id}", expect=404).status == 404
    assert "You disputed" in ada.get(f"/invoices/{dispute.invoice_id}").text
    portal.stand_in.close_dispute(reference, won=True)
    portal.deliver()
    assert portal.row(Dispute).status == "dispute_won" and portal.payment(began.payment_id).left_minor == began.total_minor


def test_a_customer_is_told_when_the_business_moves_away(portal: Portal) -> None:
    ada = portal.customer(portal.ADA)
    began = portal.order("acorn", portal.ada_at_acorn)
    fill(hosted(ada, began.link), GOOD)
    portal.deliver()
    url = f"/subscriptions/{began.subscription_id}"
    assert "can no longer be charged" not in ada.get(url).text
    portal.sam.get(f"/console/{portal.acorn}/settings/payments/{portal.accounts['acorn']}")
    portal.sam.submit("stop")
    portal.sam.submit("stop")
    page = ada.get(url)
    assert "Your Visa ending 4242 can no longer be charged. Add it again." in page.text
    assert page.soup.find("a", class_="main", href=f"{url}/payment-method").get_text(strip=True) == "Replace card"


def test_a_third_business_stays_at_the_sandbox(portal: Portal) -> None:
    with portal.services.database.open(everything("a third business"), write=True) as db:
        harbour = portal.harbour = create_business(db, name="Harbour", currency="EUR", zone="Europe/Berlin").business_id
        portal.products["harbour.plan"] = create_product(db, harbour, name="Harbour Team", price=MONTHLY).id
        portal.products["harbour.once"] = create_product(db, harbour, name="Harbour for desktop", price=ONCE).id
    with portal.app.app_context():
        buyer = portal.buyer("harbour", portal.ADA, "Ada Marlow")
    paid = portal.payment(buyer.purchase_id)
    assert (paid.status, paid.payment_account_id) == ("succeeded", sandbox_account_id(harbour))
    assert portal.charged("acorn") == portal.charged("birch") == []
    ada = portal.customer(portal.ADA)
    assert all(name in ada.get("/subscriptions").text for name in ("Acorn Team", "Birch Team", "Harbour Team"))


def test_secrets_and_keys_count_at_their_own_account_and_mode_only(portal: Portal) -> None:
    account, client = portal.stand_in.account(KEYS["acorn"]), portal.app.test_client()
    account.emit("customer.updated", account.make("customer", email=None, name=None, description=None, metadata={}))
    headers, body = portal.stand_in.take_events(KEYS["acorn"])[-1]
    assert client.post(f"/incoming/stripe/{portal.accounts['birch']}", headers=headers, data=body).status_code == 401
    assert client.post(f"/incoming/stripe/{portal.accounts['acorn']}", headers=headers, data=body).status_code == 204
    portal.sam.get(f"/console/{portal.acorn}/settings/payments/new")
    page = portal.sam.submit("/payments/new", kind="stripe", label="Live", secret_key="rk_live_acorn", expect=422)
    assert "rk_test_" in page.text and "rk_live_acorn" not in page.body.decode()


def test_a_test_without_a_signing_secret_says_so_at_once(portal: Portal) -> None:
    portal.stand_in.account("rk_test_second")
    sam = portal.sam
    sam.get(f"/console/{portal.acorn}/settings/payments/new")
    sam.submit("/payments/new", kind="stripe", label="Second", secret_key="rk_test_second")
    sam.submit("/test")
    portal.services.worker.drain()
    page = sam.get(sam.path)
    assert "The key works." in page.text and "No signing secret is saved here." in page.text
