"""Apps that sign customers in with us, as an owner registers them; what others of the team and strangers may."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import BrowserSession
from auth.provider.models import App
from core.scope import everything
from tests.pages.staffed import Shop

GOOD = {"name": "Notes", "redirect_uris": "https://notes.acorn.example/in\nhttps://notes.acorn.example/in2"}


@pytest.fixture(scope="module")
def shop(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    urls, drop = sqlite.fresh()
    one = Shop.open(urls, tmp_path_factory.mktemp("apps"))
    yield one
    one.house.database.dispose()
    drop()


def token_says(shop: Shop, app_id: str, secret: str) -> str:
    """`invalid_grant`: the app was believed; `invalid_client`: it was not."""
    answer = shop.app.test_client().post("/oauth/token", data={"grant_type": "refresh_token", "refresh_token": "x"}, auth=(app_id, secret))
    return str(answer.get_json()["error"])


def test_an_app_from_its_first_day_to_its_last(shop: Shop) -> None:
    sam = shop.sam
    assert "No app yet" in sam.get(shop.at("/developers/apps")).text
    sam.get(shop.at("/developers/apps/new"))
    page = sam.submit("/apps/new", kind="confidential", post_logout_uris="https://notes.acorn.example/", **GOOD)
    secret = page.soup.find(id="secret").get_text()
    assert page.response.headers["Cache-Control"] == "no-store"
    row = shop.row(App)
    assert row.redirect_uris == GOOD["redirect_uris"].split() and secret not in row.secret_hash
    assert token_says(shop, row.id, secret) == "invalid_grant" and token_says(shop, row.id, secret + "x") == "invalid_client"
    assert row.id in sam.get(shop.at("/developers/apps")).text

    page = sam.get(shop.at(f"/developers/apps/{row.id}"))
    assert secret not in page.body.decode() and row.id in page.text
    assert "Saved." in shop.save(f"/developers/apps/{row.id}", name="Notes for all").text and shop.row(App).name == "Notes for all"
    page = shop.save(f"/developers/apps/{row.id}", expect=422, redirect_uris="http://notes.acorn.example/")
    assert page.soup.find(id="redirect_uris-error") and page.soup.find("input", id="name")["value"] == "Notes for all"
    sam.get(shop.at(f"/developers/apps/{row.id}"))
    fresh = shop.save(f"/developers/apps/{row.id}/secret", confirmed="yes").soup.find(id="secret").get_text()
    assert token_says(shop, row.id, secret) == "invalid_client" and token_says(shop, row.id, fresh) == "invalid_grant"
    sam.get(shop.at(f"/developers/apps/{row.id}"))
    assert "signs nobody in any more" in shop.save(f"/developers/apps/{row.id}/removal", confirmed="yes").text
    assert token_says(shop, row.id, fresh) == "invalid_client"
    sam.get(shop.at(f"/developers/apps/{row.id}"), expect=404)
    told = [one.text for one in sam.letters(shop.SAM) if "sign customers in through you" in one.text]
    assert len(told) == 4 and not [one for one in told if secret in one or fresh in one]


@pytest.mark.parametrize("address", [
    "", "notes.acorn.example/in", "http://notes.acorn.example/in", "https://notes.acorn.example/in#x", "https://*.acorn.example/in",
    "https://sam:pass@notes.acorn.example/", "javascript:alert(1)", "com.acorn.notes:/in", "https:///in", "https://a.example/\"in",
    "https://a.example\\@b.example/", "https://a.example:99999999/", "\n".join(f"https://a.example/{n}" for n in range(11)),
])
def test_addresses_that_are_none(shop: Shop, address: str) -> None:
    shop.sam.get(shop.at("/developers/apps/new"))
    page = shop.sam.submit("/apps/new", expect=422, **(GOOD | {"redirect_uris": address}))
    assert page.soup.find(id="redirect_uris-error") and not shop.rows(App, App.removed_at.is_(None))


def test_a_public_app_has_no_secret(shop: Shop) -> None:
    shop.sam.get(shop.at("/developers/apps/new"))
    page = shop.sam.submit("/apps/new", kind="public", **GOOD)
    row = shop.row(App, App.removed_at.is_(None))
    assert page.soup.find(id="secret") is None and row.is_public
    shop.sam.post(shop.at(f"/developers/apps/{row.id}/secret"), expect=404)


def test_who_may(shop: Shop) -> None:
    row = shop.row(App, App.removed_at.is_(None))
    dana = shop.staff("dana@acorn.example", "developer")
    assert "Register an app" not in dana.get(shop.at("/developers/apps")).text
    assert dana.get(shop.at(f"/developers/apps/{row.id}")).soup.find("textarea") is None
    dana.get(shop.at("/developers/apps/new"), expect=403)
    dana.post(shop.at(f"/developers/apps/{row.id}"), dict(GOOD), expect=403)
    shop.staff("kim@acorn.example", "support").get(shop.at("/developers/apps"), expect=403)
    ben = shop.customer(shop.BEN)
    ben.get("/profile")
    ben.get(shop.at(f"/developers/apps/{row.id}"), expect=404)
    ben.post(shop.at(f"/developers/apps/{row.id}/removal"), expect=404)


def test_an_old_proof_is_not_enough(shop: Shop) -> None:
    row = shop.row(App, App.removed_at.is_(None))
    shop.sam.get(shop.at(f"/developers/apps/{row.id}"))
    with shop.house.database.open(everything("half an hour passes"), write=True) as db:
        for one in db.scalars(select(BrowserSession).where(BrowserSession.proved_at.is_not(None))):
            one.proved_at -= timedelta(minutes=31)
    page = shop.sam.post(shop.at(f"/developers/apps/{row.id}/removal"), follow=False, expect=303)
    assert page.location.startswith("/login?again=1") and shop.row(App, App.id == row.id).removed_at is None
