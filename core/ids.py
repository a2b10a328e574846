"""Prefixed ids (contract §1.6), secrets, and the keyed hashes under which secrets are stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""For codes people type: no 0/O, 1/I/L, U/V confusion."""


def new_id(prefix: str) -> str:
    """`cus` → `cus_` and 21 random URL-safe characters (125 bits)."""
    return prefix + "_" + "".join(secrets.choice(_ALPHABET) for _ in range(21))


def secret_token(nbytes: int = 32) -> str:
    return secrets.token_urlsafe(nbytes)


def keyed_hash(keys: tuple[str, ...], purpose: str, text: str) -> str:
    """Hex HMAC-SHA256 of `text` under the newest key, bound to `purpose`. What the database holds of a secret."""
    return _mac(keys[0], purpose, text)


def keyed_hashes(keys: tuple[str, ...], purpose: str, text: str) -> list[str]:
    """The same under every key of the ring, so that a rotated key still finds older rows."""
    return [_mac(key, purpose, text) for key in keys]


def derive(keys: tuple[str, ...], purpose: str, text: str) -> bytes:
    """32 bytes bound to key, purpose and text: link tokens and codes are derived, never stored."""
    return hmac.new(keys[0].encode(), f"{purpose}\0{text}".encode(), hashlib.sha256).digest()


def code_from(raw: bytes, length: int = 8) -> str:
    """A code people can type, from derived bytes."""
    number = int.from_bytes(raw, "big")
    out = []
    for _ in range(length):
        number, index = divmod(number, len(CODE_ALPHABET))
        out.append(CODE_ALPHABET[index])
    return "".join(out)


def _mac(key: str, purpose: str, text: str) -> str:
    return hmac.new(key.encode(), f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()
