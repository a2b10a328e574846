"""Acorn bills at another deployment; its customers look here. Pulled, kept up to date, and what Ada asks for is handed on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from standardwebhooks.webhooks import Webhook

from billing import dunning, forwarding, renewals, retries
from billing.commands.cancelling import cancel_at_period_end, keep
from billing.commands.discounts import create_discount
from billing.commands.refunding import refund
from billing.forwarded import ForwardedAct
from billing.invoices import Invoice
from billing.payments import Payment, PaymentMethod
from billing.quotes import ScheduledChange
from billing.subscriptions import Subscription
from core import clock, mailbox
from core.outbox import Outbox
from core.scope import everything, system
from tenants.elsewhere import dodo, hooks
from tenants.elsewhere import pull as pulling
from tenants.elsewhere.account import ElsewhereHook, PullCursor, connect
from tenants.elsewhere.client import client
from tenants.joining import invite
from tests.stories.two_houses import Two, sums, two_houses
from tests.visitor import Visitor


@pytest.fixture(scope="module")
def two(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with two_houses(sqlite, tmp_path_factory.mktemp("two")) as made:
        with made.account.app_context():
            refund(made.there.till, system(made.cast.acorn), made.cast.ada_at_acorn.purchase_id, amount_minor=1000, reason="a test")
        made.cast.rest()
        made.wire.busy = 1
        made.stops = broken_pull(made)
        pauses, forwarding.AGAIN = forwarding.AGAIN, [3600]  # a test says itself when the time to ask again has come
        yield made
        forwarding.AGAIN = pauses


def broken_pull(two: Two) -> int:
    """One row a page; killed whenever something new was heard. Returns how often."""
    heard, size = set[tuple[str, int]](), pulling.SIZE
    pulling.SIZE = 1

    def told(name: str, rows: int) -> None:
        if (name, rows) not in heard:
            heard.add((name, rows))
            raise KeyboardInterrupt

    try:
        for stops in range(100):
            try:
                pulling.pull(two.reader(), told)
                return stops
            except KeyboardInterrupt:
                pass
    finally:
        pulling.SIZE = size
    raise AssertionError("it never came to an end")


@pytest.fixture(scope="module")
def ada(two: Two) -> Visitor:
    visitor = Visitor(two.portal)
    visitor.sign_in(two.cast.ADA)
    return visitor


@pytest.fixture(scope="module")
def sam(two: Two) -> Visitor:
    with two.here.database.open(system(two.business_id), write=True) as db:
        invite(db, two.business_id, two.cast.SAM, "owner")
    two.work()
    visitor = Visitor(two.portal)
    visitor.sign_in(two.cast.SAM)
    visitor.get("/console")
    visitor.submit("acceptance", follow=False, expect=303)
    return visitor


def _standing(two: Two, sam: Visitor) -> str:
    return sam.get(f"/console/{two.business_id}/developers/elsewhere").text


def _here(two: Two) -> str:
    """Ada's subscription, under our own id."""
    return two.our_id(two.cast.ada_at_acorn.subscription_id)


def _page(two: Two, ada: Visitor) -> str:
    return ada.get(f"/subscriptions/{_here(two)}").text


def _post(two: Two, ada: Visitor, what: str, **fields: str) -> str:
    _page(two, ada)
    form = {"csrf_token": ada.token(), **fields}
    return ada.post(f"/subscriptions/{_here(two)}/{what}", data=form).text


def _act(two: Two) -> ForwardedAct:
    with two.here.database.open(system(two.business_id)) as db:
        found = db.scalar(select(ForwardedAct).order_by(ForwardedAct.created_at.desc()).limit(1))
    assert found is not None
    return found


def _due_again(two: Two) -> None:
    """The time to ask again has come."""
    with two.here.database.open(system(two.business_id), write=True) as db:
        for act in db.scalars(select(ForwardedAct).where(ForwardedAct.status == "pending")):
            act.check_at = clock.wall() - timedelta(seconds=1)
    two.work()


