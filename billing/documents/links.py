"""Links to a document that need no sign-in: one document, one mode, 30 days, and over at once when the business says so."""

from __future__ import annotations

from typing import Literal

from itsdangerous import BadSignature, URLSafeTimedSerializer

from core.settings import Settings

DAYS = 30
VERSION = 1  # of what the token says; raising it ends every link that is out
Noun = Literal["payments", "refunds"]


def document_token(settings: Settings, noun: Noun, business_id: str, id: str) -> str:
    return _signer(settings).dumps([VERSION, noun, business_id, id])


def document_url(settings: Settings, noun: Noun, business_id: str, id: str) -> str:
    return f"{settings.base_url}/api/invoices/{noun}/{id}?token={document_token(settings, noun, business_id, id)}"


def business_of_token(settings: Settings, token: str, noun: Noun, id: str) -> str | None:
    """The business whose document this token opens; None for another document's, mode's, version's or an old one."""
    try:
        said = _signer(settings).loads(token, max_age=DAYS * 86400)
    except BadSignature:
        return None
    return said[2] if isinstance(said, list) and len(said) == 4 and [said[0], said[1], said[3]] == [VERSION, noun, id] else None


def _signer(settings: Settings) -> URLSafeTimedSerializer:
    # the newest key signs, every key of the ring still opens
    return URLSafeTimedSerializer(list(reversed(settings.secret_keys)), salt=f"document, {settings.mode} mode")
