"""Ada takes up a subscription that has ended: at today's price, exactly as shown, and once."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from billing.catalogue.addons import archive_addon, create_addon
from billing.catalogue.discount_codes import create_discount
from billing.catalogue.products import archive_product, create_product, update_product
from billing.model.catalogue import CollectionItem
from billing.model.licenses import LicenseKey
from billing.model.parties import Business, Customer
from billing.model.payments import Payment
from billing.model.restarts import Restart
from billing.model.subscriptions import Subscription
from billing.renewals import renew
from billing.subscriptions.end_now import cancel_now
from billing.subscriptions.restart import OfferChanged, RestartOrder, StartedRestart, restart
from billing.subscriptions.restart_offer import RestartOffer, check, offer
from billing.subscriptions.subscribe import subscribe
from core import clock
from core.errors import Conflict, Forbidden, Invalid, NotFound, PortalError
from core.outbox import Event
from core.scope import Scope, customer_of, everything
from tests.cast import MONTHLY, Cast
from tests.stories.ada_subscription import Ada, wait


@pytest.fixture
def ada(cast: Cast) -> Ada:
    """Ada, whose subscription with Acorn has ended."""
    found = Ada(cast)
    cancel_now(found.processor, found.scope, found.buyer.subscription_id)
    return found


def shown(ada: Ada, codes: tuple[str, ...] = ()) -> RestartOffer:
    with ada.services.database.open(ada.business) as db:
        return offer(db, check(db, ada.buyer.subscription_id), codes)


def go(ada: Ada, digest: str | None = None, scope: Scope | None = None, **order: Any) -> StartedRestart:
    order.setdefault("method_id", ada.buyer.method_id)
    wanted = RestartOrder(digest or shown(ada, order.get("codes", ())).digest, **order)
    return restart(ada.processor, scope or ada.scope, ada.buyer.subscription_id, wanted)


def subscription(ada: Ada, subscription_id: str) -> Subscription:
    with ada.services.database.open(ada.business) as db:
        return db.scalars(select(Subscription).where(Subscription.id == subscription_id)).one()


def change(ada: Ada, kind: Any, where: Any, **values: Any) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        for row in db.scalars(select(kind).where(where)):
            for name, value in values.items():
                setattr(row, name, value)


def count(ada: Ada) -> int:
    with ada.services.database.open(ada.business) as db:
        return len(db.scalars(select(Subscription.id).where(Subscription.customer_id == ada.buyer.customer_id)).all())


def test_a_restart_charges_what_was_shown_and_leaves_the_old_row_as_it_was(ada: Ada) -> None:
    ada.do(update_product, ada.team, price={**MONTHLY, "price": 3000}, scope=ada.business)
    before, charged = ada.subscription, ada.charged()
    made = shown(ada)
    assert made.total_minor == 3600, "today's price of the catalog, with 20 % tax"
    done = go(ada)
    new = subscription(ada, done.subscription_id)
    assert (done.status, new.status, new.unit_minor, new.quantity) == ("succeeded", "active", 3000, before.quantity)
    assert ada.charged() == charged + 1
    with ada.services.database.open(ada.business) as db:
        paid = db.scalars(select(Payment).where(Payment.id == done.payment_id)).one()
        assert paid.amount_minor == 3600
        assert db.scalars(select(Restart)).one().new_subscription_id == new.id
        created = db.scalars(select(Event).where(Event.noun_id == new.id, Event.type == "subscription.created")).one()
        assert created.data["restarts"] == before.id
    after = ada.subscription
    assert (after.version, after.status, after.cancelled_at) == (before.version, "cancelled", before.cancelled_at)
    wait(days=32)
    renew.run_due(ada.processor)
    with ada.services.database.open(ada.business) as db:
        renewal = db.scalars(select(Payment).where(Payment.subscription_id == new.id, Payment.charge_type == "renewal")).one()
    assert renewal.amount_minor == made.renews_minor


def test_a_changed_price_is_refused_with_the_new_one(ada: Ada) -> None:
    made, before = shown(ada), ada.charged()
    ada.do(update_product, ada.team, price={**MONTHLY, "price": 9900}, scope=ada.business)
    with pytest.raises(OfferChanged) as refused:
        go(ada, made.digest)
    assert refused.value.offer.total_minor == 11880 and ada.charged() == before and count(ada) == 1
    assert go(ada, refused.value.offer.digest).status == "succeeded"


def test_two_clicks_and_two_tabs_restart_once(ada: Ada) -> None:
    digest, before, done = shown(ada).digest, ada.charged(), list[StartedRestart]()
    go_on = threading.Barrier(4)

    def click() -> None:
        go_on.wait()
        done.append(go(ada, digest))

    threads = [threading.Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4 and len({item.subscription_id for item in done}) == 1
    assert ada.charged() == before + 1 and count(ada) == 2


def test_a_declined_card_leaves_it_ended_and_another_card_restarts_it(ada: Ada) -> None:
    declined = ada.cast.card(ada.buyer, "4000000000000002")
    assert go(ada, method_id=declined).status == "failed"
    done = go(ada)
    assert subscription(ada, done.subscription_id).status == "active"
    with ada.services.database.open(ada.business) as db:
        rows = db.scalars(select(Restart).order_by(Restart.created_at, Restart.id)).all()
    assert [row.failed_at is None for row in rows].count(True) == 1 and len(rows) == 2


def test_an_open_page_is_the_open_restart(ada: Ada) -> None:
    first = go(ada, method_id=None)
    assert first.link and subscription(ada, first.subscription_id).status == "pending"
    again = go(ada, "another price", method_id=ada.buyer.method_id)
    assert (again.subscription_id, again.link) == (first.subscription_id, first.link), "the second tab continues the first"


def test_a_trial_is_not_granted_again_and_discounts_are_todays(ada: Ada) -> None:
    ada.do(update_product, ada.team, price={**MONTHLY, "trial_period_days": 14}, scope=ada.business)
    change(ada, Subscription, Subscription.id == ada.buyer.subscription_id, credit_minor=500)
    with ada.services.database.open(ada.business, write=True) as db:
        create_discount(db, ada.buyer.business_id, kind="percentage", amount=5000, code="BACK50", cycles=1)
    made = shown(ada, ("BACK50",))
    assert (made.total_minor, made.renews_minor) == (1450, 2900)
    done = go(ada, codes=("BACK50",))
    new = subscription(ada, done.subscription_id)
    assert (new.trial_days, new.trial_ends_at, new.credit_minor) == (0, None, 0)
    assert ada.subscription.credit_minor == 500, "credit stays with the subscription it was made for"
    with ada.services.database.open(ada.business) as db:
        assert db.scalars(select(Payment.amount_minor).where(Payment.id == done.payment_id)).one() == 1450


def test_the_successor_is_sold_instead_of_an_archived_or_hidden_plan(ada: Ada) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        other = create_product(db, ada.buyer.business_id, name="Acorn Next", price={**MONTHLY, "price": 1000}).id
    ada.do(update_product, ada.team, successor_id=other, scope=ada.business)
    assert shown(ada).product.id == ada.team, "while it is sold, the plan itself"
    change(ada, CollectionItem, CollectionItem.product_id == ada.team, enabled=False)
    assert shown(ada).product.id == other
    ada.do(archive_product, ada.team, scope=ada.business)
    assert shown(ada).product.id == other
    ada.do(update_product, other, successor_id=ada.team, scope=ada.business)
    ada.do(archive_product, other, scope=ada.business)
    with pytest.raises(Conflict, match="PRODUCT_NOT_SOLD"):  # two products that succeed each other
        shown(ada)


def test_a_successor_is_another_recurring_product_of_the_business(ada: Ada, cast: Cast) -> None:
    for wrong in (ada.team, cast.products["acorn.once"]):
        with pytest.raises(Invalid):
            ada.do(update_product, ada.team, successor_id=wrong, scope=ada.business)
    with pytest.raises(NotFound):
        ada.do(update_product, ada.team, successor_id=cast.products["birch.plan"], scope=ada.business)


@pytest.mark.parametrize("why", ["blocked", "external", "unaccepted", "archived business", "active", "archived product", "one only"])
def test_what_cannot_be_restarted_is_refused(ada: Ada, why: str) -> None:
    mine, id = Customer.customer_id == ada.buyer.customer_id, Subscription.id == ada.buyer.subscription_id
    digest = shown(ada).digest
    refused: type[PortalError] = Conflict
    if why == "blocked":
        change(ada, Customer, mine, blocked_at=ada.subscription.created_at)
    elif why == "external":
        change(ada, Subscription, id, collected_by="dodo")
    elif why == "unaccepted":
        change(ada, Customer, mine, recognized_key=None)
        refused = Forbidden
    elif why == "archived business":
        change(ada, Business, Business.business_id == ada.buyer.business_id, archived_at=ada.subscription.created_at)
        refused = PortalError
    elif why == "active":
        change(ada, Subscription, id, status="active")
    elif why == "archived product":
        ada.do(archive_product, ada.team, scope=ada.business)
    else:
        first = go(ada).subscription_id
        change(ada, Restart, Restart.new_subscription_id == first, failed_at=ada.subscription.created_at)
        change(ada, Business, Business.business_id == ada.buyer.business_id, settings={"multiple_subscriptions": False})
    before, charged = count(ada), ada.charged()
    with pytest.raises(refused):
        go(ada, digest)
    assert (count(ada), ada.charged()) == (before, charged)


def test_nobody_restarts_the_subscription_of_somebody_else(ada: Ada, cast: Cast) -> None:
    digest = shown(ada).digest
    with pytest.raises(NotFound):
        go(ada, digest, customer_of(cast.ben.business_id, cast.ben.customer_id))
    with pytest.raises(NotFound):
        go(ada, digest, method_id=cast.ben.method_id)
    assert count(ada) == 1


def test_a_chain_of_restarts_is_shown_at_both_ends(cast: Cast, ada: Ada, visitor: Any) -> None:
    browser, path = visitor(), f"/subscriptions/{ada.buyer.subscription_id}"
    browser.sign_in(cast.ADA)
    page = browser.get(path)
    assert page.soup.find("a", href=f"{path}/restart")
    page = browser.get(f"{path}/restart")
    assert page.h1 == "Restart Acorn Team?" and "€29.00" in page.text
    browser.submit("/restart", method=ada.buyer.method_id)
    with ada.services.database.open(ada.business) as db:
        new_id = db.scalars(select(Restart.new_subscription_id)).one()
    old = browser.get(path)
    assert not old.soup.find("a", href=f"{path}/restart") and old.soup.find("a", href=f"/subscriptions/{new_id}")
    assert browser.get(f"/subscriptions/{new_id}").soup.find("a", href=path)
    assert browser.get(f"{path}/restart", follow=False, expect=303).location.endswith(new_id)
    door = f"/business/{cast.acorn}/subscriptions"
    assert browser.get(f"{door}/{ada.buyer.subscription_id}").soup.find("a", href=f"{door}/{new_id}")


def test_a_saved_card_needs_a_recent_sign_in(cast: Cast, ada: Ada, visitor: Any) -> None:
    browser, path = visitor(), f"/subscriptions/{ada.buyer.subscription_id}/restart"
    browser.sign_in(cast.ADA)
    with cast.services.database.open(everything("an older sign-in"), write=True) as db:
        for session in db.scalars(select(BrowserSession)):
            session.proved_at = clock.wall() - timedelta(hours=2)
    browser.get(path)
    before = ada.charged()
    answer = browser.submit("/restart", follow=False, expect=303, method=ada.buyer.method_id)
    assert answer.location.startswith("/login?again=1")
    assert ada.charged() == before and count(ada) == 1


def test_a_code_is_shown_before_it_is_charged_and_guessing_is_limited(cast: Cast, ada: Ada, visitor: Any) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        create_discount(db, ada.buyer.business_id, kind="percentage", amount=5000, code="BACK50")
    browser, path = visitor(), f"/subscriptions/{ada.buyer.subscription_id}/restart"
    browser.sign_in(cast.ADA)
    browser.get(path)
    page = browser.submit("/restart", method=ada.buyer.method_id, discount_code="back50")
    assert "€14.50" in page.text and count(ada) == 1
    for number in range(12):
        browser.get(path)
        page = browser.post(path, {"codes": f"GUESS{number}", "method": "new"}, expect=None)
    assert page.status == 429 and count(ada) == 1


def test_a_restart_issues_license_keys_of_its_own(ada: Ada) -> None:
    with ada.services.database.open(ada.business, write=True) as db:
        product = create_product(db, ada.buyer.business_id, name="Keyed", price=MONTHLY, license_key_enabled=True).id
    started = subscribe(
        ada.processor, ada.business, customer_id=ada.buyer.customer_id, product_id=product, payment_method_id=ada.buyer.method_id
    )
    ada.buyer.subscription_id = started.subscription_id or ""
    cancel_now(ada.processor, ada.scope, ada.buyer.subscription_id)
    new_id = go(ada).subscription_id
    with ada.services.database.open(ada.business) as db:
        keys = {key.subscription_id: key.status for key in db.scalars(select(LicenseKey).where(LicenseKey.product_id == product))}
    assert keys == {ada.buyer.subscription_id: "disabled", new_id: "active"}


def test_an_addon_that_is_no_longer_sold_is_left_out(ada: Ada) -> None:
    held = []
    with ada.services.database.open(ada.business, write=True) as db:
        for name in ("Backups", "Support"):
            addon = create_addon(db, ada.buyer.business_id, name=name, currency="EUR", price=200)
            held.append({"addon_id": addon.id, "name": name, "quantity": 2, "unit_minor": 100})
        archive_addon(db, held[1]["addon_id"])
    change(ada, Subscription, Subscription.id == ada.buyer.subscription_id, addons=held)
    made = shown(ada)
    assert (made.dropped, made.total_minor) == (("Support",), 2900 + 480), "the other one costs what it costs today"
    new = subscription(ada, go(ada).subscription_id)
    assert [(addon["name"], addon["unit_minor"]) for addon in new.addons] == [("Backups", 200)]
