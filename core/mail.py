"""Render emails from templates/email/<name>/, send them over SMTP, and store them in the test mailbox.

Only the worker sends. The outcome of each email is in core/email_log.py. All attempts have the same Message-ID (RFC 5322 §3.6.4).
"""

from __future__ import annotations

import re
import smtplib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from core import clock, email_log, i18n, mailbox, mime
from core.brand import brand_tokens
from core.domain_names import ascii_address
from core.mail_errors import Deferred, RecipientRefused, from_smtp
from core.mail_metrics import Subject, counted
from core.mail_server import MailServer

if TYPE_CHECKING:
    from core.db import Database
    from core.settings import Settings

log = structlog.get_logger()
_BREAK = re.compile(r"[\r\n\0\x0b\x0c\x85\u2028\u2029]")


class InvalidEmail(ValueError):
    """A header with a line break (header injection), or a recipient that is not exactly one address."""


class NotOffered(Deferred, smtplib.SMTPException):
    """The address has a non-ASCII local part and the server does not offer SMTPUTF8. The worker retries, because that may change."""


@dataclass(frozen=True)
class Attachment:
    filename: str
    content_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class EmailMessage:
    """One email to one address. Raises InvalidEmail if a header field contains a line break."""

    to: str
    subject: str
    text: str
    html: str = ""
    reply_to: str | None = None
    attachments: tuple[Attachment, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Name of the template the email was rendered from."""
        return getattr(self.subject, "kind", "other")

    def __post_init__(self) -> None:
        names = [attachment.filename for attachment in self.attachments]
        for value in (self.to, self.subject, self.reply_to or "", *names, *self.headers, *self.headers.values()):
            if _BREAK.search(value):
                raise InvalidEmail("line break in an email header")
        if "," in self.to or "@" not in self.to:
            raise InvalidEmail("an email needs exactly one recipient")


class Mailer:
    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.server = MailServer(settings, database)
        self._unrecorded: set[str] = set()  # keys of sent emails whose outcome could not be stored yet

    def send(self, message: EmailMessage, key: str) -> bool:
        """Store the email (test mode) and send it once (if a mail server is configured).

        `key`: the event id, the email's name and, for several recipients, the recipient. Returns False if the server refused the
        email permanently, now or before; the business concerned is notified. Raises Deferred if the email must be retried: the
        server deferred it or cannot be reached.
        """
        row = email_log.begin(self.database, self.settings, key, message.to)
        if self.settings.is_test:
            mailbox.put(self.database, row.message_id.partition("@")[0], message)
        if row.state != email_log.QUEUED:
            return row.state in (email_log.SENT, email_log.KEPT)
        if key not in self._unrecorded:
            try:
                self._send_by_smtp(message, f"<{row.message_id}>")
            except RecipientRefused as problem:
                email_log.refused(self.database, key, message.to, str(problem), problem.code)
                return False
            except Deferred as problem:
                email_log.deferred(self.database, key, problem.code)
                raise
        if email_log.sent(self.database, key):
            self._unrecorded.discard(key)
        else:
            self._unrecorded.add(key)
        return True

    def send_each(self, emails: Iterable[tuple[EmailMessage, str]]) -> list[str]:
        """Send (email, key) pairs, one per address. A refused or deferred address does not stop the others.

        Returns the refused addresses. Raises Deferred if any must be retried; the retry does not repeat emails already sent.
        """
        deferred: Deferred | None = None
        not_offered: dict[tuple[str, str], NotOffered] = {}
        refused: list[str] = []
        is_sent = False
        for message, key in emails:
            try:
                if self.send(message, key):
                    is_sent = True
                else:
                    refused.append(message.to)
            except NotOffered as problem:
                not_offered[message.to, key] = problem
            except Deferred as problem:
                deferred = problem
        if deferred is not None:
            raise deferred
        for (to, key), why in not_offered.items():
            if not is_sent:
                raise why
            email_log.refused(self.database, key, to, str(why))
            refused.append(to)
        return refused

    def _send_by_smtp(self, message: EmailMessage, message_id: str) -> None:
        """Send to exactly the mailbox `message.to`, in envelope and headers, with an ASCII domain. Raises Deferred, RecipientRefused."""
        sender, to = mime.address_of(self.settings.mail_default_sender), ascii_address(message.to)
        raw = mime.build(message, self.settings.mail_default_sender, message_id, clock.wall())
        try:
            with counted(message.kind), self.server.connect() as smtp:
                offers_smtputf8 = self.server.note(smtp)
                options: list[str] = []
                if not to.isascii():
                    if not offers_smtputf8:
                        raise NotOffered("the mail server does not offer SMTPUTF8, which this address needs")
                    options = ["SMTPUTF8", "BODY=8BITMIME"]  # RFC 6531 §3.1
                smtp.sendmail(sender, [to], raw, mail_options=options)
        except NotOffered:
            raise
        except OSError as problem:  # smtplib errors are OSErrors
            raise from_smtp(problem) from problem


def render_email(name: str, locale: str | None, /, *, zone: str = "UTC", **context: Any) -> tuple[str, str, str]:
    """Return (subject, text, html) of templates/email/<name>/{subject.txt,body.txt,body.html} in that locale.

    `context` for the layout: `brand` (as stored, or None), `sender` (name of the business), `seller` (legal name and town),
    `support_email`, `to` and `why` (a sentence: why this person gets it). Templates also get `fmt` and `settings`.
    """
    from core.template_context import LocaleFormatter

    with i18n.speaking(locale) as spoken, i18n.in_application() as app:
        settings = app.extensions["portal"].settings
        values = {
            "brand": None,
            "sender": settings.name,
            "seller": "",
            "support_email": settings.support_email,
            "to": "",
            "why": "",
            **context,
        }
        values |= {
            "token": brand_tokens(values["brand"]),
            "fmt": LocaleFormatter(spoken, zone),
            "settings": settings,
            "lang": i18n.html_lang(spoken),
            "direction": i18n.direction(spoken),
        }
        load = app.jinja_env.get_template
        subject = " ".join(load(f"email/{name}/subject.txt").render(values).split())
        text = _tidy(load(f"email/{name}/body.txt").render(values))
        html = load(f"email/{name}/body.html").render(subject=subject, **values)
    return Subject(f"[test] {subject}" if settings.is_test else subject, name), text, html


def _tidy(text: str) -> str:
    """Collapse runs of empty lines into one and strip them at both ends."""
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", lines).strip() + "\n"
