"""Change the links and public texts of a business: terms, privacy, its statement of accessibility, how cancelling works."""

from __future__ import annotations

from collections.abc import Mapping

from billing.customers.portal_settings import the_business
from billing.model import policy
from core.db import ScopedSession
from core.errors import N_, Invalid
from core.outbox import emit
from core.web_links import MOST_TEXT, https_link

LINKS = ("terms_url", "privacy_url")
TEXTS = ("accessibility_text", "cancelling_text")


def change_legal_pages(db: ScopedSession, typed: Mapping[str, str]) -> list[str]:
    """Change the links (https only) and texts (Markdown; empty: the portal's own). Returns the names that changed. Raises Invalid."""
    new = {name: (typed.get(name) or "").strip() for name in LINKS}
    new |= {name: _storable(typed.get(name) or "") for name in TEXTS}
    problems = {name: N_("Enter an address that begins with https://.") for name in LINKS if new[name] and not https_link(new[name])}
    problems |= {name: N_("Please keep it under 10,000 characters.") for name in TEXTS if len(new[name]) > MOST_TEXT}
    if problems:
        raise Invalid(fields=problems)
    business = the_business(db, write=True)
    changed = sorted(name for name, value in new.items() if policy.setting(business, name) != value)
    if changed:
        business.settings = {**(business.settings or {}), **{name: new[name] for name in changed}}
        emit(db, "business.rules_changed", business_id=business.business_id, noun=business.business_id, data={"fields": changed})
    return changed


def _storable(text: str) -> str:
    """Return the text with plain line ends and without control characters and halves of surrogate pairs, which cannot be stored."""
    plain = text.replace("\r\n", "\n").encode("utf-8", "ignore").decode()
    return "".join(character for character in plain if character == "\n" or character.isprintable()).strip()
