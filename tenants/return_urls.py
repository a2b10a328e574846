"""Checks the URLs that customers return to from the portal."""

from __future__ import annotations

from urllib.parse import urlsplit

from billing.model.parties import Business
from billing.model.policy import setting
from core.domain_names import LOOPBACK
from core.errors import N_, Invalid
from core.security import safe_next
from core.settings import Settings


def clean_return_url(settings: Settings, business: Business, value: str | None) -> str | None:
    """Return a return URL, or None if there is none.

    It must be https and, if the business listed return URLs, one of them. In test mode localhost is allowed as well.
    Raises Invalid (return_url).
    """
    if not value:
        return None
    error = Invalid(sentence="return_url: must be an https URL.", fields={"return_url": N_("This must be an https URL.")})
    try:
        parts = urlsplit(value)
    except ValueError:
        raise error from None
    allowed = setting(business, "return_urls")
    origin = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme == "https" and safe_next(value, allowed or [origin], "") == value:  # a list of URLs excludes all others
        return value
    if parts.scheme == "http" and (value in allowed or (settings.is_test and parts.hostname in LOOPBACK)):
        return value
    raise error
