"""Owners register apps that sign customers in with this portal. Other members and strangers cannot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from auth.oidc_server.models import App
from core.scope import everything
from tests.pages.console_setup import Site

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

GOOD = {"name": "Notes", "redirect_uris": "https://notes.acorn.example/in\nhttps://notes.acorn.example/in2"}


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("apps"))
    yield item
    item.services.database.dispose()
    drop()


def token_says(site: Site, app_id: str, secret: str) -> str:
    """`invalid_grant`: the app was authenticated; `invalid_client`: it was not."""
    answer = site.app.test_client().post("/oauth/token", data={"grant_type": "refresh_token", "refresh_token": "x"}, auth=(app_id, secret))
    return str(answer.get_json()["error"])


def test_an_app_is_registered_changed_and_removed(site: Site) -> None:
    sam = site.sam
    assert "No apps yet" in sam.get(site.at("/developers/apps")).text
    sam.get(site.at("/developers/apps/new"))
    page = sam.submit("/apps/new", kind="confidential", post_logout_uris="https://notes.acorn.example/", **GOOD)
    secret = page.soup.find(id="secret").get_text()
    assert page.response.headers["Cache-Control"] == "no-store"
    row = site.row(App)
    assert row.redirect_uris == GOOD["redirect_uris"].split() and secret not in row.secret_hash
    assert token_says(site, row.id, secret) == "invalid_grant" and token_says(site, row.id, secret + "x") == "invalid_client"
    assert row.id in sam.get(site.at("/developers/apps")).text

    page = sam.get(site.at(f"/developers/apps/{row.id}"))
    assert secret not in page.body.decode() and row.id in page.text
    assert "Saved." in site.save(f"/developers/apps/{row.id}", name="Notes for all").text and site.row(App).name == "Notes for all"
    page = site.save(f"/developers/apps/{row.id}", expect=422, redirect_uris="http://notes.acorn.example/")
    assert page.soup.find(id="redirect_uris-error") and page.soup.find("input", id="name")["value"] == "Notes for all"
    sam.get(site.at(f"/developers/apps/{row.id}"))
    fresh = site.save(f"/developers/apps/{row.id}/secret", confirmed="yes").soup.find(id="secret").get_text()
    assert token_says(site, row.id, secret) == "invalid_client" and token_says(site, row.id, fresh) == "invalid_grant"
    sam.get(site.at(f"/developers/apps/{row.id}"))
    assert "is removed." in site.save(f"/developers/apps/{row.id}/removal", confirmed="yes").text
    assert token_says(site, row.id, fresh) == "invalid_client"
    sam.get(site.at(f"/developers/apps/{row.id}"), expect=404)
    told = [email.text for email in sam.emails(site.SAM) if "changed an app that your customers sign in to" in email.text]
    assert len(told) == 4 and not [item for item in told if secret in item or fresh in item]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "notes.acorn.example/in",
        "http://notes.acorn.example/in",
        "https://notes.acorn.example/in#x",
        "https://*.acorn.example/in",
        "https://sam:pass@notes.acorn.example/",
        "javascript:alert(1)",
        "com.acorn.notes:/in",
        "https:///in",
        'https://a.example/"in',
        "https://a.example\\@b.example/",
        "https://a.example:99999999/",
        "\n".join(f"https://a.example/{n}" for n in range(11)),
    ],
)
def test_invalid_redirect_uris_are_refused(site: Site, address: str) -> None:
    site.sam.get(site.at("/developers/apps/new"))
    page = site.sam.submit("/apps/new", expect=422, **(GOOD | {"redirect_uris": address}))
    assert page.soup.find(id="redirect_uris-error") and not site.rows(App, App.removed_at.is_(None))


def test_a_public_app_has_no_secret(site: Site) -> None:
    site.sam.get(site.at("/developers/apps/new"))
    page = site.sam.submit("/apps/new", kind="public", **GOOD)
    row = site.row(App, App.removed_at.is_(None))
    assert page.soup.find(id="secret") is None and row.is_public
    site.sam.post(site.at(f"/developers/apps/{row.id}/secret"), expect=404)


def test_only_owners_and_developers_manage_apps(site: Site) -> None:
    row = site.row(App, App.removed_at.is_(None))
    dana = site.staff("dana@acorn.example", "developer")
    assert "Register an app" not in dana.get(site.at("/developers/apps")).text
    assert dana.get(site.at(f"/developers/apps/{row.id}")).soup.find("textarea") is None
    dana.get(site.at("/developers/apps/new"), expect=403)
    dana.post(site.at(f"/developers/apps/{row.id}"), dict(GOOD), expect=403)
    site.staff("kim@acorn.example", "support").get(site.at("/developers/apps"), expect=403)
    ben = site.customer(site.BEN)
    ben.get("/profile")
    ben.get(site.at(f"/developers/apps/{row.id}"), expect=404)
    ben.post(site.at(f"/developers/apps/{row.id}/removal"), expect=404)


def test_managing_apps_needs_a_fresh_sign_in(site: Site) -> None:
    row = site.row(App, App.removed_at.is_(None))
    site.sam.get(site.at(f"/developers/apps/{row.id}"))
    with site.services.database.open(everything("half an hour passes"), write=True) as db:
        for browser_session in db.scalars(select(BrowserSession).where(BrowserSession.proved_at.is_not(None))):
            browser_session.proved_at -= timedelta(minutes=31)
    page = site.sam.post(site.at(f"/developers/apps/{row.id}/removal"), follow=False, expect=303)
    assert page.location.startswith("/login?again=1") and site.row(App, App.id == row.id).removed_at is None
