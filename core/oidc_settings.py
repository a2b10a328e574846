"""The OpenID providers that the operator names: OIDC_PROVIDERS=google,work and OIDC_<NAME>_… for each (docs/identity.md)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from core.domain_names import ascii_domain

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True)
class OidcProvider:
    """A provider at the unified door.

    `trust`: the mail domains whose addresses this issuer may vouch for (with `email_verified`); `*` is every domain, empty none.
    `trust_hosted_domain`: also a domain that it names in the claim `hd` (Google Workspace).
    """

    key: str
    label: str
    issuer: str
    client_id: str
    client_secret: str
    trust: tuple[str, ...] = ()
    trust_hosted_domain: bool = False


_KNOWN = {  # what may be left out for providers that everybody knows; Microsoft's mail claim is never proof (safety 6.2)
    "google": {"LABEL": "Google", "ISSUER": "https://accounts.google.com", "TRUST": "gmail.com", "TRUST_HOSTED_DOMAIN": "1"},
    "microsoft": {"LABEL": "Microsoft"},
    "apple": {"LABEL": "Apple", "ISSUER": "https://appleid.apple.com", "TRUST": "*"},
}


def read(get: Callable[[str], str]) -> tuple[OidcProvider, ...]:
    """From `get(NAME)`. Raises ValueError with a sentence for the operator."""
    out = []
    for key in (one.strip().lower() for one in get("OIDC_PROVIDERS").split(",") if one.strip()):
        if not _NAME.fullmatch(key):
            raise ValueError(f"OIDC_PROVIDERS: {key!r} is no name; use letters, digits and dashes.")
        prefix = f"OIDC_{key.upper().replace('-', '_')}_"
        known = _KNOWN.get(key, {})
        values = {name: get(prefix + name) or known.get(name, "")
                  for name in ("LABEL", "ISSUER", "CLIENT_ID", "CLIENT_SECRET", "TRUST", "TRUST_HOSTED_DOMAIN")}
        for name in ("ISSUER", "CLIENT_ID"):
            if not values[name]:
                raise ValueError(f"{prefix}{name} must be set, for OIDC_PROVIDERS names {key!r}.")
        trust = () if key == "microsoft" else tuple(ascii_domain(one.strip()) for one in values["TRUST"].split(",") if one.strip())
        out.append(OidcProvider(key, values["LABEL"] or key.capitalize(), values["ISSUER"], values["CLIENT_ID"], values["CLIENT_SECRET"],
                                trust, values["TRUST_HOSTED_DOMAIN"].lower() in {"1", "true", "yes", "on"}))
    if len({one.key for one in out}) < len(out):
        raise ValueError("OIDC_PROVIDERS names a provider twice.")
    return tuple(out)
