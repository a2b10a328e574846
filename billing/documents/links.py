"""Creates and checks links that open one document without sign-in, in one mode, for 30 days.

A business can disable all such links at any time.
"""

from __future__ import annotations

from typing import Literal

from itsdangerous import BadSignature, URLSafeTimedSerializer

from core.settings import Settings

DAYS = 30
VERSION = 1  # of the token's contents; raising it invalidates every link that was sent
Noun = Literal["payments", "refunds"]


def document_token(settings: Settings, noun: Noun, business_id: str, id: str) -> str:
    return _signer(settings).dumps([VERSION, noun, business_id, id])


def document_url(settings: Settings, noun: Noun, business_id: str, id: str) -> str:
    return f"{settings.base_url}/api/invoices/{noun}/{id}?token={document_token(settings, noun, business_id, id)}"


def business_of_token(settings: Settings, token: str, noun: Noun, id: str) -> str | None:
    """Return the business whose document this token opens.

    None if the token is expired or belongs to another document, mode or version.
    """
    try:
        contents = _signer(settings).loads(token, max_age=DAYS * 86400)
    except BadSignature:
        return None
    if not isinstance(contents, list) or len(contents) != 4:
        return None
    version, token_noun, business_id, token_id = contents
    return business_id if [version, token_noun, token_id] == [VERSION, noun, id] else None


def _signer(settings: Settings) -> URLSafeTimedSerializer:
    # the newest key signs; every key of the ring verifies
    return URLSafeTimedSerializer(list(reversed(settings.secret_keys)), salt=f"document, {settings.mode} mode")
