"""Where a business may send its customers back to from the portal."""

from __future__ import annotations

from urllib.parse import urlsplit

from billing.parties import Business
from billing.policy import setting
from core.errors import Invalid
from core.security import safe_next
from core.settings import Settings
from core.web import LOOPBACK


def clean_return_url(settings: Settings, business: Business, value: str | None) -> str | None:
    """https, or an address that the business listed, or (test mode) this machine's; None for none. Raises Invalid (return_url)."""
    if not value:
        return None
    refused = Invalid(sentence="return_url: this has to be an https address.", fields={"return_url": "This has to be an https address."})
    try:
        parts = urlsplit(value)
    except ValueError:
        raise refused from None
    allowed = setting(business, "return_urls")
    origin = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme == "https" and safe_next(value, allowed or [origin], "") == value:  # a list, once there is one, is all there is
        return value
    if parts.scheme == "http" and (value in allowed or (settings.is_test and parts.hostname in LOOPBACK)):
        return value
    raise refused