def test_what_is_pulled_is_what_is_there(two: Two) -> None:
    assert sums(two.here, two.business_id) == sums(two.there, two.cast.acorn)
    with two.here.database.open(everything("what a pull sends"), write=True) as db:
        assert db.scalar(select(func.count()).select_from(Outbox).where(Outbox.type != "business.created")) == 0
    one = two.ours(Subscription, two.cast.ada_at_acorn.subscription_id)
    assert one.collected_by == "dodo"
    with two.here.database.open(system(two.business_id)) as db:
        card = db.scalar(select(PaymentMethod).where(PaymentMethod.id == one.payment_method_id))
    assert card is not None
    assert (card.held_by, card.last4, card.brand) == ("dodo", "4242", "visa")
    again = pulling.pull(two.reader())
    assert again.new == 0
    assert sums(two.here, two.business_id) == sums(two.there, two.cast.acorn)


def test_a_pull_that_broke_off_was_taken_up(two: Two) -> None:
    """It was killed after every single row, and started again each time, behind an account that asked to wait."""
    assert 20 < two.stops < 99 and two.wire.busy == 0
    with two.here.database.open(system(two.business_id)) as db:
        assert db.scalar(select(func.count()).select_from(PullCursor)) == 0  # finished: the next one begins anew


def test_ids_of_loaded_rows_are_ours_and_theirs_are_references_of_one_account(two: Two) -> None:
    """The same account pulled into a second business: other rows, other ids, and nothing of the first one changes."""
    other, before = two.business("Birch beside it"), sums(two.here, two.business_id)
    reader = two.reader(other)
    pulling.pull(reader)
    assert reader.skipped == 0 and sums(two.here, other) == before == sums(two.here, two.business_id)
    for model in (Subscription, Payment, Invoice, PaymentMethod):
        with two.here.database.open(everything("ids of two businesses")) as db:
            ids = list(db.scalars(select(model.id)))
        assert len(ids) == len(set(ids)) > 0 and not two.theirs(model, ids[0])


def test_nothing_of_it_is_renewed_retried_or_dunned_here(two: Two) -> None:
    def payments() -> int:
        with two.here.database.open(system(two.business_id)) as db:
            return db.scalar(select(func.count()).select_from(Payment)) or 0

    before = payments()
    clock.turn(timedelta(days=40))
    assert renewals.run_due(two.here.till) == 0 and dunning.run_due(two.here.till) == 0 and retries.run_due(two.here.till) == 0
    assert payments() == before
    with two.here.database.open(system(two.business_id)) as db:
        one = db.scalar(select(Subscription).limit(1))
        with pytest.raises(ValueError, match="collected by dodo"):
            renewals.attempt(two.here.till, db, Invoice(id="none"), one, None, off_session=True)


def test_ada_cancels_and_takes_it_back(two: Two, ada: Visitor) -> None:
    said = _page(two, ada)
    assert "handed on" in said and "Next payment" in said and "€29.00" in said  # with the tax that the account took last
    assert "€29.00" in ada.get("/").text and "Nothing renews in the next sixty" not in ada.get("/").text
    said = _post(two, ada, "cancellation", feedback="unused")
    assert "We have asked Acorn Notes" in said and "to end it with its period" in said
    assert not two.ours(Subscription, two.cast.ada_at_acorn.subscription_id).cancel_at_period_end
    two.work()
    there = two.theirs(Subscription, two.cast.ada_at_acorn.subscription_id)
    assert there.cancel_at_period_end and there.cancellation_feedback == "unused" and there.cancelled_by == {"type": "customer"}
    said = _page(two, ada)
    assert "has confirmed" in said and "It is ending" in said and "You cancelled it" in said
    _post(two, ada, "cancellation/revocation")
    two.work()
    assert not two.theirs(Subscription, there.id).cancel_at_period_end and not two.ours(Subscription, there.id).cancel_at_period_end


