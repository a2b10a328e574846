"""Staff and money: found, looked at, given back once however often the form is sent, ended for a customer, and what waits for a person."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from billing.commands.buying import buy
from billing.parked import Parked
from billing.payments import Payment, Refund
from billing.ports import Outcome
from billing.subscriptions import Subscription
from core import clock
from core.money import Money
from core.scope import everything, system
from tests.cast import Buyer
from tests.pages.staffed import Shop


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    one = Shop.open(urls, tmp_path_factory.mktemp("money"))
    yield one
    one.house.database.dispose()
    drop()


def proved(shop: Shop, hours_ago: int) -> None:
    with shop.house.database.open(everything("time passes"), write=True) as db:
        for one in db.scalars(select(BrowserSession)):
            one.proved_at = clock.wall() - timedelta(hours=hours_ago)


def bought(shop: Shop, buyer: Buyer) -> str:
    """One more purchase, paid. Returns the payment's id."""
    with shop.app.app_context():
        return buy(shop.house.till, system(shop.acorn), customer_id=buyer.customer_id, cart=[(shop.products["acorn.once"], 1)],
                   payment_method_id=buyer.method_id).payment_id


def refunds(shop: Shop, payment_id: str) -> list[Refund]:
    return sorted(shop.rows(Refund, Refund.payment_id == payment_id), key=lambda one: one.created_at)


def test_lists_find_by_address_id_number_and_state(shop: Shop) -> None:
    sam, ada = shop.sam, shop.ada_at_acorn
    page = sam.get(shop.at("/sales/subscriptions"))
    assert "Ada Marlow" in page.text and "Acorn Team" in page.text and "Ben Hill" not in page.text
    assert "Ada Marlow" in sam.get(shop.at("/sales/subscriptions?q=ADA@marlow.example")).text
    for nothing in ("q=ben@hill.example", f"q={shop.ben.subscription_id}", "state=paused"):
        assert "Nothing matches" in sam.get(shop.at(f"/sales/subscriptions?{nothing}")).text
    page = sam.get(shop.at(f"/sales/payments?q={ada.purchase_id}"))
    assert len(page.soup.select("table.ledger tbody tr")) == 1
    number = sam.get(shop.at(f"/sales/payments/{ada.purchase_id}")).soup.find(string=lambda text: text and text.strip().startswith("ACO-"))
    assert number and len(sam.get(shop.at(f"/sales/payments?q={number.strip().lower()}")).soup.select("table.ledger tbody tr")) == 1
    assert sam.get(shop.at(f"/sales/subscriptions/{ada.subscription_id}")).h1 == "Acorn Team"
    for path in (f"/sales/payments/{shop.ben.purchase_id}", f"/sales/subscriptions/{shop.ben.subscription_id}",
                 f"/sales/payments/{shop.ben.purchase_id}/refund"):
        sam.get(shop.at(path), expect=404)
    assert "Nothing was given back yet" in sam.get(shop.at("/sales/refunds")).text
    assert "Nothing waits for you" in sam.get(shop.at("/sales/parked")).text


