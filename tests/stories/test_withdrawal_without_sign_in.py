"""Withdraw without signing in: what proves a contract ends it and refunds at once; everything else waits for staff, and nobody is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing.catalogue.products import create_product
from billing.model.invoices import Invoice
from billing.model.payments import Payment, Refund
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription
from billing.model.withdrawals import Withdrawal
from billing.statements import staff_withdrawals
from billing.subscriptions.subscribe import buy
from core import clock
from core.errors import Conflict
from core.scope import everything, system
from core.scope import staff as member
from tests.cast import Cast
from tests.conftest import on_sqlite
from tests.visitor import Page, Visitor

SAME = "To protect customers, this page says the same in every case."


def rows(cast: Cast, kind: Any, *where: Any) -> list[Any]:
    with cast.services.database.open(everything("rows of a test")) as db:
        return list(db.scalars(select(kind).where(*where)))


def declare(someone: Visitor, business_id: str, expect: int = 200, **typed: str) -> Page:
    someone.get(f"/withdraw/{business_id}")
    return someone.submit("/withdraw", expect=expect, **{"name": "Ada Marlow", "email": Cast.ADA, **typed})


def number_of(cast: Cast, **where: str) -> str:
    [column] = where
    return str(rows(cast, Invoice.number, getattr(Invoice, column) == where[column])[0])


@pytest.mark.parametrize("proof", ["invoice", "subscription", "purchase", "payment"])
def test_an_address_with_a_number_withdraws_and_refunds_at_once(cast: Cast, visitor: Any, proof: str) -> None:
    ada, someone = cast.ada_at_birch, visitor()
    bought = rows(cast, Payment, Payment.id == ada.purchase_id)[0]
    contract = {
        "invoice": number_of(cast, subscription_id=ada.subscription_id), "subscription": ada.subscription_id,
        "purchase": number_of(cast, id=bought.invoice_id), "payment": ada.purchase_id,
    }[proof]  # fmt: skip
    answer = declare(someone, ada.business_id, contract=contract)
    assert SAME in answer.text
    assert not rows(cast, Refund), "the page looks nothing up"
    sent = [email for email in someone.emails(Cast.ADA) if "Receipt of your withdrawal" in email.subject]
    [statement], [row], [refund] = rows(cast, Statement), rows(cast, Withdrawal), rows(cast, Refund)
    assert (statement.kind, statement.status) == ("withdraw", "effective")
    assert refund.amount_minor == row.refund_minor and refund.status == "succeeded"
    is_subscription = proof in ("invoice", "subscription")
    assert (row.subscription_id or row.payment_id) == (ada.subscription_id if is_subscription else ada.purchase_id)
    status = rows(cast, Subscription, Subscription.id == ada.subscription_id)[0].status
    assert status == ("cancelled" if is_subscription else "active")
    assert len(sent) == 1 and statement.number in sent[0].subject and sent[0].attachments


@on_sqlite
@pytest.mark.parametrize(
    "typed",
    [
        {"contract": "Birch Team"}, {"contract": "sub_000000000000000000000"}, {"email": Cast.MALLORY, "contract": "{ada}"},
        {"email": Cast.BEN, "contract": "{ada}"}, {"contract": "{ben}"}, {"contract": "{acorn}"}, {"contract": "' OR 1=1 --"},
    ],
)  # fmt: skip
def test_nothing_else_does_and_the_answer_is_the_same(cast: Cast, visitor: Any, typed: dict[str, str]) -> None:
    ids = {"ada": cast.ada_at_birch.purchase_id, "ben": cast.ben.purchase_id, "acorn": cast.ada_at_acorn.purchase_id}
    someone = visitor()
    answer = declare(someone, cast.birch, **{**typed, "contract": typed["contract"].format(**ids)})
    assert SAME in answer.text
    someone.emails()
    assert [(row.status, row.customer_id) for row in rows(cast, Statement)] == [("waiting", None)]
    assert not rows(cast, Refund) and not rows(cast, Withdrawal)


@on_sqlite
def test_guesses_count_together_with_those_of_cancelling(cast: Cast, visitor: Any) -> None:
    someone = visitor()
    for guess in range(3):
        someone.get(f"/cancel/{cast.birch}")
        someone.submit("/cancel", name="Ada", email=Cast.ADA, contract=f"INV-9{guess:03}", type="ordinary", when="earliest")
    declare(someone, cast.birch, contract=cast.ada_at_birch.subscription_id)
    someone.emails()
    assert {row.status for row in rows(cast, Statement)} == {"waiting"}
    assert not rows(cast, Refund)


def test_it_is_in_time_if_it_was_sent_in_time(cast: Cast, visitor: Any) -> None:
    """The worker was down for a month, and staff decide later still."""
    ada, someone = cast.ada_at_birch, visitor()
    declare(someone, ada.business_id, contract="the desktop app")
    someone.emails()
    clock.turn(timedelta(days=30))
    [statement] = rows(cast, Statement)
    scope = member(cast.birch, "mem_test")
    with cast.services.database.open(scope) as db:
        choices = {item.id: item for item in staff_withdrawals.withdrawal_choices(db, statement)}
    item = choices[ada.purchase_id]
    assert item.quote.right.is_open
    with pytest.raises(Conflict):
        staff_withdrawals.carry_out(cast.services.processor, scope, statement.id, ada.purchase_id, item.quote.refund_minor - 1)
    staff_withdrawals.carry_out(cast.services.processor, scope, statement.id, ada.purchase_id, item.quote.refund_minor)
    [refund] = rows(cast, Refund)
    assert (refund.payment_id, refund.amount_minor) == (ada.purchase_id, item.quote.refund_minor)
    assert rows(cast, Statement)[0].status == "effective"
    with pytest.raises(Conflict):
        staff_withdrawals.carry_out(cast.services.processor, scope, statement.id, ada.subscription_id, 0)


@on_sqlite
def test_a_business_customer_is_left_to_staff(cast: Cast, visitor: Any) -> None:
    with cast.services.database.open(everything("a business bought"), write=True) as db:
        db.scalars(select(Subscription).where(Subscription.id == cast.ada_at_birch.subscription_id)).one().customer_type = "business"
    someone = visitor()
    declare(someone, cast.birch, contract=cast.ada_at_birch.subscription_id)
    someone.emails()
    assert rows(cast, Statement)[0].status == "waiting"
    assert rows(cast, Subscription, Subscription.id == cast.ada_at_birch.subscription_id)[0].status == "active"


@on_sqlite
def test_the_footer_leads_to_the_page_of_every_business(cast: Cast, visitor: Any) -> None:
    someone = visitor()
    page = someone.get("/login")
    assert page.soup.find("a", href="/withdraw").get_text() == "Withdraw from contract here"
    someone.get("/withdraw")
    answer = someone.submit("/withdraw", business="Birch Hosting", name="Ada", email=Cast.ADA, contract=cast.ada_at_birch.purchase_id)
    assert SAME in answer.text
    assert "the refund is made at once" in answer.text
    pdf = someone.get(answer.soup.find("a", class_="main")["href"])
    assert pdf.body.startswith(b"%PDF")
    wrong = declare(someone, cast.birch, expect=422, email="no address", contract="")
    assert "This is not a valid email address" in wrong.text


@on_sqlite
def test_one_item_of_several_is_read_by_staff(cast: Cast, visitor: Any) -> None:
    with cast.services.database.open(system(cast.birch), write=True) as db:
        other = create_product(db, cast.birch, name="Font", price={"type": "one_time_price", "currency": "EUR", "price": 900}).id
    bought = buy(
        cast.services.processor, system(cast.birch), customer_id=cast.ada_at_birch.customer_id,
        cart=[(cast.products["birch.once"], 1), (other, 1)], payment_method_id=cast.ada_at_birch.method_id,
    )  # fmt: skip
    someone = visitor()
    declare(someone, cast.birch, contract=f"only the font of {bought.payment_id}")
    someone.emails()
    assert rows(cast, Statement)[0].status == "waiting" and not rows(cast, Refund)
    declare(someone, cast.birch, contract=bought.payment_id)
    someone.emails()
    assert [row.payment_id for row in rows(cast, Refund)] == [bought.payment_id]
