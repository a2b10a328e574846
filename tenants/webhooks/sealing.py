"""An endpoint's signing secret and its custom headers: sealed in the database, opened to sign, rotated with a day's overlap."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import datetime, timedelta

from core import clock
from core.secrets import is_stale, seal, unseal
from core.settings import Settings
from tenants.webhooks.tables import Endpoint

OVERLAP = timedelta(hours=24)


def new_secret() -> str:
    """`whsec_` + base64 of 24 random bytes (Standard Webhooks)."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def sealed(settings: Settings, endpoint_id: str, text: str) -> str:
    return seal(settings.secret_keys, _purpose(settings, endpoint_id), text)


def secret_of(settings: Settings, row: Endpoint) -> str:
    """The current secret. Raises core.secrets.Unreadable."""
    return unseal(settings.secret_keys, _purpose(settings, row.id), row.secret)


def signing_secrets(settings: Settings, row: Endpoint) -> list[str]:
    """The current one, and those replaced within the last day, newest first."""
    at, purpose = clock.wall(), _purpose(settings, row.id)
    old = [unseal(settings.secret_keys, purpose, one["sealed"]) for one in row.old_secrets if datetime.fromisoformat(one["until"]) > at]
    return [secret_of(settings, row), *old]


def rotate(settings: Settings, row: Endpoint) -> str:
    """A new secret, which is returned; the one before signs beside it for 24 hours."""
    at, fresh = clock.wall(), new_secret()
    kept = [one for one in row.old_secrets if datetime.fromisoformat(one["until"]) > at]
    row.old_secrets = [{"sealed": row.secret, "until": (at + OVERLAP).isoformat()}, *kept][:5]
    row.secret, row.updated_at = sealed(settings, row.id, fresh), at
    return fresh


def headers_of(settings: Settings, row: Endpoint) -> dict[str, str]:
    found: dict[str, str] = json.loads(unseal(settings.secret_keys, _purpose(settings, row.id), row.headers)) if row.headers else {}
    return found


def seal_headers(settings: Settings, row: Endpoint, headers: dict[str, str]) -> None:
    row.headers = sealed(settings, row.id, json.dumps(headers)) if headers else None


def renew(settings: Settings, row: Endpoint) -> None:
    """Seal anew what an older key of the ring sealed; for whoever writes the row anyway."""
    if is_stale(settings.secret_keys, _purpose(settings, row.id), row.secret):
        row.secret = sealed(settings, row.id, secret_of(settings, row))
        seal_headers(settings, row, headers_of(settings, row))


def _purpose(settings: Settings, endpoint_id: str) -> str:
    return f"webhook, {settings.mode} mode, {endpoint_id}"
