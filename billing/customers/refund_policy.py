"""Change the refund policy of a business, for its staff and its programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billing.customers.portal_settings import the_business
from billing.model.refund_policy import AMOUNTS, ANSWER_DAYS, KEY_RULES, KINDS, MOST_DAYS, MOST_MONTHS, RefundPolicy, refund_policy
from core.db import ScopedSession
from core.errors import N_, Invalid
from core.outbox import emit

_LIMITS: dict[str, tuple[int, int, str]] = {
    "days": (1, MOST_DAYS, N_("Enter a whole number of days from 1 to 90.")),
    "months": (0, MOST_MONTHS, N_("Enter a whole number of months from 0 to 36.")),
    "answer_days": (*ANSWER_DAYS, N_("Enter a whole number of working days from 1 to 20.")),
}
_CHOICES = {"amount": AMOUNTS, "keys": KEY_RULES}


def change_refund_policy(db: ScopedSession, changes: Mapping[str, Any]) -> list[str]:
    """Change the named values of the refund policy and return the names that changed. Raises Invalid, changing nothing.

    `changes`: values of RefundPolicy; numbers may be text. Refunds and requests that exist are not affected.
    """
    business = the_business(db, write=True)
    old = refund_policy(business)
    new = {**old.stored(), **_checked(changes)}
    if new["is_on"] and not new["kinds"]:
        raise Invalid(fields={"kinds": N_("Choose at least one kind of payment.")})
    changed = sorted(name for name, value in new.items() if value != old.stored()[name])
    if changed:
        business.settings = {**(business.settings or {}), "refund_policy": new}
        emit(
            db,
            "business.refund_policy_changed",
            business_id=business.business_id,
            noun=business.business_id,
            data={"fields": changed, "policy": new},
        )
    return changed


def current_policy(db: ScopedSession) -> RefundPolicy:
    """Return the refund policy of the business of this scope."""
    return refund_policy(the_business(db))


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    problems: dict[str, str] = {}
    out: dict[str, Any] = {name: bool(changes[name]) for name in ("is_on", "takes_requests") if name in changes}
    for name, (least, most, sentence) in _LIMITS.items():
        if name in changes:
            text = str(changes[name]).strip()
            if text.isascii() and text.isdecimal() and len(text) < 4 and least <= int(text) <= most:
                out[name] = int(text)
            else:
                problems[name] = sentence
    for name, known in _CHOICES.items():
        if name in changes:
            out[name] = changes[name]
            if changes[name] not in known:
                problems[name] = N_("Choose an option from the list.")
    if "kinds" in changes:
        out["kinds"] = [kind for kind in KINDS if kind in changes["kinds"]]
        if not set(changes["kinds"]) <= set(KINDS):
            problems["kinds"] = N_("Choose an option from the list.")
    if problems:
        raise Invalid(fields=problems)
    return out
