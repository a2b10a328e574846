"""Validates email addresses and derives the keys by which people are found.

A key stands for exactly one mailbox. Local parts are compared as written, except that the case of ASCII letters does not count.
Canonically equivalent spellings (NFC, RFC 6532 §3.1) are equal. `groß@`, `ſam@` and `ﬃce@` are therefore not `gross@`, `sam@` and
`office@`, which are other mailboxes. The domain is compared in ASCII (`core.domain_names`).
"""

from __future__ import annotations

import unicodedata

from email_validator import EmailNotValidError, validate_email

from core import mail_server
from core.domain_names import BadDomain, ascii_domain, unicode_domain
from core.errors import N_, Invalid

MAX_LOCAL, MAX_ADDRESS = 64, 254
"""Maximum octets of a local part (RFC 5321 §4.5.3.1.1), and of an address in a path between `<` and `>` (§4.5.3.1.3)."""
NOT_AN_ADDRESS = N_("This is not a valid email address.")
LOOKS_LIKE = N_("This is not a valid email address. Use the format name@example.com.")
TOO_LONG = N_("This email address is too long.")
UNSUPPORTED = N_(
    "Our mail server cannot send to this address. Before the @ it supports only the letters a to z, digits and symbols like . and +."
)


def fold_address(text: str) -> str:
    """Return the key of the address. Dots and plus suffixes are significant. Raises Invalid (field `email`)."""
    return parse_address(text)[1]


def clean_address(text: str) -> tuple[str, str]:
    """Return (address for display, key) of an address to which email will be sent.

    Raises Invalid (field `email`), also for an address that needs SMTPUTF8 (RFC 6531) if the mail server does not offer it.
    """
    address, key = parse_address(text)
    if not address.rpartition("@")[0].isascii() and not mail_server.offers_smtputf8():
        raise _refused(UNSUPPORTED)
    return address, key


def parse_address(text: str) -> tuple[str, str]:
    """Return (address for display, key), whether or not email can be sent there. Raises Invalid (field `email`)."""
    if not isinstance(text, str) or len(text) > 320 or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise _refused(NOT_AN_ADDRESS)
    local, _, domain = unicodedata.normalize("NFC", text.strip()).rpartition("@")
    try:
        in_ascii = ascii_domain(domain)
        if len(local.encode()) > MAX_LOCAL or len(f"{local}@{in_ascii}".encode()) > MAX_ADDRESS:
            raise _refused(TOO_LONG)
        # `ascii_domain` checked the A-labels; the validator would refuse joiners that IDNA 2008 allows in some of them
        plain = in_ascii.replace("xn--", "xnxx")
        found = validate_email(f"{local}@{plain}", check_deliverability=False, test_environment=True)
    except (EmailNotValidError, BadDomain, UnicodeEncodeError):  # UnicodeEncodeError: half of a surrogate pair
        raise _refused(LOOKS_LIKE) from None
    local = found.local_part
    if "=?" in local and "?=" in local:  # an encoded word (RFC 2047 §5): some mail servers decode it and deliver to another mailbox
        raise _refused(LOOKS_LIKE)
    return f"{local}@{unicode_domain(in_ascii)}", f"{lower_ascii(local)}@{in_ascii}"


def lower_ascii(text: str) -> str:
    """Convert ASCII letters to lower case.

    A letter with a combining mark is not an ASCII letter, even if Unicode has no single character for the combination. Its lower case
    could be another spelling of a letter that has one (`H` + U+0331 and `ẖ`).
    """
    pairs = zip(text, f"{text[1:]} ", strict=False)
    return "".join(c.lower() if c.isascii() and not unicodedata.combining(after) else c for c, after in pairs)


def _refused(sentence: str) -> Invalid:
    return Invalid("INVALID_REQUEST_BODY", sentence, fields={"email": sentence})
