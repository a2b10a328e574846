"""Acorn is billed by another deployment and its customers use this portal: pulls, updates and delegated actions."""

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

from billing.catalogue.discount_codes import create_discount
from billing.charging.refund import refund
from billing.external import dispatch
from billing.external.port import DelegatedCall
from billing.model.delegated_actions import DelegatedAction
from billing.model.invoices import Invoice
from billing.model.payments import Payment, PaymentMethod
from billing.model.quotes import ScheduledChange
from billing.model.subscriptions import Subscription
from billing.renewals import dunning, renew, retry
from billing.subscriptions.cancel import cancel_at_period_end, keep
from core import clock, mailbox
from core.outbox import Outbox
from core.scope import everything, system
from tenants.external import dodo, incoming_webhooks
from tenants.external import pull as pulling
from tenants.external.account import ExternalWebhook, PullCursor, connect
from tenants.external.dodo.client import client
from tenants.memberships import invite
from tests.stories.two_deployments import Two, sums, two_houses
from tests.visitor import Visitor


@pytest.fixture(scope="module")
def two(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with two_houses(sqlite, tmp_path_factory.mktemp("two")) as made:
        with made.account.app_context():
            refund(made.there.processor, system(made.cast.acorn), made.cast.ada_at_acorn.purchase_id, amount_minor=1000, reason="a test")
        made.cast.rest()
        made.wire.busy = 1
        made.stops = interrupted_pull(made)
        pauses, dispatch.RETRY_SECONDS = dispatch.RETRY_SECONDS, [3600]  # the test itself makes the next look-up due
        yield made
        dispatch.RETRY_SECONDS = pauses


def interrupted_pull(two: Two) -> int:
    """Pull one row per page, killed after every new row. Returns the number of kills."""
    heard, size = set[tuple[str, int]](), dodo.SIZE
    dodo.SIZE = 1

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
        dodo.SIZE = size
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
    return sam.get(f"/console/{two.business_id}/developers/external-billing").text


def _here(two: Two) -> str:
    """Return Ada's subscription by its id here."""
    return two.our_id(two.cast.ada_at_acorn.subscription_id)


def _page(two: Two, ada: Visitor) -> str:
    return ada.get(f"/subscriptions/{_here(two)}").text


def _post(two: Two, ada: Visitor, what: str, **fields: str) -> str:
    _page(two, ada)
    form = {"csrf_token": ada.token(), **fields}
    return ada.post(f"/subscriptions/{_here(two)}/{what}", data=form).text


def _act(two: Two) -> DelegatedAction:
    with two.here.database.open(system(two.business_id)) as db:
        found = db.scalar(select(DelegatedAction).order_by(DelegatedAction.created_at.desc()).limit(1))
    assert found is not None
    return found


def _make_due(two: Two) -> None:
    """Make the pending action due for its next look-up."""
    with two.here.database.open(system(two.business_id), write=True) as db:
        for act in db.scalars(select(DelegatedAction).where(DelegatedAction.status == "pending")):
            act.check_at = clock.wall() - timedelta(seconds=1)
    two.work()


def test_a_pull_copies_the_whole_account(two: Two) -> None:
    assert sums(two.here, two.business_id) == sums(two.there, two.cast.acorn)
    with two.here.database.open(everything("what a pull sends"), write=True) as db:
        assert db.scalar(select(func.count()).select_from(Outbox).where(Outbox.type != "business.created")) == 0
    item = two.ours(Subscription, two.cast.ada_at_acorn.subscription_id)
    assert item.collected_by == "dodo"
    with two.here.database.open(system(two.business_id)) as db:
        card = db.scalar(select(PaymentMethod).where(PaymentMethod.id == item.payment_method_id))
    assert card is not None
    assert (card.held_by, card.last4, card.brand) == ("dodo", "4242", "visa")
    again = pulling.pull(two.reader())
    assert again.new == 0
    assert sums(two.here, two.business_id) == sums(two.there, two.cast.acorn)


def test_an_interrupted_pull_is_resumed(two: Two) -> None:
    """The pull is killed after every row and restarted, with an account that answers Retry-After."""
    assert 20 < two.stops < 99 and two.wire.busy == 0
    with two.here.database.open(system(two.business_id)) as db:
        assert db.scalar(select(func.count()).select_from(PullCursor)) == 0  # finished: the next one begins anew


def test_pulled_rows_get_own_ids_and_keep_external_references(two: Two) -> None:
    """The same account pulled into a second business creates other rows with other ids, and changes none of the first."""
    other, before = two.business("Birch beside it"), sums(two.here, two.business_id)
    reader = two.reader(other)
    pulling.pull(reader)
    assert reader.skipped == 0 and sums(two.here, other) == before == sums(two.here, two.business_id)
    for model in (Subscription, Payment, Invoice, PaymentMethod):
        with two.here.database.open(everything("ids of two businesses")) as db:
            ids = list(db.scalars(select(model.id)))
        assert len(ids) == len(set(ids)) > 0 and not two.theirs(model, ids[0])


def test_external_subscriptions_are_not_renewed_retried_or_dunned_here(two: Two) -> None:
    def payments() -> int:
        with two.here.database.open(system(two.business_id)) as db:
            return db.scalar(select(func.count()).select_from(Payment)) or 0

    before = payments()
    clock.turn(timedelta(days=40))
    assert renew.run_due(two.here.processor) == 0 and dunning.run_due(two.here.processor) == 0 and retry.run_due(two.here.processor) == 0
    assert payments() == before
    with two.here.database.open(system(two.business_id)) as db:
        subscription = db.scalar(select(Subscription).limit(1))
        with pytest.raises(ValueError, match="collected by dodo"):
            renew.attempt(two.here.processor, db, Invoice(id="none"), subscription, None, off_session=True)


def test_a_cancellation_and_its_undo_are_delegated(two: Two, ada: Visitor) -> None:
    said = _page(two, ada)
    # €29.00 includes the tax that the account took last
    assert "We send your changes to that system" in said and "Next payment" in said and "€29.00" in said
    assert "€29.00" in ada.get("/").text and "Nothing renews in the next 60" not in ada.get("/").text
    said = _post(two, ada, "cancellation", feedback="unused")
    assert "We’ve sent the request to Acorn Notes" in said and "cancel at the end of the billing period" in said
    assert not two.ours(Subscription, two.cast.ada_at_acorn.subscription_id).cancel_at_period_end
    two.work()
    there = two.theirs(Subscription, two.cast.ada_at_acorn.subscription_id)
    assert there.cancel_at_period_end and there.cancellation_feedback == "unused" and there.cancelled_by["type"] == "customer"
    said = _page(two, ada)
    assert "has confirmed" in said and "Cancellation scheduled" in said and "You scheduled the cancellation" in said
    _post(two, ada, "cancellation/revocation")
    two.work()
    assert not two.theirs(Subscription, there.id).cancel_at_period_end and not two.ours(Subscription, there.id).cancel_at_period_end


def test_a_lost_answer_is_looked_up_before_anything_is_sent_again(two: Two, ada: Visitor) -> None:
    two.wire.cut, sent = {"PATCH"}, two.wire.seen["PATCH"]
    _post(two, ada, "cancellation")
    two.work()
    assert _act(two).status == "pending" and "We’ve sent the request to" in _page(two, ada)
    assert two.theirs(Subscription, two.cast.ada_at_acorn.subscription_id).cancel_at_period_end
    two.wire.cut = set()
    _make_due(two)
    assert _act(two).status == "confirmed" and two.wire.seen["PATCH"] == sent + 1
    assert "has confirmed" in _page(two, ada)
    # the request never arrives: it is looked up, not found, and sent again with the same key
    two.wire.away, sent = {"PATCH"}, two.wire.seen["PATCH"]
    _post(two, ada, "cancellation/revocation")
    two.work()
    assert two.theirs(Subscription, two.cast.ada_at_acorn.subscription_id).cancel_at_period_end
    two.wire.away = {"PATCH", "GET"}  # the look-up fails too, so nothing is sent
    _make_due(two)
    assert two.wire.seen["PATCH"] == sent + 1 and _act(two).status == "pending"
    two.wire.away = set()
    _make_due(two)
    assert _act(two).status == "confirmed" and two.wire.seen["PATCH"] == sent + 2
    assert not two.theirs(Subscription, two.cast.ada_at_acorn.subscription_id).cancel_at_period_end


def test_a_slow_look_up_is_not_run_by_another_worker(two: Two, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two look-ups take 20 seconds each, with a minute's wait in between. No other worker sends the same action meanwhile."""
    with two.here.database.open(system(two.business_id), write=True) as db:
        cancel_at_period_end(db, _here(two))
    act = _act(two)
    assert two.here.forwarder._claim(two.business_id, act.id) is not None
    now = clock.wall
    monkeypatch.setattr(clock, "wall", lambda: now() + timedelta(seconds=125))
    assert two.here.forwarder._claim(two.business_id, act.id) is None
    monkeypatch.setattr(clock, "wall", now)
    _make_due(two)
    assert _act(two).status == "confirmed"
    with two.here.database.open(system(two.business_id), write=True) as db:
        keep(db, _here(two))
    two.work()
    assert not two.ours(Subscription, two.cast.ada_at_acorn.subscription_id).cancel_at_period_end


def test_only_http_links_of_the_account_are_shown() -> None:
    for link, kept in (("https://checkout.example/1", True), ("javascript:alert(1)", False), (None, False)):
        api = SimpleNamespace(subscriptions=SimpleNamespace(update=lambda *given, link=link, **more: SimpleNamespace(payment_link=link)))
        answer = dodo.DodoBilling().send(api, DelegatedCall("bus_1", "sub_1", "pause", {}, "key", "cus_1"))
        assert (answer.link == link) is (kept or link is None)


def test_a_refused_action_shows_the_reason_and_the_real_state(two: Two, ada: Visitor) -> None:
    item = two.cast.ada_at_acorn.subscription_id
    with two.there.database.open(system(two.cast.acorn), write=True) as db:
        cancel_at_period_end(db, item)  # which is unknown here
    _post(two, ada, "pause")
    two.work()
    assert _act(two).status == "refused"
    said = _page(two, ada)
    two.work()
    assert (
        "declined the request: pause" in said
        and "This subscription is scheduled to end. Keep it first" in said
        and "Cancellation scheduled" in said
    )
    with two.there.database.open(system(two.cast.acorn), write=True) as db:
        keep(db, item)
    incoming_webhooks.learn(two.reader(), "subscription", item)


def test_a_plan_change_shows_the_accounts_figures_and_is_delegated(two: Two, ada: Visitor) -> None:
    buyer, more = two.cast.ada_at_acorn, two.cast.products["acorn.more"]
    ada.get(f"/subscriptions/{_here(two)}/plan-change")
    slip = ada.post(
        f"/subscriptions/{_here(two)}/plan-change/quotes", data={"csrf_token": ada.token(), "product_id": two.our_id(more), "quantity": "1"}
    )
    assert "Acorn Max" in slip.text and "Visa" in slip.text
    with two.there.database.open(system(two.cast.acorn), write=True) as db:
        create_discount(db, two.cast.acorn, kind="percentage", amount=1000, code="THEIRS", cycles=2)
    refused = ada.submit("/discounts", discount_code="nosuch", expect=422)
    assert "The code NOSUCH does not exist" in refused.text, "its own words"
    assert "THEIRS 10% off the next 2 payments" in ada.submit("/discounts", discount_code="theirs").text
    said = ada.post(f"{ada.path}/confirmation", data={"csrf_token": ada.token()})
    assert "change the plan" in said.text
    two.work()
    assert two.theirs(Subscription, buyer.subscription_id).product_id == more
    assert two.ours(Subscription, buyer.subscription_id).product_id == two.our_id(more)
    assert [discount["code"] for discount in two.theirs(Subscription, buyer.subscription_id).discounts] == ["THEIRS"]
    with two.there.database.open(system(two.cast.acorn)) as db:
        taken = db.scalar(select(Payment.amount_minor).where(Payment.charge_type == "plan_change"))
    with two.here.database.open(system(two.business_id)) as db:
        shown = db.scalar(select(DelegatedAction.parameters).where(DelegatedAction.verb == "change_plan"))["due_minor"]
    assert taken and shown - 2 <= taken <= shown
    assert "Acorn Max" in _page(two, ada)


def test_billing_details_and_pauses_are_delegated(two: Two, ada: Visitor) -> None:
    item = two.cast.ada_at_acorn.subscription_id
    said = _post(two, ada, "billing-details", name="Ada Marlow", street="2 Mill Lane", city="Leeds", zipcode="LS1 4AP", country="GB")
    assert "change the billing details" in said
    two.work()
    assert _act(two).status == "confirmed"
    assert two.theirs(Subscription, item).billing["city"] == two.ours(Subscription, item).billing["city"] == "Leeds"
    for act, state in (("pause", "paused"), ("pause/resumption", "active")):
        _post(two, ada, act)
        two.work()
        assert _act(two).status == "confirmed"
        assert two.theirs(Subscription, item).status == two.ours(Subscription, item).status == state


def test_a_webhook_of_the_account_triggers_a_read(two: Two) -> None:
    """The account's webhooks over HTTP: subscribed, delivered, verified, and followed by a read."""
    reader = two.reader()
    incoming_webhooks.subscribe(two.here, two.business_id, reader.api)
    incoming_webhooks.subscribe(two.here, two.business_id, reader.api)
    assert len(reader.api.webhooks.list().data) == 1
    item = two.cast.ada_at_acorn.subscription_id
    with two.there.database.open(system(two.cast.acorn), write=True) as db:
        cancel_at_period_end(db, item, comment="told by the account")
    two.work()
    two.work()
    found = two.ours(Subscription, item)
    assert found.cancel_at_period_end and found.cancellation_comment == "told by the account"
    with two.there.database.open(system(two.cast.acorn), write=True) as db:
        keep(db, item)
    two.work()
    two.work()
    assert not two.ours(Subscription, item).cancel_at_period_end


def test_forged_and_repeated_webhooks_are_ignored(two: Two) -> None:
    secret = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY="
    with two.here.database.open(system(two.business_id), write=True) as db:
        connect(db, two.here.settings, two.business_id, "dodo", base_url=f"{two.wire.url}/api", api_key=two.key, webhook_key=secret)
    url = f"{two.here.settings.base_url}/incoming/dodo/{two.business_id}"
    item = two.cast.ada_at_acorn.subscription_id
    untrue = {"payload_type": "Subscription", "subscription_id": item, "status": "cancelled"}
    lie = json.dumps({"type": "subscription.cancelled", "data": untrue})

    def send(id: str, with_secret: str) -> int:
        at = datetime.now(UTC)
        headers = {
            "webhook-id": id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(with_secret).sign(id, at, lie),
            "content-type": "application/json",
        }
        return httpx.post(url, content=lie, headers=headers).status_code

    assert send("msg_1", "whsec_" + "Z" * 43 + "=") == 401
    assert httpx.post(url, content=lie).status_code == 401
    assert {httpx.post(url.replace(two.business_id, item), content=lie).status_code for item in ("bus_none", "a,b", "%0a")} == {404}
    assert send("msg_1", secret) == 204 and send("msg_1", secret) == 204
    with two.here.database.open(system(two.business_id)) as db:
        assert db.scalar(select(func.count()).select_from(ExternalWebhook).where(ExternalWebhook.id == "dodo/msg_1")) == 1
    two.work()
    assert two.ours(Subscription, item).status == "active"  # the account's answer counts, not the webhook


def test_card_page_and_invoice_of_the_account_are_used(two: Two, ada: Visitor) -> None:
    page = f"/subscriptions/{_here(two)}/payment-method"
    assert "stores the card" in ada.get(page).text
    assert ada.post(page, data={"csrf_token": ada.token()}).opens.startswith(two.there.settings.base_url)
    with two.here.database.open(system(two.business_id)) as db:
        paid = db.scalar(select(Payment).where(Payment.id == two.our_id(two.cast.ada_at_acorn.payment_id)))
    first, second = (ada.get(f"/invoices/{paid.invoice_id}.pdf").body for _ in range(2))
    with two.there.database.open(system(two.cast.acorn)) as db:
        theirs = two.there.documents.invoice_pdf(db, two.theirs(Payment, two.cast.ada_at_acorn.payment_id).invoice_id)[0]
    assert first == second == theirs


def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit waits for the account to a third of a second."""
    monkeypatch.setattr(
        "tenants.external.dodo.client.client", lambda *given, **more: client(*given, **{**more, "timeout": 0.3, "retries": 0})
    )


def test_a_scheduled_change_is_cancelled_although_the_answer_is_late(two: Two, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    item, less = two.cast.ada_at_acorn.subscription_id, two.cast.products["acorn.plan"]
    ada.get(f"/subscriptions/{_here(two)}/plan-change")
    ada.post(
        f"/subscriptions/{_here(two)}/plan-change/quotes", data={"csrf_token": ada.token(), "product_id": two.our_id(less), "quantity": "1"}
    )
    ada.post(f"{ada.path}/confirmation", data={"csrf_token": ada.token()})
    two.work()
    assert "Your plan changes to Acorn Team on that day." in _page(two, ada) and two.ours(Subscription, item).product_id != two.our_id(less)
    _impatient(monkeypatch)
    two.wire.slow, sent = {"DELETE": 0.8}, two.wire.seen["DELETE"]
    said = ada.submit("/plan-change/revocation").text
    assert "keep the current plan" in said and "It should confirm in a moment." in said and "Your plan changes" in said
    two.work()
    assert _act(two).status == "pending" and "It should confirm in a moment." in _page(two, ada)
    two.wire.slow = {}
    _make_due(two)
    assert _act(two).status == "confirmed" and two.wire.seen["DELETE"] == sent + 1, "looked up, not sent again"
    said = _page(two, ada)
    assert "has confirmed: keep the current plan" in said and "Your plan changes" not in said
    with two.there.database.open(system(two.cast.acorn)) as db:
        waits = ScheduledChange.cancelled_at.is_(None), ScheduledChange.applied_at.is_(None)
        assert db.scalar(select(ScheduledChange.id).where(*waits)) is None


def test_an_action_without_answer_for_a_day_is_unknown(two: Two, ada: Visitor, sam: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    item = two.cast.ada_at_acorn.subscription_id
    said = _standing(two, sam)
    assert f"{two.wire.url}/api" in said and "Connected." in said and "none pending" in said, said
    assert two.key not in sam.page.body.decode()
    assert "1 active, 1 in total" in said and f"--business {two.business_id} --webhooks" in said
    _impatient(monkeypatch)
    two.wire.slow = {"PATCH": 0.6, "GET": 0.6}
    _post(two, ada, "pause")
    two.work()
    assert two.theirs(Subscription, item).status == "paused" and _act(two).status == "pending"  # it was done, and the answer was lost
    said = _standing(two, sam)
    assert "The account does not answer." in said and "one pending" in said and "pause" in said and "no answer in time" in said
    with two.here.database.open(system(two.business_id), write=True) as db:
        act = db.scalar(select(DelegatedAction).where(DelegatedAction.status == "pending"))
        act.sent_at -= timedelta(hours=25)
    assert "We keep checking" in _page(two, ada)
    _make_due(two)
    said = _page(two, ada)
    assert _act(two).status == "unanswered" and "We don’t know whether Acorn Notes’s billing system made the change: pause." in said
    assert "Nothing was changed" not in said and two.ours(Subscription, item).status == "active"
    two.wire.slow = {}
    incoming_webhooks.learn(two.reader(), "subscription", item)  # what its webhook sets off, days later
    assert "Connected." in _standing(two, sam) and "no answer in time" in sam.page.text  # the last error stays, with its time
    assert "has confirmed: pause" in _page(two, ada) and two.ours(Subscription, item).status == "paused"
    _post(two, ada, "pause/resumption")
    two.work()
    assert two.ours(Subscription, item).status == two.theirs(Subscription, item).status == "active"


def test_staff_actions_are_delegated_and_show_their_outcome(two: Two, sam: Visitor) -> None:
    """The console has the documented buttons: cancel, and undo the cancellation."""
    page, item = f"/console/{two.business_id}/sales/subscriptions/{_here(two)}", two.cast.ada_at_acorn.subscription_id
    assert "Your changes here are sent to the other billing system" in sam.get(page).text
    sam.get(f"{page}/cancellation")
    said = sam.submit("/cancellation", when="period", feedback="other", comment="She phoned.")
    assert "The request was sent to the billing system" in said.text
    assert "Sent, waiting for an answer: cancel at the end of the billing period" in said.text
    two.work()
    there = two.theirs(Subscription, item)
    assert there.cancel_at_period_end and there.cancellation_comment == "She phoned."
    assert "Confirmed: cancel at the end of the billing period" in sam.get(page).text
    assert "The request was sent to the billing system" in sam.submit("/cancellation/revocation").text
    two.work()
    assert not two.theirs(Subscription, item).cancel_at_period_end and not two.ours(Subscription, item).cancel_at_period_end


def test_ending_now_is_delegated(two: Two, ada: Visitor) -> None:
    item = two.cast.ada_at_acorn.subscription_id
    said = _post(two, ada, "cancellation", when="now", feedback="too_expensive", comment="It was good.")
    assert "We’ve sent the request to Acorn Notes’s billing system: cancel now." in said and two.ours(Subscription, item).status == "active"
    two.work()
    there, ours = two.theirs(Subscription, item), two.ours(Subscription, item)
    assert there.status == ours.status == "cancelled" and there.cancelled_by["type"] == "customer"
    assert (there.cancellation_feedback, there.cancellation_comment) == ("too_expensive", "It was good.")
    said = _page(two, ada)
    assert "has confirmed: cancel now" in said and "no longer bills you for this" in said and "Next payment" not in said


def test_pulled_records_send_no_email(two: Two) -> None:
    said = [recent_email.subject for recent_email in mailbox.recent_emails(two.here.database, two.cast.ADA)]
    told = [item for item in said if "sign" not in item.lower()]
    assert set(told) == {"[test] Acorn Team: your request was declined", "[test] Acorn Max: the outcome of your request is unknown"}, said
