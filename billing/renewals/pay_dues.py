"""Pay the existing open invoice of an unpaid subscription, with a saved method or on a hosted page.

A subscription has one open payment at a time. Another starts only after it was paid, definitely declined, or cancelled at
the gateway (safety 4.1, 4.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import structlog
from sqlalchemy import select

from billing.charging.hosted_payments import open_page
from billing.charging.method_assignment import requested_subscriptions, usable_method
from billing.charging.payment_processor import PaymentProcessor
from billing.model.lifecycle import UNPAID_STATES
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription, business_of
from billing.renewals import renew
from billing.renewals.dues import DueLine, Dues, dues, link_of, open_invoice, waits_for_the_bank
from core.errors import N_, Conflict, PortalError, Unavailable
from core.scope import Scope, system

__all__ = ["DueLine", "Dues", "DuesResult", "back_to", "dues", "open_invoice", "paid_of", "pay_dues", "send"]

log = structlog.get_logger()

NOTHING_PAYABLE = N_("There is nothing to pay in the subscription's current state.")
TRIES = 3  # concurrent attempts, such as of another tab, that are tolerated


@dataclass(frozen=True)
class DuesResult:
    """The state of a payment.

    `status`: succeeded; failed (`error_code`); processing (the bank is being checked); requires_customer_action or
    requires_payment_method (open `link`).
    """

    status: str
    payment_id: str
    link: str | None = None
    error_code: str | None = None


@dataclass(frozen=True)
class PaymentRequest:
    """A request to pay. `use_for`: the subscriptions that the method pays for from now on."""

    method_id: str | None
    use_for: tuple[str, ...]
    return_url: str | None
    locale: str


def pay_dues(
    processor: PaymentProcessor,
    scope: Scope,
    subscription_id: str,
    *,
    payment_method_id: str | None = None,
    use_from_now_on: bool = True,
    return_url: str | None = None,
    locale: str = "en",
    also: Sequence[str] = (),
) -> DuesResult:
    """Pay the open invoice with a saved method, with the customer present to answer the bank, or on a hosted page (None).

    `also`: further subscriptions of this customer that the method pays for. Opens its own sessions; the caller must have none
    with open statements. Raises NotFound (subscription, method), Conflict (PREVIOUS_PAYMENT_PENDING, NOTHING_DUE,
    SUBSCRIPTION_INACTIVE, UNSUPPORTED_ACTION, MERCHANT_NOT_LIVE), Unavailable (no payment page; nothing was charged).
    """
    business_id = business_of(processor.database, scope, subscription_id)
    processor.accounts.require(business_id)
    request = PaymentRequest(
        payment_method_id, tuple(sorted({subscription_id, *also} if use_from_now_on else set(also))), return_url, locale
    )
    for _ in range(TRIES):
        result: DuesResult | str | None = _settle_open(processor, business_id, subscription_id, request)
        if result is None:
            result = _write(processor, system(business_id, scope.actor), subscription_id, request)
        if isinstance(result, DuesResult):
            return result
        if result is not None:
            return send(processor, business_id, result, locale)
    _refuse_pending()


def back_to(return_url: str | None, payment_id: str) -> str | None:
    """Insert the payment's id for `{payment_id}` in the return URL, which is built before the payment exists."""
    return return_url.replace("{payment_id}", payment_id) if return_url else None


def send(processor: PaymentProcessor, business_id: str, payment_id: str, locale: str) -> DuesResult:
    """Steps 2 and 3 of a written payment: charge the saved method, or open the hosted page."""
    payment = _read(processor, business_id, payment_id)
    if payment.payment_method_id is not None:
        processor.start(business_id, payment_id)
    else:
        try:
            open_page(processor, business_id, payment_id, locale)
        except PortalError:
            raise
        except Exception as failure:
            log.warning("payment page unavailable", payment=payment_id, error=type(failure).__name__)
            problem = N_("We can't reach the payment page right now. You have not been charged. Please try again.")
            raise Unavailable("PAYMENT_PAGE_UNAVAILABLE", problem) from None
    return paid_of(_read(processor, business_id, payment_id))


