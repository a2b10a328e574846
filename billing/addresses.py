"""E-mail addresses: what is accepted, and the folded key people are found by."""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email

from core.errors import Invalid


def fold_address(text: str) -> str:
    """Case-folded local part and IDNA domain. No dot or plus folding. Raises Invalid (field `email`)."""
    return clean_address(text)[1]


def clean_address(text: str) -> tuple[str, str]:
    """(address as people write it, folded key). Raises Invalid (field `email`)."""
    if not isinstance(text, str) or len(text) > 320 or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise Invalid("INVALID_REQUEST_BODY", "This is not an e-mail address.", fields={"email": "This is not an e-mail address."})
    try:
        found = validate_email(text.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise Invalid("INVALID_REQUEST_BODY", "This is not an e-mail address.",
                      fields={"email": "This is not an e-mail address. It looks like name@example.com."}) from None
    return found.normalized, f"{found.local_part.casefold()}@{found.ascii_domain or found.domain}".lower()
