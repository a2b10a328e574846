"""A deployment without a payment processor, such as every live one: charges are refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from billing.model.payments import Payment
from billing.subscriptions.subscribe import buy, subscribe
from core.errors import Conflict
from core.scope import everything, system
from core.settings import Settings
from tests.cast import Cast


def test_without_a_processor_charges_are_refused(
    cast: Cast, settings: Settings, make_app: Callable[..., Flask],
) -> None:  # fmt: skip
    services: Any = make_app(replace(settings, gateway="none")).extensions["portal"]

    def payments() -> int:
        with services.database.open(everything("count payments")) as db:
            return db.scalar(select(func.count()).select_from(Payment)) or 0

    before, scope, ada = payments(), system(cast.acorn), cast.ada_at_acorn
    for act in (
        lambda: buy(services.processor, scope, customer_id=ada.customer_id, cart=[(cast.products["acorn.once"], 1)]),
        lambda: subscribe(services.processor, scope, customer_id=ada.customer_id, product_id=cast.products["acorn.plan"]),
    ):
        with pytest.raises(Conflict) as told:
            act()
        assert told.value.code == "MERCHANT_NOT_LIVE"
        assert told.value.sentence == "Payments are not possible: this business has no open payment account."
    assert payments() == before
