"""Webhook delivery to receivers that fail, stall, redirect, flood and recover: nothing is lost or sent to a private address."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from billing.charging.refund import refund
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.model.sent_notices import SentNotice
from billing.model.subscriptions import Subscription
from core import clock
from core.outbox import emit
from core.outbox_claims import Work
from core.scope import Actor, everything, system
from core.settings import Settings
from tenants.team import Membership
from tenants.webhooks import endpoints, event_types, history, outcomes, retention, sending
from tenants.webhooks.models import Attempt, Delivery, Endpoint
from tenants.webhooks.queueing import deliver
from tests.cast import Cast
from tests.hostile_server import ReceivedRequest, Wire, receiving
from tests.stories.webhook_setup import Hooks, types, unwrap


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hooks]:
    from wsgi import create_app

    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    app = create_app(Settings(data_dir=tmp_path_factory.mktemp("hooks"), base_url="http://localhost", outgoing_loopback=True, **urls))
    with app.app_context():
        cast = Cast.play(app.extensions["portal"])
    yield Hooks(app, cast)
    cast.services.database.dispose()
    drop()


@pytest.fixture
def hooks(site: Hooks) -> Iterator[Hooks]:
    """The same business without endpoints of other tests."""
    yield site
    for row in site.rows(Endpoint, removed_at=None):
        with site.services.database.open(system(row.business_id), write=True) as db:
            endpoints.remove(db, row.id)
    site.change(Subscription, site.cast.ada_at_acorn.subscription_id, cancel_at_period_end=False, collected_by="us")
    site.cast.rest()


def statuses(*codes: int) -> Any:
    """Answer with these statuses in order, then with 200."""
    left = list(codes)
    return lambda wire, heard: wire.say(left.pop(0) if left else 200, b"thanks")


def test_events_have_the_shapes_of_the_contract(hooks: Hooks) -> None:
    with receiving() as here, receiving() as picky:
        secret = hooks.secret(hooks.listen(here.url + "/hooks", headers={"X-Site": "7"}))
        hooks.listen(picky.url, filter_types=["refund.succeeded", "dispute.won"])
        with hooks.app.app_context():
            ben = hooks.cast.buyer("acorn", "ben@hill.example", "Ben Hill")
            hooks.cast.buyer("birch", "ben@field.example", "Ben Field")  # Birch's: none of Acorn's business
            hooks.settle()
            refund(hooks.services.processor, system(hooks.cast.acorn), ben.purchase_id, amount_minor=100, reason="a gift")
        hooks.settle()
    events = [unwrap(item, secret) for item in here.heard]
    assert Counter(item.type for item in events) == {
        "payment.succeeded": 2,
        "subscription.active": 1,
        "subscription.updated": 1,
        "license_key.created": 1,
        "refund.succeeded": 1,
    }
    for event, heard in zip(events, here.heard, strict=True):
        sent = json.loads(heard.body)
        type(event).model_validate(sent)  # strictly: every field there, of its type
        assert event.business_id == hooks.cast.acorn and sent["data"]["payload_type"] == event_types.PAYLOADS[event.type.split(".")[0]]
        assert heard.headers["x-site"] == "7" and heard.headers["content-type"] == "application/json" and heard.path == "/hooks"
    paid = next(item.data for item in events if item.type == "payment.succeeded" and item.data.subscription_id)
    assert (paid.payment_id, paid.status, paid.customer.email) == (ben.payment_id, "succeeded", "ben@hill.example")
    assert types(picky) == ["refund.succeeded"]
    ids = [item.headers["webhook-id"] for item in here.heard]
    assert len(set(ids)) == len(ids) and not any("." in row_id for row_id in ids)
    assert picky.heard[0].headers["webhook-id"] in ids, "one message has one id, wherever it goes"


def test_the_latest_state_is_sent(hooks: Hooks) -> None:
    """A receiver that was down gets the present state, not earlier ones."""
    with receiving(statuses(500)) as here:
        secret = hooks.secret(hooks.listen(here.url, filter_types=["subscription.updated"]))
        hooks.schedule(hooks.cast.ada_at_acorn)
        hooks.settle()
        hooks.change(Subscription, hooks.cast.ada_at_acorn.subscription_id, cancel_at_period_end=False)
        hooks.hurry(5)
    first, again = (unwrap(item, secret) for item in here.heard)
    assert first.data.cancel_at_next_billing_date and not again.data.cancel_at_next_billing_date and first.timestamp == again.timestamp


def test_renewals_grace_and_dunning_send_the_contracts_events(hooks: Hooks) -> None:
    ada, at = hooks.cast.ada_at_acorn, clock.now().replace(microsecond=0)
    bill = hooks.rows(Payment, id=ada.payment_id)[0].invoice_id
    with hooks.services.database.open(everything("a business grants a week"), write=True) as db:
        db.get(Business, hooks.cast.acorn).settings = {"grace_days": 7}
    hooks.change(Subscription, ada.subscription_id, status="past_due", on_hold_at=at)
    with receiving() as here:
        secret = hooks.secret(hooks.listen(here.url, filter_types=[item for item in event_types.SENT if item != "subscription.updated"]))
        with hooks.services.database.open(system(hooks.cast.acorn), write=True) as db:
            for type, data in (
                ("subscription.renewed", {"invoice_id": bill}),
                ("subscription.past_due", {}),
                ("dunning.started", {}),
                ("dunning.recovered", {}),
            ):
                emit(db, type, business_id=ada.business_id, customer_id=ada.customer_id, noun=ada.subscription_id, data=data)
            db.add(
                SentNotice(
                    business_id=ada.business_id,
                    customer_id=ada.customer_id,
                    id="dunning:1",
                    purpose="dunning",
                    step=1,
                    at=at,
                    noun_id=ada.subscription_id,
                    for_at=at,
                )
            )
        hooks.settle()
        told = {item.type: item for item in (unwrap(heard, secret) for heard in here.heard)}
    hooks.change(Subscription, ada.subscription_id, status="active", on_hold_at=None)
    assert told["subscription.renewed"].data.payment_id == ada.payment_id and told["subscription.past_due"].data.payment_id is None
    assert told["subscription.past_due"].data.past_due_ends_at == at + timedelta(days=7)
    started, over = told["dunning.started"].data, told["dunning.recovered"].data
    assert (started.status, started.trigger_state, started.created_at, started.payment_id) == ("recovering", "on_hold", at, None)
    assert (over.status, over.subscription_id, over.customer_id) == ("recovered", ada.subscription_id, ada.customer_id)
    for heard in here.heard:
        told[json.loads(heard.body)["type"]].__class__.model_validate(json.loads(heard.body))


def test_delivery_survives_failing_stalling_redirecting_and_flooding_receivers(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TIMEOUT", 0.4)
    turn = iter(range(10))

    def moody(wire: Wire, heard: ReceivedRequest) -> None:
        acts = [
            lambda: wire.say(500, b"\0no"),
            lambda: time.sleep(1),
            lambda: wire.say(302, Location=inside.url),
            lambda: wire.flood(10_000_000),
            lambda: wire.drip(2),
            lambda: wire.say(204),
        ]
        acts[next(turn)]()

    with receiving() as inside, receiving(moody) as here:
        endpoint = hooks.listen(here.url)
        secret = hooks.secret(endpoint)
        hooks.schedule(hooks.cast.ada_at_acorn)
        hooks.settle()
        for gap in outcomes.BACKOFF[:3]:
            row = hooks.rows(Delivery, endpoint_id=endpoint)[0]
            last = hooks.rows(Attempt, delivery_id=row.id)
            assert row.state == "pending" and row.due_at - max(item.at for item in last) == timedelta(seconds=gap)
            hooks.hurry(gap + 6)
    # the flood was an answer of 200: its first 4 kB were read, and that is a delivery
    row = hooks.rows(Delivery, endpoint_id=endpoint)[0]
    tries = sorted(hooks.rows(Attempt, delivery_id=row.id), key=lambda entry: entry.number)
    assert [attempt.status for attempt in tries] == [500, None, 302, 200] and (row.state, row.attempts) == ("delivered", 4)
    assert tries[0].response == "\N{REPLACEMENT CHARACTER}no" and 300 < tries[1].duration_ms < 1000 and "time" in tries[1].error
    assert len(tries[3].response) == 4096 and not inside.heard
    assert len({item.headers["webhook-id"] for item in here.heard}) == 1 and len(here.heard) == 4
    assert all(unwrap(item, secret).type == "subscription.updated" for item in here.heard)
    assert hooks.rows(Endpoint, id=endpoint)[0].failing_since is None


def test_delivery_is_given_up_after_eight_attempts(hooks: Hooks) -> None:
    with receiving(statuses(*[503] * 8)) as here:
        endpoint = hooks.listen(here.url)
        hooks.schedule(hooks.cast.ada_at_acorn)
        hooks.settle()
        for number in range(1, 8):
            hooks.hurry()
            row = hooks.rows(Delivery, endpoint_id=endpoint)[0]
            assert row.tries == number + 1
        hooks.hurry()
        assert (row.state, row.due_at, len(here.heard)) == ("failed", None, 8)
        assert hooks.rows(Endpoint, id=endpoint)[0].due_at is None
        hooks.settle()
        emails = [item for item in hooks.mail() if "webhook" in item.text and "does not accept events" in item.subject]
        assert len(emails) == 1 and "eight times" in emails[0].text and "503" in emails[0].text
        hooks.do(history.replay, row.id)
        hooks.sender.drain()
        assert hooks.do(history.delivery, row.id).delivery.state == "delivered" and len(here.heard) == 9
        assert [attempt.number for attempt in hooks.do(history.delivery, row.id).attempts] == list(range(9, 0, -1))
    assert len({item.headers["webhook-id"] for item in here.heard}) == 1


def test_a_410_answer_disables_the_endpoint_and_keeps_messages(hooks: Hooks) -> None:
    with hooks.services.database.open(system(hooks.cast.acorn), write=True) as db:
        db.add(
            Membership(
                business_id=hooks.cast.acorn,
                id="mem_sam",
                identity_id="idn_sam",
                email=Cast.SAM,
                email_key=Cast.SAM,
                name="Sam",
                role="owner",
                created_at=clock.wall(),
            )
        )
    with receiving(statuses(410)) as here:
        began = clock.wall()
        endpoint = hooks.listen(here.url)
        for ends in (True, False, True):
            hooks.schedule(hooks.cast.ada_at_acorn, ends)
            hooks.settle()
        row = hooks.rows(Endpoint, id=endpoint)[0]
        assert (row.disabled, row.disabled_why, row.due_at, len(here.heard)) == (True, "gone", None, 1)
        assert hooks.do(history.counts, endpoint, began) == {"held": 3}
        emails = [item for item in hooks.mail() if item.to == Cast.SAM and "127.0.0.1" in item.subject]
        assert len(emails) == 1 and "410" in emails[0].text and "/console/" in emails[0].text
        hooks.do(endpoints.change, hooks.services.outgoing, endpoint, disabled=False)
        hooks.settle()
        assert len(here.heard) == 1, "switching it on sends nothing by itself"
        assert hooks.do(history.replay_since, endpoint, began) == 3
        hooks.sender.drain()
        assert len(here.heard) == 4 and len({item.headers["webhook-id"] for item in here.heard}) == 3
        assert hooks.do(history.counts, endpoint, began) == {"delivered": 3}


def test_five_days_of_failures_disable_the_endpoint(hooks: Hooks) -> None:
    with receiving(lambda wire, _: wire.say(500)) as here:
        endpoint = hooks.listen(here.url)
        hooks.schedule(hooks.cast.ada_at_acorn)
        hooks.settle()
        row = hooks.rows(Endpoint, id=endpoint)[0]
        assert row.failing_since and not row.disabled
        hooks.change(Endpoint, endpoint, failing_since=row.failing_since - outcomes.MAX_FAILING)
        hooks.hurry()
        assert hooks.rows(Endpoint, id=endpoint)[0].disabled_why == "failing"


def test_both_secrets_sign_for_a_day_after_rotation(hooks: Hooks) -> None:
    with receiving() as here:
        endpoint = hooks.listen(here.url)
        old = hooks.secret(endpoint)
        new = hooks.do(endpoints.rotate_secret, hooks.services.settings, endpoint)
        hooks.schedule(hooks.cast.ada_at_acorn)
        hooks.settle()
        assert hooks.secret(endpoint) == new != old
        for secret in (old, new):
            assert unwrap(here.heard[0], secret).type == "subscription.updated"
        row = hooks.rows(Endpoint, id=endpoint)[0]
        over = [{**row.old_secrets[0], "until": (clock.wall() - timedelta(seconds=1)).isoformat()}]
        hooks.change(Endpoint, endpoint, old_secrets=over)
        hooks.schedule(hooks.cast.ada_at_acorn, False)
        hooks.settle()
        assert unwrap(here.heard[1], new) and " " not in here.heard[1].headers["webhook-signature"]
        with pytest.raises(WebhookVerificationError):
            unwrap(here.heard[1], old)


def test_a_name_that_resolves_to_a_private_address_gets_nothing(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as inside:
        endpoint = hooks.listen(f"http://hooks.acorn.example:{inside.port}/")
        monkeypatch.setattr(hooks.services.outgoing, "_resolve", lambda name, port, seconds: ["127.0.0.1"])
        monkeypatch.setattr(hooks.services.outgoing, "settings", replace(hooks.services.settings, outgoing_loopback=False))
        hooks.schedule(hooks.cast.ada_at_acorn)
        hooks.settle()
        row = hooks.rows(Delivery, endpoint_id=endpoint)[0]
        tried = hooks.rows(Attempt, delivery_id=row.id)[0]
        assert not inside.heard and row.state == "pending" and tried.status is None and "port" in tried.error or "public" in tried.error


def test_imported_history_and_external_billing_send_no_webhook(hooks: Hooks) -> None:
    with receiving() as here:
        endpoint = hooks.listen(here.url)
        ada = hooks.cast.ada_at_acorn
        with hooks.services.database.open(system(hooks.cast.acorn), write=True) as db:
            emit(
                db, "subscription.renewed", business_id=ada.business_id, customer_id=ada.customer_id, noun=ada.subscription_id, silent=True
            )
        hooks.schedule(ada)
        hooks.change(Subscription, ada.subscription_id, collected_by="another system")
        hooks.settle()
        assert not here.heard and not hooks.rows(Delivery, endpoint_id=endpoint)


def test_an_event_that_comes_twice_is_one_message(hooks: Hooks) -> None:
    endpoint = hooks.listen("https://acorn.example/hooks")
    ada = hooks.cast.ada_at_acorn
    work = Work(
        "evt_once", "subscription.cancelled", ada.business_id, ada.customer_id, ada.subscription_id, Actor("system"), {}, clock.now()
    )
    assert [deliver(hooks.services, work), deliver(hooks.services, work)] == [2, 0]
    rows = hooks.rows(Delivery, endpoint_id=endpoint)
    assert sorted(row.message_id for row in rows) == ["msg_once", "msg_once_updated"]


def test_an_endpoint_is_served_by_one_worker_at_a_time(hooks: Hooks) -> None:
    ids = {hooks.listen(f"https://acorn.example/{n}") for n in range(6)}
    hooks.schedule(hooks.cast.ada_at_acorn)
    with hooks.app.app_context():
        hooks.services.worker.drain()
    claimed: list[sending.DeliveryClaim] = []
    workers = [threading.Thread(target=lambda: claimed.extend(sending.Sender(hooks.services).claim(3))) for _ in range(4)]
    for item in workers:
        item.start()
    for item in workers:
        item.join()
    assert Counter(item.endpoint_id for item in claimed) == Counter(ids), "each once"
    assert not hooks.sender.claim(8)

    dead = claimed[0]
    hooks.change(Endpoint, dead.endpoint_id, busy_until=clock.wall() - timedelta(seconds=1))
    heir = hooks.sender.claim(8)[0]
    assert (heir.endpoint_id, heir.fence) == (dead.endpoint_id, dead.fence + 1)
    assert hooks.sender.load(dead) is None, "who lost the lease sends nothing more"
    hooks.sender._release(dead, None)
    assert hooks.rows(Endpoint, id=heir.endpoint_id)[0].busy_until is not None, "nor does it free what another holds"


def test_a_killed_worker_sends_again_with_the_same_id(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as here:
        endpoint = hooks.listen(here.url)
        hooks.schedule(hooks.cast.ada_at_acorn)
        with monkeypatch.context() as broken:
            broken.setattr(sending, "record", lambda *_: 1 / 0)
            hooks.settle()
        row = hooks.rows(Delivery, endpoint_id=endpoint)[0]
        assert len(here.heard) == 1 and (row.state, row.attempts) == ("pending", 0)
        hooks.hurry(61)
        assert len(here.heard) == 2 and len({item.headers["webhook-id"] for item in here.heard}) == 1
        assert [(entry.state, entry.attempts) for entry in hooks.rows(Delivery, endpoint_id=endpoint)] == [("delivered", 1)]


def test_a_slow_endpoint_delays_no_other(hooks: Hooks) -> None:
    """Six endpoints stall. A seventh and emails are not delayed."""
    free = threading.Event()
    with receiving(lambda wire, _: (free.wait(60), wire.say(200))) as slow, receiving() as quick:
        for number in range(6):
            hooks.listen(f"{slow.url}/{number}")
        hooks.listen(quick.url)
        sender = sending.Sender(hooks.services)
        sender.start()
        try:
            hooks.schedule(hooks.cast.ada_at_acorn)
            began = time.monotonic()
            with hooks.app.app_context():
                hooks.services.worker.drain()  # including the email about it
            sender.wake()
            while not quick.heard and time.monotonic() - began < 12:  # sooner than a stalled one is given up
                time.sleep(0.01)
            assert quick.heard and not free.is_set()
        finally:
            sender.stop()
            free.set()
        until = time.monotonic() + 30
        while (
            any(row.state != "delivered" for row in hooks.rows(Delivery, type="subscription.updated") if row.state == "pending")
            and time.monotonic() < until
        ):
            time.sleep(0.02)
        assert len(slow.heard) == 6


def test_retry_after_and_delivery_limits_are_respected(hooks: Hooks) -> None:
    with receiving(lambda wire, _: wire.say(429, Retry_After="120")) as busy, receiving() as slow:
        waiting, paced = hooks.listen(busy.url), hooks.listen(slow.url, rate_limit=20)
        for _ in range(3):
            hooks.schedule(hooks.cast.ada_at_acorn, True)
            hooks.schedule(hooks.cast.ada_at_acorn, False)
        hooks.settle()
        rest = hooks.rows(Endpoint, id=waiting)[0].due_at - clock.wall()
        assert timedelta(seconds=100) < rest <= timedelta(seconds=120)
        assert len(slow.heard) == 6 and slow.heard[-1].at - slow.heard[0].at > 5 / 20 * 0.9
        assert hooks.rows(Endpoint, id=paced)[0].due_at is None


def test_every_event_type_has_a_test_message_without_real_data(hooks: Hooks) -> None:
    with receiving() as here:
        endpoint = hooks.listen(here.url, filter_types=["refund.failed"])
        secret = hooks.secret(endpoint)
        for type in event_types.SENT:
            hooks.do(history.send_test, endpoint, type)
        hooks.sender.drain()
        assert sorted(types(here)) == sorted(event_types.SENT)
        for item in here.heard:
            event = unwrap(item, secret)
            event.__class__.model_validate(json.loads(item.body))
            assert "_test" in item.body.decode() and item.headers["webhook-id"].startswith("msg_test")
            assert hooks.cast.ada_at_acorn.customer_id not in item.body.decode()
    hooks.do(history.send_test, endpoint, "payment.failed")
    hooks.sender.drain()
    row = hooks.do(history.deliveries, endpoint_id=endpoint, limit=1)[0]
    assert (row.state, row.tries) == ("failed", 1), "a test is tried once"
    assert hooks.rows(Endpoint, id=endpoint)[0].failing_since is None, "and says nothing about the endpoint"


def test_sent_messages_are_kept_for_thirty_days(hooks: Hooks) -> None:
    with receiving() as here:
        endpoint = hooks.listen(here.url)
        hooks.schedule(hooks.cast.ada_at_acorn)
        hooks.settle()
    retention.sweep(hooks.services.database)
    row = hooks.rows(Delivery, endpoint_id=endpoint)[0]
    hooks.change(Delivery, row.id, created_at=clock.wall() - retention.KEPT - timedelta(seconds=1))
    assert retention.sweep(hooks.services.database) == 1
    assert not hooks.rows(Delivery, endpoint_id=endpoint) and not hooks.rows(Attempt, delivery_id=row.id)


def test_others_cannot_see_webhooks(hooks: Hooks) -> None:
    """Birch cannot read Acorn's endpoints and deliveries in any way."""
    endpoint = hooks.listen("https://acorn.example/hooks")
    hooks.do(history.send_test, endpoint, "payment.failed")
    row = hooks.rows(Delivery, endpoint_id=endpoint)[0]
    with hooks.services.database.open(system(hooks.cast.birch)) as db:
        assert history.deliveries(db) == [] and endpoints.page(db, 10) == ([], True)
        for ask in (lambda: history.delivery(db, row.id), lambda: history.replay(db, row.id), lambda: endpoints.find(db, endpoint)):
            with pytest.raises(Exception, match="does not exist"):
                ask()
    with hooks.services.database.open(everything("what is left")) as db:
        assert db.get(Endpoint, (hooks.cast.acorn, endpoint)) is not None
