"""The SMTP server that email goes out through: connections to it, and whether it takes addresses beyond ASCII (RFC 6531).

The worker asks the server every ten minutes, and looks at every connection it sends through; one row keeps the answer for the
processes that serve pages, so that an address which cannot be written to is refused when it is typed.
"""

from __future__ import annotations

import smtplib
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

import structlog
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column

from core import clock
from core.domain_names import ascii_domain
from core.models import Base
from core.scope import everything

if TYPE_CHECKING:
    from core.db import Database
    from core.settings import Settings

log = structlog.get_logger()

SEND_TIMEOUT, ASK_TIMEOUT = 30.0, 3.0
"""Seconds for each step of the SMTP dialogue: when the worker sends, and when a request waits for the answer."""
EVERY = timedelta(minutes=10)
KEPT = 60.0
"""Seconds for which a process keeps an answer before it reads the row again."""


class KnownMailServer(Base):
    """What a server said of itself. `id` is host:port, so another server in the settings is another row."""

    __tablename__ = "mail_servers"

    id: Mapped[str] = mapped_column(primary_key=True)
    smtputf8: Mapped[bool]
    asked_at: Mapped[datetime]


class MailServer:
    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.id = f"{settings.mail_server}:{settings.mail_port}"
        self._answer: bool | None = None
        self._answered_at = self._stored_at = float("-inf")
        self._asking = threading.Lock()

    @contextmanager
    def connect(self, timeout: float = SEND_TIMEOUT) -> Iterator[smtplib.SMTP]:
        """A connection that said EHLO, over TLS where that is set, logged in where a name is set.

        Raises OSError, smtplib.SMTPException.
        """
        settings = self.settings
        host = ascii_domain(settings.mail_server)  # getaddrinfo and ssl would encode it with IDNA 2003
        secured = ssl.create_default_context() if settings.mail_use_tls or settings.mail_use_ssl else None
        name, port = _our_name(settings), settings.mail_port or 25
        smtp = (smtplib.SMTP_SSL(host, port, local_hostname=name, timeout=timeout, context=secured) if settings.mail_use_ssl
                else smtplib.SMTP(host, port, local_hostname=name, timeout=timeout))
        try:
            smtp.ehlo_or_helo_if_needed()
            if settings.mail_use_tls:
                smtp.starttls(context=secured)
                smtp.ehlo()
            if settings.mail_username and settings.mail_password:
                smtp.login(settings.mail_username, settings.mail_password)
            yield smtp
            with suppress(OSError, smtplib.SMTPException):  # what was sent is sent, whatever the server answers to this
                smtp.quit()
        finally:
            smtp.close()

    def note(self, smtp: smtplib.SMTP) -> bool:
        """Whether this connection offers SMTPUTF8. The answer is kept, and written down when it is new or old."""
        offered = smtp.has_extn("smtputf8")
        now = time.monotonic()
        if offered != self._answer or now - self._stored_at >= EVERY.total_seconds():
            self._store(offered)
            self._stored_at = now
        self._answer, self._answered_at = offered, now
        return offered

    def learn(self) -> None:
        """Ask the server, at most every ten minutes; the worker's chore. A server that does not answer is asked again later."""
        if not self.settings.mail_server or time.monotonic() - self._stored_at < EVERY.total_seconds():
            return
        try:
            with self.connect() as smtp:
                self.note(smtp)
        except (OSError, smtplib.SMTPException) as problem:
            log.warning("mail server not reached", error=type(problem).__name__)

    def offers_smtputf8(self) -> bool:
        """Whether addresses with a local part beyond ASCII can be written to. Without a server (test mode) all are kept in the
        mailbox, so they can. Where no worker has asked yet, this process asks once; a server that does not answer offers nothing.
        """
        if not self.settings.mail_server:
            return True
        if time.monotonic() - self._answered_at >= KEPT and self._asking.acquire(blocking=False):
            try:
                self._answer = self._read()
                if self._answer is None:
                    self._answer = self._ask()
                self._answered_at = time.monotonic()
            finally:
                self._asking.release()
        return bool(self._answer)

    def _ask(self) -> bool | None:
        try:
            with self.connect(ASK_TIMEOUT) as smtp:
                return smtp.has_extn("smtputf8")
        except (OSError, smtplib.SMTPException):
            return None

    def _read(self) -> bool | None:
        try:
            with self.database.open(everything("what the mail server offers")) as db:
                row = db.get(KnownMailServer, self.id)
                return row.smtputf8 if row is not None else None
        except SQLAlchemyError:
            return None

    def _store(self, offered: bool) -> None:
        """Never raises: an email that was sent must not be sent again because this could not be written."""
        try:
            with self.database.open(everything("what the mail server offers"), write=True) as db:
                row = db.get(KnownMailServer, self.id)
                if row is None:
                    db.add(KnownMailServer(id=self.id, smtputf8=offered, asked_at=clock.wall()))
                else:
                    row.smtputf8, row.asked_at = offered, clock.wall()
        except SQLAlchemyError as problem:
            log.warning("mail server's answer not kept", error=type(problem).__name__)


def offers_smtputf8() -> bool:
    """`MailServer.offers_smtputf8` of the application at hand; True where there is none, which sends no email."""
    if not current_app:
        return True
    mailer = getattr(current_app.extensions.get("portal"), "mailer", None)
    return mailer is None or bool(mailer.server.offers_smtputf8())


def _our_name(settings: Settings) -> str:
    """What we call ourselves in EHLO (RFC 5321 §4.1.3): the portal's host. Left to smtplib, it would ask DNS for one."""
    host = settings.hostname
    try:
        ip = ip_address(host)
    except ValueError:
        return ascii_domain(host)
    return f"[IPv6:{ip}]" if ip.version == 6 else f"[{ip}]"
