"""Staff find payments, refund once even if the form is sent twice, end subscriptions, and resolve reconciliation exceptions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from billing.charging.ports import ChargeOutcome
from billing.charging.reconciliation_exceptions import ReconciliationException
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from billing.subscriptions.subscribe import buy
from core import clock
from core.money import Money
from core.scope import everything, system
from tests.cast import Buyer
from tests.pages.console_setup import Site


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("money"))
    yield item
    item.services.database.dispose()
    drop()


def proved(site: Site, hours_ago: int) -> None:
    with site.services.database.open(everything("time passes"), write=True) as db:
        for browser_session in db.scalars(select(BrowserSession)):
            browser_session.proved_at = clock.wall() - timedelta(hours=hours_ago)


def bought(site: Site, buyer: Buyer) -> str:
    """Create another paid purchase. Returns the payment's id."""
    with site.app.app_context():
        return buy(
            site.services.processor,
            system(site.acorn),
            customer_id=buyer.customer_id,
            cart=[(site.products["acorn.once"], 1)],
            payment_method_id=buyer.method_id,
        ).payment_id


def refunds(site: Site, payment_id: str) -> list[Refund]:
    return sorted(site.rows(Refund, Refund.payment_id == payment_id), key=lambda row: row.created_at)


def test_lists_find_by_address_id_number_and_state(site: Site) -> None:
    sam, ada = site.sam, site.ada_at_acorn
    page = sam.get(site.at("/sales/subscriptions"))
    assert "Ada Marlow" in page.text and "Acorn Team" in page.text and "Ben Hill" not in page.text
    assert "Ada Marlow" in sam.get(site.at("/sales/subscriptions?q=ADA@marlow.example")).text
    for nothing in ("q=ben@hill.example", f"q={site.ben.subscription_id}", "state=paused"):
        assert "Nothing matches" in sam.get(site.at(f"/sales/subscriptions?{nothing}")).text
    page = sam.get(site.at(f"/sales/payments?q={ada.purchase_id}"))
    assert len(page.soup.select("table.ledger tbody tr")) == 1
    number = sam.get(site.at(f"/sales/payments/{ada.purchase_id}")).soup.find(string=lambda text: text and text.strip().startswith("ACO-"))
    assert number and len(sam.get(site.at(f"/sales/payments?q={number.strip().lower()}")).soup.select("table.ledger tbody tr")) == 1
    assert sam.get(site.at(f"/sales/subscriptions/{ada.subscription_id}")).h1 == "Acorn Team"
    for path in (
        f"/sales/payments/{site.ben.purchase_id}",
        f"/sales/subscriptions/{site.ben.subscription_id}",
        f"/sales/payments/{site.ben.purchase_id}/refund",
    ):
        sam.get(site.at(path), expect=404)
    assert "No refunds yet" in sam.get(site.at("/sales/refunds")).text
    assert "Nothing needs reconciliation" in sam.get(site.at("/sales/reconciliation")).text


