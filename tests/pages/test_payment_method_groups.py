"""Payment methods by card: the same card at several businesses is one group, with one default for each business."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.cast import Cast
from tests.visitor import Visitor

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both

MASTERCARD = "5555555555554444"


@pytest.fixture
def ada(visitor: Callable[..., Visitor], cast: Cast) -> Visitor:
    cast.card(cast.ada_at_acorn, MASTERCARD)
    item = visitor()
    item.sign_in(cast.ADA)
    return item


def groups(ada: Visitor, path: str) -> dict[str, list[tuple[str, bool]]]:
    """Card → (business, whether it is the default there)."""
    soup: Any = ada.get(path).soup
    return {
        section.h2.get_text(): [(row.h3.get_text(), "Default" in row.get_text()) for row in section.select("li.row")]
        for section in soup.select("section:has(h2[id^=method-])")
    }


def test_the_same_card_at_two_businesses_is_one_group(ada: Visitor, cast: Cast) -> None:
    assert groups(ada, "/payment-methods") == {
        "Mastercard ending 4444": [("Acorn Notes", True)],
        "Visa ending 4242": [("Birch Hosting", True), ("Acorn Notes", False)],
    }


def test_each_business_has_one_default_and_it_can_be_changed(ada: Visitor, cast: Cast) -> None:
    ada.get("/payment-methods")
    ada.submit(f"{cast.ada_at_acorn.method_id}/default")
    assert groups(ada, "/payment-methods") == {
        "Visa ending 4242": [("Birch Hosting", True), ("Acorn Notes", True)],
        "Mastercard ending 4444": [("Acorn Notes", False)],
    }


def test_a_business_door_shows_only_its_own_copies(ada: Visitor, cast: Cast) -> None:
    found = groups(ada, f"/business/{cast.acorn}/payment-methods")
    assert found == {"Mastercard ending 4444": [("Acorn Notes", True)], "Visa ending 4242": [("Acorn Notes", False)]}
    assert "Used for: Acorn Team" in ada.page.text  # type: ignore[union-attr]
