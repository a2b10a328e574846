"""Stripe bills Acorn: its account is pulled, kept current by webhooks and events, and its actions are delegated."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from billing.model.delegated_actions import DelegatedAction
from billing.model.subscriptions import Subscription
from billing.subscriptions.cancel import cancel_at_period_end, keep
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.external_pages import open_method_page
from billing.subscriptions.pause import pause, resume
from core import clock
from core.errors import Invalid
from core.outgoing import Outgoing
from core.scope import Actor, system
from tenants.external import pull as pulling
from tenants.external import stripe
from tenants.external.account import Reach
from tenants.external.incoming_webhooks import learn
from tenants.external.systems import SYSTEMS
from tests.conftest import on_sqlite
from tests.harness.stripe_standin import StandIn, running
from tests.harness.stripe_standin.server import sign
from tests.stories.stripe_mirror import a_month_passes, account_with, content, make_events_due, mirrored, our_id, reader_of, waiting, work

CUSTOMERS = int(os.environ.get("PORTAL_STRIPE_CUSTOMERS", "40"))


@pytest.fixture
def stand_in(services: Any) -> Iterator[StandIn]:
    services.outgoing, before = Outgoing(replace(services.settings, outgoing_loopback=True)), services.outgoing
    with running() as made:
        yield made
        assert made.mistakes == []
    services.outgoing = before


def interrupted(services: Any, stand_in: StandIn, business_id: str, size: int) -> int:
    """Pull in pages of `size`, killed before every page that is read for the first time. Returns the number of kills."""
    seen, kept = set[tuple[str, int]](), stripe.SIZE
    stripe.SIZE = size

    def stop(name: str, rows: int) -> None:
        if (name, rows) not in seen:
            seen.add((name, rows))
            raise KeyboardInterrupt

    try:
        for kills in range(1000):
            try:
                pulling.pull(reader_of(services, stand_in, business_id), stop)
                return kills
            except KeyboardInterrupt:
                pass
    finally:
        stripe.SIZE = kept
    raise AssertionError("it never came to an end")


def test_an_account_is_pulled_whole_and_an_interrupted_pull_is_equal(services: Any, stand_in: StandIn) -> None:
    account_with(stand_in, CUSTOMERS)
    whole, broken = mirrored(services, stand_in), mirrored(services, stand_in, name="Birch Hosting")
    reader = reader_of(services, stand_in, whole)
    counts = pulling.pull(reader)
    assert reader.skipped == 1, "the customer without an email address"
    assert interrupted(services, stand_in, broken, max(CUSTOMERS // 4, 7)) > 20
    found = content(services, whole)
    assert found == content(services, broken)
    assert len(found["customers"]) == len(found["subscriptions"]) == CUSTOMERS and counts.new > 4 * CUSTOMERS
    assert {row[3] for row in found["subscriptions"]} == {"active", "on_hold", "cancelled"}
    assert {row[5] for row in found["payments"]} == {"succeeded", "failed"} and len(found["refunds"]) == -(-CUSTOMERS // 10)
    assert all(row[-1] == "stripe" for row in found["subscriptions"])
    again = pulling.pull(reader_of(services, stand_in, whole))
    assert (again.new, again.changed) == (0, 0) and content(services, whole) == found


def deliver(app: Any, business_id: str, event: tuple[dict[str, str], bytes]) -> int:
    headers, body = event
    return int(app.test_client().post(f"/incoming/stripe/billing/{business_id}", data=body, headers=headers).status_code)


def test_webhooks_shuffled_doubled_and_dropped_end_in_the_same_state(app: Any, services: Any, stand_in: StandIn) -> None:
    """What never arrived is found in the account's list of events. A second business, pulled afterwards, has the same data."""
    merchant = account_with(stand_in, 9)
    followed = mirrored(services, stand_in)
    pulling.pull(reader_of(services, stand_in, followed))
    work(services)  # reads the events up to now
    a_month_passes(merchant, seed=5)
    sent = stand_in.take_events(merchant.account.key)
    chance = random.Random(7)
    arriving = [event for event in sent if chance.random() > 0.3]
    arriving += [event for event in arriving if chance.random() < 0.5]
    chance.shuffle(arriving)
    assert len(sent) > 60
    for n, event in enumerate(arriving):
        assert deliver(app, followed, event) == 204
        if n % 40 == 0:
            work(services)
    work(services)
    fresh = mirrored(services, stand_in, name="Birch Hosting")
    pulling.pull(reader_of(services, stand_in, fresh))
    make_events_due(services, followed)
    work(services)
    assert waiting(services, followed) == 0
    assert content(services, followed) == content(services, fresh)


