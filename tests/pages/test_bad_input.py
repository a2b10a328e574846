"""Invalid input gets a clear page or error, and nothing is partly written."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import RateLimitCount
from billing.model.parties import Business, Customer
from billing.model.subscriptions import Subscription
from core.outbox import Event
from core.scope import everything
from tests.cast import Cast
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

HUGE = "a" * 200_000


@pytest.fixture
def cast(street: Any) -> Any:
    """One deployment for the whole file, because refused input leaves nothing behind."""
    with street.services.database.open(everything("let the letters' budgets rest"), write=True) as db:
        for budget in db.scalars(select(RateLimitCount)):
            db.delete(budget)
    return street


@pytest.fixture
def visitor(street: Any) -> Any:
    return lambda **kwargs: Visitor(street.app, **kwargs)


@pytest.fixture
def ada(cast: Any, visitor: Any) -> Any:
    """Ada, signed in."""
    item = visitor()
    item.sign_in(cast.ADA)
    return item


def _rows(cast: Cast) -> list[Any]:
    """Return every row that a page could have changed."""
    with cast.services.database.open(everything("compare before and after")) as db:
        customers = db.execute(select(Customer.customer_id, Customer.name, Customer.phone, Customer.locale)).all()
        subscriptions = db.execute(select(Subscription.id, Subscription.status, Subscription.cancel_at_period_end)).all()
        return sorted(customers) + sorted(subscriptions) + sorted(db.scalars(select(Event.id)))


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "ada",
        "ada@",
        "@marlow.example",
        "ada@@marlow.example",
        "ada@marlow..example",
        "ada @marlow.example",
        "a@b.c" + "x" * 400,
        HUGE + "@marlow.example",
        "ada@marlow.example\r\nBcc: everyone@void.example",
        "ada@marlow.example\nSubject: hello",
        "ada@marlow.example,ben@hill.example",
        "<script>alert(1)</script>@marlow.example",
        "ada\x00@marlow.example",
    ],
)
def test_invalid_email_addresses_are_refused(cast: Cast, visitor: Any, typed: str) -> None:
    somebody = visitor()
    before = len(somebody.emails())
    somebody.get("/login")
    page = somebody.submit("login", email=typed, expect=None)
    assert page.status in (200, 400, 413, 422), page.status
    assert page.status in (400, 413) or page.soup.find(class_="err") or page.soup.find(class_="bad"), page.text[:300]
    assert "<script>alert" not in page.body.decode()
    assert len(somebody.emails()) == before


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "https://evil.example",
        "\\\\evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie:x=1",
        "http:evil.example",
        "///evil.example",
        "/\t/evil.example",
        "data:text/html,x",
        HUGE,
    ],
)
def test_next_stays_on_this_site(cast: Cast, visitor: Any, target: str) -> None:
    ada = visitor()
    ada.get("/login", query_string={"next": target}, expect=None)
    assert ada.page.status in (200, 400, 414), ada.page.status
    if ada.page.status == 200:
        ada.submit("login", email=cast.ADA)
        ada.page = None
        found = re.search(r"https?://localhost(/login/link/\S+)", ada.emails(cast.ADA)[-1].text)
        ada.get(found.group(1))
        page = ada.submit(found.group(1).split("?")[0][-10:], follow=False, expect=303)
        assert page.location.startswith(("/", "http://localhost/")) and "evil" not in page.location and not page.location.startswith("//")


@pytest.mark.parametrize(
    "path",
    [
        "/billing-history?before=%00%ff",
        "/billing-history?after=../../etc",
        "/billing-history?page=-1",
        "/billing-history?from=yesterday",
        "/billing-history?from=9999-99-99&to=0000-00-00",
        "/billing-history?state=everything",
        "/billing-history?business=bus_nope",
        "/subscriptions?sort=;drop",
        "/search?q=" + "x" * 5000,
        "/search?q=%00",
        "/license-keys?before=-1",
        "/?sort[]=1",
        "/purchases?before=zzzz",
        "/search?q=%25%27%22%3B--",
        "/billing-history?q=%F0%9F%92%B8",
    ],
)
def test_invalid_queries_are_answered_without_errors(cast: Cast, ada: Any, path: str) -> None:
    before = _rows(cast)
    page = ada.get(path, expect=None)
    assert page.status in (200, 400, 404, 414, 422), page.text[:300]
    assert _rows(cast) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("name", "x" * 5000), ("name", "Ada\r\nBcc: x@y.example"), ("phone", "not a number"), ("phone", "+" + "9" * 60)],
)
def test_a_profile_that_cannot_be_saved_keeps_what_was_typed(cast: Cast, ada: Any, field: str, value: str) -> None:
    ada.get("/profile")
    before = _rows(cast)
    page = ada.submit("/profile", expect=None, **{field: value})
    assert page.status in (200, 422) and page.soup.find(class_="err"), page.text[:400]
    typed = page.soup.find("input", {"name": field})
    assert typed is not None and re.sub(r"\s+", " ", typed.get("value", "")) == re.sub(r"\s+", " ", value)
    assert _rows(cast) == before


@pytest.mark.parametrize("language", ["xx", "../../etc/passwd", "<script>", "de" * 400, "%00", ""])
def test_unknown_languages_fall_back(cast: Cast, visitor: Any, language: str) -> None:
    somebody = visitor()
    somebody.get("/login")
    page = somebody.post("/language", {"lang": language}, expect=None)
    assert page.status in (200, 400, 404, 422)
    assert somebody.get("/login", headers={"Accept-Language": language[:60] or "xx"}).soup.html["lang"].startswith("en")


def test_hostile_brand_values_stay_values(cast: Cast, visitor: Any) -> None:
    with cast.services.database.open(everything("a hostile brand"), write=True) as db:
        acorn = db.scalar(select(Business).where(Business.business_id == cast.acorn))
        acorn.name = "</style><script>alert(1)</script>"
        acorn.legal_name = "{{ 7*7 }} ${7*7}"
        acorn.brand = {
            "accent": "#fff;}</style><script>alert(1)</script>",
            "radius": "9px}body{display:none",
            "font": "url(//evil)",
            "logo": "javascript:alert(1)",
        }
    ada = visitor()
    page = ada.get(f"/login/{cast.acorn}")
    assert b"<script>alert" not in page.body and b"display:none" not in page.body and b"javascript:" not in page.body
    ada.sign_in(cast.ADA)
    for path in ("/", f"/business/{cast.acorn}/", f"/business/{cast.acorn}/billing-history"):
        body = ada.get(path).body
        assert b"<script>alert" not in body and b"display:none" not in body and b"javascript:" not in body and b"//evil" not in body
        assert b"49" not in body.split(b"</title>")[0]
    message = ada.emails(cast.ADA)[-1]
    assert "<script>alert" not in message.html


@pytest.mark.parametrize(
    "raw",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"\x89PNG" + b"0" * 100,
        b"",
        b"GIF89a;",
        b"\x89PNG\r\n\x1a\n" + b"0" * (10 * 1024 * 1024),
    ],
)
def test_files_that_are_not_logos_are_refused(raw: bytes) -> None:
    from core.errors import Invalid
    from core.logo import clean_logo

    with pytest.raises(Invalid):
        clean_logo(raw)


def test_cross_site_posts_change_nothing(cast: Cast, ada: Any) -> None:
    path = f"/subscriptions/{cast.ada_at_acorn.subscription_id}/cancellation"
    ada.get(path)
    before = _rows(cast)
    assert ada.post(path, {"csrf_token": "wrong"}, expect=None, token=False).status in (400, 403)
    assert ada.post(path, headers={"Origin": "https://evil.example"}, expect=None).status in (400, 403)
    assert ada.get("/", headers={"Host": "evil.example"}, expect=None).status == 421
    for method in ("GET", "HEAD"):
        ada._open(method, path, False, None)
        ada._open(method, path + "/revocation", False, None)
    assert _rows(cast) == before


def test_an_invalid_reason_keeps_the_comment(cast: Cast, ada: Any) -> None:
    path = f"/subscriptions/{cast.ada_at_acorn.subscription_id}/cancellation"
    ada.get(path)
    before = _rows(cast)
    page = ada.submit("cancellation", feedback="because", comment="I moved house", expect=None)
    assert page.status in (200, 422) and "I moved house" in page.body.decode()
    page = ada.submit("cancellation", comment="x" * 9000, feedback="", expect=None)
    assert page.status in (200, 422)
    assert _rows(cast) == before
