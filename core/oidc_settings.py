"""Read the OpenID providers from the settings OIDC_PROVIDERS=google,work and OIDC_<NAME>_… (docs/identity.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from core.domain_names import ascii_domain

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True)
class OidcProvider:
    """A sign-in provider of the unified portal.

    `trust`: email domains for which the claim `email_verified` of this issuer is accepted; `*` means every domain, empty none.
    `trust_hosted_domain`: also accept the domain in the claim `hd` (Google Workspace).
    """

    key: str
    label: str
    issuer: str
    client_id: str
    client_secret: str
    trust: tuple[str, ...] = ()
    trust_hosted_domain: bool = False


_KNOWN = {  # defaults of well-known providers; Microsoft's email claim is never accepted as proof (safety 6.2)
    "google": {"LABEL": "Google", "ISSUER": "https://accounts.google.com", "TRUST": "gmail.com", "TRUST_HOSTED_DOMAIN": "1"},
    "microsoft": {"LABEL": "Microsoft"},
    "apple": {"LABEL": "Apple", "ISSUER": "https://appleid.apple.com", "TRUST": "*"},
}


def read(get: Callable[[str], str]) -> tuple[OidcProvider, ...]:
    """Read the providers with `get(NAME)`. Raises ValueError with a message for the operator."""
    out = []
    for key in (row.strip().lower() for row in get("OIDC_PROVIDERS").split(",") if row.strip()):
        if not _NAME.fullmatch(key):
            raise ValueError(f"OIDC_PROVIDERS: {key!r} is not a valid name; use letters, digits and dashes.")
        prefix = f"OIDC_{key.upper().replace('-', '_')}_"
        known = _KNOWN.get(key, {})
        values = {
            name: get(prefix + name) or known.get(name, "")
            for name in ("LABEL", "ISSUER", "CLIENT_ID", "CLIENT_SECRET", "TRUST", "TRUST_HOSTED_DOMAIN")
        }
        for name in ("ISSUER", "CLIENT_ID"):
            if not values[name]:
                raise ValueError(f"{prefix}{name} must be set, because OIDC_PROVIDERS contains {key!r}.")
        trust = () if key == "microsoft" else tuple(ascii_domain(part.strip()) for part in values["TRUST"].split(",") if part.strip())
        out.append(
            OidcProvider(
                key,
                values["LABEL"] or key.capitalize(),
                values["ISSUER"],
                values["CLIENT_ID"],
                values["CLIENT_SECRET"],
                trust,
                values["TRUST_HOSTED_DOMAIN"].lower() in {"1", "true", "yes", "on"},
            )
        )
    if len({item.key for item in out}) < len(out):
        raise ValueError("OIDC_PROVIDERS contains a provider twice.")
    return tuple(out)