@on_sqlite
def test_a_webhook_that_the_account_did_not_sign_is_refused(app: Any, services: Any, stand_in: StandIn) -> None:
    merchant, other = account_with(stand_in, 1), stand_in.account("rk_test_other")
    business_id = mirrored(services, stand_in)
    merchant.move(merchant.account.every("customer")[0], name="Changed")
    (headers, body), *_ = stand_in.take_events(merchant.account.key)
    assert deliver(app, business_id, sign(other, body)) == 401
    assert deliver(app, business_id, (headers, body + b" ")) == 401
    assert deliver(app, business_id, ({"Content-Type": "application/json"}, body)) == 401
    assert deliver(app, business_id, sign(merchant.account, b"{")) == deliver(app, business_id, sign(merchant.account, b"7")) == 400
    odd = b'{"id": "evt_1", "type": "customer.updated", "data": {"object": {"id": "../x?y"}}}'
    assert deliver(app, business_id, sign(merchant.account, odd)) == 400 and waiting(services, business_id) == 0
    assert deliver(app, "bus_unknown", (headers, body)) == 404
    assert deliver(app, business_id, (headers, body)) == 204 and waiting(services, business_id) == 1


def test_what_the_account_deletes_is_kept_but_no_longer_offered(services: Any, stand_in: StandIn) -> None:
    merchant = account_with(stand_in, 3)
    business_id = mirrored(services, stand_in)
    pulling.pull(reader_of(services, stand_in, business_id))
    work(services)
    before = content(services, business_id)
    first, second = (item for item in merchant.account.every("customer")[1:3])
    merchant.delete(first)
    merchant.detach(second)
    make_events_due(services, business_id)
    work(services)
    after = content(services, business_id)
    assert waiting(services, business_id) == 0 and after["payments"] == before["payments"] and after["customers"] == before["customers"]
    assert len(after["methods"]) == len(before["methods"]) - 1
    ended = {row[0]: row[3] for row in after["subscriptions"]}
    mine = merchant.account.every("subscription", customer=first["id"])[0]
    assert ended[mine["id"]] == "cancelled" and list(ended.values()).count("cancelled") == 1


