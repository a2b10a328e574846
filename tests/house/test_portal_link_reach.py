"""Portal links and secrets of a business open that business's row, and nothing of the person (safety §8, "merchant's reach")."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from auth.portal_links import create_dynamic_link
from core.scope import Actor, system
from tests.conftest import Street
from tests.visitor import Visitor


def _urls(app: Flask, cast: Street, prefix: str) -> list[str]:
    """Return every page of a door that can be requested, with Ada's own ids."""
    ids = {
        "business_id": cast.birch,
        "subscription_id": cast.ada_at_birch.subscription_id,
        "payment_id": cast.ada_at_birch.purchase_id,
        "customer_id": cast.ada_at_birch.customer_id,
    }
    out = []
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()) and rule.endpoint.startswith(prefix) and "static" not in rule.endpoint:
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda m: ids.get(m[1], "unknown"), rule.rule)
            out.append(path)
    return out


def _open_link(visitor: Visitor, cast: Street) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        _row, url = create_dynamic_link(db, cast.acorn, cast.ada_at_acorn.customer_id, actor=Actor("system"))
    path = url.removeprefix("http://localhost")
    visitor.get(path)
    visitor.submit(path.rsplit("/", 1)[-1][:10])


def _nothing_of_birch(body: bytes, cast: Street, asked: str = "") -> None:
    """`asked`: the requested path, which a page may repeat."""
    body = body.replace(asked.encode(), b"") if asked else body
    for secret in ("Birch Team", "Birch for desktop", cast.ada_at_birch.customer_id, cast.ada_at_birch.subscription_id, "Ben Hill"):
        assert secret.encode() not in body


@pytest.fixture
def linked(street: Street) -> Visitor:
    """A browser with only Acorn's link for Ada."""
    visitor = Visitor(street.app)
    _open_link(visitor, street)
    return visitor


def test_a_portal_link_opens_the_pages_of_its_business(linked: Visitor, street: Street) -> None:
    page = linked.get(f"/business/{street.acorn}/")
    assert "Acorn Team" in page.text
    for path in ("subscriptions", "purchases", "billing-history", "payment-methods", "license-keys", "profile"):
        _nothing_of_birch(linked.get(f"/business/{street.acorn}/{path}").body, street)


def test_a_portal_link_opens_no_other_page(linked: Visitor, street: Street) -> None:
    for path in [*_urls(street.app, street, "unified."), *_urls(street.app, street, "business.")]:
        page = linked.get(path, follow=False, expect=None)
        assert page.status in (302, 303, 401, 404), f"{path} answered {page.status}"
        if page.status in (302, 303):  # to the sign-in page; it repeats the asked path, which says nothing
            assert "/login" in page.location, f"{path} led to {page.location}"
        else:
            _nothing_of_birch(page.body, street, path)


def test_the_profile_there_shows_no_identity(linked: Visitor, street: Street) -> None:
    text = linked.get(f"/business/{street.acorn}/profile").text
    assert "opens everything" not in text and "Add or change" not in text and "Chrome" not in text and "Firefox" not in text


def test_a_portal_link_does_not_widen_an_own_session(street: Street) -> None:
    ada = Visitor(street.app)
    ada.sign_in(street.ADA)
    before = ada.get("/").text
    _open_link(ada, street)
    assert "Birch Team" in before and "Birch Team" in ada.get("/").text
    assert "opens everything" in ada.get("/profile").text


def test_a_leaked_portal_link_opens_no_identity(street: Street) -> None:
    ben = Visitor(street.app)
    ben.sign_in(street.BEN)
    _open_link(ben, street)
    assert "Acorn Team" not in ben.get("/").text
    assert street.ADA not in ben.get("/profile").text
