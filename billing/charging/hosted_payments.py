"""Opens the processor's page on which a customer enters a payment method, which is charged if there is an amount."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from billing.charging import customer_registration, processor_calls
from billing.charging.charge_descriptions import description_of
from billing.charging.payment_processor import PaymentProcessor
from billing.charging.ports import CollectRequest
from billing.model.parties import Business, Customer
from billing.model.payments import Payment
from core import clock
from core.errors import N_, Conflict, NotFound
from core.money import Money
from core.scope import system


def open_page(processor: PaymentProcessor, business_id: str, payment_id: str, locale: str = "en") -> str:
    """Return the URL of the page of an open payment. Opens its own sessions.

    Raises what the gateway raises, and Conflict for a page that has expired. Its payment is cancelled then; the next one gets a new page.
    """
    known = _known_page(processor, business_id, payment_id)
    if known:
        return known
    customer_reference = customer_registration.register_payer(processor, business_id, payment_id)
    with processor.database.open(system(business_id), write=True) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id).with_for_update())
        assert payment is not None
        customer = db.scalar(select(Customer).where(Customer.customer_id == payment.customer_id))
        business = db.scalar(select(Business))
        processor_calls.record_call(db, payment, "collect", customer_reference)
        payment_url = f"{processor.settings.base_url}/business/{business_id}/payments/{payment_id}"
        account = (business_id, payment.payment_account_id)
        request = CollectRequest(
            key=payment.key,
            business_id=business_id,
            customer_id=payment.customer_id,
            amount=Money(payment.amount_minor, payment.currency) if payment.amount_minor else None,
            description=f"{business.name if business else ''}: {description_of(db, payment)}",
            return_url=payment.return_url or payment_url,
            cancel_url=payment.return_url or payment_url,
            locale=locale,
            prefill_name=customer.name if customer else None,
            customer_reference=customer_reference,
            currency=payment.currency,
        )
    page = processor.gateway_of(account).collect(request)
    with processor.database.open(system(business_id), write=True) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id).with_for_update())
        assert payment is not None
        payment.hosted_url, payment.gateway_reference, payment.hosted_until = page.url, page.reference, page.expires_at
        payment.check_at = clock.wall() + timedelta(minutes=2)
        processor_calls.note_reference(db, payment.key, page.reference)
    return page.url


def _known_page(processor: PaymentProcessor, business_id: str, payment_id: str) -> str | None:
    with processor.database.open(system(business_id)) as db:
        payment = db.scalar(select(Payment).where(Payment.id == payment_id))
    if payment is None:
        raise NotFound()
    if payment.hosted_url and payment.is_open and payment.hosted_until and payment.hosted_until <= clock.wall():
        processor.check(business_id, payment_id)
        raise Conflict("PAYMENT_PAGE_EXPIRED", N_("This payment page has expired. You were not charged. Please start the payment again."))
    return payment.hosted_url
