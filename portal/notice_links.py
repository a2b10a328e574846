"""The links of emails that switch a reminder off."""

from __future__ import annotations

from auth import tokens
from billing.model.optional_notices import OPTIONAL, OptionalNotice
from core.settings import Settings

_PURPOSE = "reminder-off"


def off_address(settings: Settings, business_id: str, customer_id: str, reminder: OptionalNotice) -> str:
    return f"{settings.base_url}/notices/{tokens.sign(settings, _PURPOSE, [business_id, customer_id, reminder])}"


def read_token(settings: Settings, token: str) -> tuple[str, str, OptionalNotice] | None:
    """Return (business_id, customer_id, reminder) of a link's token. None if it is not one of ours."""
    value = tokens.unsign(settings, _PURPOSE, token)
    if not isinstance(value, list) or len(value) != 3:
        return None
    reminder = next((known for known in OPTIONAL if known == value[2]), None)
    return (str(value[0]), str(value[1]), reminder) if reminder else None
