"""Emails about refund requests to the customer, and the work that follows events: closing requests and reminding owners."""

from __future__ import annotations

from datetime import timedelta

from billing.refund_requests import decide, queries
from core.outbox_claims import Work
from core.scope import system
from core.services import Services
from core.worker import Tick
from portal.emails.purchases import PurchaseEmails


def register(services: Services) -> None:
    """Register the email handlers and the job. Does nothing without event handlers, as in tests of pages alone."""
    if services.handlers is None:
        return
    emails = RefundRequestEmails(services)
    services.handlers.on(
        "refund.succeeded",
        lambda work: decide.close_refunded(services.database, str(work.business_id), str(work.noun_id)),
        "refund_requests.close",
    )
    services.handlers.on("refund_request.received", emails.received, sends=True)
    services.handlers.on("refund_request.message", emails.message, sends=True)
    services.handlers.on("refund_request.declined", emails.declined, sends=True)
    if services.worker is not None:
        services.worker.ticks.append(
            Tick("overdue refund requests", timedelta(minutes=5), lambda: decide.remind_overdue(services.database))
        )


class RefundRequestEmails(PurchaseEmails):
    def received(self, work: Work) -> None:
        self._about_request(work, "refund_request_received")

    def message(self, work: Work) -> None:
        """Only messages of the business: the customer wrote the others."""
        if not work.data.get("by_customer"):
            self._about_request(work, "refund_request_message")

    def declined(self, work: Work) -> None:
        self._about_request(work, "refund_request_declined")

    def _about_request(self, work: Work, name: str) -> None:
        details = self._load_details(work, payment_id=work.data.get("payment_id"))
        if details is None or details.payment is None:
            return
        with self.services.database.open(system(str(work.business_id))) as db:
            found = queries.get_request(db, str(work.noun_id)).request
            written = [item.text for item in queries.messages(db, found) if not item.by_customer]
        words = found.answer if name == "refund_request_declined" else written[-1] if written else ""
        self._send(work, name, details, f"refund-requests/{found.id}", answer_by=found.answer_by, words=words or "")
