"""Change the languages that a business offers, and its default language."""

from __future__ import annotations

from collections.abc import Collection

from billing.customers.portal_settings import the_business
from billing.model import policy
from core.db import ScopedSession
from core.errors import N_, Invalid
from core.languages import among, supported
from core.outbox import emit


def check_languages(chosen: Collection[str], default: str) -> tuple[str, ...]:
    """Return the chosen languages in the portal's order. Raises Invalid (fields languages, locale)."""
    problems: dict[str, str] = {}
    if not chosen:
        problems["languages"] = N_("Choose at least one language.")
    elif not set(chosen) <= set(supported()):
        problems["languages"] = N_("Choose languages from the list.")
    elif default not in chosen:
        problems["locale"] = N_("This must be one of the languages you offer.")
    if problems:
        raise Invalid(fields=problems)
    return among(chosen)


def change_languages(db: ScopedSession, chosen: Collection[str], default: str) -> bool:
    """Save the languages and return whether anything changed. All languages are stored as no choice, so later ones are included.

    Issued documents do not change. Raises Invalid as `check_languages`.
    """
    names = check_languages(chosen, default)
    business = the_business(db, write=True)
    stored = [] if names == supported() else list(names)
    if (list(policy.setting(business, "languages")), business.locale) == (stored, default):
        return False
    business.settings, business.locale = {**(business.settings or {}), "languages": stored}, default
    emit(
        db,
        "business.languages_changed",
        business_id=business.business_id,
        noun=business.business_id,
        data={"languages": list(names), "language": default},
    )
    return True
