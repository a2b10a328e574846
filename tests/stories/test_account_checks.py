"""An owner tests a Stripe account, and replaces its key and the secret of its webhook. Nothing is charged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select

from billing.charging import account_keys, account_tests, notifications, payment_accounts
from billing.charging.account_keys import KeyForm
from billing.charging.account_tests import AccountTest, last_test
from billing.charging.payment_accounts import AccountForm
from billing.model.payment_accounts import PaymentAccountDetails, sandbox_account_id
from billing.model.payments import PaymentMethod
from core import clock
from core.errors import Conflict, Invalid, Unauthorized
from core.scope import everything, system
from core.settings import Settings
from tests.conftest import on_sqlite
from tests.harness.stripe_site import KEY, StripeSite, start
from tests.harness.stripe_standin import running
from tests.harness.stripe_standin.methods import create_customer

pytestmark = on_sqlite


@pytest.fixture
def site(settings: Settings) -> Iterator[StripeSite]:
    with running() as stand_in:
        services = start(replace(settings, outgoing_loopback=True), stand_in)
        yield StripeSite.open(services).connect()
        assert stand_in.mistakes == []
        services.database.dispose()


def account_id(site: StripeSite) -> str:
    return sandbox_account_id(site.business_id)


def details(site: StripeSite) -> PaymentAccountDetails:
    with site.database.open(everything("a test looks")) as db:
        return db.scalars(select(PaymentAccountDetails).where(PaymentAccountDetails.id == account_id(site))).one()


def result(site: StripeSite) -> AccountTest:
    found = last_test(details(site))
    assert found is not None
    return found


def request(site: StripeSite) -> None:
    with site.database.open(system(site.business_id), write=True) as db:
        account_tests.request_test(site.processor, db, account_id(site))


def send(site: StripeSite) -> bool:
    assert account_tests.due_businesses(site.processor, 10) == [site.business_id]
    assert account_tests.due_tests(site.processor, site.business_id) == [account_id(site)]
    return account_tests.run_test(site.processor, site.business_id, account_id(site))


def intents(site: StripeSite) -> list[str]:
    return [item["status"] for item in site.gateway.account.every("payment_intent")]


def test_a_working_account_passes(site: StripeSite) -> None:
    request(site)
    request(site)  # pressed twice: one test
    assert result(site).payment == "waiting" and intents(site) == []
    assert send(site)
    found = result(site)
    assert (found.payment, found.is_running, found.has_passed, found.amount and found.amount.minor) == ("cancelled", True, False, 50)
    assert intents(site) == ["canceled"] and account_tests.due_businesses(site.processor, 10) == []
    assert site.deliver() == 2
    site.work()
    assert result(site).has_passed and not result(site).is_running
    assert site.gateway.movements() == []


def test_a_lost_answer_leaves_no_open_payment(site: StripeSite) -> None:
    """Whatever call gets lost, the next try cancels the same payment."""
    for ending, what in (("/payment_intents", "drop"), ("/payment_intents", "500 after"), ("/cancel", "drop"), ("/cancel", "500")):
        before = len(intents(site))
        site.gateway.stand_in.on_next("POST", ending, what)
        request(site)
        if not send(site):
            assert result(site).payment == "waiting"
            assert send(site)
        assert result(site).payment == "cancelled", (ending, what)
        assert intents(site) == ["canceled"] * (before + 1), (ending, what)
    assert site.gateway.movements() == []


def test_what_does_not_work_is_said(site: StripeSite) -> None:
    site.gateway.account.refused.add("POST /v1/payment_intents")
    request(site)
    assert send(site) and result(site).payment == "permission"
    site.gateway.account.refused = {"POST /v1/payment_intents/{intent}/cancel"}
    request(site)
    assert send(site) and result(site).payment == "left_open" and result(site).reference.startswith("pi_")
    site.gateway.account.refused = set()
    del site.gateway.stand_in.accounts[KEY]
    request(site)
    assert send(site) and result(site).payment == "key" and "Invalid API Key" in result(site).message


def test_an_event_that_cannot_be_verified_is_named(site: StripeSite) -> None:
    request(site)
    send(site)
    headers, body = site.gateway.stand_in.take_events(KEY)[-1]
    with pytest.raises(Unauthorized):
        notifications.receive(site.processor, "stripe", account_id(site), headers, body + b" ")
    assert result(site).refused_at is not None and result(site).event_at is None
    notifications.receive(site.processor, "stripe", account_id(site), headers, body)
    site.work()
    assert result(site).has_passed
    with pytest.raises(Unauthorized):  # without a test nothing is written
        notifications.receive(site.processor, "stripe", account_id(site), headers, body + b" ")


def test_a_test_ends(site: StripeSite) -> None:
    """After two minutes the page stops waiting; after 23 hours the test is no longer repeated. A closed account is not tested."""
    request(site)
    with time_machine.travel(clock.wall() + timedelta(minutes=3)):
        assert not result(site).is_running
    site.gateway.stand_in.on_next("POST", "/payment_intents", "drop before")
    with time_machine.travel(clock.wall() + timedelta(hours=24)):
        assert not send(site)
    assert result(site).payment == "unanswered" and account_tests.due_businesses(site.processor, 10) == []
    with site.database.open(system(site.business_id), write=True) as db:
        row, _details = account_tests.load_account(db, account_id(site))
        row.state = "closed"
    with pytest.raises(Conflict):
        request(site)


# --- replacing the key and the webhook's secret


def replace_keys(site: StripeSite, key: str, secret: str = "") -> None:
    accounts, form = site.processor.accounts, KeyForm(key, secret)
    report = account_keys.check_key(accounts, site.business_id, account_id(site), form)
    with site.database.open(system(site.business_id), write=True) as db:
        account_keys.replace_key(accounts, db, account_id(site), form, report)


def test_a_key_is_replaced_by_one_of_the_same_account(site: StripeSite) -> None:
    stand_in, accounts = site.gateway.stand_in, site.processor.accounts
    with site.database.open(system(site.business_id), write=True) as db:
        found = db.scalars(select(PaymentAccountDetails)).one()
        found.external_id = site.gateway.account.id
    stand_in.account("rk_test_other")
    stand_in.accounts["rk_test_new"] = site.gateway.account
    for key, words in (
        ("rk_test_other", "another account"),
        ("rk_live_new", "live mode"),
        ("sk_test_new", "restricted"),
        ("rk_test_x", "accept"),
    ):
        with pytest.raises(Invalid) as refused:
            replace_keys(site, key)
        assert words in refused.value.fields["secret_key"]
    site.gateway.account.refused = {"GET /v1/account"}
    with pytest.raises(Invalid) as refused:
        replace_keys(site, "rk_test_new")
    assert "read the account" in refused.value.fields["secret_key"]
    assert details(site).key_set_at is None and accounts.access(details(site)).secret_key == KEY
    site.gateway.account.refused = set()
    replace_keys(site, "rk_test_new")
    del stand_in.accounts[KEY]  # the merchant deletes the earlier key
    assert details(site).key_set_at is not None and "rk_test_new" not in details(site).sealed_key
    request(site)
    assert send(site) and result(site).payment == "cancelled"


def test_an_account_that_was_never_identified_keeps_its_payments(site: StripeSite) -> None:
    """The first key could not read the account. Once something was saved there, no key can be compared with it."""
    site.gateway.stand_in.accounts["rk_test_new"] = site.gateway.account
    card = site.card()
    with pytest.raises(Invalid):
        replace_keys(site, "rk_test_new")
    with site.database.open(system(site.business_id), write=True) as db:
        db.delete(db.scalars(select(PaymentMethod).where(PaymentMethod.id == card)).one())
    replace_keys(site, "rk_test_new")
    assert details(site).external_id == site.gateway.account.id


def test_a_rolled_secret_is_valid_until_the_new_one_is_used(site: StripeSite) -> None:
    """Events signed with the earlier secret count until the first one with the new secret, and for at most a day."""
    account, stand_in = site.gateway.account, site.gateway.stand_in
    earlier = account.webhook_secret

    def event(secret: str) -> None:
        account.webhook_secret = secret
        with stand_in.lock:
            create_customer(account, {})
        [(headers, body)] = stand_in.take_events(KEY)
        notifications.receive(site.processor, "stripe", account_id(site), headers, body)

    def replace_secret(secret: str) -> None:
        with site.database.open(system(site.business_id), write=True) as db:
            account_keys.replace_webhook_secret(site.processor.accounts, db, account_id(site), secret)

    event(earlier)
    replace_secret("whsec_second")
    event(earlier)
    replace_secret("whsec_second")  # saved twice: the earlier one is still known
    event(earlier)
    with pytest.raises(Unauthorized):
        event("whsec_mallory")
    event("whsec_second")
    assert details(site).sealed_former_webhook_secret is None
    with pytest.raises(Unauthorized):
        event(earlier)
    replace_secret("whsec_third")
    with time_machine.travel(clock.wall() + timedelta(hours=25)), pytest.raises(Unauthorized):
        event("whsec_second")
    event("whsec_third")


def test_only_the_last_of_several_rolled_secrets_stays_valid(site: StripeSite) -> None:
    """Rolled twice within a day: two secrets are valid, never three. The earlier one ends 24 hours after it was replaced, to the second."""
    account, stand_in = site.gateway.account, site.gateway.stand_in
    first = account.webhook_secret

    def event(secret: str) -> None:
        account.webhook_secret = secret
        with stand_in.lock:
            create_customer(account, {})
        [(headers, body)] = stand_in.take_events(KEY)
        notifications.receive(site.processor, "stripe", account_id(site), headers, body)

    rolled_at = clock.wall()
    with time_machine.travel(rolled_at, tick=False):
        for secret in ("whsec_second", "whsec_third"):
            with site.database.open(system(site.business_id), write=True) as db:
                account_keys.replace_webhook_secret(site.processor.accounts, db, account_id(site), secret)
        with pytest.raises(Unauthorized):
            event(first)
        event("whsec_second")
    assert details(site).former_webhook_secret_until == rolled_at + timedelta(hours=24)
    with time_machine.travel(rolled_at + timedelta(hours=24) - timedelta(seconds=1), tick=False):
        event("whsec_second")
    with time_machine.travel(rolled_at + timedelta(hours=24, seconds=1), tick=False), pytest.raises(Unauthorized):
        event("whsec_second")
    event("whsec_third")


def test_a_key_of_an_account_that_is_connected_already_is_refused(site: StripeSite) -> None:
    """Nothing was saved here yet, so the key may be of any account, but not of one that this business connected beside it."""
    stand_in, accounts = site.gateway.stand_in, site.processor.accounts
    stand_in.account("rk_test_other")
    form = AccountForm("stripe", "Other", "rk_test_other")
    report = payment_accounts.check_account(accounts, site.business_id, form)
    with site.database.open(system(site.business_id), write=True) as db:
        payment_accounts.connect_account(accounts, db, form, report)
    with pytest.raises(Conflict) as refused:
        replace_keys(site, "rk_test_other")
    assert refused.value.code == "PAYMENT_ACCOUNT_CONNECTED"
    with site.database.open(everything("a test looks")) as db:
        mine = db.scalars(select(PaymentAccountDetails).where(PaymentAccountDetails.id == account_id(site))).one()
    assert accounts.access(mine).secret_key == KEY
