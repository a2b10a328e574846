"""Count emails by template and outcome."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager

from core.metrics.instruments import EMAILS

OUTCOMES = ("sent", "refused", "deferred")


class Subject(str):
    """A subject line with the name of its template."""

    kind: str

    def __new__(cls, text: str, kind: str) -> Subject:
        subject = super().__new__(cls, text)
        subject.kind = kind
        return subject


@contextmanager
def counted(kind: str) -> Iterator[None]:
    """Count one email as sent, refused or deferred, depending on the error raised inside."""
    for outcome in OUTCOMES:
        EMAILS.labels(kind, outcome)  # a rate needs a zero before the first increment
    try:
        yield
    except Exception as problem:
        EMAILS.labels(kind, "refused" if is_final(problem) else "deferred").inc()
        raise
    EMAILS.labels(kind, "sent").inc()


def is_final(problem: BaseException) -> bool:
    """Return whether the server would refuse the same email again: a 5yz reply (RFC 5321 §4.2.1)."""
    if isinstance(problem, smtplib.SMTPAuthenticationError):
        return False  # a wrong password is a configuration error and can be corrected
    if isinstance(problem, smtplib.SMTPRecipientsRefused):
        return all(code >= 500 for code, _ in problem.recipients.values())
    return isinstance(problem, smtplib.SMTPResponseException) and problem.smtp_code >= 500
