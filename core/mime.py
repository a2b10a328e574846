"""An email as bytes (RFC 5322, MIME): ASCII headers, bodies in quoted-printable, no line longer than RFC 5322 §2.1.1 allows.

Headers that hold addresses and ids are written exactly as given. The standard library would fold or encode a long or
internationalized address, which changes the address.
"""

from __future__ import annotations

from datetime import datetime
from email.header import Header
from email.message import EmailMessage as MimeMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, parseaddr
from typing import TYPE_CHECKING, Any

from core.domain_names import ascii_address

if TYPE_CHECKING:
    from core.mail import EmailMessage

LONGEST_LINE = 998
"""Maximum octets per line without CRLF (RFC 5322 §2.1.1)."""
_BODY_LINE = 76  # RFC 2045 §6.7


class _AsGiven(EmailPolicy):
    """Write headers set by `build` unchanged, and headers of MIME parts as the standard library does."""

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        return (name, value) if isinstance(value, _Ready) else super().header_store_parse(name, value)

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        return value if isinstance(value, _Ready) else super().header_fetch_parse(name, value)

    def fold(self, name: str, value: Any) -> str:
        return f"{name}: {value}{self.linesep}" if isinstance(value, _Ready) else super().fold(name, value)

    def fold_binary(self, name: str, value: Any) -> bytes:
        return self.fold(name, value).encode("utf-8")


class _Ready(str):
    """A final header value, already folded."""


_POLICY = _AsGiven(linesep="\r\n", max_line_length=_BODY_LINE)


def build(outgoing_email: EmailMessage, sender: str, message_id: str, at: datetime) -> bytes:
    """Return the email as bytes. `sender` as in MAIL_DEFAULT_SENDER. Raises BadDomain, ValueError.

    The recipient gets an ASCII domain. A non-ASCII local part is written in UTF-8 (RFC 6532), which needs SMTPUTF8.
    """
    message = MimeMessage(policy=_POLICY)
    own = {"auto-submitted": ("Auto-Submitted", "auto-generated")}  # RFC 3834 §5
    own |= {name.lower(): (name, value if value.isascii() else _encode_text(name, value)) for name, value in outgoing_email.headers.items()}
    to = ascii_address(outgoing_email.to)
    headers = [
        ("From", _named(sender)),
        ("To", to),
        ("Subject", _encode_text("Subject", outgoing_email.subject)),
        ("Date", format_datetime(at)),
        ("Message-ID", message_id),
        *own.values(),
    ]
    if outgoing_email.reply_to and (outgoing_email.reply_to.rpartition("@")[0].isascii() or not to.isascii()):
        headers.append(("Reply-To", ascii_address(outgoing_email.reply_to)))
    for name, value in headers:
        message[name] = _Ready(value)
    message.set_content(outgoing_email.text, charset="utf-8", cte="quoted-printable")
    if outgoing_email.html:
        message.add_alternative(outgoing_email.html, subtype="html", charset="utf-8", cte="quoted-printable")
    for attachment in outgoing_email.attachments:
        kind, _, subtype = attachment.content_type.partition("/")
        message.add_attachment(attachment.data, maintype=kind, subtype=subtype or "octet-stream", filename=attachment.filename)
    raw = message.as_bytes()
    if max(map(len, raw.split(b"\r\n"))) > LONGEST_LINE:
        raise ValueError("a header line is longer than 998 octets")
    return raw


def address_of(sender: str) -> str:
    """Return the address of `Customer portal <portal@example.com>`, with an ASCII domain. Raises BadDomain."""
    return ascii_address(parseaddr(sender)[1])


def _named(sender: str) -> str:
    name, _ = parseaddr(sender)
    if not name:
        return address_of(sender)
    display_name = _encode_text("From", name)
    quoted = display_name if display_name.startswith("=?") else '"' + display_name.replace("\\", r"\\").replace('"', r"\"") + '"'
    return f"{quoted} <{address_of(sender)}>"


def _encode_text(name: str, text: str) -> str:
    """Encode header text: unchanged if it is short ASCII, otherwise folded encoded words (RFC 2047)."""
    plain = text.isascii() and "=?" not in text and all(len(word) < _BODY_LINE - len(name) - 2 for word in text.split(" "))
    return Header(text, "us-ascii" if plain else "utf-8", maxlinelen=_BODY_LINE, header_name=name).encode(linesep="\r\n")