def test_pages_of_a_list_follow_one_another(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenants.console.lists.PAGE", 1)
    bought(shop, shop.ada_at_acorn)
    seen, path = [], shop.at("/sales/payments?state=succeeded")
    for _page in range(9):
        page = shop.sam.get(path)
        seen += [link["href"] for link in page.soup.select("tbody th a")]
        older = page.soup.find("a", rel="next")
        if older is None:
            break
        path = older["href"]
    assert len(seen) == len(set(seen)) == len(shop.rows(Payment, Payment.business_id == shop.acorn, Payment.status == "succeeded")) > 2
    shop.sam.get(shop.at("/sales/payments?before=nonsense"), expect=400)


def test_a_refund_wants_a_fresh_proof_and_a_role(shop: Shop) -> None:
    path = shop.at(f"/sales/payments/{shop.ada_at_acorn.purchase_id}/refund")
    proved(shop, hours_ago=1)
    assert "/login?again=1" in shop.sam.get(path, follow=False, expect=303).location
    shop.sam.get(shop.at("/sales/payments"))
    back = shop.sam.post(path, {"how": "all", "after": "0"}, follow=False, expect=303)
    assert "/login?again=1" in back.location and not refunds(shop, shop.ada_at_acorn.purchase_id)
    proved(shop, hours_ago=0)
    looker = shop.staff("look@acorn.example", "read_only")
    assert "Refund it" not in looker.get(shop.at(f"/sales/payments/{shop.ada_at_acorn.purchase_id}")).text
    looker.get(path, expect=403)
    looker.post(path, {"how": "all", "after": "0"}, expect=403)
    assert not refunds(shop, shop.ada_at_acorn.purchase_id)


def test_bad_input_keeps_what_was_typed_and_gives_nothing_back(shop: Shop) -> None:
    payment_id = bought(shop, shop.ada_at_acorn)
    path = shop.at(f"/sales/payments/{payment_id}/refund")
    for typed in ("", "twelve", "12,50", "-5", "0", "1000", "12.505"):
        shop.sam.get(path)
        page = shop.sam.submit("/refund", how="part", amount=typed, reason="<b>Because</b>", expect=422)
        assert page.soup.find("input", id="amount").get("value", "") == typed and page.soup.find(id="amount-error")
        assert page.soup.find("textarea", id="reason").get_text() == "<b>Because</b>"
        assert page.soup.find("input", {"value": "part"}).has_attr("checked")
    shop.sam.submit("/refund", how="some", expect=422)
    shop.sam.submit("/refund", how="all", reason="x" * 501, expect=422)
    assert not refunds(shop, payment_id)


def test_a_form_sent_twice_refunds_once(shop: Shop) -> None:
    payment_id = bought(shop, shop.ada_at_acorn)
    path = shop.at(f"/sales/payments/{payment_id}/refund")
    shop.sam.get(path)
    form = {"how": "part", "amount": "10.00", "reason": "Two days late", "after": "0", "confirmed": "1000"}
    assert "€10.00 went back to Ada Marlow." in shop.sam.post(path, form).text
    page = shop.sam.post(path, form)
    assert "Another refund of this payment was asked for in the meantime." in page.text and "Two days late" in page.text
    assert [(one.amount_minor, one.reason, one.status) for one in refunds(shop, payment_id)] == [(1000, "Two days late", "succeeded")]
    shop.sam.get(path)
    assert shop.sam.page.soup.find("input", {"name": "after"})["value"] == "1"
    shop.sam.submit("/refund", how="all")
    shop.sam.submit("/refund")
    whole = shop.row(Payment, Payment.id == payment_id).amount_minor
    assert [one.amount_minor for one in refunds(shop, payment_id)] == [1000, whole - 1000]
    shop.sam.get(path, expect=409)
    page = shop.sam.post(path, {"how": "all", "after": "2"})
    assert "All of it was refunded already." in page.text and len(refunds(shop, payment_id)) == 2
    told = [one.text for one in shop.sam.letters(shop.SAM) if "gave money back" in one.text]
    assert len(told) == 2 and any("€10.00, Ada Marlow" in one for one in told)
    ada = shop.customer(shop.ADA)
    assert "Partly refunded" in ada.get("/billing-history").text or "Refunded" in ada.page.text
    assert "Two days late" in shop.sam.get(shop.at("/sales/refunds")).text


def test_the_same_form_from_four_hands_at_once_refunds_once(shop: Shop) -> None:
    payment_id = bought(shop, shop.ada_at_acorn)
    path = shop.at(f"/sales/payments/{payment_id}/refund")
    shop.sam.get(path)
    form = {"how": "part", "amount": "5.00", "reason": "", "after": "0", "confirmed": "500", "csrf_token": shop.sam.token()}
    cookies = "; ".join(f"{one.key}={one.value}" for one in shop.sam.client._cookies.values())
    gate, statuses = threading.Barrier(4), []

    def press() -> None:
        client = shop.app.test_client(use_cookies=False)
        gate.wait()
        statuses.append(client.post(path, data=form, headers={"Cookie": cookies, "Origin": "http://localhost"}).status_code)

    hands = [threading.Thread(target=press) for _ in range(4)]
    for one in hands:
        one.start()
    for one in hands:
        one.join()
    assert statuses == [303] * 4
    assert [(one.amount_minor, one.status) for one in refunds(shop, payment_id)] == [(500, "succeeded")]
    assert shop.row(Payment, Payment.id == payment_id).refunded_minor == 500


def test_staff_end_what_customers_may_not(shop: Shop) -> None:
    from billing.parties import Business

    with shop.house.database.open(system(shop.acorn), write=True) as db:
        business = db.scalar(select(Business))
        business.settings = {**business.settings, "cancel": False}
    one = shop.buyer("acorn", "cora@hill.example", "Cora Hill")
    url = shop.at(f"/sales/subscriptions/{one.subscription_id}")
    shop.sam.get(url + "/cancellation")
    shop.sam.submit("cancellation", comment="x" * 501, expect=422)
    assert shop.row(Subscription, Subscription.id == one.subscription_id).cancel_at_period_end is False
    page = shop.sam.submit("cancellation", feedback="too_expensive", comment="She rang us")
    assert "can be taken back until then" in page.text and "She rang us" in page.text and "your team" in page.text
    assert "goes on." in shop.sam.submit("revocation").text
    proved(shop, hours_ago=1)
    shop.sam.get(url + "/cancellation")
    assert "/login?again=1" in shop.sam.submit("cancellation", when="now", follow=False, expect=303).location
    proved(shop, hours_ago=0)
    shop.sam.get(url + "/cancellation?when=now")
    page = shop.sam.submit("cancellation", comment="Closed her shop")
    row = shop.row(Subscription, Subscription.id == one.subscription_id)
    assert "has ended." in page.text and "Closed her shop" in page.text
    assert (row.status, row.cancelled_by, row.cancellation_comment) == ("cancelled", {"type": "merchant_user"}, "Closed her shop")
    assert "Cancel it" not in page.text


def test_another_amount_waits_for_a_person(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider took more than was asked for: nothing is booked, Sam is told what to do, and says what he did."""
    gateway, ada = shop.house.gateway, shop.ada_at_acorn
    charge, look_up, keys = gateway.charge, gateway.look_up, set()

    def too_much(found: Outcome) -> Outcome:
        keys.add(found.key)
        return replace(found, amount=Money(9999, "EUR"))

    monkeypatch.setattr(gateway, "charge", lambda request: too_much(charge(request)))
    monkeypatch.setattr(gateway, "look_up", lambda key: too_much(look_up(key)) if key in keys else look_up(key))
    payment_id = bought(shop, ada)
    assert shop.row(Payment, Payment.id == payment_id).is_open
    assert "Some money waits for you." in shop.sam.get(shop.at("/sales/payments")).text
    letters = [one for one in shop.sam.letters(shop.SAM) if "waits for you" in one.subject]
    assert len(letters) == 1 and shop.at("/sales/parked") in letters[0].text and "took another amount" in letters[0].text
    page = shop.sam.get(shop.at("/sales/parked"))
    assert "The provider says it took €99.99." in page.text and "Ada Marlow" in page.text
    assert "It still waits for you." in shop.sam.submit("question").text
    assert shop.sam.submit("closing", note=" ", expect=422).soup.find(id=f"note-{payment_id}-error")
    assert shop.row(Payment, Payment.id == payment_id).is_open
    page = shop.sam.submit("closing", note="Gave €99.99 back in the bank's own pages")
    assert "This cannot be undone." in page.text and shop.row(Payment, Payment.id == payment_id).is_open
    page = shop.sam.submit("closing")
    assert "Closed." in page.text and "Nothing waits for you" in page.text
    row = shop.row(Payment, Payment.id == payment_id)
    assert (row.status, row.is_open, row.error_code) == ("cancelled", False, "SETTLED_BY_HAND")
    assert shop.row(Parked, Parked.id == payment_id).note.startswith("Gave €99.99")
    shop.house.till.check(shop.acorn, payment_id)
    assert "Nothing waits for you" in shop.sam.get(shop.at("/sales/parked")).text
    shop.sam.post(shop.at(f"/sales/parked/{payment_id}/closing"), {"note": "Again"}, expect=404)


def test_a_call_that_got_lost_waits_for_a_person(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown there, too old to be sent again: parked; and off the list by itself when the provider knows after all."""
    gateway, till = shop.house.gateway, shop.house.till
    look_up = gateway.look_up
    monkeypatch.setattr(gateway, "charge", lambda request: Outcome("unknown", request.key))
    payment_id = bought(shop, shop.ada_at_acorn)
    till.check(shop.acorn, payment_id)
    assert shop.row(Parked, Parked.id == payment_id) is None
    with shop.house.database.open(system(shop.acorn), write=True) as db:
        db.scalar(select(Payment).where(Payment.id == payment_id)).sent_at = clock.wall() - gateway.resend_window - timedelta(minutes=1)
    till.check(shop.acorn, payment_id)
    till.check(shop.acorn, payment_id)
    assert "which does not know it" in shop.sam.get(shop.at("/sales/parked")).text
    ours = shop.row(Payment, Payment.id == payment_id)
    monkeypatch.setattr(gateway, "look_up", lambda key: Outcome("succeeded", key, "late", Money(ours.amount_minor, ours.currency))
                        if key == ours.key else look_up(key))
    assert "it is settled" in shop.sam.submit("question").text
    assert shop.row(Payment, Payment.id == payment_id).status == "succeeded"
    assert shop.row(Parked, Parked.id == payment_id).closed_at and "Nothing waits for you" in shop.sam.page.text


def test_a_refund_that_got_lost_waits_for_a_person(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for, no answer, unknown there since: it is not sent again by itself, and after a person has looked it can be made anew."""
    payment_id = bought(shop, shop.ada_at_acorn)
    with monkeypatch.context() as lost:
        lost.setattr(shop.house.gateway, "refund", lambda request: Outcome("unknown", request.key))
        shop.sam.get(shop.at(f"/sales/payments/{payment_id}/refund"))
        shop.sam.submit("/refund", how="all")
        assert "is on its way" in shop.sam.submit("/refund").text
        refund = refunds(shop, payment_id)[0]
        with shop.house.database.open(system(shop.acorn), write=True) as db:
            row = db.scalar(select(Refund).where(Refund.id == refund.id))
            row.created_at -= shop.house.gateway.resend_window + timedelta(minutes=1)
        shop.house.till.start_refund(shop.acorn, refund.id)
    page = shop.sam.get(shop.at("/sales/parked"))
    assert "Refund of" in page.h1 + page.text and "It is too old to be sent again" in page.text
    assert "A refund of this payment is under way." in shop.sam.post(
        shop.at(f"/sales/payments/{payment_id}/refund"), {"how": "all", "after": "1", "confirmed": str(refund.amount_minor)}).text
    shop.sam.get(shop.at("/sales/parked"))
    shop.sam.submit("closing", note="Not in the provider's own list either")
    assert "Closed." in shop.sam.submit("closing").text
    assert [one.status for one in refunds(shop, payment_id)] == ["failed"]
    shop.sam.get(shop.at(f"/sales/payments/{payment_id}/refund"))
    shop.sam.submit("/refund", how="all")
    assert "went back to Ada Marlow." in shop.sam.submit("/refund").text
    assert [one.status for one in refunds(shop, payment_id)] == ["failed", "succeeded"]


def test_staff_see_money_that_was_not_booked_and_complete_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider took it and the booking broke: it is no secret of the log."""

    def breaks(*_: Any, **__: Any) -> Any:
        raise RuntimeError("something broke")

    with monkeypatch.context() as patch:
        patch.setattr("billing.settlement._issue_for", breaks)
        payment_id = bought(shop, shop.ada_at_acorn)
        assert "Some money waits for you." in shop.sam.get(shop.at("/sales/payments")).text
        letters = [one for one in shop.sam.letters(shop.SAM) if "waits for you" in one.subject]
        assert "could not be booked in full" in letters[-1].text
        page = shop.sam.get(shop.at("/sales/parked"))
        assert "The customer is not charged again." in page.text and "RuntimeError" in page.text
        shop.sam.submit("closing", note="Looked at it", confirmed="yes")
        assert shop.row(Parked, Parked.id == payment_id).closed_at is None
        shop.sam.get(shop.at("/sales/parked"))
    assert "it is settled" in shop.sam.submit("question").text
    row = shop.row(Payment, Payment.id == payment_id)
    assert (row.status, row.is_open) == ("succeeded", False) and row.invoice_id


def test_typing_an_amount_chooses_a_part_and_a_contradiction_is_refused(shop: Shop) -> None:
    payment_id = bought(shop, shop.ada_at_acorn)
    path = shop.at(f"/sales/payments/{payment_id}/refund")
    page = shop.sam.get(path)
    assert not page.soup.find("input", {"name": "how", "checked": True})  # nothing is chosen for anybody
    page = shop.sam.submit("/refund", how="all", amount="10.00", reason="Too late", expect=422)
    assert "You chose all of it, €58.80, and typed €10.00." in page.text and page.soup.find(id="how-error")
    assert page.soup.find(id="how").find_previous_sibling() is None  # a legend is one only as the first element of its group
    assert page.soup.find("input", id="amount")["value"] == "10.00" and page.soup.find("textarea", id="reason").get_text() == "Too late"
    shop.sam.get(path)
    page = shop.sam.submit("/refund", amount="10.00", reason="Too late")
    assert not refunds(shop, payment_id) and "Refund €10.00" in [one.get_text() for one in page.soup.find_all("button")]
    assert "A refund cannot be undone." in page.text and "€48.80 of the payment can still be refunded later." in page.text
    page = shop.sam.submit("/refund", change="yes")
    assert page.soup.find("input", id="amount")["value"] == "10.00" and not refunds(shop, payment_id)
    shop.sam.submit("/refund")
    assert "€10.00 went back to Ada Marlow." in shop.sam.submit("/refund").text
    shop.sam.get(path)
    page = shop.sam.submit("/refund", how="all")
    assert "Refund €48.80" in [one.get_text() for one in page.soup.find_all("button")]
    page = shop.sam.submit("/refund", confirmed="5880")  # another amount than the review named
    assert len(refunds(shop, payment_id)) == 1 and "Refund €48.80" in [one.get_text() for one in page.soup.find_all("button")]
