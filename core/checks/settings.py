"""Checks of the settings: mode and URL, secrets, proxies. core/settings.py refuses invalid settings before."""

from __future__ import annotations

import math
import stat
from collections import Counter
from ipaddress import ip_address
from pathlib import Path

from sqlalchemy.engine import make_url

from core.checks import Finding, ok, wrong
from core.settings import DEFAULT_SECRET, Settings

LEAST_BITS = 80  # entropy of a secret, from its character frequencies; 32 random hexadecimal digits have about 120
RESERVED = ("example", "invalid", "localhost", "test", "local", "internal")  # RFC 2606, RFC 6762 and ICANN: never on the internet
PLACEHOLDERS = ("change", "example", "placeholder", "replace", "secret-key", "your", "…", "<", "xxx")


def mode_and_url(settings: Settings) -> list[Finding]:
    found = [
        ok("mode", "live")
        if settings.mode == "live"
        else wrong("mode", "test: no real payments, and emails stay on this machine", "set PORTAL_MODE=live")
    ]
    if not settings.is_https:
        found.append(wrong("base URL", f"{settings.base_url} is plain http", "set PORTAL_BASE_URL to the https address that people use"))
    elif not is_public(settings.hostname):
        found.append(
            wrong("base URL", f"{settings.hostname} is not a public host", "set PORTAL_BASE_URL to the https address that people use")
        )
    else:
        found.append(ok("base URL", settings.base_url))
    return found


def is_public(host: str) -> bool:
    """Whether a host name can be public, judged by the name only."""
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and host.rsplit(".", 1)[1].lower() not in RESERVED


def secrets(settings: Settings) -> list[Finding]:
    weak = [n for n, key in enumerate(settings.secret_keys, 1) if is_weak(key) or len(key) < 32]
    how = 'set SECRET_KEY to the output of: python -c "import secrets; print(secrets.token_urlsafe(48))"'
    if DEFAULT_SECRET in settings.secret_keys:
        found = [wrong("SECRET_KEY", "it is the default of test deployments", how)]
    elif weak:
        found = [wrong("SECRET_KEY", f"number {', '.join(map(str, weak))} of {len(settings.secret_keys)} is short or easy to guess", how)]
    else:
        found = [ok("SECRET_KEY", f"{len(settings.secret_keys)} set")]
    operator = settings.operator_secret
    if operator and (len(operator) < 20 or is_weak(operator)):
        found.append(wrong("PORTAL_OPERATOR_SECRET", "it is short or easy to guess", "set it to random text of 20 characters or more"))
    else:
        found.append(ok("PORTAL_OPERATOR_SECRET", "set" if operator else "empty: /metrics is disabled"))
    return [*found, *_database_passwords(settings)]


def is_weak(secret: str) -> bool:
    """Whether a secret is too short or too easy to guess."""
    bits = sum(-count * math.log2(count / len(secret)) for count in Counter(secret).values()) if secret else 0.0
    return bits < min(LEAST_BITS, 3.0 * len(secret)) or any(word in secret.lower() for word in PLACEHOLDERS)


def _database_passwords(settings: Settings) -> list[Finding]:
    for name, url in (("DATABASE_URL", settings.database_url), ("DATABASE_OWNER_URL", settings.database_owner_url)):
        if not url.startswith("postgresql"):
            continue
        parts = make_url(url)
        password = parts.password
        if password is not None and (password in (parts.username, parts.database, "postgres", "password") or len(str(password)) < 12):
            return [
                wrong(
                    name,
                    "the password of the database role is short or easy to guess",
                    "ALTER ROLE … PASSWORD '…' with random text, and update the setting",
                )
            ]
    return []


def proxies(settings: Settings) -> list[Finding]:
    """Check PORTAL_TRUSTED_PROXIES. The portal serves plain http, so an https address needs a proxy that reports the client."""
    name = "PORTAL_TRUSTED_PROXIES"
    if settings.is_https and not settings.trusted_proxies.any:
        return [
            wrong(
                name,
                "empty, though PORTAL_BASE_URL is https: all clients share one limit",
                "set it to the number of proxies in front of the portal, such as 1",
            )
        ]
    if not settings.is_https and settings.trusted_proxies.any:
        return [
            wrong(
                name,
                "set, though PORTAL_BASE_URL is plain http: clients could forge any address",
                "remove it, or set PORTAL_BASE_URL to the https address of the proxy",
            )
        ]
    return [ok(name, "set" if settings.trusted_proxies.any else "empty, and the base URL is plain http: no proxy is expected")]


def settings_file(path: Path) -> list[Finding]:
    """Check that `.env`, which holds secrets, is private."""
    if not path.is_file():
        return []
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return [wrong(str(path), "other users of this machine can read it", f"chmod 600 {path}")]
    return [ok(str(path), "readable by its user only")]
