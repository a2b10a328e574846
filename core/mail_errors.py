"""Errors of sending an email: deferred, mail server unreachable, or refused. The worker retries each with its own delays."""

from __future__ import annotations

import smtplib
from datetime import timedelta


class Deferred(Exception):
    """The server answered 4yz for this email (RFC 5321 §4.2.1), so it is retried. `code`: None if no reply came."""

    waits: tuple[int, ...] = (30, 60, 120, 300, 600, 900)
    """Seconds before the second, third, … attempt; later attempts use the last value."""
    most = 500
    """Attempts before the worker gives up: about five days (RFC 5321 §4.5.4.1)."""

    def __init__(self, reply: str = "", code: int | None = None) -> None:
        super().__init__(reply)
        self.code = code


class MailServerUnreachable(Deferred):
    """The server is unreachable, rejects our login, or accepts no email at present. The cause is not the email itself."""

    waits = (1, 5, 15, 30, 60)
    most = 7500


class RecipientRefused(Exception):
    """The server answered 5yz for this recipient or this email, so it is not retried."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code, self.reason = code, reason


def wait_after(problem: Deferred, attempts: int) -> timedelta | None:
    """Return the delay after the first (`attempts` is 0), second, … failure, or None to give up."""
    if attempts >= problem.most:
        return None
    return timedelta(seconds=problem.waits[min(attempts, len(problem.waits) - 1)])


def from_smtp(problem: OSError) -> Exception:
    """Map an error of the SMTP dialogue to an error of this module."""
    if isinstance(problem, smtplib.SMTPRecipientsRefused):
        code, reply = next(iter(problem.recipients.values()))
        return _from_reply(code, reply)
    if isinstance(problem, smtplib.SMTPDataError):
        return _from_reply(problem.smtp_code, problem.smtp_error)
    if isinstance(problem, smtplib.SMTPSenderRefused) and problem.smtp_code == 552:  # larger than the server accepts (RFC 1870 §6.1)
        return _from_reply(problem.smtp_code, problem.smtp_error)
    code = problem.smtp_code if isinstance(problem, smtplib.SMTPResponseException) else -1  # smtplib uses -1 if there was no reply
    return MailServerUnreachable(f"{type(problem).__name__}: {problem}"[:300], code if code > 0 else None)


def _from_reply(code: int, reply: bytes | str) -> Exception:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    reason = " ".join("".join(char if char.isprintable() else " " for char in text).split())[:200]
    if code == 421:  # the server closes the connection (RFC 5321 §3.8)
        return MailServerUnreachable(f"{code} {reason}", code)
    return RecipientRefused(code, reason) if code >= 500 else Deferred(f"{code} {reason}", code)
