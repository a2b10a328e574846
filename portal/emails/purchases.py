"""Emails about purchases, in the customer's language and the business's brand. The worker sends them in response to events.

Links lead to the page in the business's portal and are built from settings. If the customer has never paid or accepted the
business (safety 3.2), the email contains no brand, text or address of that business.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from auth import rate_limits
from auth.email_names import plain
from auth.identities import zone_of
from billing.history import email_context as query
from billing.history.email_context import EmailContext
from billing.model.business_profile import BusinessProfile, profile_of
from billing.model.payments import PaymentMethod
from core import email_log
from core.mail import Attachment, EmailMessage, render_email
from core.outbox_claims import Work
from core.scope import system
from core.services import Services
from portal.emails.receipts import receipt_of
from portal.phrases import card

log = structlog.get_logger()


def register(services: Services) -> None:
    """Register the email handlers. Does nothing without event handlers, as in tests of pages alone."""
    if services.handlers is None:
        return
    emails = PurchaseEmails(services)
    for event_type, handler in (
        ("payment.succeeded", emails.payment_succeeded),
        ("payment.failed", emails.payment_failed),
        ("payment.action_required", emails.payment_action_required),
        ("subscription.active", emails.subscription_started),
        ("subscription.on_hold", emails.subscription_on_hold),
        ("subscription.cancellation_scheduled", emails.cancellation_scheduled),
        ("subscription.cancellation_revoked", emails.cancellation_revoked),
        ("subscription.cancelled", emails.subscription_cancelled),
        ("refund.succeeded", emails.refund_issued),
        ("refund.failed", emails.refund_failed),
        ("subscription.update_payment_method", emails.payment_method_updated),
        ("dunning.started", emails.dunning_reminder),
        ("dunning.reminder", emails.dunning_reminder),
    ):
        services.handlers.on(event_type, handler, sends=True)


@dataclass(frozen=True)
class PurchaseEmails:
    services: Services

    def payment_succeeded(self, work: Work) -> None:
        details = self._load_details(work, payment_id=work.data.get("payment_id"))
        if details and details.payment and details.payment.amount_minor:
            page = f"invoices/{details.invoice.id}" if details.invoice else "billing-history"
            self._send(work, "payment_succeeded", details, page, attachments=self._invoice(details))

    def payment_failed(self, work: Work) -> None:
        """Skip subscriptions that are on hold: their own email says the same and names the amount due."""
        details = self._load_details(work, payment_id=work.data.get("payment_id"))
        if details and details.payment and not (details.subscription and details.subscription.status == "on_hold"):
            page = f"subscriptions/{details.subscription.id}" if details.subscription else "billing-history"
            self._send(work, "payment_failed", details, page)

    def payment_action_required(self, work: Work) -> None:
        """Only for off-session charges. A customer who is present is already on the bank's page."""
        details = self._load_details(work, payment_id=work.data.get("payment_id"))
        if work.data.get("off_session") and details and details.payment and details.payment.status == "requires_customer_action":
            self._send(work, "payment_action_required", details, f"payments/{details.payment.id}")

    def subscription_started(self, work: Work) -> None:
        if work.data.get("reactivated"):  # it was on hold and is now paid
            self._about_subscription(work, "subscription_reactivated")
            return
        self._about_subscription(work, "subscription_started", lambda details: {"again": details.times_active > 1})

    def subscription_on_hold(self, work: Work) -> None:
        details = self._load_details(work, subscription_id=work.noun_id, with_dues=True)
        if details and details.subscription and details.subscription.status == "on_hold":
            self._send(work, "subscription_on_hold", details, f"subscriptions/{details.subscription.id}/payment-method")

    def dunning_reminder(self, work: Work) -> None:
        """Only while the amount is still due: the worker may run after the payment arrived."""
        details = self._load_details(work, subscription_id=work.noun_id, with_dues=True)
        if details and details.subscription and details.subscription.status == "on_hold" and details.invoice:
            self._send(work, "dunning_reminder", details, f"subscriptions/{details.subscription.id}/payment-method")

    def payment_method_updated(self, work: Work) -> None:
        """Skip a card that was chosen with a payment: the payment's own email covers it."""
        details = self._load_details(work, subscription_id=work.noun_id)
        if details and details.subscription and not details.chosen_by_payment(work.at):
            page = f"subscriptions/{details.subscription.id}/payment-method"
            self._send(work, "payment_method_updated", details, page, card=self._card(work, work.data.get("payment_method_id")))

    def cancellation_scheduled(self, work: Work) -> None:
        """Skip a cancellation by a statement: its receipt says the same (`statements.py`)."""
        if work.data.get("statement"):
            return
        self._about_subscription(work, "cancellation_scheduled")

    def cancellation_revoked(self, work: Work) -> None:
        self._about_subscription(work, "cancellation_revoked")

    def subscription_cancelled(self, work: Work) -> None:
        self._about_subscription(work, "subscription_cancelled")

    def refund_issued(self, work: Work) -> None:
        details = self._load_details(work, refund_id=work.noun_id)
        if details and details.refund:
            self._send(work, "refund_issued", details, f"refunds/{details.refund.id}")

    def refund_failed(self, work: Work) -> None:
        """Only if the refund had succeeded, or the customer made it: of another one the customer was never told."""
        details = self._load_details(work, refund_id=work.noun_id)
        was_made = bool(work.data.get("was_made"))
        if details and details.refund and (was_made or details.refund.by_policy):
            self._send(work, "refund_failed", details, f"refunds/{details.refund.id}", was_made=was_made)

    def _about_subscription(self, work: Work, name: str, extra: Callable[[EmailContext], dict[str, Any]] = lambda details: {}) -> None:
        details = self._load_details(work, subscription_id=work.noun_id)
        if details and details.subscription:
            self._send(work, name, details, f"subscriptions/{details.subscription.id}", **extra(details))

    def _card(self, work: Work, payment_method_id: str | None) -> PaymentMethod | None:
        with self.services.database.open(system(str(work.business_id))) as db:
            return query.method(db, payment_method_id)

    def _invoice(self, details: EmailContext) -> tuple[Attachment, ...]:
        """Return the invoice as issued. If it cannot be rendered, the email goes out without it: the page has it too."""
        if details.invoice is None or details.customer.is_declined:
            return ()
        try:
            with self.services.database.open(system(details.business.business_id)) as db:
                pdf, number = self.services.documents.invoice_pdf(db, details.invoice.id)
        except Exception as problem:
            log.warning("email sent without invoice", invoice=details.invoice.id, error=type(problem).__name__)
            return ()
        return (Attachment(re.sub(r"[^A-Za-z0-9._-]+", "-", number) + ".pdf", "application/pdf", pdf),)

    def _load_details(self, work: Work, **which: Any) -> EmailContext | None:
        if not work.business_id or not work.customer_id:
            return None
        with self.services.database.open(system(work.business_id)) as db:
            return query.email_context(db, work.customer_id, work.id, **which)

    def _send(
        self,
        work: Work,
        name: str,
        details: EmailContext,
        page: str,
        attachments: tuple[Attachment, ...] = (),
        *,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> None:
        settings, customer = self.services.settings, details.customer
        pending_acceptance = not customer.is_recognized
        if customer.is_declined:
            return  # the customer said "not mine", so this address gets no email about it
        profile: BusinessProfile = profile_of(details.business)
        if pending_acceptance:  # safety 3.2: three emails a day from all such businesses together, without their text or documents
            limits = rate_limits.acceptance_emails(settings, customer.email_key, profile.business_id)
            if details.was_refused:
                return
            if not rate_limits.spend_for(self.services.database, work.id, limits):
                email_log.withhold(self.services.database, settings, work, customer.email, "limit")
                return
            details = details.redacted(plain(profile.name))
            attachments, headers, more = (
                (),
                None,
                {key: "" if isinstance(value, str) and key != "currency" else value for key, value in more.items()},
            )
        receipt, receipt_files = (None, ()) if pending_acceptance else receipt_of(self.services, work)
        portal_url = f"{settings.base_url}/business/{profile.business_id}/"
        subject, text, html = render_email(
            name,
            profile.language_for(customer.locale),
            zone=zone_of(self.services.database, customer.email_key) or profile.zone,
            to=customer.email,
            brand=None if pending_acceptance else profile.brand,
            sender=settings.name if pending_acceptance else profile.name,
            seller="" if pending_acceptance else profile.seller,
            support_email=settings.support_email if pending_acceptance else profile.support_email or settings.support_email,
            name="" if pending_acceptance else customer.name,
            business=plain(profile.name) if pending_acceptance else profile.name,
            what="" if pending_acceptance else details.what,
            pending_acceptance=pending_acceptance,
            url=portal_url + page,
            refuse_url=settings.base_url + "/",
            details=details,
            card_label=card,
            receipt=receipt,
            **more,
        )
        files = (*attachments, *receipt_files)
        email = EmailMessage(customer.email, subject, text, html, attachments=files, headers=headers or {})
        self.services.mailer.send(email, f"{work.id}:{name}")
