"""Which languages a business offers its customers, and which one is for everybody else."""

from __future__ import annotations

from collections.abc import Collection

from billing import policy
from billing.commands.rules import the_business
from core.db import ScopedSession
from core.errors import Invalid
from core.languages import among, supported
from core.outbox import emit


def check_languages(chosen: Collection[str], default: str) -> tuple[str, ...]:
    """Those chosen, in our order. Raises Invalid (fields languages, locale)."""
    wrong: dict[str, str] = {}
    if not chosen:
        wrong["languages"] = "Offer one language or more."
    elif not set(chosen) <= set(supported()):
        wrong["languages"] = "Choose languages of the list."
    elif default not in chosen:
        wrong["locale"] = "This has to be one of the languages you offer."
    if wrong:
        raise Invalid(fields=wrong)
    return among(chosen)


def change_languages(db: ScopedSession, chosen: Collection[str], default: str) -> bool:
    """Whether anything was different. All of them is kept as no choice: a language that is added later is offered too.

    Documents that were issued stay as they are. Raises Invalid as `check_languages`.
    """
    names = check_languages(chosen, default)
    business = the_business(db, write=True)
    kept = [] if names == supported() else list(names)
    if (list(policy.setting(business, "languages")), business.locale) == (kept, default):
        return False
    business.settings, business.locale = {**(business.settings or {}), "languages": kept}, default
    emit(db, "business.languages_changed", business_id=business.business_id, noun=business.business_id,
         data={"languages": list(names), "language": default})
    return True
