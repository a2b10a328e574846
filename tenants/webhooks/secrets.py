"""Encrypts the signing secret and custom headers of endpoints. A rotated secret stays valid for 24 hours."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import datetime, timedelta

from core import clock
from core.encryption import is_stale, seal, unseal
from core.settings import Settings
from tenants.webhooks.models import Endpoint

OVERLAP = timedelta(hours=24)


def new_secret() -> str:
    """Return a secret: `whsec_` and the base64 of 24 random bytes (Standard Webhooks)."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def sealed(settings: Settings, endpoint_id: str, text: str) -> str:
    return seal(settings.secret_keys, purpose(settings, endpoint_id), text)


def secret_of(settings: Settings, row: Endpoint) -> str:
    """Return the current secret. Raises core.encryption.Unreadable."""
    return unseal(settings.secret_keys, purpose(settings, row.id), row.secret)


def signing_secrets(settings: Settings, row: Endpoint) -> list[str]:
    """Return the current secret and those replaced within the last 24 hours, newest first."""
    at, secret_purpose = clock.wall(), purpose(settings, row.id)
    old = [
        unseal(settings.secret_keys, secret_purpose, old_secret["sealed"])
        for old_secret in row.old_secrets
        if datetime.fromisoformat(old_secret["until"]) > at
    ]
    return [secret_of(settings, row), *old]


def rotate(settings: Settings, row: Endpoint) -> str:
    """Replace the secret and return the new one. For 24 hours, messages are signed with the old one as well."""
    at, fresh = clock.wall(), new_secret()
    kept = [old_secret for old_secret in row.old_secrets if datetime.fromisoformat(old_secret["until"]) > at]
    row.old_secrets = [{"sealed": row.secret, "until": (at + OVERLAP).isoformat()}, *kept][:5]
    row.secret, row.updated_at = sealed(settings, row.id, fresh), at
    return fresh


def headers_of(settings: Settings, row: Endpoint) -> dict[str, str]:
    found: dict[str, str] = json.loads(unseal(settings.secret_keys, purpose(settings, row.id), row.headers)) if row.headers else {}
    return found


def seal_headers(settings: Settings, row: Endpoint, headers: dict[str, str]) -> None:
    row.headers = sealed(settings, row.id, json.dumps(headers)) if headers else None


def renew(settings: Settings, row: Endpoint) -> None:
    """Encrypt the secret and headers with the current key if an older key was used. Call it when the row is written anyway."""
    if is_stale(settings.secret_keys, purpose(settings, row.id), row.secret):
        row.secret = sealed(settings, row.id, secret_of(settings, row))
        seal_headers(settings, row, headers_of(settings, row))


def purpose(settings: Settings, endpoint_id: str) -> str:
    return f"webhook, {settings.mode} mode, {endpoint_id}"
