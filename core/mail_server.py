"""Connections to the outgoing SMTP server, and whether it accepts non-ASCII addresses (SMTPUTF8, RFC 6531).

The worker checks every ten minutes and on every connection it sends through. The result is stored in one row for the web
processes, so that forms can refuse an address that cannot receive email.
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

SEND_TIMEOUT, ASK_TIMEOUT, QUIT_TIMEOUT = 30.0, 3.0, 3.0
"""Seconds per step of the SMTP dialogue: when the worker sends, when a web request waits, and for QUIT."""
EVERY = timedelta(minutes=10)
KEPT = 60.0
"""Seconds for which a process caches the answer before it reads the row again."""


class KnownMailServer(Base):
    """Capabilities of a mail server. `id` is host:port, so a change of server in the settings uses a new row."""

    __tablename__ = "mail_servers"

    id: Mapped[str] = mapped_column(primary_key=True)
    smtputf8: Mapped[bool]
    checked_at: Mapped[datetime]


class MailServer:
    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.id = f"{settings.mail_server}:{settings.mail_port}"
        self._answer: bool | None = None
        self._answered_at = self._stored_at = float("-inf")
        self._asking = threading.Lock()

    @contextmanager
    def connect(self, timeout: float = SEND_TIMEOUT) -> Iterator[smtplib.SMTP]:
        """Yield a connection after EHLO, with TLS and login if configured. Raises OSError, smtplib.SMTPException."""
        settings = self.settings
        host = ascii_domain(settings.mail_server)  # getaddrinfo and ssl would encode it with IDNA 2003
        secured = ssl.create_default_context() if settings.mail_use_tls or settings.mail_use_ssl else None
        name, port = _ehlo_name(settings), settings.mail_port or 25
        smtp = (
            smtplib.SMTP_SSL(host, port, local_hostname=name, timeout=timeout, context=secured)
            if settings.mail_use_ssl
            else smtplib.SMTP(host, port, local_hostname=name, timeout=timeout)
        )
        try:
            smtp.ehlo_or_helo_if_needed()
            if settings.mail_use_tls:
                smtp.starttls(context=secured)
                smtp.ehlo()
            if settings.mail_username and settings.mail_password:
                smtp.login(settings.mail_username, settings.mail_password)
            yield smtp
            with suppress(OSError, smtplib.SMTPException):  # the email is already sent, whatever the server replies to QUIT
                if smtp.sock is not None:
                    smtp.sock.settimeout(QUIT_TIMEOUT)
                smtp.quit()
        finally:
            smtp.close()

    def note(self, smtp: smtplib.SMTP) -> bool:
        """Return whether this connection offers SMTPUTF8. Caches the answer, and stores it if it changed or the stored one is old."""
        offered = smtp.has_extn("smtputf8")
        now = time.monotonic()
        if offered != self._answer or now - self._stored_at >= EVERY.total_seconds():
            self._store(offered)
            self._stored_at = now
        self._answer, self._answered_at = offered, now
        return offered

    def learn(self) -> None:
        """Ask the server, at most every ten minutes. Called by the worker; an unreachable server is asked again later."""
        if not self.settings.mail_server or time.monotonic() - self._stored_at < EVERY.total_seconds():
            return
        try:
            with self.connect() as smtp:
                self.note(smtp)
        except (OSError, smtplib.SMTPException) as problem:
            log.warning("mail server unreachable", error=type(problem).__name__)

    def offers_smtputf8(self) -> bool:
        """Return whether addresses with a non-ASCII local part can receive email.

        True without a server (test mode), because all emails then go to the mailbox. If no worker has asked yet, this process asks
        once; a server that does not answer counts as not offering SMTPUTF8.
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
            with self.database.open(everything("mail server capabilities")) as db:
                row = db.get(KnownMailServer, self.id)
                return row.smtputf8 if row is not None else None
        except SQLAlchemyError:
            return None

    def _store(self, offered: bool) -> None:
        """Store the answer. Never raises: a failure here must not cause a sent email to be sent again."""
        try:
            with self.database.open(everything("mail server capabilities"), write=True) as db:
                row = db.get(KnownMailServer, self.id)
                if row is None:
                    db.add(KnownMailServer(id=self.id, smtputf8=offered, checked_at=clock.wall()))
                else:
                    row.smtputf8, row.checked_at = offered, clock.wall()
        except SQLAlchemyError as problem:
            log.warning("mail server capability not stored", error=type(problem).__name__)


def offers_smtputf8() -> bool:
    """Return `MailServer.offers_smtputf8` of the current application; True without one, since no email is sent then."""
    if not current_app:
        return True
    mailer = getattr(current_app.extensions.get("portal"), "mailer", None)
    return mailer is None or bool(mailer.server.offers_smtputf8())


def _ehlo_name(settings: Settings) -> str:
    """Return the host name for EHLO (RFC 5321 §4.1.3). By default smtplib would look one up in DNS."""
    host = settings.hostname
    try:
        ip = ip_address(host)
    except ValueError:
        return ascii_domain(host)
    return f"[IPv6:{ip}]" if ip.version == 6 else f"[{ip}]"
