"""Paying what is due for a subscription on hold: the *existing* open invoice, with a saved method or on a hosted page.
One open payment per subscription: another begins only after it was paid, definitely declined, or canceled by the gateway (safety 4.1, 4.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import structlog
from sqlalchemy import select

from billing import renewals
from billing.commands.dues import UNPAID, DueLine, Dues, dues, link_of, open_invoice, waits_for_the_bank
from billing.method_use import usable, wanted_by
from billing.payments import Payment
from billing.subscriptions import Subscription
from billing.till import Till
from core.errors import Conflict, NotFound, PortalError, Unavailable
from core.scope import Scope, system

__all__ = ["UNPAID", "DueLine", "Dues", "Paid", "back_to", "business_of", "dues", "open_invoice", "paid_of", "pay_dues", "send"]

log = structlog.get_logger()

NOTHING = "There is nothing to pay for this in its present state."
TRIES = 3  # how often another tab may be found in the way before we give up


@dataclass(frozen=True)
class Paid:
    """`status`: succeeded; failed (`error_code`); processing (we are checking with the bank); requires_customer_action or
    requires_payment_method (go to `link`)."""

    status: str
    payment_id: str
    link: str | None = None
    error_code: str | None = None


@dataclass(frozen=True)
class Wish:
    """What the click asked for. `use_for`: the subscriptions that the method is to pay for from now on."""
    method_id: str | None
    use_for: tuple[str, ...]
    return_url: str | None
    locale: str


def pay_dues(
    till: Till, scope: Scope, subscription_id: str, *, payment_method_id: str | None = None, use_from_now_on: bool = True,
    return_url: str | None = None, locale: str = "en", also: Sequence[str] = (),
) -> Paid:
    """Pay the open invoice at once with a saved method (somebody is there to answer their bank), or by a hosted page (None).

    `also`: further subscriptions of this customer that the method is to pay for. Opens its own sessions: the caller has
    none with statements open. Raises NotFound (subscription, method), Conflict (PREVIOUS_PAYMENT_PENDING, NOTHING_DUE,
    SUBSCRIPTION_INACTIVE, UNSUPPORTED_ACTION, MERCHANT_NOT_LIVE), Unavailable (no page to be had; nothing was taken).
    """
    till.gateway  # noqa: B018 - raises in words when there is no provider, before anything is written
    business_id = business_of(till, scope, subscription_id)
    wish = Wish(payment_method_id, tuple(sorted({subscription_id, *also} if use_from_now_on else set(also))), return_url, locale)
    for _ in range(TRIES):
        answer: Paid | str | None = _settle_open(till, business_id, subscription_id, wish)
        if answer is None:
            answer = _write(till, system(business_id, scope.actor), subscription_id, wish)
        if isinstance(answer, Paid):
            return answer
        if answer is not None:
            return send(till, business_id, answer, locale)
    _pending()


def business_of(till: Till, scope: Scope, subscription_id: str) -> str:
    """Whose subscription it is, as far as the asking scope can see. Raises NotFound."""
    with till.database.open(scope) as db:
        found = db.scalar(select(Subscription.business_id).where(Subscription.id == subscription_id))
    if found is None:
        raise NotFound(sentence="There is no such subscription.")
    return found


def back_to(return_url: str | None, payment_id: str) -> str | None:
    """Where the person comes back to: `{payment_id}` in it stands for a payment that was not written yet when it was built."""
    return return_url.replace("{payment_id}", payment_id) if return_url else None


def send(till: Till, business_id: str, payment_id: str, locale: str) -> Paid:
    """Steps 2 and 3 of a payment that is written: charge the saved method, or ask for the page."""
    payment = _read(till, business_id, payment_id)
    if payment.payment_method_id is not None:
        till.start(business_id, payment_id)
    else:
        try:
            till.open_page(business_id, payment_id, locale)
        except PortalError:
            raise
        except Exception as problem:
            log.warning("no hosted page", payment=payment_id, error=type(problem).__name__)
            words = "The payment page cannot be reached now. Nothing was taken; please try again."
            raise Unavailable("PAYMENT_PAGE_UNAVAILABLE", words) from None
    return paid_of(_read(till, business_id, payment_id))


def paid_of(payment: Payment) -> Paid:
    return Paid(payment.status, payment.id, link_of(payment), payment.error_code)


def _settle_open(till: Till, business_id: str, subscription_id: str, wish: Wish) -> Paid | None:
    """Ask the gateway about the payment under way. None: nothing is in the way of another one. Raises Conflict."""
    with till.database.open(system(business_id)) as db:
        found = db.scalar(select(Payment).where(Payment.subscription_id == subscription_id, Payment.is_open))
        state = db.scalar(select(Subscription.status).where(Subscription.id == subscription_id))
    if found is None:
        return None
    if found.status != "processing" and state not in UNPAID and not waits_for_the_bank(found):
        raise Conflict("SUBSCRIPTION_INACTIVE", NOTHING)  # the open page is of a first payment or a plan change: it is left alone
    till.check(business_id, found.id)
    payment = _read(till, business_id, found.id)
    ours = payment.charge_type == "renewal"
    same = ours and payment.payment_method_id == wish.method_id
    if payment.is_open and payment.status != "processing":
        if same and tuple(wanted_by(payment)) == wish.use_for:
            return send(till, business_id, payment.id, wish.locale) if payment.hosted_url is None else paid_of(payment)
        if state == "active":
            _replace(till, business_id, payment.id)
        till.cancel(business_id, payment.id)
        payment = _read(till, business_id, payment.id)
    if payment.is_open:
        _pending()
    if (ours and payment.status == "succeeded") or (same and found.status == "processing"):
        return paid_of(payment)  # paid after all; or this click's twin has the answer already
    return None


def _replace(till: Till, business_id: str, payment_id: str) -> None:
    """Before a renewal's open payment is cancelled for another method: its end is no failed renewal."""
    with till.database.open(system(business_id), write=True) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id, Payment.is_open).with_for_update())
        if payment is not None:
            payment.intent = {**(payment.intent or {}), "replaced": True}


