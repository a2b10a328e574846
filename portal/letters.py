"""Letters about what was bought: event → letter, in the buyer's language and the business's brand. Run by the worker.

Links lead to the very page, at the business's own door, and are built from settings. A business the person never paid or
accepted (safety 3.2) gets no brand, no words and no address of its own into a letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import structlog

from auth import budgets
from auth.faces import Face, face_of
from auth.letters import plain
from billing.invoices import Invoice
from billing.payments import PaymentMethod
from billing.queries import letters as query
from billing.queries.letters import Matter
from core.mail import Attachment, Letter, render_letter
from core.scope import system
from core.web import House
from core.worker import Work
from portal.words import card

log = structlog.get_logger()


def register(house: House) -> None:
    """Hang the letters on their events; a house without handlers (tests of pages alone) writes none."""
    if house.handlers is None:
        return
    desk = Desk(house)
    for type, write in (
        ("payment.succeeded", desk.payment_succeeded), ("payment.failed", desk.payment_failed),
        ("payment.action_required", desk.payment_action_required),
        ("subscription.active", desk.subscription_started), ("subscription.on_hold", desk.subscription_on_hold),
        ("subscription.cancellation_scheduled", desk.cancellation_scheduled),
        ("subscription.cancellation_revoked", desk.cancellation_revoked), ("subscription.cancelled", desk.subscription_cancelled),
        ("refund.succeeded", desk.refund_issued), ("subscription.update_payment_method", desk.payment_method_updated),
        ("payment_method.expiring", desk.card_expiring), ("subscription.renewal_reminder", desk.renewal_reminder),
        ("dunning.started", desk.dunning_reminder), ("dunning.reminder", desk.dunning_reminder),
    ):
        house.handlers.on(type, write)


def _sums(invoice: Invoice | None, name: str) -> Any:
    """What a letter may say of a planted business's invoice: amounts, and none of its words (its number begins with a word of theirs)."""
    told = ("id", "currency", "subtotal_minor", "tax_minor", "total_minor", "due_minor", "amount_minor")
    return invoice and SimpleNamespace(**{field: getattr(invoice, field) for field in told}, number=invoice.id, description=name)


