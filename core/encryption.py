"""Encrypt stored secrets that must be read again, such as an API key of another system or a webhook's signing secret.

AES-256-GCM with a key derived from `SECRET_KEY` and bound to a purpose. The newest key encrypts, and every key of the ring
decrypts, so secrets stay readable after a rotation. Secrets that need not be read again are stored as a keyed hash.
"""

from __future__ import annotations

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.ids import derive

_NONCE = 12


class Unreadable(ValueError):
    """Encrypted with a key that is no longer in the ring, for another purpose, or modified since."""


def seal(keys: tuple[str, ...], purpose: str, text: str) -> str:
    """Encrypt `text`. `purpose` names the kind and the owner of the secret: ciphertext moved to another row cannot be decrypted."""
    nonce = secrets.token_bytes(_NONCE)
    return base64.urlsafe_b64encode(nonce + _cipher(keys, purpose).encrypt(nonce, text.encode(), purpose.encode())).decode()


def unseal(keys: tuple[str, ...], purpose: str, sealed: str) -> str:
    """Decrypt. Raises Unreadable."""
    try:
        raw = base64.urlsafe_b64decode(sealed)
    except ValueError:
        raise Unreadable("this was never sealed") from None
    for key in keys:
        try:
            return _cipher((key,), purpose).decrypt(raw[:_NONCE], raw[_NONCE:], purpose.encode()).decode()
        except (InvalidTag, ValueError):
            continue
    raise Unreadable("no key of the ring opens this")


def is_stale(keys: tuple[str, ...], purpose: str, sealed: str) -> bool:
    """True if encrypted with an older key of the ring; the caller may encrypt it again."""
    try:
        unseal(keys[:1], purpose, sealed)
    except Unreadable:
        return True
    return False


def _cipher(keys: tuple[str, ...], purpose: str) -> AESGCM:
    return AESGCM(derive(keys, "sealed", purpose))
