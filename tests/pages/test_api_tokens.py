"""A person makes tokens for their own programs, and hands one to a front end after signing in."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from auth.api_origins import save_origins
from auth.models import AccessToken, BrowserSession
from core import clock
from core.scope import everything, system
from tests.cast import Cast
from tests.pages.test_sign_in import code_in
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine
URL = "/profile/api-tokens"
FRONT_END = "https://account.acorn.example"


def signed_in(visitor: Any) -> Visitor:
    ada: Visitor = visitor()
    ada.sign_in(Cast.ADA)
    return ada


def calls(cast: Cast, visitor: Visitor, token: str, path: str = "unified-customer-portal/businesses") -> int:
    answer = visitor.app.test_client().get(f"/api/{path}", headers={"Authorization": f"Bearer {token}"})
    return int(answer.status_code)


def test_a_token_is_shown_once_and_can_be_revoked(cast: Cast, visitor: Any) -> None:
    ada = signed_in(visitor)
    assert "No tokens yet" in ada.get(URL).text
    assert "Enter a name" in ada.submit(URL, label=" ", expect=422).text
    page = ada.submit(URL, label="My spreadsheet", reach="read")
    token = page.soup.select_one("#secret").get_text()  # type: ignore[union-attr]
    assert calls(cast, ada, token) == 200
    listed = ada.get(URL)
    assert "My spreadsheet" in listed.text and "read only" in listed.text and token not in listed.body.decode()
    ada.submit("/revocation")
    assert calls(cast, ada, token) == 401
    assert "My spreadsheet" not in ada.get(URL).text


def test_a_token_needs_a_recent_sign_in(cast: Cast, visitor: Any) -> None:
    ada = signed_in(visitor)
    with cast.services.database.open(everything("an hour later"), write=True) as db:
        db.execute(update(BrowserSession).values(proved_at=clock.wall() - timedelta(hours=1)))
    ada.get(URL)
    assert "/login?again=1" in ada.submit(URL, label="Mine", follow=False, expect=303).location
    with cast.services.database.open(everything("no token")) as db:
        assert db.scalars(select(AccessToken)).all() == []


def test_a_front_end_gets_a_token_after_signing_in_here(cast: Cast, visitor: Any) -> None:
    """The front end asks for the email, the person signs in by it and continues there. Other origins get nothing."""
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        save_origins(db, cast.services.settings, cast.acorn, [FRONT_END])
    ada: Visitor = visitor()
    asked = {"email": Cast.ADA, "business_id": cast.acorn}
    ada.app.test_client().post("/api/customer-portal-login?send_email=false", json=asked, headers={"Origin": FRONT_END})
    [email] = [item for item in ada.emails(Cast.ADA) if "/login/link/" in item.text]
    ada.get("/login/link/" + re.search(r"/login/link/(\S+)", email.text).group(1))  # type: ignore[union-attr]
    page = ada.submit("/login/link/", code=code_in(email.text))  # another browser than the one that asked: the code proves it
    assert page.h1 == "Continue to account.acorn.example?" and "from Acorn Notes" in page.text
    assert f"form-action 'self' {FRONT_END}" in page.response.headers["Content-Security-Policy"]
    there = ada.submit("/front-end", follow=False, expect=303).location
    assert there.startswith(f"{FRONT_END}/session/")
    token = there.rsplit("/", 1)[1]
    assert calls(cast, ada, token, "customer-portal/business") == 200 and calls(cast, ada, token) == 401
    goal = f"/front-end?origin={FRONT_END}&business_id={cast.acorn}"
    for wrong in ("https://evil.example", FRONT_END.replace("https", "http"), FRONT_END + "/x"):
        assert ada.get(f"/front-end?origin={wrong}&business_id={cast.acorn}", follow=False, expect=303).location == "/"
        ada.get(goal)
        ada.submit("/front-end", follow=False, expect=404, origin=wrong)
    assert ada.get(f"/front-end?origin={FRONT_END}&business_id={cast.birch}", follow=False, expect=303).location == "/"
    assert ada.get(f"/front-end?origin={FRONT_END}", follow=False, expect=303).location == "/", "of everything only the deployment's own"


def test_the_deployments_front_end_gets_a_token_of_everything(cast: Cast, visitor: Any) -> None:
    cast.services.settings = replace(cast.services.settings, api_origins=("https://app.portal.example",))
    ada = signed_in(visitor)
    page = ada.get("/front-end?origin=https://app.portal.example")
    assert "from every business" in page.text
    there = ada.submit("/front-end", follow=False, expect=303).location
    assert there.startswith("https://app.portal.example/unified-session/")
    assert calls(cast, ada, there.rsplit("/", 1)[1]) == 200
