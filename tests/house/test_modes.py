"""Test and live mode are separate: secrets of one are refused by the other, and live mode refuses unsafe settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from core import schema
from core.settings import DEFAULT_SECRET, Misconfigured, Settings

LIVE = {
    "PORTAL_MODE": "live",
    "PORTAL_BASE_URL": "https://portal.example",
    "SECRET_KEY": "k" * 40,
    "MAIL_SERVER": "mail.example",
    "DATABASE_URL": "postgresql://portal@db.example/portal",
}


def test_a_complete_live_deployment_is_accepted() -> None:
    settings = Settings.from_env(LIVE)
    assert settings.mode == "live" and settings.gateway == "none"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"SECRET_KEY": DEFAULT_SECRET}, "SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"PORTAL_BASE_URL": "http://portal.example"}, "PORTAL_BASE_URL"),
        ({"PORTAL_GATEWAY": "sandbox"}, "PORTAL_GATEWAY"),
        ({"PORTAL_GATEWAY": "gold"}, "PORTAL_GATEWAY"),
        ({"MAIL_SERVER": ""}, "MAIL_SERVER"),
        ({"DATABASE_URL": "sqlite:////var/portal.sqlite3"}, "DATABASE_URL"),
        ({"PORTAL_MODE": "production"}, "PORTAL_MODE"),
    ],
)
def test_live_mode_refuses_unsafe_settings(change: dict[str, str], word: str) -> None:
    with pytest.raises(Misconfigured, match=word):
        Settings.from_env(LIVE | change)


def _live(settings: Settings) -> Settings:
    return replace(
        settings,
        mode="live",
        gateway="none",
        base_url="https://portal.example",
        secret_keys=("k" * 40,),
        mail_server="127.0.0.1",
        allow_sqlite=True,
    )


def test_a_database_stamped_test_is_not_served_live(settings: Settings, make_app: Callable[..., Any]) -> None:
    with pytest.raises(Misconfigured, match="test deployment"):
        make_app(_live(settings))
    with pytest.raises(Misconfigured, match="test deployment"):
        schema.upgrade(_live(settings))


def test_a_database_without_tables_says_what_to_do(tmp_path: Any, make_app: Callable[..., Any]) -> None:
    with pytest.raises(Misconfigured, match="upgrade"):
        make_app(Settings(database_url=f"sqlite:///{tmp_path}/empty.sqlite3", data_dir=tmp_path))


def _restamp(settings: Settings, mode: str) -> None:
    """Mark the same rows as a live deployment's, so that only the mode can be the reason of a refusal."""
    from core.db import Database
    from core.scope import everything

    database = Database(settings)
    with database.open(everything("a test turns the stamp"), write=True) as db:
        row = db.get(schema.Deployment, "this")
        assert row is not None
        row.mode = mode
    database.dispose()


def test_cookies_links_and_keys_of_test_are_refused_by_live(
    cast: Any, visitor: Any, settings: Settings, make_app: Callable[..., Any]
) -> None:
    from auth.portal_links import create_dynamic_link
    from core.scope import Actor, system
    from tenants.api_keys import new_key

    ada = visitor()
    ada.sign_in(cast.ADA)
    assert ada.get("/subscriptions").status == 200
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        _row, secret = new_key(db, cast.acorn, "programs", settings=settings)
        _link, url = create_dynamic_link(db, cast.acorn, cast.ada_at_acorn.customer_id, actor=Actor("system"))
    cookies = {cookie.key: cookie.value for cookie in ada.client._cookies.values()}
    cast.services.database.dispose()

    # the very same database, secret and cookies: only the mode differs
    live = replace(_live(settings), secret_keys=settings.secret_keys)
    _restamp(settings, "live")
    client = make_app(live).test_client()
    base = "https://portal.example"
    for name, value in cookies.items():
        for renamed in (name, name.replace("_test", "_live"), f"__Host-{name}", "__Host-portal"):
            client.set_cookie(renamed, value, domain="portal.example", secure=True)
    assert client.get("/subscriptions", base_url=base).status_code == 303
    path = url.split("http://localhost")[1]
    page = client.get(path, base_url=base)
    assert page.status_code in (200, 404, 410) and b"Acorn Notes" not in page.data
    assert client.get("/api/customers", base_url=base, headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    for route in ("/mailbox", "/sandbox/", "/clock"):
        assert client.get(route, base_url=base).status_code == 404
    _restamp(settings, "test")
