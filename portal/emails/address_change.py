"""Notify the old address when a business changes a customer's email address (safety 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

from auth import rate_limits
from auth.email_names import plain
from auth.tokens import mask
from billing.history import email_context as query
from billing.model.business_profile import profile_of
from billing.model.email_address import fold_address
from core import email_log
from core.errors import Invalid
from core.mail import EmailMessage, render_email
from core.outbox_claims import Work
from core.scope import system
from core.services import Services


def register(services: Services) -> None:
    if services.handlers is not None:
        services.handlers.on("customer.email_changed", AddressChangeEmails(services).changed, sends=True)


def _address_key(address: str) -> str:
    """Return the folded address. An address accepted under older rules that cannot be folded is returned unchanged."""
    try:
        return fold_address(address)
    except Invalid:
        return address


@dataclass(frozen=True)
class AddressChangeEmails:
    services: Services

    def changed(self, work: Work) -> None:
        """Send the email. People who have not accepted the business see only its name, in at most three emails a day."""
        settings, old = self.services.settings, str(work.data["old"])
        with self.services.database.open(system(str(work.business_id))) as db:
            found = query.email_context(db, str(work.customer_id), work.id)
        if found is None:
            return
        customer, profile = found.customer, profile_of(found.business)
        pending_acceptance = not work.data.get("recognized")  # of the old address: the row already has the new one
        limits = rate_limits.acceptance_emails(settings, _address_key(old), profile.business_id) if pending_acceptance else []
        if not rate_limits.spend_for(self.services.database, work.id, limits):
            email_log.withhold(self.services.database, settings, work, old, "limit")
            return
        subject, text, html = render_email(
            "customer_address_changed",
            profile.language_for(customer.locale),
            zone=profile.zone,
            to=old,
            brand=None if pending_acceptance else profile.brand,
            sender=settings.name if pending_acceptance else profile.name,
            seller="" if pending_acceptance else profile.seller,
            business=plain(profile.name) if pending_acceptance else profile.name,
            support_email=settings.support_email if pending_acceptance else profile.support_email or settings.support_email,
            new=mask(customer.email),
            at=work.at,
            pending_acceptance=pending_acceptance,
        )
        self.services.mailer.send(EmailMessage(old, subject, text, html), f"{work.id}:customer_address_changed")
