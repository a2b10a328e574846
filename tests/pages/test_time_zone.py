"""A person chooses the time zone of the dates on their pages, at the unified door."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from auth.models import Identity
from core.scope import everything
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


def zone_of(services: Any) -> str | None:
    with services.database.open(everything("a person's time zone")) as db:
        found: str | None = db.scalar(select(Identity.zone))
        return found


def test_a_person_chooses_the_time_zone_of_what_they_read(cast: Any, services: Any, visitor: Callable[..., Visitor]) -> None:
    ada = visitor()
    ada.sign_in(cast.ADA)
    page = ada.get("/profile")
    assert page.soup.select_one("input#zone").get("value", "") == "" and page.soup.select_one("datalist#zones option[value='Asia/Tokyo']")
    ada.submit("/profile", zone="Mars/Base", expect=422)
    assert zone_of(services) is None
    ada.get("/profile")
    ada.submit("/profile", zone="Asia/Tokyo")
    assert zone_of(services) == "Asia/Tokyo" and ada.get("/profile").soup.select_one("input#zone")["value"] == "Asia/Tokyo"
    assert "Tokyo" in ada.get("/activity").text, "pages say which zone their times are in"
    ada.get("/profile")
    ada.submit("/profile", zone="")
    assert zone_of(services) is None
    ada.get(f"/business/{cast.acorn}/profile")
    assert not ada.page.soup.select_one("#zone"), "at a business's door only that business's record is changed"