def test_pages_of_a_list_follow_one_another(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenants.console.lists.PAGE", 1)
    bought(site, site.ada_at_acorn)
    seen, path = [], site.at("/sales/payments?state=succeeded")
    for _page in range(9):
        page = site.sam.get(path)
        seen += [link["href"] for link in page.soup.select("tbody th a")]
        older = page.soup.find("a", rel="next")
        if older is None:
            break
        path = older["href"]
    assert len(seen) == len(set(seen)) == len(site.rows(Payment, Payment.business_id == site.acorn, Payment.status == "succeeded")) > 2
    site.sam.get(site.at("/sales/payments?before=nonsense"), expect=400)


def test_a_refund_needs_a_fresh_sign_in_and_a_role(site: Site) -> None:
    path = site.at(f"/sales/payments/{site.ada_at_acorn.purchase_id}/refund")
    proved(site, hours_ago=1)
    assert "/login?again=1" in site.sam.get(path, follow=False, expect=303).location
    site.sam.get(site.at("/sales/payments"))
    back = site.sam.post(path, {"how": "all", "after": "0"}, follow=False, expect=303)
    assert "/login?again=1" in back.location and not refunds(site, site.ada_at_acorn.purchase_id)
    proved(site, hours_ago=0)
    looker = site.staff("look@acorn.example", "read_only")
    assert "/refund" not in looker.get(site.at(f"/sales/payments/{site.ada_at_acorn.purchase_id}")).text
    looker.get(path, expect=403)
    looker.post(path, {"how": "all", "after": "0"}, expect=403)
    assert not refunds(site, site.ada_at_acorn.purchase_id)


def test_invalid_refunds_keep_the_input_and_refund_nothing(site: Site) -> None:
    payment_id = bought(site, site.ada_at_acorn)
    path = site.at(f"/sales/payments/{payment_id}/refund")
    for typed in ("", "twelve", "12,50", "-5", "0", "1000", "12.505"):
        site.sam.get(path)
        page = site.sam.submit("/refund", how="part", amount=typed, reason="<b>Because</b>", expect=422)
        assert page.soup.find("input", id="amount").get("value", "") == typed and page.soup.find(id="amount-error")
        assert page.soup.find("textarea", id="reason").get_text() == "<b>Because</b>"
        assert page.soup.find("input", {"value": "part"}).has_attr("checked")
    site.sam.submit("/refund", how="some", expect=422)
    site.sam.submit("/refund", how="all", reason="x" * 501, expect=422)
    assert not refunds(site, payment_id)


def test_a_form_sent_twice_refunds_once(site: Site) -> None:
    payment_id = bought(site, site.ada_at_acorn)
    path = site.at(f"/sales/payments/{payment_id}/refund")
    site.sam.get(path)
    form = {"how": "part", "amount": "10.00", "reason": "Two days late", "after": "0", "confirmed": "1000"}
    assert "€10.00 was refunded to Ada Marlow." in site.sam.post(path, form).text
    page = site.sam.post(path, form)
    assert "Another refund of this payment was requested in the meantime." in page.text and "Two days late" in page.text
    assert [(refund.amount_minor, refund.reason, refund.status) for refund in refunds(site, payment_id)] == [
        (1000, "Two days late", "succeeded")
    ]
    site.sam.get(path)
    assert site.sam.page.soup.find("input", {"name": "after"})["value"] == "1"
    site.sam.submit("/refund", how="all")
    site.sam.submit("/refund")
    whole = site.row(Payment, Payment.id == payment_id).amount_minor
    assert [refund.amount_minor for refund in refunds(site, payment_id)] == [1000, whole - 1000]
    site.sam.get(path, expect=409)
    page = site.sam.post(path, {"how": "all", "after": "2"})
    assert "This payment has already been refunded in full." in page.text and len(refunds(site, payment_id)) == 2
    told = [email.text for email in site.sam.emails(site.SAM) if "issued a refund" in email.text]
    assert len(told) == 2 and any("€10.00, Ada Marlow" in item for item in told)
    ada = site.customer(site.ADA)
    assert "Partially refunded" in ada.get("/billing-history").text or "Refunded" in ada.page.text
    assert "Two days late" in site.sam.get(site.at("/sales/refunds")).text


def test_four_parallel_submissions_refund_once(site: Site) -> None:
    payment_id = bought(site, site.ada_at_acorn)
    path = site.at(f"/sales/payments/{payment_id}/refund")
    site.sam.get(path)
    form = {"how": "part", "amount": "5.00", "reason": "", "after": "0", "confirmed": "500", "csrf_token": site.sam.token()}
    cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in site.sam.client._cookies.values())
    gate, statuses = threading.Barrier(4), []

    def press() -> None:
        client = site.app.test_client(use_cookies=False)
        gate.wait()
        statuses.append(client.post(path, data=form, headers={"Cookie": cookies, "Origin": "http://localhost"}).status_code)

    hands = [threading.Thread(target=press) for _ in range(4)]
    for hand in hands:
        hand.start()
    for hand in hands:
        hand.join()
    assert statuses == [303] * 4
    assert [(refund.amount_minor, refund.status) for refund in refunds(site, payment_id)] == [(500, "succeeded")]
    assert site.row(Payment, Payment.id == payment_id).refunded_minor == 500


def test_staff_end_what_customers_may_not(site: Site) -> None:
    from billing.model.parties import Business

    with site.services.database.open(system(site.acorn), write=True) as db:
        business = db.scalar(select(Business))
        business.settings = {**business.settings, "cancel": False}
    item = site.buyer("acorn", "cora@hill.example", "Cora Hill")
    url = site.at(f"/sales/subscriptions/{item.subscription_id}")
    site.sam.get(url + "/cancellation")
    site.sam.submit("cancellation", comment="x" * 501, expect=422)
    assert site.row(Subscription, Subscription.id == item.subscription_id).cancel_at_period_end is False
    page = site.sam.submit("cancellation", feedback="too_expensive", comment="She rang us")
    assert "You can undo this until then" in page.text and "She rang us" in page.text and "your team" in page.text
    assert "is active again." in site.sam.submit("revocation").text
    proved(site, hours_ago=1)
    site.sam.get(url + "/cancellation")
    assert "/login?again=1" in site.sam.submit("cancellation", when="now", follow=False, expect=303).location
    proved(site, hours_ago=0)
    site.sam.get(url + "/cancellation?when=now")
    page = site.sam.submit("cancellation", comment="Closed her shop")
    row = site.row(Subscription, Subscription.id == item.subscription_id)
    assert "has ended." in page.text and "Closed her shop" in page.text
    assert (row.status, row.cancelled_by, row.cancellation_comment) == ("cancelled", {"type": "merchant_user"}, "Closed her shop")
    assert "Cancel subscription" not in page.text


