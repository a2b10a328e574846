"""An email as bytes (RFC 5322, MIME): ASCII headers, bodies in quoted-printable, no line longer than RFC 5322 §2.1.1 allows.

Headers that hold addresses and ids are written exactly as given. The standard library would fold or encode a long or
internationalized address, and the result is another address.
"""

from __future__ import annotations

from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime, parseaddr
from typing import TYPE_CHECKING, Any

from core.domain_names import ascii_address

if TYPE_CHECKING:
    from core.mail import Letter

LONGEST_LINE = 998
"""Octets of a line without its CRLF (RFC 5322 §2.1.1)."""
_BODY_LINE = 76  # RFC 2045 §6.7


class _AsGiven(EmailPolicy):
    """Writes the headers that `build` sets as they are; those of MIME parts as the standard library does."""

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        return (name, value) if isinstance(value, _Ready) else super().header_store_parse(name, value)

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        return value if isinstance(value, _Ready) else super().header_fetch_parse(name, value)

    def fold(self, name: str, value: Any) -> str:
        return f"{name}: {value}{self.linesep}" if isinstance(value, _Ready) else super().fold(name, value)

    def fold_binary(self, name: str, value: Any) -> bytes:
        return self.fold(name, value).encode("utf-8")


class _Ready(str):
    """A header's value that is final: folded where it may be."""


_POLICY = _AsGiven(linesep="\r\n", max_line_length=_BODY_LINE)


def build(letter: Letter, sender: str, message_id: str, at: datetime) -> bytes:
    """The whole email. `sender` as in MAIL_DEFAULT_SENDER. The recipient is written with an ASCII domain; a local part beyond
    ASCII is written in UTF-8 (RFC 6532), which only a server with SMTPUTF8 takes. Raises BadDomain, ValueError."""
    message = EmailMessage(policy=_POLICY)
    own = {"auto-submitted": ("Auto-Submitted", "auto-generated")}  # RFC 3834 §5
    own |= {name.lower(): (name, value if value.isascii() else _words(name, value)) for name, value in letter.headers.items()}
    to = ascii_address(letter.to)
    headers = [("From", _named(sender)), ("To", to), ("Subject", _words("Subject", letter.subject)),
               ("Date", format_datetime(at)), ("Message-ID", message_id), *own.values()]
    if letter.reply_to and (letter.reply_to.rpartition("@")[0].isascii() or not to.isascii()):
        headers.append(("Reply-To", ascii_address(letter.reply_to)))
    for name, value in headers:
        message[name] = _Ready(value)
    message.set_content(letter.text, charset="utf-8", cte="quoted-printable")
    if letter.html:
        message.add_alternative(letter.html, subtype="html", charset="utf-8", cte="quoted-printable")
    for one in letter.attachments:
        kind, _, subtype = one.content_type.partition("/")
        message.add_attachment(one.data, maintype=kind, subtype=subtype or "octet-stream", filename=one.filename)
    raw = message.as_bytes()
    if max(map(len, raw.split(b"\r\n"))) > LONGEST_LINE:
        raise ValueError("a header of this email is longer than a line may be")
    return raw


def address_of(sender: str) -> str:
    """The address alone of `Customer portal <portal@example.com>`, with its domain in ASCII. Raises BadDomain."""
    return ascii_address(parseaddr(sender)[1])


def _named(sender: str) -> str:
    name, _ = parseaddr(sender)
    if not name:
        return address_of(sender)
    words = _words("From", name)
    quoted = words if words.startswith("=?") else '"' + words.replace("\\", r"\\").replace('"', r"\"") + '"'
    return f"{quoted} <{address_of(sender)}>"


def _words(name: str, text: str) -> str:
    """Text for people: plain where it is short ASCII, else encoded words (RFC 2047), folded."""
    plain = text.isascii() and "=?" not in text and all(len(word) < _BODY_LINE - len(name) - 2 for word in text.split(" "))
    return Header(text, "us-ascii" if plain else "utf-8", maxlinelen=_BODY_LINE, header_name=name).encode(linesep="\r\n")