@on_sqlite
def test_actions_are_delegated_to_stripe(app: Any, services: Any, stand_in: StandIn) -> None:
    """Each action that `VERBS` offers changes the subscription at Stripe, and is confirmed by what Stripe then says."""
    merchant = account_with(stand_in, 2)
    business_id = mirrored(services, stand_in)
    pulling.pull(reader_of(services, stand_in, business_id))
    there = merchant.account.every("subscription")[0]
    item = our_id(services, business_id, there["id"])
    with services.database.open(system(business_id)) as db:
        customer_id = db.scalars(select(Subscription.customer_id).where(Subscription.id == item)).one()
    hers = system(business_id, Actor("customer", customer_id))

    def act(command: Callable[..., Any], **more: Any) -> DelegatedAction:
        if command is cancel_now:
            command(services.processor, hers, item, **more)
        else:
            with services.database.open(hers, write=True) as db:
                command(db, item, **more)
        work(services)
        with services.database.open(system(business_id)) as db:
            newest = select(DelegatedAction).order_by(DelegatedAction.created_at.desc(), DelegatedAction.id.desc()).limit(1)
            return db.scalars(newest).one()

    act_of = act(cancel_at_period_end, feedback="too_expensive", comment="It was good.")
    assert act_of.status == "confirmed" and there["cancel_at_period_end"]
    assert there["cancellation_details"] == {"comment": "It was good.", "feedback": "too_expensive", "reason": "cancellation_requested"}
    assert act(keep).status == "confirmed" and not there["cancel_at_period_end"]
    merchant.change(there, cancel_at=there["items"]["data"][0]["current_period_end"])  # on a date, by the merchant
    learn(reader_of(services, stand_in, business_id), "subscription", there["id"])
    assert act(keep).status == "confirmed" and there["cancel_at"] is None
    assert act(pause).status == "confirmed" and there["pause_collection"] == {"behavior": "void", "resumes_at": None}
    assert act(resume).status == "confirmed" and there["pause_collection"] is None

    stand_in.on_next("POST", there["id"], "drop")  # it arrives, and its answer is lost
    lost = act(cancel_at_period_end)
    assert lost.status == "pending" and there["cancel_at_period_end"]
    with services.database.open(system(business_id), write=True) as db:
        db.scalars(select(DelegatedAction).where(DelegatedAction.id == lost.id)).one().check_at = clock.wall()
    work(services)
    sent = [call for call in stand_in.calls if call[0] == "POST"]
    with services.database.open(system(business_id)) as db:
        assert db.scalars(select(DelegatedAction.status).where(DelegatedAction.id == lost.id)).one() == "confirmed"
    assert len(sent) == 6, "it was looked up, and not sent again"

    link = open_method_page(services.forwarder, hers, item, "https://portal.example/subscriptions")
    assert link is not None and "/p/session/" in link, "nothing is due: the page for the card"
    ended = act(cancel_now)
    assert ended.status == "confirmed" and there["status"] == "canceled"
    refused = merchant.account.every("subscription")[1]
    merchant.end(refused)  # which is not known here
    item = our_id(services, business_id, refused["id"])
    hers = system(business_id)
    assert act(pause).status == "refused"
    with services.database.open(system(business_id)) as db:
        assert db.scalars(select(Subscription.status).where(Subscription.id == item)).one() == "cancelled", "it was read again"


@on_sqlite
def test_a_key_is_checked_before_it_is_stored(services: Any, stand_in: StandIn) -> None:
    account, stripe_billing = stand_in.account("rk_test_whole"), SYSTEMS["stripe"]
    api = stripe_billing.open(services.outgoing, Reach(stand_in.base_url, account.key))
    assert stripe_billing.check(api, account.key, "test") == account.id
    account.refused = {"GET /v1/charges", "GET /v1/events"}
    for key, mode, reason in (
        (account.key, "test", "Charges and Refunds: Read, Events: Read"), ("sk_test_1", "test", "restricted key"),
        ("rk_test_1", "live", "test mode"), ("rk_live_1", "test", "live mode"),
    ):  # fmt: skip
        with pytest.raises(Invalid) as wrong:
            stripe_billing.check(api, key, mode)
        assert reason in "".join(wrong.value.fields.values())
    url = "https://portal.example/incoming/stripe/billing/bus_1"
    assert stripe_billing.subscribe(api, url) == stripe_billing.subscribe(api, url) == account.webhook_secret
    assert len(account.every("webhook_endpoint")) == 1


@on_sqlite
def test_memory_does_not_grow_with_the_account(services: Any, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak of a pull depends on the size of a page, not on the number of pages."""
    monkeypatch.setattr(stripe, "SIZE", 4)
    peaks = []
    for customers in (6, 6, 24):  # the first pull fills caches
        key = f"rk_test_{len(peaks)}"
        account_with(stand_in, customers, key)
        reader = reader_of(services, stand_in, mirrored(services, stand_in, key), key)
        tracemalloc.start()
        pulling.pull(reader)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.5 * peaks[1], peaks
