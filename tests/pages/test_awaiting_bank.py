"""While a bank takes days to confirm a payment, Ada sees that it is on its way, and is offered nothing else."""

from __future__ import annotations

import json

from flask import Flask
from sqlalchemy import select

from billing.model.invoices import Invoice
from billing.renewals.pay_dues import pay_dues
from core.scope import system
from tests import unpaid_renewals
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.visitor import Visitor

WORDS = "within 3 working days"


@on_sqlite
def test_pages_say_when_the_bank_confirms(cast: Cast, app: Flask) -> None:
    ada, gateway = cast.ada_at_acorn, cast.services.gateway
    unpaid_renewals.hold(cast, ada)
    gateway.turn_knob("working_days", 3)
    gateway.turn_knob("settle_after", 86400)
    card = cast.card(ada, unpaid_renewals.SLOW)
    paid = pay_dues(cast.services.processor, unpaid_renewals.scope_of(ada), ada.subscription_id, payment_method_id=card)
    with cast.services.database.open(system(cast.acorn)) as db:
        invoice_id = db.scalar(select(Invoice.id).where(Invoice.subscription_id == ada.subscription_id, Invoice.status == "open"))
    visitor = Visitor(app)
    visitor.sign_in(cast.ADA)
    for path in (
        "/",
        f"/subscriptions/{ada.subscription_id}",
        f"/subscriptions/{ada.subscription_id}/payment-method",
        f"/payments/{paid.payment_id}",
        f"/invoices/{invoice_id}",
    ):
        text = visitor.get(path).text
        assert WORDS in text, path
        assert "We don’t know yet" not in text and "checking with the bank" not in text, path


@on_sqlite
def test_operators_see_every_account_and_no_secret(cast: Cast, app: Flask) -> None:
    done = app.test_cli_runner().invoke(args=["processors"])
    lines = [json.loads(line) for line in done.output.splitlines()]
    assert done.exit_code == 0 and {line["business_id"] for line in lines} == {cast.acorn, cast.birch}
    assert all(line["state"] == "open" and line["available"] and line["kind"] == "sandbox" for line in lines)
    assert not any("sealed" in name or "key" in name for line in lines for name in line)
