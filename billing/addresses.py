"""Email addresses: what is accepted, and the key people are found by.

A key stands for exactly one mailbox. Local parts are compared as they are written, but for ASCII letters, whose case does not
count; canonically equivalent spellings (NFC, RFC 6532 §3.1) are one. `groß@`, `ſam@` and `ﬃce@` are therefore not `gross@`,
`sam@` and `office@`, which are other people's mailboxes. The domain is compared in ASCII (`core.domain_names`).
"""

from __future__ import annotations

import unicodedata

from email_validator import EmailNotValidError, validate_email

from core import mail_server
from core.domain_names import BadDomain, ascii_domain, unicode_domain
from core.errors import Invalid

MAX_LOCAL, MAX_ADDRESS = 64, 254
"""Octets of a local part (RFC 5321 §4.5.3.1.1) and of an address, which a path may hold between `<` and `>` (§4.5.3.1.3)."""
NOT_AN_ADDRESS = "This is not an e-mail address."
LOOKS_LIKE = "This is not an e-mail address. It looks like name@example.com."
TOO_LONG = "This email address is too long."
UNSUPPORTED = (
    "Our mail server cannot send to this address. Before the @ it supports only the letters a to z, digits and symbols like . and +."
)


def fold_address(text: str) -> str:
    """The key of the address. No dot or plus folding. Raises Invalid (field `email`)."""
    return parse_address(text)[1]


def clean_address(text: str) -> tuple[str, str]:
    """(address as people write it, key) of an address that email is to be sent to.

    Raises Invalid (field `email`), also for an address that needs SMTPUTF8 (RFC 6531) where the mail server does not offer it.
    """
    address, key = parse_address(text)
    if not address.rpartition("@")[0].isascii() and not mail_server.offers_smtputf8():
        raise _refused(UNSUPPORTED)
    return address, key


def parse_address(text: str) -> tuple[str, str]:
    """(address as people write it, key), whether or not email can be sent there. Raises Invalid (field `email`)."""
    if not isinstance(text, str) or len(text) > 320 or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise _refused(NOT_AN_ADDRESS)
    local, _, domain = unicodedata.normalize("NFC", text.strip()).rpartition("@")
    try:
        in_ascii = ascii_domain(domain)
        if len(local.encode()) > MAX_LOCAL or len(f"{local}@{in_ascii}".encode()) > MAX_ADDRESS:
            raise _refused(TOO_LONG)
        # A-labels were checked as they were made; the validator would refuse the joiners that IDNA 2008 allows in some of them
        plain = in_ascii.replace("xn--", "xnxx")
        found = validate_email(f"{local}@{plain}", check_deliverability=False, test_environment=True)
    except (EmailNotValidError, BadDomain, UnicodeEncodeError):  # the last: half of a surrogate pair
        raise _refused(LOOKS_LIKE) from None
    local = found.local_part
    if "=?" in local and "?=" in local:  # an encoded word (RFC 2047 §5): some mail servers decode it, and write to another mailbox
        raise _refused(LOOKS_LIKE)
    return f"{local}@{unicode_domain(in_ascii)}", f"{lower_ascii(local)}@{in_ascii}"


def lower_ascii(text: str) -> str:
    """ASCII letters in lower case. A letter with a combining mark is not an ASCII letter, even where Unicode has no single
    character for the two: its lower case could be another spelling of a letter that has one (`H` + U+0331 and `ẖ`)."""
    pairs = zip(text, f"{text[1:]} ", strict=False)
    return "".join(c.lower() if c.isascii() and not unicodedata.combining(after) else c for c, after in pairs)


def _refused(sentence: str) -> Invalid:
    return Invalid("INVALID_REQUEST_BODY", sentence, fields={"email": sentence})