@dataclass(frozen=True)
class Desk:
    house: House

    def payment_succeeded(self, work: Work) -> None:
        matter = self._matter(work, payment_id=work.data.get("payment_id"))
        if matter and matter.payment and matter.payment.amount_minor:
            page = f"invoices/{matter.invoice.id}" if matter.invoice else "billing-history"
            self._send(work, "payment_succeeded", matter, page, attachments=self._invoice(matter))

    def payment_failed(self, work: Work) -> None:
        """What went on hold over it has a letter of its own, which says the same and what is due."""
        matter = self._matter(work, payment_id=work.data.get("payment_id"))
        if matter and matter.payment and not (matter.subscription and matter.subscription.status == "on_hold"):
            page = f"subscriptions/{matter.subscription.id}" if matter.subscription else "billing-history"
            self._send(work, "payment_failed", matter, page)

    def payment_action_required(self, work: Work) -> None:
        """For a charge that nobody was present for. Who is present is at the bank's page already."""
        matter = self._matter(work, payment_id=work.data.get("payment_id"))
        if work.data.get("off_session") and matter and matter.payment and matter.payment.status == "requires_customer_action":
            self._send(work, "payment_action_required", matter, f"payments/{matter.payment.id}")

    def subscription_started(self, work: Work) -> None:
        if work.data.get("reactivated"):  # what was on hold is paid
            self._about_subscription(work, "subscription_reactivated")
            return
        self._about_subscription(work, "subscription_started", lambda one: {"again": one.times_active > 1})

    def subscription_on_hold(self, work: Work) -> None:
        matter = self._matter(work, subscription_id=work.noun_id, with_dues=True)
        if matter and matter.subscription and matter.subscription.status == "on_hold":
            self._send(work, "subscription_on_hold", matter, f"subscriptions/{matter.subscription.id}/payment-method")

    def dunning_reminder(self, work: Work) -> None:
        """Only while it is still owed: the letter may be written after the money came."""
        matter = self._matter(work, subscription_id=work.noun_id, with_dues=True)
        if matter and matter.subscription and matter.subscription.status == "on_hold" and matter.invoice:
            self._send(work, "dunning_reminder", matter, f"subscriptions/{matter.subscription.id}/payment-method")

    def renewal_reminder(self, work: Work) -> None:
        at = work.data.get("next_billing_at")
        self._about_subscription(work, "renewal_reminder", lambda one: {
            "amount": work.data["amount"], "plan": work.data.get("product") or one.what, "trial": bool(work.data.get("trial")),
            "may_cancel": work.data.get("may_cancel", True), "renews_at": datetime.fromisoformat(at) if at else None})

    def payment_method_updated(self, work: Work) -> None:
        """A card that came with a payment is told of in the payment's own letters."""
        matter = self._matter(work, subscription_id=work.noun_id)
        if matter and matter.subscription and not matter.chosen_by_payment(work.at):
            page = f"subscriptions/{matter.subscription.id}/payment-method"
            self._send(work, "payment_method_updated", matter, page, card=self._card(work, work.data.get("payment_method_id")))

    def card_expiring(self, work: Work) -> None:
        ids = work.data.get("subscription_ids") or []
        matter = self._matter(work, subscription_id=ids[0] if ids else None)
        if matter:
            page = f"subscriptions/{ids[0]}/payment-method" if len(ids) == 1 else "payment-methods"
            self._send(work, "card_expiring", matter, page, card=self._card(work, work.noun_id), count=len(ids),
                       ends_at=datetime.fromisoformat(work.data["expires_at"]))

    def cancellation_scheduled(self, work: Work) -> None:
        self._about_subscription(work, "cancellation_scheduled")

    def cancellation_revoked(self, work: Work) -> None:
        self._about_subscription(work, "cancellation_revoked")

    def subscription_cancelled(self, work: Work) -> None:
        self._about_subscription(work, "subscription_cancelled")

    def refund_issued(self, work: Work) -> None:
        matter = self._matter(work, refund_id=work.noun_id)
        if matter and matter.refund:
            self._send(work, "refund_issued", matter, f"refunds/{matter.refund.id}")

    def _about_subscription(self, work: Work, name: str, more: Callable[[Matter], dict[str, Any]] = lambda one: {}) -> None:
        matter = self._matter(work, subscription_id=work.noun_id)
        if matter and matter.subscription:
            self._send(work, name, matter, f"subscriptions/{matter.subscription.id}", **more(matter))

    def _card(self, work: Work, payment_method_id: str | None) -> PaymentMethod | None:
        with self.house.database.open(system(str(work.business_id))) as db:
            return query.method(db, payment_method_id)

    def _invoice(self, one: Matter) -> tuple[Attachment, ...]:
        """The invoice as it was issued. A paper that cannot be made keeps no letter back: it is on the page as well."""
        if one.invoice is None or one.customer.is_declined:
            return ()
        try:
            with self.house.database.open(system(one.business.business_id)) as db:
                pdf, number = self.house.documents.invoice_pdf(db, one.invoice.id)
        except Exception as problem:
            log.warning("letter without its invoice", invoice=one.invoice.id, error=type(problem).__name__)
            return ()
        return (Attachment(re.sub(r"[^A-Za-z0-9._-]+", "-", number) + ".pdf", "application/pdf", pdf),)

    def _matter(self, work: Work, **which: Any) -> Matter | None:
        if not work.business_id or not work.customer_id:
            return None
        with self.house.database.open(system(work.business_id)) as db:
            return query.matter(db, work.customer_id, work.id, **which)

    def _send(self, work: Work, name: str, one: Matter, page: str, attachments: tuple[Attachment, ...] = (), **more: Any) -> None:
        settings, customer = self.house.settings, one.customer
        planted = not customer.is_known
        if customer.is_declined:
            return  # "not mine": nothing of it reaches this address
        face: Face = face_of(one.business)
        if planted:  # safety 3.2: three a day from all of them together, with no words or papers of theirs
            if one.was_refused or not budgets.spend(
                self.house.database, budgets.planted_letters(settings, customer.email_key, face.business_id)
            ):
                return
            one = replace(one, product=None, invoice=_sums(one.invoice, plain(face.name)))
            attachments, more = (), {key: "" if isinstance(value, str) and key != "currency" else value for key, value in more.items()}
        door = f"{settings.base_url}/business/{face.business_id}/"
        subject, text, html = render_letter(
            name, face.speaks(customer.locale), zone=face.zone, to=customer.email, brand=None if planted else face.brand,
            sender=settings.name if planted else face.name, seller="" if planted else face.seller,
            support_email=settings.support_email if planted else face.support_email or settings.support_email,
            name="" if planted else customer.name, business=plain(face.name) if planted else face.name,
            what="" if planted else one.what, planted=planted, url=door + page, door=door,
            refuse_url=settings.base_url + "/", one=one, card_words=card, **more,
        )
        self.house.mailer.send(Letter(customer.email, subject, text, html, attachments=attachments), f"{work.id}:{name}")
