"""Letters: rendered from templates/email/<name>/, sent over SMTP, and kept in the test mailbox.

Only the worker sends. A letter's Message-ID comes from its event, so a retry is the same letter to every mail server.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask_mail import Connection, Mail, Message

from core import i18n, mailbox
from core.brand import brand_tokens
from core.ids import keyed_hash

if TYPE_CHECKING:
    from core.db import Database
    from core.settings import Settings

SMTP_TIMEOUT = 30.0  # seconds; a hanging mail server must not hold the worker
_BREAK = re.compile(r"[\r\n\0\x0b\x0c\x85\u2028\u2029]")


class BadLetter(ValueError):
    """A header with a line break in it: somebody tries to add headers of their own."""


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
        self._smtp = Mail().init_mail({
            "MAIL_SERVER": settings.mail_server, "MAIL_PORT": settings.mail_port, "MAIL_USE_TLS": settings.mail_use_tls,
            "MAIL_USERNAME": settings.mail_username or None, "MAIL_PASSWORD": settings.mail_password or None,
            "MAIL_DEFAULT_SENDER": settings.mail_default_sender,
        })

    def send(self, letter: Letter, message_id: str) -> None:
        """Keep it (test mode) and send it (where a mail server is set). `message_id`: the event's id and the letter's name.

        Raises OSError or smtplib.SMTPException when the server does not take it; the worker tries again with the same id.
        """
        token = keyed_hash(self.settings.secret_keys, "message-id", message_id)[:32]
        if self.settings.is_test:
            mailbox.put(self.database, token, letter)
        if self.settings.mail_server:
            self._send_by_smtp(letter, f"<{token}@{self.settings.host.split(':')[0]}>")

    def _send_by_smtp(self, letter: Letter, message_id: str) -> None:
        with i18n.in_application() as app:
            app.extensions.setdefault("mail", self._smtp)  # Flask-Mail's Message looks here
            message = Message(
                letter.subject, recipients=[letter.to], body=letter.text, html=letter.html or None,
                sender=self.settings.mail_default_sender, reply_to=letter.reply_to,
                extra_headers={"Auto-Submitted": "auto-generated", **letter.headers},
            )
            message.msgId = message_id
            for one in letter.attachments:
                message.attach(one.filename, one.content_type, one.data)
            with _Timely(self._smtp) as connection:  # type: ignore[arg-type]
                connection.send(message)


class _Timely(Connection):
    """Flask-Mail's connection, with a time limit and a checked certificate."""

    def configure_host(self) -> smtplib.SMTP | smtplib.SMTP_SSL:
        host = smtplib.SMTP(self.mail.server, self.mail.port or 25, timeout=SMTP_TIMEOUT)
        if self.mail.use_tls:
            host.starttls(context=ssl.create_default_context())
        if self.mail.username and self.mail.password:
            host.login(self.mail.username, self.mail.password)
        return host


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