def _write(till: Till, scope: Scope, subscription_id: str, wish: Wish) -> Paid | str | None:
    """Step 1. The payment's id; Paid when another tab was faster; None when another tab has just begun."""
    with till.database.open(scope, write=True) as db:
        subscription = db.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update())
        assert subscription is not None
        if subscription.collected_by != "us":
            raise Conflict("UNSUPPORTED_ACTION", "This is paid through another system; it cannot be paid here.")
        mine = select(Payment).where(Payment.subscription_id == subscription_id)
        last = db.scalar(mine.order_by(Payment.created_at.desc(), Payment.id).limit(1))
        if last is not None and last.is_open:
            return None
        invoice = open_invoice(db, subscription)
        renewing = subscription.status == "active" and invoice is not None and invoice.kind == "renewal"
        if subscription.status not in UNPAID and not renewing:
            if subscription.status == "active" and last is not None and last.status == "succeeded":
                return paid_of(last)
            raise Conflict("SUBSCRIPTION_INACTIVE", NOTHING)
        if invoice is None:
            raise Conflict("NOTHING_DUE", "There is nothing to pay for this now.")
        method = usable(db, subscription.customer_id, wish.method_id) if wish.method_id else None
        payment = renewals.attempt(till, db, invoice, subscription, method, off_session=False, return_url=wish.return_url)
        payment.intent = {"method_for": list(wish.use_for)}
        payment.return_url = back_to(wish.return_url, payment.id)
        return payment.id


def _read(till: Till, business_id: str, payment_id: str) -> Payment:
    with till.database.open(system(business_id)) as db:
        found = db.scalar(select(Payment).where(Payment.id == payment_id))
    assert found is not None
    return found


def _pending() -> NoReturn:
    raise Conflict(
        "PREVIOUS_PAYMENT_PENDING",
        "We are still checking the previous payment with the bank. Nothing more is taken until we know; please look again in a few minutes."
    )
