"""Check of the mail server: connect, EHLO, TLS, log in. Nothing is sent."""

from __future__ import annotations

import smtplib
import ssl
from typing import Any, cast

from core.checks import Finding, ok, unknown, wrong
from core.mail_server import MailServer
from core.settings import Settings

PATIENCE = 10.0  # seconds for each step
_TLS = "set MAIL_USE_TLS=1 (port 587) or MAIL_USE_SSL=1 (port 465)"


def mail_server(settings: Settings) -> list[Finding]:
    name = "mail server"
    if not settings.mail_server:
        return [unknown(name, "MAIL_SERVER is empty, so emails are kept in /mailbox", "set MAIL_SERVER before going live")]
    where = f"{settings.mail_server}:{settings.mail_port}"
    secured = settings.mail_use_tls or settings.mail_use_ssl
    has_login = bool(settings.mail_username and settings.mail_password)
    if has_login and not secured and not _is_here(settings.mail_server):
        return [wrong(name, f"{where}: name and password would be sent unencrypted", _TLS)]
    try:
        with MailServer(settings, cast(Any, None)).connect(PATIENCE) as smtp:  # no database: the result is not stored
            offers_auth = smtp.has_extn("auth")
            offers_utf8 = smtp.has_extn("smtputf8")
    except ssl.SSLCertVerificationError as error:
        return [
            wrong(
                name,
                f"{where}: its certificate is not trusted ({error.verify_message})",
                "use the host name of the certificate, or set SSL_CERT_FILE to its certificate authority",
            )
        ]
    except ssl.SSLError as error:
        return [wrong(name, f"{where} does not support TLS as configured ({error.reason or error})", _ports(settings))]
    except smtplib.SMTPAuthenticationError as error:
        return [wrong(name, f"{where} refuses the log-in ({error.smtp_code})", "check MAIL_USERNAME and MAIL_PASSWORD")]
    except smtplib.SMTPNotSupportedError as error:
        todo = _ports(settings) if "STARTTLS" in str(error) else "remove MAIL_USERNAME, or use the port for submission (587 or 465)"
        return [wrong(name, f"{where}: {str(error).rstrip('.')}", todo)]
    except smtplib.SMTPServerDisconnected:
        return [wrong(name, f"{where} closes the connection", _ports(settings))]
    except (OSError, smtplib.SMTPException) as error:
        return [
            wrong(name, f"{where} cannot be reached ({type(error).__name__}: {error})", "check MAIL_SERVER, MAIL_PORT and the firewall")
        ]
    if offers_auth and not has_login and not _is_here(settings.mail_server):
        return [wrong(name, f"{where} answers and requires a log-in", "set MAIL_USERNAME and MAIL_PASSWORD")]
    if not secured and not _is_here(settings.mail_server):
        return [wrong(name, f"{where} answers, but emails are sent unencrypted", _TLS)]
    how = [word for word, is_so in (("TLS", secured), ("logged in", has_login), ("SMTPUTF8", offers_utf8)) if is_so]
    return [ok(name, f"{where} answers{': ' + ', '.join(how) if how else ''}")]


def _is_here(host: str) -> bool:
    return host in ("localhost", "127.0.0.1", "::1")


def _ports(settings: Settings) -> str:
    return (
        "MAIL_USE_SSL=1 belongs to port 465; for port 587 set MAIL_USE_TLS=1 instead"
        if settings.mail_use_ssl
        else "MAIL_USE_TLS=1 belongs to port 587; for port 465 set MAIL_USE_SSL=1 instead"
    )
