"""Emails about what a customer changed: plan, pause, a corrected invoice. Cancellation emails are in `portal.emails.purchases`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from billing.history import documents
from core.mail import Attachment
from core.outbox_claims import Work
from core.scope import system
from core.services import Services
from portal.emails.purchases import PurchaseEmails


def register(services: Services) -> None:
    if services.handlers is None:
        return
    emails = ActionEmails(services)
    for event_type, handler in (
        ("subscription.plan_changed", emails.plan_changed),
        ("subscription.plan_change_scheduled", emails.plan_change_scheduled),
        ("subscription.plan_change_cancelled", emails.plan_change_withdrawn),
        ("subscription.paused", emails.paused),
        ("subscription.unpaused", emails.resumed),
        ("invoice.corrected", emails.corrected),
        ("subscription.next_billing_date_changed", emails.date_moved),
        ("subscription.action_refused", emails.refused_externally),
        ("subscription.action_unanswered", emails.unanswered_externally),
    ):
        services.handlers.on(event_type, handler, sends=True)


class ActionEmails(PurchaseEmails):
    def plan_changed(self, work: Work) -> None:
        data = work.data
        self._about_subscription(
            work,
            "plan_changed",
            lambda details: {
                "plan": data.get("product") or details.what,
                "due_minor": data.get("due") or 0,
                "currency": data.get("currency"),
                "by_business": work.actor.type in ("staff", "api_key"),
                "by_customer": work.actor.type == "customer",
            },
        )

    def plan_change_scheduled(self, work: Work) -> None:
        details = self._load_details(work, subscription_id=work.noun_id)
        if details and details.subscription and details.subscription.next_billing_at:
            page = f"subscriptions/{details.subscription.id}"
            self._send(work, "plan_change_scheduled", details, page, plan=work.data.get("product") or "")

    def plan_change_withdrawn(self, work: Work) -> None:
        """Only when the business withdrew the change: otherwise the customer is charged the current price without notice."""
        if "next_amount" in work.data:
            self._about_subscription(
                work,
                "plan_change_withdrawn",
                lambda details: {
                    "plan": work.data.get("product") or "",
                    "amount": work.data["next_amount"],
                    "currency": work.data["currency"],
                },
            )

    def paused(self, work: Work) -> None:
        self._about_subscription(work, "subscription_paused")

    def resumed(self, work: Work) -> None:
        self._about_subscription(work, "subscription_resumed")

    def date_moved(self, work: Work) -> None:
        """Send one email for each move (safety 4.9). It names the date of that move, even if the date was moved again since."""
        was, moved_to = (datetime.fromisoformat(work.data[name]) for name in ("was", "next_billing_at"))
        self._about_subscription(work, "billing_date_moved", lambda details: {"was": was, "moved_to": moved_to})

    def refused_externally(self, work: Work) -> None:
        """The customer may have left the page before the external billing system declined the request."""
        if work.actor.type == "customer" and work.data.get("verb") != "change_method":
            self._about_subscription(work, "external_action_refused")

    def unanswered_externally(self, work: Work) -> None:
        if work.actor.type == "customer" and work.data.get("verb") != "change_method":
            self._about_subscription(work, "external_action_unanswered")

    def corrected(self, work: Work) -> None:
        """Attach the corrected document. It is stored, so a retry attaches the same file."""
        details, number = self._load_details(work), work.data.get("number")
        if details is None or not work.noun_id or not work.business_id:
            return
        with self.services.database.open(system(work.business_id)) as db:
            found = next((correction for correction in documents.corrections(db, work.noun_id) if correction.number == number), None)
            if found is None:
                return
            details = replace(details, invoice=documents.invoice(db, work.noun_id).invoice)
            pdf, name = self.services.documents.correction_pdf(db, found.id)
        attachments = (Attachment(f"{name}.pdf", "application/pdf", pdf),)
        self._send(work, "invoice_corrected", details, f"invoices/{work.noun_id}", attachments, number=number)
