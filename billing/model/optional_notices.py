"""The reminders that no law demands. A business and each customer may switch them off; see `billing/rights/table.toml` for the others."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

from billing.model import policy

OptionalNotice = Literal["trial_end", "renewal", "card_expiring"]
OPTIONAL: tuple[OptionalNotice, ...] = get_args(OptionalNotice)
SETTINGS: dict[OptionalNotice, str] = {"trial_end": "trial_notices", "renewal": "renewal_notices", "card_expiring": "card_notices"}
"""Notice → the setting of a business (`policy.DEFAULTS`) that switches it off for all its customers."""


class HasNotices(Protocol):
    """A customer, or the part of one that a page has."""

    @property
    def notices_off(self) -> list[str] | None: ...


def is_on(business: policy.HasSettings, customer: HasNotices, reminder: OptionalNotice) -> bool:
    """Return whether the business sends this reminder and the customer has not switched it off."""
    return bool(policy.setting(business, SETTINGS[reminder])) and reminder not in (customer.notices_off or ())