def test_a_different_amount_needs_reconciliation(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider charged more than requested. Nothing is recorded, and Sam resolves the exception with a note."""
    gateway, ada = site.services.gateway, site.ada_at_acorn
    charge, look_up, keys = gateway.charge, gateway.look_up, set()

    def too_much(found: ChargeOutcome) -> ChargeOutcome:
        keys.add(found.key)
        return replace(found, amount=Money(9999, "EUR"))

    monkeypatch.setattr(gateway, "charge", lambda request: too_much(charge(request)))
    monkeypatch.setattr(gateway, "look_up", lambda trace: too_much(look_up(trace)) if trace.key in keys else look_up(trace))
    payment_id = bought(site, ada)
    assert site.row(Payment, Payment.id == payment_id).is_open
    assert "Some payments need reconciliation." in site.sam.get(site.at("/sales/payments")).text
    emails = [email for email in site.sam.emails(site.SAM) if "needs reconciliation" in email.subject]
    assert (
        len(emails) == 1
        and site.at("/sales/reconciliation") in emails[0].text
        and "moved a different amount than we requested" in emails[0].text
    )
    page = site.sam.get(site.at("/sales/reconciliation"))
    assert "The provider reports €99.99." in page.text and "Ada Marlow" in page.text
    assert "This entry still needs reconciliation." in site.sam.submit("check").text
    assert site.sam.submit("closing", note=" ", expect=422).soup.find(id=f"note-{payment_id}-error")
    assert site.row(Payment, Payment.id == payment_id).is_open
    page = site.sam.submit("closing", note="Gave €99.99 back in the bank's own pages")
    assert "This cannot be undone." in page.text and site.row(Payment, Payment.id == payment_id).is_open
    page = site.sam.submit("closing")
    assert "Entry closed." in page.text and "Nothing needs reconciliation" in page.text
    row = site.row(Payment, Payment.id == payment_id)
    assert (row.status, row.is_open, row.error_code) == ("cancelled", False, "SETTLED_BY_HAND")
    assert site.row(ReconciliationException, ReconciliationException.id == payment_id).note.startswith("Gave €99.99")
    site.services.processor.check(site.acorn, payment_id)
    assert "Nothing needs reconciliation" in site.sam.get(site.at("/sales/reconciliation")).text
    site.sam.post(site.at(f"/sales/reconciliation/{payment_id}/closing"), {"note": "Again"}, expect=404)


def test_a_lost_charge_needs_reconciliation(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The charge is unknown at the provider and too old to be sent again. The exception closes when the provider reports it."""
    gateway, processor = site.services.gateway, site.services.processor
    look_up = gateway.look_up
    monkeypatch.setattr(gateway, "charge", lambda request: ChargeOutcome("unknown", request.key))
    payment_id = bought(site, site.ada_at_acorn)
    processor.check(site.acorn, payment_id)
    assert site.row(ReconciliationException, ReconciliationException.id == payment_id) is None
    with site.services.database.open(system(site.acorn), write=True) as db:
        db.scalar(select(Payment).where(Payment.id == payment_id)).sent_at = clock.wall() - gateway.resend_window - timedelta(minutes=1)
    processor.check(site.acorn, payment_id)
    processor.check(site.acorn, payment_id)
    assert "has no record of this request" in site.sam.get(site.at("/sales/reconciliation")).text
    ours = site.row(Payment, Payment.id == payment_id)
    monkeypatch.setattr(
        gateway,
        "look_up",
        lambda trace: (
            ChargeOutcome("succeeded", trace.key, "late", Money(ours.amount_minor, ours.currency))
            if trace.key == ours.key
            else look_up(trace)
        ),
    )
    assert "This entry is resolved." in site.sam.submit("check").text
    assert site.row(Payment, Payment.id == payment_id).status == "succeeded"
    assert (
        site.row(ReconciliationException, ReconciliationException.id == payment_id).closed_at
        and "Nothing needs reconciliation" in site.sam.page.text
    )


def test_a_lost_refund_needs_reconciliation(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A requested refund is unknown at the provider. It is not sent again automatically; staff can close it and refund again."""
    payment_id = bought(site, site.ada_at_acorn)
    with monkeypatch.context() as lost:
        lost.setattr(site.services.gateway, "refund", lambda request: ChargeOutcome("unknown", request.key))
        site.sam.get(site.at(f"/sales/payments/{payment_id}/refund"))
        site.sam.submit("/refund", how="all")
        assert "is in progress" in site.sam.submit("/refund").text
        refund = refunds(site, payment_id)[0]
        with site.services.database.open(system(site.acorn), write=True) as db:
            row = db.scalar(select(Refund).where(Refund.id == refund.id))
            row.created_at -= site.services.gateway.resend_window + timedelta(minutes=1)
        site.services.processor.start_refund(site.acorn, refund.id)
    page = site.sam.get(site.at("/sales/reconciliation"))
    assert "Refund of" in page.h1 + page.text and "It is too old to be sent again" in page.text
    assert (
        "A refund of this payment is already in progress."
        in site.sam.post(
            site.at(f"/sales/payments/{payment_id}/refund"), {"how": "all", "after": "1", "confirmed": str(refund.amount_minor)}
        ).text
    )
    site.sam.get(site.at("/sales/reconciliation"))
    site.sam.submit("closing", note="Not in the provider's own list either")
    assert "Entry closed." in site.sam.submit("closing").text
    assert [item.status for item in refunds(site, payment_id)] == ["failed"]
    site.sam.get(site.at(f"/sales/payments/{payment_id}/refund"))
    site.sam.submit("/refund", how="all")
    assert "was refunded to Ada Marlow." in site.sam.submit("/refund").text
    assert [item.status for item in refunds(site, payment_id)] == ["failed", "succeeded"]


def test_staff_complete_unrecorded_payments(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider charged and recording failed. Staff see it on a page, not only in the log."""

    def breaks(*_: Any, **__: Any) -> Any:
        raise RuntimeError("something broke")

    with monkeypatch.context() as patch:
        patch.setattr("billing.charging.settlement._issue_for", breaks)
        payment_id = bought(site, site.ada_at_acorn)
        assert "Some payments need reconciliation." in site.sam.get(site.at("/sales/payments")).text
        emails = [email for email in site.sam.emails(site.SAM) if "needs reconciliation" in email.subject]
        assert "we could not record it in full" in emails[-1].text
        page = site.sam.get(site.at("/sales/reconciliation"))
        assert "The customer is not charged again." in page.text and "RuntimeError" in page.text
        site.sam.submit("closing", note="Looked at it", confirmed="yes")
        assert site.row(ReconciliationException, ReconciliationException.id == payment_id).closed_at is None
        site.sam.get(site.at("/sales/reconciliation"))
    assert "This entry is resolved." in site.sam.submit("check").text
    row = site.row(Payment, Payment.id == payment_id)
    assert (row.status, row.is_open) == ("succeeded", False) and row.invoice_id


def test_a_typed_amount_selects_a_partial_refund(site: Site) -> None:
    payment_id = bought(site, site.ada_at_acorn)
    path = site.at(f"/sales/payments/{payment_id}/refund")
    page = site.sam.get(path)
    assert not page.soup.find("input", {"name": "how", "checked": True})  # no option is preselected
    page = site.sam.submit("/refund", how="all", amount="10.00", reason="Too late", expect=422)
    assert "You chose the full amount, €58.80, but entered €10.00." in page.text and page.soup.find(id="how-error")
    assert page.soup.find(id="how").find_previous_sibling() is None  # a legend is one only as the first element of its group
    assert page.soup.find("input", id="amount")["value"] == "10.00" and page.soup.find("textarea", id="reason").get_text() == "Too late"
    site.sam.get(path)
    page = site.sam.submit("/refund", amount="10.00", reason="Too late")
    assert not refunds(site, payment_id) and "Refund €10.00" in [item.get_text() for item in page.soup.find_all("button")]
    assert "A refund cannot be undone." in page.text and "€48.80 of the payment can still be refunded later." in page.text
    page = site.sam.submit("/refund", change="yes")
    assert page.soup.find("input", id="amount")["value"] == "10.00" and not refunds(site, payment_id)
    site.sam.submit("/refund")
    assert "€10.00 was refunded to Ada Marlow." in site.sam.submit("/refund").text
    site.sam.get(path)
    page = site.sam.submit("/refund", how="all")
    assert "Refund €48.80" in [item.get_text() for item in page.soup.find_all("button")]
    page = site.sam.submit("/refund", confirmed="5880")  # another amount than reviewed
    assert len(refunds(site, payment_id)) == 1 and "Refund €48.80" in [item.get_text() for item in page.soup.find_all("button")]