def paid_of(payment: Payment) -> DuesResult:
    return DuesResult(payment.status, payment.id, link_of(payment), payment.error_code)


def _settle_open(processor: PaymentProcessor, business_id: str, subscription_id: str, request: PaymentRequest) -> DuesResult | None:
    """Check the open payment at the gateway. None: another payment may start. Raises Conflict."""
    with processor.database.open(system(business_id)) as db:
        found = db.scalar(select(Payment).where(Payment.subscription_id == subscription_id, Payment.is_open))
        state = db.scalar(select(Subscription.status).where(Subscription.id == subscription_id))
    if found is None:
        return None
    if found.status != "processing" and state not in UNPAID_STATES and not waits_for_the_bank(found):
        raise Conflict("SUBSCRIPTION_INACTIVE", NOTHING_PAYABLE)  # the open page belongs to a first payment or a plan change
    processor.check(business_id, found.id)
    payment = _read(processor, business_id, found.id)
    ours = payment.charge_type == "renewal"
    same = ours and payment.payment_method_id == request.method_id
    if payment.is_open and payment.status != "processing":
        if same and tuple(requested_subscriptions(payment)) == request.use_for:
            return send(processor, business_id, payment.id, request.locale) if payment.hosted_url is None else paid_of(payment)
        if state == "active":
            _mark_replaced(processor, business_id, payment.id)
        processor.cancel(business_id, payment.id)
        payment = _read(processor, business_id, payment.id)
    if payment.is_open:
        _refuse_pending()
    if (ours and payment.status == "succeeded") or (same and found.status == "processing"):
        return paid_of(payment)  # paid in the meantime, or a double click already got the result
    return None


def _mark_replaced(processor: PaymentProcessor, business_id: str, payment_id: str) -> None:
    """Mark a renewal's open payment as replaced by another method, so that its cancellation is no failed renewal."""
    with processor.database.open(system(business_id), write=True) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id, Payment.is_open).with_for_update())
        if payment is not None:
            payment.intent = {**(payment.intent or {}), "replaced": True}


def _write(processor: PaymentProcessor, scope: Scope, subscription_id: str, request: PaymentRequest) -> DuesResult | str | None:
    """Step 1: write the payment and return its id. A `DuesResult` if it was just paid; None if another payment was just started."""
    with processor.database.open(scope, write=True) as db:
        subscription = db.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update())
        assert subscription is not None
        if subscription.collected_by != "us":
            raise Conflict("UNSUPPORTED_ACTION", N_("This subscription is billed by another system. It cannot be paid here."))
        of_subscription = select(Payment).where(Payment.subscription_id == subscription_id)
        last = db.scalar(of_subscription.order_by(Payment.created_at.desc(), Payment.id).limit(1))
        if last is not None and last.is_open:
            return None
        invoice = open_invoice(db, subscription)
        renewing = subscription.status == "active" and invoice is not None and invoice.kind == "renewal"
        if subscription.status not in UNPAID_STATES and not renewing:
            if subscription.status == "active" and last is not None and last.status == "succeeded":
                return paid_of(last)
            raise Conflict("SUBSCRIPTION_INACTIVE", NOTHING_PAYABLE)
        if invoice is None:
            raise Conflict("NOTHING_DUE", N_("There is nothing to pay for this subscription right now."))
        method = usable_method(db, subscription.customer_id, request.method_id) if request.method_id else None
        payment = renew.attempt(processor, db, invoice, subscription, method, off_session=False, return_url=request.return_url)
        payment.intent = {"method_for": list(request.use_for)}
        payment.return_url = back_to(request.return_url, payment.id)
        return payment.id


def _read(processor: PaymentProcessor, business_id: str, payment_id: str) -> Payment:
    with processor.database.open(system(business_id)) as db:
        found = db.scalar(select(Payment).where(Payment.id == payment_id))
    assert found is not None
    return found


def _refuse_pending() -> NoReturn:
    raise Conflict(
        "PREVIOUS_PAYMENT_PENDING",
        N_("We are still checking the previous payment with the bank. You won't be charged again. Please check back in a few minutes."),
    )