def test_a_lost_answer_is_looked_up_before_anything_is_sent_again(two: Two, ada: Visitor) -> None:
    two.wire.cut, sent = {"PATCH"}, two.wire.seen["PATCH"]
    _post(two, ada, "cancellation")
    two.work()
    assert _act(two).status == "pending" and "We have asked" in _page(two, ada)
    assert two.theirs(Subscription, two.cast.ada_at_acorn.subscription_id).cancel_at_period_end
    two.wire.cut = set()
    _due_again(two)
    assert _act(two).status == "confirmed" and two.wire.seen["PATCH"] == sent + 1
    assert "has confirmed" in _page(two, ada)
    # now it never arrives at all: looked up, not there, sent again under the same key
    two.wire.away, sent = {"PATCH"}, two.wire.seen["PATCH"]
    _post(two, ada, "cancellation/revocation")
    two.work()
    assert two.theirs(Subscription, two.cast.ada_at_acorn.subscription_id).cancel_at_period_end
    two.wire.away = {"PATCH", "GET"}  # not even a look: nothing is sent blindly
    _due_again(two)
    assert two.wire.seen["PATCH"] == sent + 1 and _act(two).status == "pending"
    two.wire.away = set()
    _due_again(two)
    assert _act(two).status == "confirmed" and two.wire.seen["PATCH"] == sent + 2
    assert not two.theirs(Subscription, two.cast.ada_at_acorn.subscription_id).cancel_at_period_end


