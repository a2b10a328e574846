"""Redirects name no host of ours, and pages accept a trailing slash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Response

from core.proxies import TrustedProxies
from core.redirects import make_relative
from core.settings import Settings

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


def paths_of(app: Any) -> list[str]:
    """Return every page without ids, and those of a business's door with its id."""
    others = ("/api", "/static", "/operator")
    found = [rule.rule for rule in app.url_map.iter_rules() if "GET" in rule.methods and not rule.rule.startswith(others)]
    return sorted({path.replace("<business_id>", "bus_x") for path in found if set("<>").isdisjoint(path.replace("<business_id>", ""))})


def test_pages_without_ids_accept_a_trailing_slash(app: Any) -> None:
    client, pages = app.test_client(), [path for path in paths_of(app) if not path.endswith("/")]
    assert len(pages) > 40 and {"/subscriptions", "/business/bus_x/subscriptions", "/login"} <= set(pages)
    for path in pages:
        answer = client.get(f"{path}/?a=1&b=%C3%A9")
        assert (answer.status_code, answer.headers["Location"]) == (308, f"{path}?a=1&b=%C3%A9"), path


def test_pages_with_ids_accept_a_trailing_slash(cast: Any, visitor: Any) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    path = f"/subscriptions/{cast.ada_at_acorn.subscription_id}"
    assert ada.get(f"{path}/", follow=False, expect=308).location == path
    assert ada.get(f"{path}/").status == 200 and ada.path == path
    assert ada.get(f"/business/{cast.acorn}/subscriptions/").status == 200


@pytest.mark.parametrize("path", ["/no-such-page/", "/subscriptions/x/y/z/"])
def test_a_trailing_slash_does_not_create_pages(app: Any, path: str) -> None:
    assert app.test_client().get(path).status_code == 404


def test_posts_are_not_redirected(app: Any) -> None:
    assert app.test_client().post("/login/", data={"email": "ada@marlow.example"}).status_code in (400, 404, 405)


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("//subscriptions", "/login?next=%2Fsubscriptions"),
        ("/business//bus_x/", "/business/bus_x/"),
        ("/business/bus_x", "/business/bus_x/"),
        ("/subscriptions//", "/subscriptions"),
        ("//evil.example/", None),
        ("/login?next=%2Fsubscriptions", None),
    ],
)
def test_redirects_are_relative(settings: Settings, make_app: Callable[..., Any], path: str, location: str | None) -> None:
    """Behind an https proxy, `http://…` would lead away from https."""
    app = make_app(replace(settings, base_url="https://portal.example", trusted_proxies=TrustedProxies.parse("1")))
    answer = app.test_client().open(
        "/",
        base_url="http://portal.example",
        headers={"X-Forwarded-For": "203.0.113.7"},
        environ_overrides={"PATH_INFO": path.partition("?")[0], "QUERY_STRING": path.partition("?")[2]},
    )
    assert answer.headers.get("Location") == location


@pytest.mark.parametrize(
    ("place", "relative"),
    [
        ("http://localhost/a?b=1#c", "/a?b=1#c"),
        ("https://localhost/a", "/a"),
        ("http://localhost", "/"),
        ("/a", "/a"),
        ("", ""),
        ("http://localhost//evil.example/a", "/evil.example/a"),
        ("https://pay.example/a", "https://pay.example/a"),
        ("https://localhost.evil.example/", "https://localhost.evil.example/"),
        ("app://localhost/a", "app://localhost/a"),
    ],
)
def test_only_redirects_to_the_host_that_was_asked_are_made_relative(app: Any, place: str, relative: str) -> None:
    with app.test_request_context("/"):
        assert make_relative(Response(headers={"Location": place} if place else {})).headers.get("Location", "") == relative


def test_no_page_answers_with_a_redirect_to_our_own_host(app: Any) -> None:
    client = app.test_client()
    for path in paths_of(app):
        place = client.get(path).headers.get("Location", "/")
        assert place.startswith("/") and not place.startswith("//"), (path, place)
