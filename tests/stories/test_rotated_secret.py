"""A new SECRET_KEY before the old one changes nothing for users. Without the old key, its tokens are invalid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

from core.encryption import is_stale, seal, unseal
from core.scope import system
from core.settings import Settings
from tenants.api_keys import new_key
from tests.cast import Cast
from tests.visitor import Visitor

NEW = "n" * 40


@pytest.mark.parametrize(("keeps_old", "program", "person"), [(True, 200, 200), (False, 401, 303)])
def test_a_rotated_secret_key_changes_nothing_for_users(
    app: Flask, cast: Cast, settings: Settings, make_app: Callable[..., Flask], keeps_old: bool, program: int, person: int
) -> None:
    """An API key and a session of the old key are accepted while it is in the list. New ones are accepted by both."""
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        _, key = new_key(db, cast.acorn, "before the rotation", settings=settings)
    ada = Visitor(app)
    ada.sign_in(Cast.ADA)
    assert ada.client.get("/subscriptions").status_code == 200

    rotated = make_app(replace(settings, secret_keys=(NEW, *(settings.secret_keys if keeps_old else ()))))
    asked = rotated.test_client().get("/api/products", headers={"Authorization": f"Bearer {key}"})
    assert asked.status_code == program
    browser = rotated.test_client()
    for cookie in ada.client._cookies.values():
        browser.set_cookie(cookie.key, cookie.value, domain=cookie.domain, path=cookie.path)
    assert browser.get("/subscriptions").status_code == person

    Visitor(rotated).sign_in(Cast.BEN)


def test_encrypted_secrets_are_read_with_every_key_of_the_list() -> None:
    old = seal(("old key",), "webhook", "whsec_1")
    assert unseal((NEW, "old key"), "webhook", old) == "whsec_1" and is_stale((NEW, "old key"), "webhook", old)
    assert not is_stale((NEW, "old key"), "webhook", seal((NEW, "old key"), "webhook", "whsec_1"))
    with pytest.raises(ValueError):
        unseal((NEW,), "webhook", old)