def test_a_slow_look_is_nobody_elses_turn(two: Two, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two looks of 20 seconds and the minute's wait between them: another worker does not send the same meanwhile."""
    with two.here.database.open(system(two.business_id), write=True) as db:
        cancel_at_period_end(db, _here(two))
    act = _act(two)
    assert two.here.forwarder._claim(two.business_id, act.id) is not None
    now = clock.wall
    monkeypatch.setattr(clock, "wall", lambda: now() + timedelta(seconds=125))
    assert two.here.forwarder._claim(two.business_id, act.id) is None
    monkeypatch.setattr(clock, "wall", now)
    _due_again(two)
    assert _act(two).status == "confirmed"
    with two.here.database.open(system(two.business_id), write=True) as db:
        keep(db, _here(two))
    two.work()
    assert not two.ours(Subscription, two.cast.ada_at_acorn.subscription_id).cancel_at_period_end


def test_only_addresses_of_the_web_are_followed() -> None:
    for link, kept in (("https://checkout.example/1", True), ("javascript:alert(1)", False), (None, False)):
        assert (dodo._said(lambda link=link: SimpleNamespace(payment_link=link), print).link == link) is (kept or link is None)


def test_a_refusal_is_told_in_its_words_and_the_truth_is_read(two: Two, ada: Visitor) -> None:
    one = two.cast.ada_at_acorn.subscription_id
    with two.there.database.open(system(two.cast.acorn), write=True) as db:
        cancel_at_period_end(db, one)  # which nobody here has heard of
    _post(two, ada, "pause")
    two.work()
    assert _act(two).status == "refused"
    said = _page(two, ada)
    two.work()
    assert "did not do it: to pause it" in said and "This is about to end. Keep it first" in said and "It is ending" in said
    with two.there.database.open(system(two.cast.acorn), write=True) as db:
        keep(db, one)
    hooks.learn(two.reader(), "subscription", one)


def test_a_plan_change_shows_its_figures_and_is_made_there(two: Two, ada: Visitor) -> None:
    buyer, more = two.cast.ada_at_acorn, two.cast.products["acorn.more"]
    ada.get(f"/subscriptions/{_here(two)}/plan-change")
    slip = ada.post(f"/subscriptions/{_here(two)}/plan-change/quotes",
                    data={"csrf_token": ada.token(), "product_id": two.our_id(more), "quantity": "1"})
    assert "Acorn Max" in slip.text and "Visa" in slip.text
    with two.there.database.open(system(two.cast.acorn), write=True) as db:
        create_discount(db, two.cast.acorn, kind="percentage", amount=1000, code="THEIRS", cycles=2)
    refused = ada.submit("/discounts", discount_code="nosuch", expect=422)
    assert "There is no code NOSUCH" in refused.text, "its own words"
    assert "THEIRS 10% off the next 2 payments" in ada.submit("/discounts", discount_code="theirs").text
    said = ada.post(f"{ada.path}/confirmation", data={"csrf_token": ada.token()})
    assert "to change the plan" in said.text
    two.work()
    assert two.theirs(Subscription, buyer.subscription_id).product_id == more
    assert two.ours(Subscription, buyer.subscription_id).product_id == two.our_id(more)
    assert [one["code"] for one in two.theirs(Subscription, buyer.subscription_id).discounts] == ["THEIRS"]
    with two.there.database.open(system(two.cast.acorn)) as db:
        taken = db.scalar(select(Payment.amount_minor).where(Payment.charge_type == "plan_change"))
    with two.here.database.open(system(two.business_id)) as db:
        shown = db.scalar(select(ForwardedAct.wish).where(ForwardedAct.verb == "change_plan"))["due_minor"]
    assert taken and shown - 2 <= taken <= shown
    assert "Acorn Max" in _page(two, ada)


def test_billing_details_and_a_pause_are_handed_on(two: Two, ada: Visitor) -> None:
    one = two.cast.ada_at_acorn.subscription_id
    said = _post(two, ada, "billing-details", name="Ada Marlow", street="2 Mill Lane", city="Leeds", zipcode="LS1 4AP", country="GB")
    assert "to change the billing details" in said
    two.work()
    assert _act(two).status == "confirmed"
    assert two.theirs(Subscription, one).billing["city"] == two.ours(Subscription, one).billing["city"] == "Leeds"
    for act, state in (("pause", "paused"), ("pause/resumption", "active")):
        _post(two, ada, act)
        two.work()
        assert _act(two).status == "confirmed"
        assert two.theirs(Subscription, one).status == two.ours(Subscription, one).status == state


def test_the_account_tells_and_is_asked(two: Two) -> None:
    """Its own webhooks, over HTTP: subscribed to, delivered, checked, and read anew."""
    reader = two.reader()
    hooks.subscribe(two.here, two.business_id, reader.api)
    hooks.subscribe(two.here, two.business_id, reader.api)
    assert len(reader.api.webhooks.list().data) == 1
    one = two.cast.ada_at_acorn.subscription_id
    with two.there.database.open(system(two.cast.acorn), write=True) as db:
        cancel_at_period_end(db, one, comment="told by the account")
    two.work()
    two.work()
    found = two.ours(Subscription, one)
    assert found.cancel_at_period_end and found.cancellation_comment == "told by the account"
    with two.there.database.open(system(two.cast.acorn), write=True) as db:
        keep(db, one)
    two.work()
    two.work()
    assert not two.ours(Subscription, one).cancel_at_period_end


def test_a_forged_or_repeated_hint_does_nothing(two: Two) -> None:
    secret = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY="
    with two.here.database.open(system(two.business_id), write=True) as db:
        connect(db, two.here.settings, two.business_id, "dodo", base_url=f"{two.wire.url}/api", api_key=two.key, webhook_key=secret)
    url = f"{two.here.settings.base_url}/incoming/dodo/{two.business_id}"
    one = two.cast.ada_at_acorn.subscription_id
    untrue = {"payload_type": "Subscription", "subscription_id": one, "status": "cancelled"}
    lie = json.dumps({"type": "subscription.cancelled", "data": untrue})

    def send(id: str, with_secret: str) -> int:
        at = datetime.now(UTC)
        headers = {"webhook-id": id, "webhook-timestamp": str(int(at.timestamp())),
                   "webhook-signature": Webhook(with_secret).sign(id, at, lie), "content-type": "application/json"}
        return httpx.post(url, content=lie, headers=headers).status_code

    assert send("msg_1", "whsec_" + "Z" * 43 + "=") == 401
    assert httpx.post(url, content=lie).status_code == 401
    assert {httpx.post(url.replace(two.business_id, one), content=lie).status_code for one in ("bus_none", "a,b", "%0a")} == {404}
    assert send("msg_1", secret) == 204 and send("msg_1", secret) == 204
    with two.here.database.open(system(two.business_id)) as db:
        assert db.scalar(select(func.count()).select_from(ElsewhereHook).where(ElsewhereHook.id == "dodo/msg_1")) == 1
    two.work()
    assert two.ours(Subscription, one).status == "active"  # what the account says, whatever the hint said


def test_its_page_for_the_card_and_its_own_invoice(two: Two, ada: Visitor) -> None:
    page = f"/subscriptions/{_here(two)}/payment-method"
    assert "keeps the card" in ada.get(page).text
    away = ada.post(page, data={"csrf_token": ada.token()}, follow=False, expect=303)
    assert away.location.startswith(two.there.settings.base_url)
    with two.here.database.open(system(two.business_id)) as db:
        paid = db.scalar(select(Payment).where(Payment.id == two.our_id(two.cast.ada_at_acorn.payment_id)))
    first, second = (ada.get(f"/invoices/{paid.invoice_id}.pdf").body for _ in range(2))
    with two.there.database.open(system(two.cast.acorn)) as db:
        theirs = two.there.documents.invoice_pdf(db, two.theirs(Payment, two.cast.ada_at_acorn.payment_id).invoice_id)[0]
    assert first == second == theirs


def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the account waits for a third of a second."""
    monkeypatch.setattr("tenants.elsewhere.client.client", lambda *given, **more: client(*given, **{**more, "timeout": 0.3, "retries": 0}))


def test_a_planned_change_is_taken_back_though_the_answer_comes_too_late(two: Two, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    one, less = two.cast.ada_at_acorn.subscription_id, two.cast.products["acorn.plan"]
    ada.get(f"/subscriptions/{_here(two)}/plan-change")
    ada.post(f"/subscriptions/{_here(two)}/plan-change/quotes",
             data={"csrf_token": ada.token(), "product_id": two.our_id(less), "quantity": "1"})
    ada.post(f"{ada.path}/confirmation", data={"csrf_token": ada.token()})
    two.work()
    assert "Your plan changes to Acorn Team that day." in _page(two, ada) and two.ours(Subscription, one).product_id != two.our_id(less)
    _impatient(monkeypatch)
    two.wire.slow, sent = {"DELETE": 0.8}, two.wire.seen["DELETE"]
    said = ada.submit("/plan-change/revocation").text
    assert "to keep the present plan" in said and "It will confirm in a moment." in said and "Your plan changes" in said
    two.work()
    assert _act(two).status == "pending" and "It will confirm in a moment." in _page(two, ada)
    two.wire.slow = {}
    _due_again(two)
    assert _act(two).status == "confirmed" and two.wire.seen["DELETE"] == sent + 1, "looked up, not sent again"
    said = _page(two, ada)
    assert "has confirmed: to keep the present plan" in said and "Your plan changes" not in said
    with two.there.database.open(system(two.cast.acorn)) as db:
        waits = ScheduledChange.cancelled_at.is_(None), ScheduledChange.applied_at.is_(None)
        assert db.scalar(select(ScheduledChange.id).where(*waits)) is None


def test_what_was_not_answered_for_a_day_is_unknown_until_it_is_known(
    two: Two, ada: Visitor, sam: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = two.cast.ada_at_acorn.subscription_id
    said = _standing(two, sam)
    assert f"{two.wire.url}/api" in said and "Connected." in said and "Nothing waits" in said, said
    assert two.key not in sam.page.body.decode()
    assert "1 running, 1 in all" in said and f"--business {two.business_id} --webhooks" in said
    _impatient(monkeypatch)
    two.wire.slow = {"PATCH": 0.6, "GET": 0.6}
    _post(two, ada, "pause")
    two.work()
    assert two.theirs(Subscription, one).status == "paused" and _act(two).status == "pending"  # it was done, and nobody heard of it
    said = _standing(two, sam)
    assert "It does not answer." in said and "one waits" in said and "to pause it" in said and "no answer in time" in said
    with two.here.database.open(system(two.business_id), write=True) as db:
        act = db.scalar(select(ForwardedAct).where(ForwardedAct.status == "pending"))
        act.sent_at -= timedelta(hours=25)
    assert "We go on asking" in _page(two, ada)
    _due_again(two)
    said = _page(two, ada)
    assert _act(two).status == "unanswered" and "We do not know whether Acorn Notes’s billing system did it: to pause it." in said
    assert "Nothing was changed" not in said and two.ours(Subscription, one).status == "active"
    two.wire.slow = {}
    hooks.learn(two.reader(), "subscription", one)  # what its webhook sets off, days later
    assert "Connected." in _standing(two, sam) and "no answer in time" in sam.page.text  # the last error stays, with its time
    assert "has confirmed: to pause it" in _page(two, ada) and two.ours(Subscription, one).status == "paused"
    _post(two, ada, "pause/resumption")
    two.work()
    assert two.ours(Subscription, one).status == two.theirs(Subscription, one).status == "active"


def test_staff_are_handed_on_and_see_what_came_of_it(two: Two, sam: Visitor) -> None:
    """What the document promises has its buttons: cancel, and take it back, in the console."""
    page, one = f"/console/{two.business_id}/sales/subscriptions/{_here(two)}", two.cast.ada_at_acorn.subscription_id
    assert "What you do here is sent to it" in sam.get(page).text
    sam.get(f"{page}/cancellation")
    said = sam.submit("/cancellation", when="period", feedback="other", comment="She phoned.")
    assert "We have asked the billing system" in said.text
    assert "It was asked, and has not answered yet: to end it with its period" in said.text
    two.work()
    there = two.theirs(Subscription, one)
    assert there.cancel_at_period_end and there.cancellation_comment == "She phoned."
    assert "It has confirmed: to end it with its period" in sam.get(page).text
    assert "We have asked the billing system" in sam.submit("/cancellation/revocation").text
    two.work()
    assert not two.theirs(Subscription, one).cancel_at_period_end and not two.ours(Subscription, one).cancel_at_period_end


def test_ada_ends_it_now(two: Two, ada: Visitor) -> None:
    one = two.cast.ada_at_acorn.subscription_id
    said = _post(two, ada, "cancellation", when="now", feedback="too_expensive", comment="It was good.")
    assert "We have asked Acorn Notes’s billing system: to end it now." in said and two.ours(Subscription, one).status == "active"
    two.work()
    there, ours = two.theirs(Subscription, one), two.ours(Subscription, one)
    assert there.status == ours.status == "cancelled" and there.cancelled_by == {"type": "customer"}
    assert (there.cancellation_feedback, there.cancellation_comment) == ("too_expensive", "It was good.")
    said = _page(two, ada)
    assert "has confirmed: to end it now" in said and "no longer bills you for it" in said and "Next payment" not in said


def test_no_letter_was_written_here_about_what_was_loaded(two: Two) -> None:
    said = [one.subject for one in mailbox.letters(two.here.database, two.cast.ADA)]
    told = [one for one in said if "sign" not in one.lower()]
    assert set(told) == {"[test] Acorn Team: what you asked for was not done", "[test] Acorn Max: we do not know whether it was done"}, said
