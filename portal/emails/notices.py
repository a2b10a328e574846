"""Emails before money moves: a trial ends, a renewal comes, a card expires.

What the law demands has no link to switch it off. The others have one, also as a header (RFC 2369 §3.2, RFC 8058).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from billing.history.email_context import EmailContext
from billing.model import policy
from billing.model.lifecycle import ENDED
from billing.model.optional_notices import OptionalNotice
from core.outbox_claims import Work
from core.services import Services
from portal.emails.purchases import PurchaseEmails
from portal.notice_links import off_address
from portal.phrases import every


def register(services: Services) -> None:
    if services.handlers is None:
        return
    emails = NoticeEmails(services)
    services.handlers.on("payment_method.expiring", emails.card_expiring, sends=True)
    services.handlers.on("subscription.renewal_reminder", emails.renewal_reminder, sends=True)
    services.handlers.on("subscription.price_change_announced", emails.price_change, sends=True)
    services.handlers.on("subscription.price_change_stopped", emails.price_change_stopped, sends=True)


class NoticeEmails(PurchaseEmails):
    def renewal_reminder(self, work: Work) -> None:
        """Skip a subscription that was cancelled, paused or ended since: nothing will be charged."""
        data, at = work.data, work.data.get("next_billing_at")
        details = self._load_details(work, subscription_id=work.noun_id)
        subscription = details.subscription if details else None
        if details is None or subscription is None or subscription.status != "active" or subscription.cancel_at_period_end:
            return
        renews_at = datetime.fromisoformat(at) if at else None
        page, may_cancel = f"subscriptions/{subscription.id}", data.get("may_cancel", True)
        base = self.services.settings.base_url
        business_id = subscription.business_id
        self._send(
            work,
            "renewal_reminder",
            details,
            page,
            **self._switch(work, None if data.get("demanded") else "trial_end" if data.get("trial") else "renewal"),
            amount=data["amount"],
            plan=data.get("product") or details.what,
            trial=bool(data.get("trial")),
            may_cancel=may_cancel,
            cancel_until=renews_at - timedelta(days=1) if renews_at and data.get("cancel_by") else None,
            interval=(data.get("interval") or subscription.interval, data.get("interval_count") or subscription.interval_count),
            cancel_url=f"{base}/business/{business_id}/{page}/cancellation" if may_cancel else f"{base}/cancel/{business_id}",
            renews_at=renews_at,
            every=every,
        )

    def price_change(self, work: Work) -> None:
        """Always sent: nobody pays another price without notice. Skip a subscription that was cancelled meanwhile."""
        data, details = work.data, self._load_details(work, subscription_id=work.noun_id)
        subscription = details.subscription if details else None
        if details is None or subscription is None or subscription.status in ENDED or subscription.cancel_at_period_end:
            return
        page, needs_consent = f"subscriptions/{subscription.id}", bool(data.get("needs_consent"))
        base = f"{self.services.settings.base_url}/business/{subscription.business_id}/{page}"
        may_cancel = policy.allows_cancelling(details.business, subscription)
        self._send(
            work,
            "price_change",
            details,
            page,
            old_amount=data["old_amount"],
            amount=data["amount"],
            currency=data["currency"],
            changes_at=datetime.fromisoformat(data["next_billing_at"]),
            needs_consent=needs_consent,
            answer_url=f"{base}/price-change" if needs_consent else "",
            cancel_url=f"{base}/cancellation" if may_cancel else f"{self.services.settings.base_url}/cancel/{subscription.business_id}",
        )

    def price_change_stopped(self, work: Work) -> None:
        data = work.data
        amounts = {name: data[name] for name in ("old_amount", "amount", "currency")}
        self._about_subscription(work, "price_change_stopped", lambda details: amounts)

    def card_expiring(self, work: Work) -> None:
        ids = work.data.get("subscription_ids") or []
        details = self._load_details(work, subscription_id=ids[0] if ids else None)
        if details:
            page = f"subscriptions/{ids[0]}/payment-method" if len(ids) == 1 else "payment-methods"
            self._send(
                work,
                "card_expiring",
                details,
                page,
                **self._switch(work, "card_expiring"),
                card=self._card(work, work.noun_id),
                count=len(ids),
                ends_at=datetime.fromisoformat(work.data["expires_at"]),
                charges=[(charge, datetime.fromisoformat(charge["at"])) for charge in work.data.get("charges") or []],
                cancel_url=self._cancel_url(details, ids),
            )

    def _cancel_url(self, details: EmailContext, ids: list[str]) -> str:
        """Return the page that cancels the only subscription, or the list of several. Where customers may not cancel: the public page."""
        base, business_id = self.services.settings.base_url, details.business.business_id
        if details.subscription is not None and not policy.allows_cancelling(details.business, details.subscription):
            return f"{base}/cancel/{business_id}"
        return f"{base}/business/{business_id}/subscriptions" + (f"/{ids[0]}/cancellation" if len(ids) == 1 else "")

    def _switch(self, work: Work, reminder: OptionalNotice | None) -> dict[str, Any]:
        """Return the address that switches this reminder off, for the email and its headers. None for what cannot be switched off."""
        if reminder is None:
            return {"off_url": ""}
        address = off_address(self.services.settings, str(work.business_id), str(work.customer_id), reminder)
        one_click = {"List-Unsubscribe": f"<{address}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
        return {"off_url": address, "headers": one_click}
