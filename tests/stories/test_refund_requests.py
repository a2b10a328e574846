"""Customers request refunds that the policy does not give. Staff decide, and both see the deadline."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select

from billing.charging import refund as staff_refund
from billing.customers.archive_business import archive_business
from billing.customers.blocking import block
from billing.model.payments import Payment, Refund
from billing.model.refund_requests import CustomerRefundRequest, RefundRequestMessage
from billing.refund_requests import ask as command
from billing.refund_requests import decide, queries
from core import clock
from core.errors import Conflict, Invalid, NotFound, TooMany
from core.scope import customer_of, everything, staff, system
from gateways.sandbox import returns
from tests.stories.business_and_buyer import Site
from tests.stories.self_refund_site import customer_scope, later, payment, refund_own, with_policy
from tests.stories.test_disputes import told


@pytest.fixture
def site(processor_services: Any) -> Site:
    """Acorn gives no refunds by itself, and takes requests: it answers within five working days."""
    return with_policy(Site.open(processor_services), is_on=False, takes_requests=True)


def ask(site: Site, payment_id: str, message: str = "It does not start.", reason: str | None = "technical") -> CustomerRefundRequest:
    with site.database.open(customer_scope(site), write=True) as db:
        row = command.ask(db, payment_id, reason, message)
        db.flush()
        db.expunge(row)
        return row


def decline(site: Site, request_id: str, answer: str = "You used it for a month.") -> None:
    with site.database.open(staff(site.business_id, "mem_sam"), write=True) as db:
        decide.decline(db, request_id, answer)


def write(site: Site, request_id: str, text: str, *, by_customer: bool) -> None:
    scope = customer_scope(site) if by_customer else staff(site.business_id, "mem_sam")
    with site.database.open(scope, write=True) as db:
        command.write(db, request_id, text, by_customer=by_customer)


def refused(site: Site, payment_id: str) -> str:
    with pytest.raises(Conflict) as problem:
        ask(site, payment_id)
    return problem.value.code


def only(site: Site) -> CustomerRefundRequest:
    [row] = site.rows(CustomerRefundRequest)
    found: CustomerRefundRequest = row
    return found


def test_a_request_has_a_deadline_in_working_days(site: Site) -> None:
    began = site.buy()
    row = ask(site, began.payment_id)
    assert (row.status, row.reason) == ("open", "It doesn’t work for me")
    day, working = row.created_at.date(), 0
    while day < row.answer_by.date():
        day = day.fromordinal(day.toordinal() + 1)
        working += day.weekday() < 5
    assert working == 5
    assert [(item.by_customer, item.text) for item in site.rows(RefundRequestMessage)] == [(True, "It does not start.")]
    assert site.events().count("refund_request.received") == 1


def test_staff_refund_through_the_usual_command_and_the_request_is_closed(site: Site) -> None:
    began = site.buy(price=4900)
    ask(site, began.payment_id)
    made = staff_refund.refund(site.processor, staff(site.business_id, "mem_sam"), began.payment_id, amount_minor=3000)
    assert only(site).status == "open", "the worker closes it"
    decide.close_refunded(site.database, site.business_id, made.id)
    decide.close_refunded(site.database, site.business_id, made.id)
    assert only(site).status == "refunded" and site.events().count("refund_request.refunded") == 1
    site.balanced()


def test_staff_decline_with_words(site: Site) -> None:
    row = ask(site, site.buy().payment_id)
    with pytest.raises(Invalid):
        decline(site, row.id, "  ")
    decline(site, row.id)
    found = only(site)
    assert (found.status, found.answer) == ("declined", "You used it for a month.") and found.decided_at is not None
    with pytest.raises(Conflict, match="already been decided"):
        decline(site, row.id)
    with pytest.raises(Conflict):
        write(site, row.id, "Please!", by_customer=True)


def test_each_side_writes_two_messages_at_most(site: Site) -> None:
    row = ask(site, site.buy().payment_id)
    for by_customer, text in ((False, "Which version?"), (True, "Version 2."), (False, "Thanks.")):
        write(site, row.id, text, by_customer=by_customer)
    for by_customer in (True, False):
        with pytest.raises(Conflict, match="Two messages"):
            write(site, row.id, "And one more.", by_customer=by_customer)
    with site.database.open(customer_scope(site)) as db:
        shown = [item.text for item in queries.messages(db, row)]
    assert shown == ["It does not start.", "Which version?", "Version 2.", "Thanks."]


@pytest.mark.parametrize("text", ["x" * 1001, "\x00\u202e" * 600 + "y" * 1001])
def test_messages_are_bounded(site: Site, text: str) -> None:
    with pytest.raises(Invalid):
        ask(site, site.buy().payment_id, text)
    assert site.rows(CustomerRefundRequest) == []


def test_unprintable_characters_are_left_out(site: Site) -> None:
    ask(site, site.buy().payment_id, " \x00a\u202eb\r\nc\ud800 ", None)
    assert [item.text for item in site.rows(RefundRequestMessage)] == ["ab\nc"]


def test_one_open_request_per_payment(site: Site) -> None:
    began = site.buy()
    gate, codes = threading.Barrier(3), []

    def run() -> None:
        gate.wait()
        try:
            ask(site, began.payment_id)
        except Conflict as problem:
            codes.append(problem.code)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == ["REFUND_REQUEST_OPEN"] * 2 and only(site).status == "open"


def test_floods_are_limited(site: Site) -> None:
    first = site.buy().payment_id
    for _ in range(command.PER_PAYMENT):
        decline(site, ask(site, first).id)
    assert refused(site, first) == "REFUND_REQUEST_LIMIT"
    for _ in range(command.PER_WEEK - command.PER_PAYMENT):
        ask(site, site.buy().payment_id)
    last = site.buy().payment_id
    with pytest.raises(TooMany):
        ask(site, last)
    later(days=8)
    assert ask(site, last).status == "open"


def test_what_cannot_be_requested(site: Site) -> None:
    disputed, foreign, done = (site.buy(price=4900).payment_id for _ in range(3))
    site.gateway.on_page(returns.open_dispute, payment(site, disputed).gateway_reference, 100)
    told(site)
    assert refused(site, disputed) == "PAYMENT_DISPUTED"
    with site.database.open(everything("a pulled payment"), write=True) as db:
        row = db.scalars(select(Payment).where(Payment.id == foreign)).one()
        row.account_id, row.payment_account_id = "acc_dodo", None
    assert refused(site, foreign) == "UNSUPPORTED_ACTION"
    staff_refund.refund(site.processor, system(site.business_id), done)
    assert refused(site, done) == "PAYMENT_ALREADY_REFUNDED"
    open_one = site.buy().payment_id
    with_policy(site, is_on=True)
    assert refused(site, open_one) == "REFUND_POLICY_MET", "what the policy gives is not requested"
    with_policy(site, is_on=False, takes_requests=False)
    assert refused(site, open_one) == "REFUND_REQUESTS_DISABLED"
    with_policy(site, is_on=False, takes_requests=True)
    with site.database.open(system(site.business_id), write=True) as db:
        archive_business(db, site.business_id)
    assert refused(site, open_one) == "BUSINESS_ARCHIVED"
    assert site.rows(CustomerRefundRequest) == []


def test_a_blocked_customer_may_request(site: Site) -> None:
    with_policy(site, is_on=True)
    began = site.buy()
    with site.database.open(system(site.business_id), write=True) as db:
        block(db, site.customer_id)
    with pytest.raises(Conflict):
        refund_own(site, began.payment_id)
    assert ask(site, began.payment_id).status == "open"


def test_strangers_find_nothing(site: Site) -> None:
    began = site.buy()
    row = ask(site, began.payment_id)
    other = site.customer("ben@hill.example")
    for scope in (customer_scope(site, other), customer_of("bus_other", site.customer_id), staff("bus_other", "mem_mallory")):
        with site.database.open(scope, write=True) as db:
            for call in (
                lambda db=db: command.ask(db, began.payment_id, None, ""),
                lambda db=db: command.write(db, row.id, "Hello", by_customer=True),
                lambda db=db: command.withdraw(db, row.id),
                lambda db=db: decide.decline(db, row.id, "No"),
                lambda db=db: queries.get_request(db, row.id),
            ):
                with pytest.raises(NotFound):
                    call()
    assert only(site).status == "open" and len(site.rows(RefundRequestMessage)) == 1


def test_a_withdrawn_request_may_be_made_again(site: Site) -> None:
    began = site.buy()
    row = ask(site, began.payment_id)
    with site.database.open(customer_scope(site), write=True) as db:
        command.withdraw(db, row.id)
    assert only(site).status == "withdrawn" and ask(site, began.payment_id).status == "open"


def test_owners_are_reminded_once(site: Site) -> None:
    row = ask(site, site.buy().payment_id)
    assert decide.remind_overdue(site.database) == 0
    later(seconds=(row.answer_by - clock.now()).total_seconds() + 60)
    assert only(site).is_overdue and decide.remind_overdue(site.database) == 1
    assert decide.remind_overdue(site.database) == 0 and site.events().count("refund_request.overdue") == 1
    with site.database.open(staff(site.business_id, "mem_sam")) as db:
        assert [item.status for item in queries.list_requests(db, "", "overdue", None)] == ["overdue"]
    decline(site, row.id)
    with site.database.open(staff(site.business_id, "mem_sam")) as db:
        assert [item.status for item in queries.list_requests(db, "ada@marlow.example", "", None)] == ["declined"]


def test_a_failed_refund_leaves_the_request_open(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from billing.charging.ports import ChargeOutcome

    began = site.buy()
    ask(site, began.payment_id)
    monkeypatch.setattr(type(site.gateway), "refund", lambda _self, request: ChargeOutcome("declined", request.key, error_code="NO"))
    made = staff_refund.refund(site.processor, system(site.business_id), began.payment_id)
    assert made.status == "failed" and site.rows(Refund)[0].status == "failed" and only(site).status == "open"
