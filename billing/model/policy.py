"""Read the settings of a business and what it allows its customers. The permissions of staff are in `tenants/roles.py`."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from sqlalchemy import select

from billing.model.customer_types import ConcludedContract, type_of_contract
from billing.model.parties import Business, Customer
from core.db import ScopedSession
from core.errors import N_, Conflict
from core.languages import spoken

DEFAULTS: dict[str, Any] = {
    "plan_change": False,
    "cancel": True,
    "pause": False,
    "multiple_subscriptions": True,
    "effective_on_upgrade": "immediately",
    "effective_on_downgrade": "next_billing_date",
    "proration_on_upgrade": "prorated_immediately",
    "proration_on_downgrade": "prorated_immediately",
    "on_payment_failure": "prevent_change",
    "grace_days": 0,
    "grace_action": "on_hold",
    "retry_schedule_hours": [],
    "late_payment": "keep_dates",
    "keys_on_full_refund": "revoke",
    "on_dispute": "keep",
    "invoice_links": "protected",
    "return_urls": [],
    "portal_return_url": None,
    "languages": [],
    "refund_policy": {},
    "terms_url": "",
    "privacy_url": "",
    "accessibility_text": "",
    "cancelling_text": "",
    "trial_notices": True,
    "renewal_notices": True,
    "card_notices": True,
}
"""Contract §5.5, with the stricter defaults of design §6.

`cancel`: whether customers who bought as a business may cancel when signed in. Consumers always may.
`grace_days` 1 to 30: an unpaid subscription is past due for this time, then `grace_action` (on_hold or cancel) applies.
`retry_schedule_hours`: hours between automatic retries after a soft decline, such as [12, 24, 48, 72, 96, 120, 168, 168].
Empty: no retries.
`late_payment` keep_dates or restart_cycle: whether a period paid while on hold keeps its dates or starts with the payment.
`keys_on_full_refund` revoke or keep: applies to the license keys of a purchase that was refunded in full.
`on_dispute` keep, hold or end: what happens to the subscription of a payment that the customer disputes. hold: it is paused, and resumes if
the business wins. Kept by default: many disputes are mistakes or are won, and a customer who wants to leave can cancel.
`terms_url`, `privacy_url`: https addresses that the footer links to; empty: no link.
`accessibility_text`, `cancelling_text`: Markdown of the public pages `/legal/<business_id>/…`; empty: the portal's own text.
`trial_notices`, `renewal_notices`, `card_notices`: emails before a trial ends, before a renewal and before a card expires. Where the
law demands the email (`billing/rights/table.toml`), it is sent anyway.
`languages`: the languages offered to customers, such as ["de", "en"], including its `locale`; empty: all supported languages.
`refund_policy`: which payments customers refund themselves; see `billing/model/refund_policy.py`. Off by default.
"""


class HasSettings(Protocol):
    """A business, or the part of one that a customer may see."""

    @property
    def settings(self) -> dict[str, Any]: ...


def setting(business: HasSettings, name: str) -> Any:
    """Return a setting of a business, or its default. Raises KeyError for an unknown name."""
    return (business.settings or {}).get(name, DEFAULTS[name])


def allows(business: HasSettings, verb: Literal["plan_change", "pause"]) -> bool:
    """Return whether customers of the business may `plan_change` or `pause`. Undoing these is always allowed."""
    return bool(setting(business, verb))


def allows_cancelling(business: HasSettings, contract: ConcludedContract) -> bool:
    """Return whether the customer may cancel this subscription when signed in. Consumers always may: no setting takes that from them."""
    return bool(setting(business, "cancel")) or type_of_contract(contract) == "consumer"


def language(business: Business, *preferred: str | None) -> str:
    """Return the language of documents: the first of the preferred languages that the business offers, else its default."""
    return spoken(preferred, setting(business, "languages"), business.locale)


def refuse_blocked(db: ScopedSession, customer_id: str) -> None:
    """Raise Conflict CUSTOMER_BLOCKED for a blocked customer. Call this before a customer starts or changes anything that costs money."""
    if db.scalar(select(Customer.blocked_at).where(Customer.customer_id == customer_id)) is not None:
        raise Conflict("CUSTOMER_BLOCKED", N_("This business does not currently sell to this customer."))
