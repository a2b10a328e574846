"""Secrets that must be read back (another system's API key, a webhook's signing secret), encrypted with the key ring.

AES-256-GCM under a key derived from `SECRET_KEY` and bound to a purpose; the newest key seals, every key of the ring
opens, so a rotated ring still reads what was sealed before. What needs no reading back is kept as a keyed hash instead.
"""

from __future__ import annotations

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.ids import derive

_NONCE = 12


class Unreadable(ValueError):
    """Sealed under a key that is in the ring no more, for another purpose, or changed since."""


def seal(keys: tuple[str, ...], purpose: str, text: str) -> str:
    """`purpose` names what it is and whose (such as "elsewhere key, bus_1"): a text moved to another row does not open."""
    nonce = secrets.token_bytes(_NONCE)
    return base64.urlsafe_b64encode(nonce + _cipher(keys, purpose).encrypt(nonce, text.encode(), purpose.encode())).decode()


def unseal(keys: tuple[str, ...], purpose: str, sealed: str) -> str:
    """Raises Unreadable."""
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
    """Sealed with an older key of the ring: whoever reads it may seal it anew."""
    try:
        unseal(keys[:1], purpose, sealed)
    except Unreadable:
        return True
    return False


def _cipher(keys: tuple[str, ...], purpose: str) -> AESGCM:
    return AESGCM(derive(keys, "sealed", purpose))
