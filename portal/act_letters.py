"""Letters about what a customer did to what they have: plan, pause, a corrected invoice. Ending has its letter in `portal.letters`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from billing.queries import documents
from core.mail import Attachment
from core.scope import system
from core.web import House
from core.worker import Work
from portal.letters import Desk


def register(house: House) -> None:
    if house.handlers is None:
        return
    desk = ActDesk(house)
    for type, write in (
        ("subscription.plan_changed", desk.plan_changed), ("subscription.plan_change_scheduled", desk.plan_change_scheduled),
        ("subscription.plan_change_cancelled", desk.plan_change_withdrawn), ("subscription.paused", desk.paused),
        ("subscription.unpaused", desk.resumed), ("invoice.corrected", desk.corrected),
        ("subscription.next_billing_date_changed", desk.date_moved), ("subscription.refused_elsewhere", desk.refused_elsewhere),
        ("subscription.unanswered_elsewhere", desk.unanswered_elsewhere),
    ):
        house.handlers.on(type, write)


class ActDesk(Desk):
    def plan_changed(self, work: Work) -> None:
        data = work.data
        self._about_subscription(work, "plan_changed", lambda one: {
            "plan": data.get("product") or one.what, "due_minor": data.get("due") or 0, "currency": data.get("currency"),
            "by_business": work.actor.type in ("staff", "api_key"), "by_customer": work.actor.type == "customer"})

    def plan_change_scheduled(self, work: Work) -> None:
        matter = self._matter(work, subscription_id=work.noun_id)
        if matter and matter.subscription and matter.subscription.next_billing_at:
            page = f"subscriptions/{matter.subscription.id}"
            self._send(work, "plan_change_scheduled", matter, page, plan=work.data.get("product") or "")

    def plan_change_withdrawn(self, work: Work) -> None:
        """Only where the business withdrew it: the customer would otherwise be charged the present price without notice."""
        if "next_amount" in work.data:
            self._about_subscription(work, "plan_change_withdrawn", lambda one: {
                "plan": work.data.get("product") or "", "amount": work.data["next_amount"], "currency": work.data["currency"]})

    def paused(self, work: Work) -> None:
        self._about_subscription(work, "subscription_paused")

    def resumed(self, work: Work) -> None:
        self._about_subscription(work, "subscription_resumed")

    def date_moved(self, work: Work) -> None:
        """One for each time (safety 4.9); it says the date of that time, also where it was moved again since."""
        was, to = (datetime.fromisoformat(work.data[name]) for name in ("was", "next_billing_at"))
        self._about_subscription(work, "billing_date_moved", lambda one: {"was": was, "moved_to": to})

    def refused_elsewhere(self, work: Work) -> None:
        """Whoever asked may have left the page before the other system said no."""
        if work.actor.type == "customer" and work.data.get("verb") != "change_method":
            self._about_subscription(work, "refused_elsewhere")

    def unanswered_elsewhere(self, work: Work) -> None:
        if work.actor.type == "customer" and work.data.get("verb") != "change_method":
            self._about_subscription(work, "unanswered_elsewhere")

    def corrected(self, work: Work) -> None:
        """With the paper in it; a letter of a retry has the same one, for it is kept."""
        matter, number = self._matter(work), work.data.get("number")
        if matter is None or not work.noun_id or not work.business_id:
            return
        with self.house.database.open(system(work.business_id)) as db:
            found = next((one for one in documents.corrections(db, work.noun_id) if one.number == number), None)
            if found is None:
                return
            matter = replace(matter, invoice=documents.invoice(db, work.noun_id).invoice)
            pdf, name = self.house.documents.correction_pdf(db, found.id)
        papers = (Attachment(f"{name}.pdf", "application/pdf", pdf),)
        self._send(work, "invoice_corrected", matter, f"invoices/{work.noun_id}", papers, number=number)
