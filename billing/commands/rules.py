"""What a business allows, and how it is named on paper: its settings (`billing/policy.py`) and its details, changed by its staff."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from sqlalchemy import select

from billing import policy
from billing.addresses import clean_address
from billing.commands.billing_details import COUNTRIES, check_tax_id
from billing.commands.customers import clean_name
from billing.parties import Business
from billing.proration import MODES
from core.db import ScopedSession
from core.errors import Invalid, NotFound
from core.outbox import emit

RETRIES: dict[str, list[int]] = {"never": [], "two_weeks": [12, 24, 48, 72, 96, 120], "a_month": [12, 24, 48, 72, 96, 120, 168, 168]}
"""Hours between automatic tries after a soft decline (contract §5.8)."""
TICKS = ("plan_change", "cancel", "pause", "multiple_subscriptions")
CHOICES: dict[str, tuple[str, ...]] = {
    "effective_on_upgrade": ("immediately", "next_billing_date"),
    "effective_on_downgrade": ("immediately", "next_billing_date"),
    "proration_on_upgrade": tuple(one for one in MODES if one != "do_not_bill"),
    "proration_on_downgrade": tuple(one for one in MODES if one != "do_not_bill"),
    "on_payment_failure": ("prevent_change", "apply_change"),
    "grace_action": ("on_hold", "cancel"),
    "invoice_links": ("protected", "open"),
    "late_payment": ("keep_dates", "restart_cycle"),
    "keys_on_full_refund": ("revoke", "keep"),
}
MOST_ADDRESSES = 20
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\\]")
_PREFIX = re.compile(r"[A-Z0-9][A-Z0-9-]{0,9}")


def the_business(db: ScopedSession, write: bool = False) -> Business:
    """The business of this session's scope. Raises NotFound."""
    query = select(Business).where(Business.business_id == db.scope.business)
    business = db.scalar(query.with_for_update() if write else query)
    if business is None:
        raise NotFound(sentence="There is no such business.")
    return business


def change_rules(db: ScopedSession, typed: Mapping[str, Any]) -> list[str]:
    """`typed`: every name of TICKS (bool), of CHOICES, `grace_days` and `retries` as text, `return_urls` one a line,
    `portal_return_url`. Returns the names that changed. Raises Invalid with a sentence per field; nothing is changed then."""
    wrong: dict[str, str] = {}
    new: dict[str, Any] = {name: bool(typed.get(name)) for name in TICKS}
    for name, known in CHOICES.items():
        new[name] = typed.get(name)
        if new[name] not in known:
            wrong[name] = "Choose one of the list."
    days = str(typed.get("grace_days") or "0").strip()
    if not re.fullmatch(r"[0-9]{1,2}", days) or int(days) > 30:
        wrong["grace_days"] = "A whole number of days, from 0 to 30."
    else:
        new["grace_days"] = int(days)
    business = the_business(db, write=True)
    tries = policy.setting(business, "retry_schedule_hours")
    if typed.get("retries") != "as_it_is" or tries in RETRIES.values():  # another schedule, which the API set, may stay
        if typed.get("retries") not in RETRIES:
            wrong["retries"] = "Choose one of the list."
        else:
            new["retry_schedule_hours"] = RETRIES[str(typed["retries"])]
    new["return_urls"] = _addresses(str(typed.get("return_urls") or ""), wrong)
    new["portal_return_url"] = _address(str(typed.get("portal_return_url") or "").strip(), wrong)
    if wrong:
        raise Invalid(fields=wrong)
    changed = sorted(name for name, value in new.items() if policy.setting(business, name) != value)
    if changed:
        business.settings = {**(business.settings or {}), **{name: new[name] for name in changed}}
        emit(db, "business.rules_changed", business_id=business.business_id, noun=business.business_id, data={"fields": changed})
    return changed


def change_details(db: ScopedSession, typed: Mapping[str, str]) -> list[str]:
    """`typed`: name, legal_name, street, city, state, zipcode, country, tax_id, support_email, invoice_prefix, zone.
    Documents that were issued stay as they are. Returns the names that changed. Raises Invalid with a sentence per field."""
    one = {name: " ".join(str(value or "").split()) for name, value in typed.items()}
    wrong: dict[str, str] = {}
    for name in ("name", "legal_name"):
        try:
            one[name] = clean_name(typed.get(name) or "")
        except Invalid as refused:
            wrong[name] = refused.fields["name"]
    for name in ("street", "city", "state", "zipcode"):
        if len(one[name]) > 200:
            wrong[name] = "Please keep it under 200 characters."
    if one["country"] not in COUNTRIES:
        wrong["country"] = "Choose a country."
    elif one["tax_id"]:
        try:
            one["tax_id"] = check_tax_id(one["tax_id"], one["country"])
        except Invalid as refused:
            wrong |= refused.fields
    if one["support_email"]:
        try:
            one["support_email"] = clean_address(one["support_email"])[0]
        except Invalid as refused:
            wrong["support_email"] = refused.fields["email"]
    one["invoice_prefix"] = one["invoice_prefix"].upper()
    if not _PREFIX.fullmatch(one["invoice_prefix"]):
        wrong["invoice_prefix"] = "1 to 10 letters, digits or hyphens, such as ACO."
    if one["zone"] not in available_timezones():
        wrong["zone"] = "Choose a time zone of the list, such as Europe/London."
    if wrong:
        raise Invalid(fields=wrong)
    business = the_business(db, write=True)
    address = {name: one[name] for name in ("street", "city", "state", "zipcode", "country") if one[name]}
    new: dict[str, Any] = {name: one[name] for name in ("name", "legal_name", "support_email", "invoice_prefix", "zone")}
    new |= {"tax_id": one["tax_id"] or None, "address": address}
    changed = sorted(name for name, value in new.items() if getattr(business, name) != value)
    for name in changed:
        setattr(business, name, new[name])
    if changed:
        emit(db, "business.details_changed", business_id=business.business_id, noun=business.business_id, data={"fields": changed})
    return changed


def _addresses(text: str, wrong: dict[str, str]) -> list[str]:
    """https addresses, one a line, each once, without what browsers would read another way."""
    out: list[str] = []
    for line in text.splitlines():
        one = line.strip()
        if one and not _is_https(one):
            wrong["return_urls"] = "Each line is an https address, such as https://app.example.com/account."
        elif one and one not in out:
            out.append(one)
    if len(out) > MOST_ADDRESSES:
        wrong["return_urls"] = "At most 20 addresses."
    return out


def _address(one: str, wrong: dict[str, str]) -> str | None:
    if one and not _is_https(one):
        wrong["portal_return_url"] = "This has to be an https address."
    return one or None


def _is_https(one: str) -> bool:
    try:
        parts = urlsplit(one)
        return bool(parts.scheme == "https" and parts.hostname and "@" not in parts.netloc and len(one) <= 2000
                    and not _CONTROL.search(one) and (parts.port or 443))
    except ValueError:
        return False
