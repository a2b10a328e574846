"""Secrets derived from row ids and stored as keyed hashes. The purpose includes the mode, so test tokens are invalid in live mode."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from itsdangerous import BadData, URLSafeTimedSerializer

from core import ids
from core.settings import Settings


def hashed(settings: Settings, purpose: str, text: str) -> str:
    return ids.keyed_hash(settings.secret_keys, _bound(settings, purpose), text)


def hashes(settings: Settings, purpose: str, text: str) -> list[str]:
    """Return the hashes under every key of the ring, to look a row up."""
    return ids.keyed_hashes(settings.secret_keys, _bound(settings, purpose), text)


def link_tokens(settings: Settings, purpose: str, row_id: str) -> Iterator[str]:
    """Yield the row's link token (256 bit, URL-safe) for each key, newest first. Older keys serve rows from before a rotation."""
    for key in settings.secret_keys:
        raw = ids.derive((key,), _bound(settings, purpose), row_id)
        yield base64.urlsafe_b64encode(raw).decode().rstrip("=")


def link_token(settings: Settings, purpose: str, row_id: str, stored_hash: str | None = None) -> str:
    """Return the token that matches the stored hash, or the newest key's token for a new row."""
    tokens = list(link_tokens(settings, purpose, row_id))
    return next((t for t in tokens if stored_hash in hashes(settings, purpose, t)), tokens[0]) if stored_hash else tokens[0]


def code(settings: Settings, row_id: str, stored_hash: str | None = None) -> str:
    """Return the row's code: 8 characters without look-alikes."""
    codes = [ids.code_from(ids.derive((key,), _bound(settings, "code"), row_id)) for key in settings.secret_keys]
    found = (c for c in codes if stored_hash in hashes(settings, "code", f"{row_id}:{c}"))
    return next(found, codes[0]) if stored_hash else codes[0]


def tidy_code(typed: str) -> str:
    """Normalize a typed code: remove spaces and dashes, convert to upper case."""
    return "".join(c for c in typed.upper() if c.isalnum())[:16]


def mask(email: str) -> str:
    """ada@marlow.example → a••@marlow.example"""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}••@{domain}"


def sign(settings: Settings, purpose: str, value: object) -> str:
    return _signer(settings, purpose).dumps(value)


def unsign(settings: Settings, purpose: str, text: str | None, max_age: int | None = None) -> object:
    """Return the signed value, or None if the signature is invalid."""
    try:
        return _signer(settings, purpose).loads(text or "", max_age=max_age)
    except BadData:
        return None


def _signer(settings: Settings, purpose: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(list(reversed(settings.secret_keys)), salt=_bound(settings, purpose))


def _bound(settings: Settings, purpose: str) -> str:
    return f"auth.{settings.mode}.{purpose}"
