"""Prefixed ids (contract §1.6), random secrets, and keyed hashes for storing secrets."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string

_ALPHABET = string.ascii_letters + string.digits
CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Characters of codes that people type, without 0/O, 1/I/L and U/V."""


def new_id(prefix: str) -> str:
    """Return the prefix, `_` and 21 random URL-safe characters (125 bits)."""
    return prefix + "_" + "".join(secrets.choice(_ALPHABET) for _ in range(21))


def secret_token(nbytes: int = 32) -> str:
    return secrets.token_urlsafe(nbytes)


def keyed_hash(keys: tuple[str, ...], purpose: str, text: str) -> str:
    """Return the hex HMAC-SHA256 of `text` with the newest key, bound to `purpose`. The database stores secrets in this form."""
    return _mac(keys[0], purpose, text)


def keyed_hashes(keys: tuple[str, ...], purpose: str, text: str) -> list[str]:
    """Return the hashes with every key of the ring, so that older rows are found after a rotation."""
    return [_mac(key, purpose, text) for key in keys]


def derive(keys: tuple[str, ...], purpose: str, text: str) -> bytes:
    """Return 32 bytes derived from key, purpose and text. Link tokens and codes are derived, not stored."""
    return hmac.new(keys[0].encode(), f"{purpose}\0{text}".encode(), hashlib.sha256).digest()


def code_from(raw: bytes, length: int = 8) -> str:
    """Return a code that people can type, from derived bytes."""
    number = int.from_bytes(raw, "big")
    out = []
    for _ in range(length):
        number, index = divmod(number, len(CODE_ALPHABET))
        out.append(CODE_ALPHABET[index])
    return "".join(out)


def _mac(key: str, purpose: str, text: str) -> str:
    return hmac.new(key.encode(), f"{purpose}\0{text}".encode(), hashlib.sha256).hexdigest()
