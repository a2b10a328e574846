"""A person downloads their data and closes the account. The records of businesses stay."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

import migrations.tables  # noqa: F401 - every table there is
from auth import personal_export
from auth.models import BrowserSession, Challenge, Identity, IdentityEmail
from auth.oidc_server.models import App, AppConsent
from auth.passkeys import Passkey
from auth.personal_export import ExportFile, PersonExport
from billing.model.invoices import Invoice
from billing.model.parties import Customer
from core import clock
from core.models import CustomerOwned, PersonOwned, tables_by_kind
from core.scope import everything
from tests.conftest import Street
from tests.pages.test_account_merging import two_accounts_again, who
from tests.visitor import Visitor


@pytest.fixture
def ada(street: Street) -> Visitor:
    two_accounts_again(street)
    visitor = Visitor(street.app)
    visitor.sign_in(street.ADA)
    return visitor


def count(street: Street, mapped: Any, *where: Any) -> int:
    with street.services.database.open(everything("a test counts")) as db:
        return db.scalar(select(func.count()).select_from(mapped).where(*where)) or 0


def test_every_table_of_a_person_is_in_the_copy_or_named_as_left_out() -> None:
    owned = {name for name, kind in tables_by_kind().items() if kind in (CustomerOwned, PersonOwned)}
    assert owned == {name for name, _ in personal_export.tables()} | set(personal_export.EXCLUDED_TABLES)


def test_a_person_downloads_a_copy_of_their_data(ada: Visitor, street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(personal_export, "BATCH", 2)
    ada.get("/profile/export")
    page = ada.submit("/profile/export")
    assert "Preparing your export" in page.text and page.response.headers["Refresh"] == "3"
    ada.post("/profile/export")
    assert count(street, PersonExport) == 1, "one at a time"
    ready = [message for message in ada.emails(street.ADA) if message.subject.endswith("Your data export is ready")]
    assert len(ready) == 1
    page = ada.get("/profile/export")
    href = page.soup.find("a", href=lambda at: at and at.endswith(".zip"))["href"]
    answer = ada.get(href)
    assert answer.response.headers["Content-Disposition"].startswith("attachment")
    assert "no-store" in answer.response.headers["Cache-Control"]
    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    files = {name: archive.read(name) for name in archive.namelist()}
    rows = {name: json.loads(content) for name, content in files.items() if name.endswith(".json")}
    assert {row["customer_id"] for row in rows["customers.json"]} == {street.ada_at_acorn.customer_id, street.ada_at_birch.customer_id}
    assert [row["email_key"] for row in rows["identity_emails.json"]] == [street.ADA]
    mine = Invoice.customer_id.in_([street.ada_at_acorn.customer_id, street.ada_at_birch.customer_id])
    assert len(rows["invoices.json"]) == count(street, Invoice, mine) == len([file for file in files if file.startswith("invoices/")]) > 2
    assert all(content.startswith(b"%PDF") for name, content in files.items() if name.endswith(".pdf"))
    everything_said = b"".join(files.values())
    assert street.BEN.encode() not in everything_said and street.ben.customer_id.encode() not in everything_said
    assert b"secret_hash" not in everything_said and b"token_hash" not in everything_said

    ben = Visitor(street.app)
    ben.sign_in(street.BEN)
    ben.get(href, expect=404)
    with street.services.database.open(everything("a test lets time pass"), write=True) as db:
        db.execute(update(BrowserSession).values(proved_at=clock.wall() - timedelta(hours=2)))
    ada.get(href)
    assert ada.path.startswith("/login?again=1"), "an old proof does not fetch it"
    ada.post("/profile/export")
    assert ada.path.startswith("/login?again=1") and count(street, PersonExport) == 1
    with street.services.database.open(everything("a test lets time pass"), write=True) as db:
        db.execute(update(PersonExport).values(created_at=clock.wall() - timedelta(days=8)))
    assert "No export yet" in ada.get("/profile/export").text
    assert personal_export.sweep(street.services.database) == 1 and count(street, ExportFile) == 0


def test_closing_an_account_deletes_the_person_and_keeps_business_records(ada: Visitor, street: Street) -> None:
    old, kept = who(street, street.ADA), count(street, Invoice)
    with street.services.database.open(everything("a test gives Ada a passkey"), write=True) as db:
        db.add(
            Passkey(
                identity_id=old,
                id="adas-key",
                name="Ada's phone",
                public_key=b"key",
                sign_count=0,
                is_backed_up=False,
                created_at=clock.wall(),
                last_used_at=None,
            )
        )
    with street.services.database.open(everything("a test lets an app of Acorn know Ada"), write=True) as db:
        db.add(
            App(
                business_id=street.acorn,
                id="app_1",
                name="Notes",
                secret_hash=None,
                redirect_uris=[],
                post_logout_uris=[],
                backchannel_uri=None,
                created_at=clock.wall(),
                removed_at=None,
            )
        )
        db.flush()
        db.add(
            AppConsent(
                business_id=street.acorn,
                id="cst_1",
                customer_id=street.ada_at_acorn.customer_id,
                app_id="app_1",
                app_name="Notes",
                scopes=["openid"],
                given_at=clock.wall(),
                revoked_at=None,
            )
        )
    page = ada.get("/profile/closing")
    assert "Acorn Notes, Birch Hosting" in page.text and "records that the law requires" in page.text and "are shown again" in page.text
    ada.submit("/profile/closing", confirmation="yes", expect=422)
    assert who(street, street.ADA) == old
    ada.submit("/profile/closing", confirmation=street.ADA.upper())
    assert ada.path == "/login" and who(street, street.ADA) is None
    ada.get("/profile")
    assert ada.path.startswith("/login")
    for mapped, column in (
        (Identity, Identity.identity_id),
        (IdentityEmail, IdentityEmail.identity_id),
        (Passkey, Passkey.identity_id),
        (BrowserSession, BrowserSession.identity_id),
        (PersonExport, PersonExport.identity_id),
    ):
        assert count(street, mapped, column == old) == 0
    assert count(street, Challenge, Challenge.address_key == street.ADA) == 0
    assert count(street, Invoice) == kept and count(street, Customer, Customer.email_key == street.ADA) == 2
    assert [message.subject for message in ada.emails(street.ADA)][-1].endswith("Your account is closed")
    two_accounts_again(street)
    ada.sign_in(street.ADA)
    assert who(street, street.ADA) not in (None, old) and "Acorn" in ada.get("/subscriptions").text, "the same address, the same rows"
    assert count(street, AppConsent, AppConsent.revoked_at.is_(None)) == count(street, Passkey) == 0
