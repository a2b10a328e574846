"""Letters: rendered from templates/email/<name>/, sent over SMTP, and kept in the test mailbox.

Only the worker sends. A letter's Message-ID comes from its event, so a retry is the same letter to every mail server.
"""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from core import clock, i18n, mailbox, mime
from core.brand import brand_tokens
from core.domain_names import ascii_address, ascii_domain
from core.ids import keyed_hash
from core.mail_server import MailServer

if TYPE_CHECKING:
    from core.db import Database
    from core.settings import Settings

log = structlog.get_logger()
_BREAK = re.compile(r"[\r\n\0\x0b\x0c\x85\u2028\u2029]")


class BadLetter(ValueError):
    """A header with a line break in it: somebody tries to add headers of their own."""


class NotOffered(smtplib.SMTPException):
    """The address has a local part beyond ASCII, and the server does not take those. It may learn to: the worker tries again."""


@dataclass(frozen=True)
class Attachment:
    filename: str
    content_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Letter:
    """One letter to one address. Raises BadLetter when a header field holds a line break."""

    to: str
    subject: str
    text: str
    html: str = ""
    reply_to: str | None = None
    attachments: tuple[Attachment, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [attachment.filename for attachment in self.attachments]
        for value in (self.to, self.subject, self.reply_to or "", *names, *self.headers, *self.headers.values()):
            if _BREAK.search(value):
                raise BadLetter("line break in a header of a letter")
        if "," in self.to or "@" not in self.to:
            raise BadLetter("a letter goes to one address")


class Mailer:
    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.server = MailServer(settings, database)

    def send(self, letter: Letter, message_id: str) -> None:
        """Keep it (test mode) and send it (where a mail server is set). `message_id`: the event's id and the letter's name.

        Raises OSError or smtplib.SMTPException when the server does not take it; the worker tries again with the same id.
        """
        token = keyed_hash(self.settings.secret_keys, "message-id", message_id)[:32]
        if self.settings.is_test:
            mailbox.put(self.database, token, letter)
        if self.settings.mail_server:
            self._send_by_smtp(letter, f"<{token}@{ascii_domain(self.settings.hostname)}>")

    def send_each(self, letters: Iterable[tuple[Letter, str]]) -> None:
        """The same email to several addresses, each (letter, message id). One address that is refused for good keeps the others from
        nothing; raises what refused it only when none could be sent."""
        refused: smtplib.SMTPException | None = None
        is_sent = False
        for letter, message_id in letters:
            try:
                self.send(letter, message_id)
                is_sent = True
            except (NotOffered, smtplib.SMTPRecipientsRefused) as problem:
                if isinstance(problem, smtplib.SMTPRecipientsRefused) and any(code < 500 for code, _ in problem.recipients.values()):
                    raise  # for now (RFC 5321 §4.2.1)
                log.warning("an address was refused", error=type(problem).__name__, address=letter.to)
                refused = problem
        if refused is not None and not is_sent:
            raise refused

    def _send_by_smtp(self, letter: Letter, message_id: str) -> None:
        """The envelope and the headers name exactly the mailbox of `letter.to`, with its domain in ASCII."""
        sender, to = mime.address_of(self.settings.mail_default_sender), ascii_address(letter.to)
        raw = mime.build(letter, self.settings.mail_default_sender, message_id, clock.wall())
        with self.server.connect() as smtp:
            offers_smtputf8 = self.server.note(smtp)
            options: list[str] = []
            if not to.isascii():
                if not offers_smtputf8:
                    raise NotOffered("the mail server does not offer SMTPUTF8, which this address needs")
                options = ["SMTPUTF8", "BODY=8BITMIME"]  # RFC 6531 §3.1
            smtp.sendmail(sender, [to], raw, mail_options=options)


def render_letter(name: str, locale: str | None, /, *, zone: str = "UTC", **context: Any) -> tuple[str, str, str]:
    """(subject, text, html) of templates/email/<name>/{subject.txt,body.txt,body.html} in that locale.

    `context` for the layout: `brand` (as stored, or None), `sender` (a business's name), `seller` (legal name and town),
    `support_email`, `to` and `why` (a sentence: why this person gets it). Templates also see `fmt` and `settings`.
    """
    from core.pages import Words

    with i18n.speaking(locale) as spoken, i18n.in_application() as app:
        settings = app.extensions["portal"].settings
        values = {
            "brand": None, "sender": settings.name, "seller": "", "support_email": settings.support_email, "to": "", "why": "", **context,
        }
        values |= {
            "token": brand_tokens(values["brand"]), "fmt": Words(spoken, zone), "settings": settings,
            "lang": i18n.html_lang(spoken), "direction": i18n.direction(spoken),
        }
        load = app.jinja_env.get_template
        subject = " ".join(load(f"email/{name}/subject.txt").render(values).split())
        text = _tidy(load(f"email/{name}/body.txt").render(values))
        html = load(f"email/{name}/body.html").render(subject=subject, **values)
    return (f"[test] {subject}" if settings.is_test else subject), text, html


def _tidy(text: str) -> str:
    """At most one empty line in a row, none at the ends: templates cannot help leaving more."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"
