"""Authorization code flow with PKCE (RFC 6749 §4.1, RFC 7636 S256, RFC 9207): redirect and callback."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from sqlalchemy import select, update

from auth import tokens
from auth.oidc_client import claims, exchange
from auth.oidc_client.claims import ProviderClaims
from auth.oidc_client.discovery import Discovery
from auth.oidc_client.errors import ProviderError
from auth.oidc_client.models import ProviderState
from auth.oidc_client.provider_config import ProviderConfig
from core import clock, ids
from core.background_calls import Busy, Pending
from core.db import Database
from core.scope import everything
from core.settings import Settings

LIFE = timedelta(minutes=10)
_REAUTHENTICATION_PROMPTS = {"https://accounts.google.com": "select_account"}  # Google does not support prompt=login


@dataclass(frozen=True)
class CallbackResult:
    """A valid callback: the person's claims and their original request."""

    claims: ProviderClaims
    purpose: str
    identity_id: str | None
    next: str


def start_sign_in(
    database: Database,
    settings: Settings,
    discovery: Discovery,
    party: ProviderConfig,
    *,
    browser: str,
    purpose: str,
    next: str = "",
    identity_id: str | None = None,
    hint: str = "",
    reauthenticate: bool = False,
) -> str:
    """Store the state and return the provider's URL. Raises ProviderError.

    `anew`: the provider must authenticate the person again, as when linking a login.
    """
    known = discovery.of(party.issuer)
    if urlsplit(known["authorization_endpoint"]).scheme not in (("https",) if not settings.is_test else ("https", "http")):
        raise ProviderError("unreadable", "authorization_endpoint")
    state = ids.secret_token()
    with database.open(everything("store a provider state"), write=True) as db:
        db.add(
            ProviderState(
                id=ids.new_id("pst"),
                state_hash=tokens.hashed(settings, "provider-state", state),
                browser_hash=tokens.hashed(settings, "browser", browser),
                party=party.key,
                purpose=purpose,
                identity_id=identity_id,
                next=next,
                expires_at=clock.wall() + LIFE,
            )
        )
    challenge = base64.urlsafe_b64encode(hashlib.sha256(_derived(settings, "verifier", state).encode()).digest()).decode().rstrip("=")
    query = {
        "response_type": "code",
        "client_id": party.client_id,
        "redirect_uri": party.redirect_uri(settings),
        "state": state,
        "scope": "openid email profile",
        "nonce": _derived(settings, "nonce", state),
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **({"login_hint": hint} if hint else {}),
        **({"prompt": _REAUTHENTICATION_PROMPTS.get(party.issuer, "login")} if purpose == "link" or reauthenticate else {}),
    }
    endpoint = str(known["authorization_endpoint"])
    return endpoint + ("&" if "?" in endpoint else "?") + urlencode(query)


def handle_callback(
    database: Database, settings: Settings, discovery: Discovery, party: ProviderConfig, params: Mapping[str, str], browser: str
) -> CallbackResult:
    """Exchange and check the code of the provider's redirect. The state is consumed in any case. Raises ProviderError.

    "waiting" means that the provider has not answered yet: repeat the call to get the outcome, once.
    """
    state = params.get("state", "")
    row, is_new = _use(database, settings, party, state, browser)
    if row is None or not (party.is_enabled or row.purpose == "test"):
        raise ProviderError("wrong_state")
    if is_new:
        redirect = dict(params)
        try:
            discovery.background_calls.wait_for(
                party.key,
                row.id,
                lambda: exchange.run_and_store(database, settings, row.id, lambda: _exchanged(settings, discovery, party, redirect, state)),
            )
        except Busy as busy:
            exchange.close(database, row.id)
            raise ProviderError("unreachable", "busy") from busy
        except Pending:
            pass
    return CallbackResult(exchange.take(database, settings, row.id), row.purpose, row.identity_id, row.next)


def _exchanged(settings: Settings, discovery: Discovery, party: ProviderConfig, params: Mapping[str, str], state: str) -> ProviderClaims:
    """Exchange the code for tokens and validate the ID token. Calls the provider, so run it in the background."""
    known = discovery.of(party.issuer)
    if params.get("iss", party.issuer) != party.issuer or (known["authorization_response_iss_parameter_supported"] and "iss" not in params):
        raise ProviderError("wrong_issuer", "mix-up")  # RFC 9207 §2.4
    if params.get("error") or not params.get("code"):
        raise ProviderError("declined", params.get("error", "")[:60])
    answer = discovery.post(*_token_request(settings, known.metadata, party, params["code"], state))
    if "error" in answer:
        raise ProviderError("declined", str(answer["error"])[:60])
    checked = claims.id_token(discovery, party, answer.get("id_token"), _derived(settings, "nonce", state))
    if party.claim not in checked.all and known["userinfo_endpoint"] and isinstance(answer.get("access_token"), str):
        checked = claims.with_userinfo(checked, discovery.get(known["userinfo_endpoint"], answer["access_token"]))
    return checked


def _token_request(
    settings: Settings, metadata: dict[str, Any], party: ProviderConfig, code: str, state: str
) -> tuple[str, bytes, dict[str, str]]:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": party.redirect_uri(settings),
        "code_verifier": _derived(settings, "verifier", state),
    }
    headers = {}
    methods = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    if not party.client_secret:
        form["client_id"] = party.client_id
    elif "client_secret_basic" in methods:
        pair = f"{quote(party.client_id, safe='')}:{quote(party.client_secret, safe='')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        form |= {"client_id": party.client_id, "client_secret": party.client_secret}
    return metadata["token_endpoint"], urlencode(form).encode(), headers


def _use(database: Database, settings: Settings, party: ProviderConfig, state: str, browser: str) -> tuple[ProviderState | None, bool]:
    """Mark the state as used. Returns its row and whether this was the first use."""
    mine = (
        ProviderState.state_hash.in_(tokens.hashes(settings, "provider-state", state)),
        ProviderState.party == party.key,
        ProviderState.browser_hash.in_(tokens.hashes(settings, "browser", browser)),
    )
    at = clock.wall()
    with database.open(everything("use a provider state"), write=True) as db:
        used = db.execute(
            update(ProviderState).where(*mine, ProviderState.used_at.is_(None), ProviderState.expires_at > at).values(used_at=at),
            execution_options={"synchronize_session": False},
        )
        return db.scalar(select(ProviderState).where(*mine)), used.rowcount == 1  # type: ignore[attr-defined]


def _derived(settings: Settings, what: str, state: str) -> str:
    """Return the nonce or verifier of a state (43 characters). Derived, so it need not be stored."""
    return next(tokens.link_tokens(settings, f"provider-{what}", state))
