"""Sam connects, changes and closes Acorn's payment accounts in the console; notifications arrive over HTTP at their account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from billing.charging.account_ports import AccountReport
from billing.charging.ports import AccountAccess
from billing.model.parties import Business
from billing.model.payment_accounts import PaymentAccount, PaymentAccountDetails, sandbox_account_id
from core import clock
from core.errors import Invalid
from core.outbox import Event
from core.scope import everything, system
from gateways.sandbox.accounts import SandboxKind
from gateways.sandbox.notifications import sign
from gateways.sandbox.ownership import signing_secret
from tests.pages.console_setup import Site

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    engine: Any = request.getfixturevalue("postgres" if request.param == "postgresql" else "sqlite")
    urls, drop = engine.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("accounts"))
    yield item
    item.services.database.dispose()
    drop()


class Keyed(SandboxKind):
    """A kind of processor whose accounts need a key: the sandbox under another name."""

    name = "stripe"

    def check(self, access: AccountAccess) -> AccountReport:
        if not access.secret_key.startswith("rk_test_"):
            raise Invalid(fields={"secret_key": "Use a restricted test key."})
        return AccountReport("acct_9", False, ["EUR"], ["Disputes"], "2026")


def told(site: Site, account_id: str) -> tuple[dict[str, str], bytes]:
    body = json.dumps({"id": "ntf_1", "key": "test/unknown", "kind": "charge", "created_at": 0}).encode()
    secret = signing_secret(site.services.gateway._secret, account_id)
    return {"sandbox-account": account_id, **sign(secret, "ntf_1", int(clock.wall().timestamp()), body)}, body


def test_notifications_are_accepted_at_their_own_account_only(site: Site) -> None:
    acorn, birch, client = sandbox_account_id(site.acorn), sandbox_account_id(site.birch), site.app.test_client()
    headers, body = told(site, acorn)
    assert client.post(f"/incoming/sandbox/{birch}", headers=headers, data=body).status_code == 401
    assert client.post(f"/incoming/sandbox/{acorn}", data=body).status_code == 401
    assert client.post("/incoming/sandbox/pac_unknown", headers=headers, data=body).status_code == 404
    assert client.post(f"/incoming/stripe/{acorn}", headers=headers, data=body).status_code == 404
    assert client.post(f"/incoming/sandbox/{acorn}", headers=headers, data=body).status_code == 204
    assert site.row(PaymentAccountDetails, PaymentAccountDetails.id == acorn).last_event_at is not None
    assert "Sandbox" in site.sam.get(site.at("/settings/payments")).text


def test_an_account_is_connected_by_its_key(site: Site) -> None:
    sam, kinds = site.sam, site.services.processor.accounts.kinds
    kinds["stripe"] = Keyed(site.services.gateway)
    try:
        sam.get(site.at("/settings/payments/new"))
        page = sam.submit("/payments/new", kind="stripe", label="Acorn UK", secret_key="rk_live_1", expect=422)
        assert "Use a restricted test key." in page.text and "rk_live_1" not in page.body.decode()
        assert "Enter a label" in sam.submit("/payments/new", kind="stripe", label=" ", secret_key="rk_test_1", expect=422).text
        page = sam.submit("/payments/new", kind="stripe", label="Acorn UK", secret_key="rk_test_1")
        assert "The key lacks these permissions: Disputes." in page.text and "acct_9" in page.text and "rk_test_1" not in page.body.decode()
        row = site.row(PaymentAccount, PaymentAccount.kind == "stripe")
        details = site.row(PaymentAccountDetails, PaymentAccountDetails.id == row.id)
        assert (row.state, row.is_default, row.currencies) == ("open", False, ["EUR"])
        assert "rk_test_1" not in details.sealed_key and site.services.processor.accounts.access(details).secret_key == "rk_test_1"
        assert f"/incoming/stripe/{row.id}" in page.body.decode()
        page = sam.submit("webhook-secret", webhook_secret="whsec_1")
        details = site.row(PaymentAccountDetails, PaymentAccountDetails.id == row.id)
        assert site.services.processor.accounts.access(details).webhook_secret == "whsec_1" and "whsec_1" not in page.body.decode()
        assert "stays valid until" not in page.text
        assert "stays valid until" in sam.submit("webhook-secret", webhook_secret="whsec_2").text
        page = sam.get(site.at(f"/settings/payments/{row.id}/key"))
        page = sam.submit(f"{row.id}/key", secret_key="rk_live_2", expect=422)
        assert "Use a restricted test key." in page.text and "rk_live_2" not in page.body.decode()
        page = sam.submit(f"{row.id}/key", secret_key="rk_test_2", webhook_secret="whsec_3")
        assert "Key replaced." in page.text and "0 days old" in page.text and "rk_test_2" not in page.body.decode()
        details = site.row(PaymentAccountDetails, PaymentAccountDetails.id == row.id)
        access = site.services.processor.accounts.access(details)
        assert (access.secret_key, access.webhook_secret) == ("rk_test_2", "whsec_3")
        sam.get(site.at("/settings/payments/new"))
        page = sam.submit("/payments/new", kind="stripe", label="Twice", secret_key="rk_test_1", expect=422)
        assert "already connected" in page.text
        told_owners = [email.text for email in sam.emails(site.SAM)]
        assert any("payment accounts: Acorn UK" in text for text in told_owners)
        with site.services.database.open(everything("look")) as db:
            assert not [row for row in db.scalars(select(Event)) if "rk_test_1" in json.dumps(row.data)]
        sam.get(site.at(f"/settings/payments/{row.id}"))
        sam.submit("stop")
        assert "takes no new charges" in sam.submit("stop").text
        sam.submit("closing")
        assert "Account closed." in sam.submit("closing").text
    finally:
        del kinds["stripe"]


def test_an_owner_moves_to_another_account(site: Site) -> None:
    sam, old = site.sam, sandbox_account_id(site.acorn)
    sam.get(site.at("/settings/payments/new"))
    page = sam.submit("/payments/new", kind="sandbox", label="Second")
    new = page.url.rsplit("/", 1)[-1] if hasattr(page, "url") else site.row(PaymentAccount, PaymentAccount.id != old).id
    new = next(
        row.id for row in site.rows(PaymentAccount, PaymentAccount.business_id == site.acorn) if row.id != old and row.state == "open"
    )
    assert "New cards are now charged" in sam.submit(f"{new}/default").text
    sam.get(site.at(f"/settings/payments/{old}"))
    page = sam.submit("stop")
    assert "Subscriptions that pay with a card saved here: 1." in page.text
    assert site.row(PaymentAccount, PaymentAccount.id == old).state == "open"  # asked first
    assert "takes no new charges" in sam.submit("stop").text
    assert "Refunds only" in sam.get(site.at("/settings/payments")).text
    sam.get(site.at(f"/settings/payments/{old}"))
    assert "takes charges again" in sam.submit("resumption").text
    rows = {row.id: row for row in site.rows(PaymentAccount, PaymentAccount.business_id == site.acorn)}
    assert rows[new].is_default and not rows[old].is_default and rows[old].state == "open"


def test_missing_taxes_are_told_before_the_first_payment(site: Site) -> None:
    page = site.sam.get(site.at("/settings/payments"))
    assert "No taxes are set up." not in page.text  # Acorn has rates
    with site.services.database.open(system(site.acorn), write=True) as db:
        business = db.scalars(select(Business)).one()
        business.tax_rates, business.tax_setup = {}, None
    page = site.sam.get(site.at("/settings/payments"))
    assert "No taxes are set up." in page.text
    assert page.soup.select_one(f"a[href='/console/{site.acorn}/taxes']", string="Set up taxes")


def test_an_owner_tests_an_account(site: Site) -> None:
    """The worker opens and cancels a payment at the sandbox, and the page shows that its notification arrived."""
    sam, account = site.sam, sandbox_account_id(site.acorn)
    sam.get(site.at(f"/settings/payments/{account}/test"), expect=404)
    sam.get(site.at(f"/settings/payments/{account}"))
    page = sam.submit(f"{account}/test")
    assert "Asking the payment processor…" in page.text and page.response.headers["Refresh"] == "3"
    before = len(site.services.gateway.movements())
    site.services.worker.drain(housekeeping=False)
    site.services.worker.drain(housekeeping=False)
    page = sam.get(site.at(f"/settings/payments/{account}/test"))
    assert "The key works." in page.text and "The event arrived." in page.text and "Refresh" not in page.response.headers
    assert "Passed" in sam.get(site.at(f"/settings/payments/{account}")).text and len(site.services.gateway.movements()) == before
    sam.post(site.at(f"/settings/payments/{sandbox_account_id(site.birch)}/test"), expect=404)


def test_only_owners_with_a_fresh_proof_change_accounts(site: Site) -> None:
    old = sandbox_account_id(site.acorn)
    support = site.staff("support@acorn.example", "support")
    page = support.get(site.at(f"/settings/payments/{old}"))
    assert "Stop charges" not in page.text and "Sandbox" in page.text
    support.get(site.at("/settings/payments/new"), expect=403)
    for verb in ("default", "stop", "resumption", "closing", "webhook-secret", "test", "key"):
        support.post(site.at(f"/settings/payments/{old}/{verb}"), expect=403)
    site.sam.get(site.at(f"/settings/payments/{sandbox_account_id(site.birch)}"), expect=404)  # of another business
    site.sam.post(site.at(f"/settings/payments/{sandbox_account_id(site.birch)}/stop"), {"confirmed": "yes"}, expect=404)
    with site.services.database.open(everything("time passes"), write=True) as db:
        for browser_session in db.scalars(select(BrowserSession)):
            browser_session.proved_at = clock.wall() - timedelta(hours=2)
    site.sam.post(site.at(f"/settings/payments/{old}/stop"), {"confirmed": "yes"}, follow=False, expect=303)
    assert site.row(PaymentAccount, PaymentAccount.id == old).state == "open"
