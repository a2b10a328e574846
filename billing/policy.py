"""What a business allows its customers. State is `lifecycle.py`, staff roles are `tenants/team.py`."""

from __future__ import annotations

from typing import Any

from billing.parties import Business
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
    "invoice_links": "protected",
    "return_urls": [],
    "portal_return_url": None,
    "languages": [],
}
"""Contract §5.5, with the stricter defaults of design §6.

`grace_days` 1 to 30: unpaid is first past due, then `grace_action` (on_hold or cancel). `retry_schedule_hours`: gaps between
automatic tries after a soft decline, such as [12, 24, 48, 72, 96, 120, 168, 168]; none by default.
`late_payment` keep_dates or restart_cycle: whether a period paid while on hold keeps its dates or begins with the payment.
`keys_on_full_refund` revoke or keep: license keys of a purchase that was refunded in full.
`languages`: what its door offers, such as ["de", "en"], its `locale` among them; none means all there are.
"""


def setting(business: Business, name: str) -> Any:
    """A business's setting, or its default. Raises KeyError for a name that does not exist."""
    return (business.settings or {}).get(name, DEFAULTS[name])


def allows(business: Business, verb: str) -> bool:
    """May this business's customers `plan_change`, `cancel`, `pause`? Taking back and resuming are always allowed."""
    return bool(setting(business, verb))


def language(business: Business, *wished: str | None) -> str:
    """What a business's papers are written in for somebody who wished for this: the first that it offers, else its default."""
    return spoken(wished, setting(business, "languages"), business.locale)
