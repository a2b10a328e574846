"""Emails about statements.

The receipt with the document goes to the address on file of the customer whose contract it is. Until that is known, the typed address
gets an acknowledgment with the number and the time only, because anyone can type any address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from auth import rate_limits, tokens
from auth.email_names import plain
from auth.rate_limits import DAY, Limit
from billing.documents import Unprintable
from billing.documents.statements import render_statement
from billing.model.business_profile import BusinessProfile, public_profile
from billing.statements.queries import StatementFacts, statement_facts
from core import email_log, i18n
from core.mail import Attachment, EmailMessage, render_email
from core.outbox_claims import Work
from core.services import Services
from portal.statements import sentences
from portal.statements.document import document_of

log = structlog.get_logger()


def register(services: Services) -> None:
    if services.handlers is None:
        return
    emails = StatementEmails(services)
    services.handlers.on("statement.effective", emails.receipt, sends=True)
    services.handlers.on("statement.planned", emails.receipt, sends=True)
    services.handlers.on("statement.waiting", emails.waiting, sends=True)
    services.handlers.on("statement.dismissed", emails.answered, sends=True)


@dataclass(frozen=True)
class StatementEmails:
    services: Services

    def receipt(self, work: Work) -> None:
        """Send the customer what was declared and what follows, as text and as PDF."""
        facts, profile = self._load(work)
        if facts.customer is None or facts.customer.is_declined or not self._may_write_receipt(work, facts):
            return
        statement, locale = facts.statement, profile.language_for(facts.customer.locale or facts.statement.language)
        outcome = {}
        for language in (locale, statement.language):
            with i18n.speaking(language):
                outcome[language] = sentences.outcome(facts, profile.name, language)
        is_test = self.services.settings.is_test
        document = document_of(statement, profile, is_test=is_test, outcome=tuple(outcome[statement.language]))
        attachments: tuple[Attachment, ...] = ()
        try:
            attachments = (Attachment(f"{statement.number}.pdf", "application/pdf", render_statement(document)),)
        except Unprintable as problem:
            log.warning("email sent without statement", statement=statement.id, error=str(problem))
        about = f"subscriptions/{statement.subscription_id}"
        if facts.withdrawal is not None and facts.withdrawal.withdrawal.payment_id:
            about = f"purchases/{facts.withdrawal.withdrawal.payment_id}"
        portal_url = f"{self.services.settings.base_url}/business/{profile.business_id}/{about}"
        values = {
            "statement": statement,
            "outcome": outcome[locale],
            "url": portal_url,
            "is_planned": statement.status == "planned",
            "has_pdf": bool(attachments),
        }
        name = "statement_withdrawn" if statement.kind == "withdraw" else "statement_receipt"
        self._send(work, name, facts.customer.email, profile, locale, values, attachments=attachments)

    def waiting(self, work: Work) -> None:
        """Send the receipt if the contract is cancelled; otherwise acknowledge to the typed address, with limits."""
        facts, profile = self._load(work)
        if facts.customer is not None and (facts.statement.ends_at is not None or facts.withdrawal is not None):
            self.receipt(work)
            return
        statement = facts.statement
        if self._may_write(work, statement.email, statement.email_key, profile.business_id):
            locale = profile.language_for(statement.language)
            self._send(work, "statement_acknowledged", statement.email, profile, locale, {"statement": statement}, is_branded=False)

    def answered(self, work: Work) -> None:
        """Send what staff answered to the typed address. The statement was about no contract."""
        facts, profile = self._load(work)
        statement = facts.statement
        if self._may_write(work, statement.email, statement.email_key, profile.business_id):
            locale = profile.language_for(statement.language)
            self._send(work, "statement_answered", statement.email, profile, locale, {"statement": statement}, is_branded=False)

    def _may_write(self, work: Work, address: str, address_key: str, business_id: str) -> bool:
        """Limit emails to addresses that nobody proved: 5 a day to one address, 500 a day for one business."""
        who = tokens.hashed(self.services.settings, "address", address_key)[:32]
        limits = [Limit(f"statement:{who}", 5, DAY), Limit(f"statement:of:{business_id}", 500, timedelta(days=1))]
        if rate_limits.spend_for(self.services.database, work.id, limits):
            return True
        email_log.withhold(self.services.database, self.services.settings, work, address, "limit")
        return False

    def _may_write_receipt(self, work: Work, facts: StatementFacts) -> bool:
        """Limit receipts to 10 a day for one contract: the same statement may be sent again and again."""
        limit = Limit(f"statement:receipt:{facts.statement.business_id}:{facts.statement.subscription_id}", 10, DAY)
        return rate_limits.spend_for(self.services.database, f"{work.id}:receipt", [limit])

    def _load(self, work: Work) -> tuple[StatementFacts, BusinessProfile]:
        facts = statement_facts(self.services.database, str(work.business_id), str(work.noun_id))
        profile = public_profile(self.services.database, str(work.business_id))
        if facts is None or profile is None:
            raise LookupError(work.noun_id)
        return facts, profile

    def _send(
        self,
        work: Work,
        name: str,
        to: str,
        profile: BusinessProfile,
        locale: str,
        values: dict[str, Any],
        *,
        attachments: tuple[Attachment, ...] = (),
        is_branded: bool = True,
    ) -> None:
        settings = self.services.settings
        subject, text, html = render_email(
            name,
            locale,
            zone=profile.zone,
            to=to,
            brand=profile.brand if is_branded else None,
            sender=profile.name if is_branded else settings.name,
            seller=profile.seller if is_branded else "",
            support_email=profile.support_email or settings.support_email,
            business=profile.name if is_branded else plain(profile.name),
            **{"url": f"{settings.base_url}/login", **values},
        )
        self.services.mailer.send(EmailMessage(to, subject, text, html, attachments=attachments), f"{work.id}:{name}")
