"""Change a business's settings (`billing/model/policy.py`) and its details on documents, for its staff."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from sqlalchemy import select

from billing.customers.customers import clean_name
from billing.model import policy
from billing.model.email_address import clean_address
from billing.model.parties import Business
from billing.pricing.proration import MODES
from billing.subscriptions.billing_details import COUNTRIES, check_tax_id
from core.db import ScopedSession
from core.errors import N_, Invalid, NotFound
from core.outbox import emit

RETRIES: dict[str, list[int]] = {"never": [], "two_weeks": [12, 24, 48, 72, 96, 120], "a_month": [12, 24, 48, 72, 96, 120, 168, 168]}
"""Hours between automatic retries after a soft decline (contract §5.8)."""
TOGGLES = ("plan_change", "cancel", "pause", "multiple_subscriptions", "trial_notices", "renewal_notices", "card_notices")
CHOICES: dict[str, tuple[str, ...]] = {
    "effective_on_upgrade": ("immediately", "next_billing_date"),
    "effective_on_downgrade": ("immediately", "next_billing_date"),
    "proration_on_upgrade": tuple(mode for mode in MODES if mode != "do_not_bill"),
    "proration_on_downgrade": tuple(mode for mode in MODES if mode != "do_not_bill"),
    "on_payment_failure": ("prevent_change", "apply_change"),
    "grace_action": ("on_hold", "cancel"),
    "invoice_links": ("protected", "open"),
    "late_payment": ("keep_dates", "restart_cycle"),
    "keys_on_full_refund": ("revoke", "keep"),
    "on_dispute": ("keep", "hold", "end"),
}
MAX_RETURN_URLS = 20
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\\]")
_PREFIX = re.compile(r"[A-Z0-9][A-Z0-9-]{0,9}")


def the_business(db: ScopedSession, write: bool = False) -> Business:
    """The business of this session's scope. Raises NotFound."""
    query = select(Business).where(Business.business_id == db.scope.business)
    business = db.scalar(query.with_for_update() if write else query)
    if business is None:
        raise NotFound(sentence=N_("There is no such business."))
    return business


def change_rules(db: ScopedSession, typed: Mapping[str, Any]) -> list[str]:
    """Change the settings and return the names that changed. Raises Invalid with a message per field, changing nothing.

    `typed`: all names of TOGGLES (bool) and CHOICES, `grace_days` and `retries` as text, `return_urls` one per line,
    `portal_return_url`.
    """
    problems: dict[str, str] = {}
    new: dict[str, Any] = {name: bool(typed.get(name)) for name in TOGGLES}
    for name, known in CHOICES.items():
        new[name] = typed.get(name)
        if new[name] not in known:
            problems[name] = N_("Choose an option from the list.")
    days = str(typed.get("grace_days") or "0").strip()
    if not re.fullmatch(r"[0-9]{1,2}", days) or int(days) > 30:
        problems["grace_days"] = N_("Enter a whole number of days from 0 to 30.")
    else:
        new["grace_days"] = int(days)
    business = the_business(db, write=True)
    schedule = policy.setting(business, "retry_schedule_hours")
    if typed.get("retries") != "as_it_is" or schedule in RETRIES.values():  # a custom schedule set by the API may stay
        if typed.get("retries") not in RETRIES:
            problems["retries"] = N_("Choose an option from the list.")
        else:
            new["retry_schedule_hours"] = RETRIES[str(typed["retries"])]
    new["return_urls"] = _clean_return_urls(str(typed.get("return_urls") or ""), problems)
    new["portal_return_url"] = _clean_portal_url(str(typed.get("portal_return_url") or "").strip(), problems)
    if problems:
        raise Invalid(fields=problems)
    changed = sorted(name for name, value in new.items() if policy.setting(business, name) != value)
    if changed:
        business.settings = {**(business.settings or {}), **{name: new[name] for name in changed}}
        emit(db, "business.rules_changed", business_id=business.business_id, noun=business.business_id, data={"fields": changed})
    return changed


def change_details(db: ScopedSession, typed: Mapping[str, str]) -> list[str]:
    """Change the details and return the names that changed. Raises Invalid with a message per field.

    `typed`: name, legal_name, street, city, state, zipcode, country, tax_id, support_email, invoice_prefix, zone.
    Issued documents do not change.
    """
    details = {name: " ".join(str(value or "").split()) for name, value in typed.items()}
    problems: dict[str, str] = {}
    for name in ("name", "legal_name"):
        try:
            details[name] = clean_name(typed.get(name) or "")
        except Invalid as refused:
            problems[name] = refused.fields["name"]
    for name in ("street", "city", "state", "zipcode"):
        if len(details[name]) > 200:
            problems[name] = N_("Please keep it under 200 characters.")
    if details["country"] not in COUNTRIES:
        problems["country"] = N_("Choose a country.")
    elif details["tax_id"]:
        try:
            details["tax_id"] = check_tax_id(details["tax_id"], details["country"])
        except Invalid as refused:
            problems |= refused.fields
    if details["support_email"]:
        try:
            details["support_email"] = clean_address(details["support_email"])[0]
        except Invalid as refused:
            problems["support_email"] = refused.fields["email"]
    details["invoice_prefix"] = details["invoice_prefix"].upper()
    if not _PREFIX.fullmatch(details["invoice_prefix"]):
        problems["invoice_prefix"] = N_("Use 1 to 10 letters, digits or hyphens, such as ACO.")
    if details["zone"] not in available_timezones():
        problems["zone"] = N_("Choose a time zone from the list, such as Europe/London.")
    if problems:
        raise Invalid(fields=problems)
    business = the_business(db, write=True)
    address = {name: details[name] for name in ("street", "city", "state", "zipcode", "country") if details[name]}
    new: dict[str, Any] = {name: details[name] for name in ("name", "legal_name", "support_email", "invoice_prefix", "zone")}
    new |= {"tax_id": details["tax_id"] or None, "address": address}
    changed = sorted(name for name, value in new.items() if getattr(business, name) != value)
    for name in changed:
        setattr(business, name, new[name])
    if changed:
        emit(db, "business.details_changed", business_id=business.business_id, noun=business.business_id, data={"fields": changed})
    return changed


def _clean_return_urls(text: str, problems: dict[str, str]) -> list[str]:
    """Return the distinct https addresses, one per line, without characters that browsers interpret differently."""
    out: list[str] = []
    for line in text.splitlines():
        url = line.strip()
        if url and not _is_https(url):
            problems["return_urls"] = N_("Each line must be an https address, such as https://app.example.com/account.")
        elif url and url not in out:
            out.append(url)
    if len(out) > MAX_RETURN_URLS:
        problems["return_urls"] = N_("Enter at most 20 addresses.")
    return out


def _clean_portal_url(url: str, problems: dict[str, str]) -> str | None:
    if url and not _is_https(url):
        problems["portal_return_url"] = N_("This must be an https address.")
    return url or None


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(
            parts.scheme == "https"
            and parts.hostname
            and "@" not in parts.netloc
            and len(url) <= 2000
            and not _CONTROL.search(url)
            and (parts.port or 443)
        )
    except ValueError:
        return False
