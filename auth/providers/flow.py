"""Authorization code flow with PKCE (RFC 6749 §4.1, RFC 7636 S256, RFC 9207): the way out, and the one way back."""

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
from auth.providers import claims, exchange
from auth.providers.claims import Claims
from auth.providers.discovery import Discovery
from auth.providers.mistakes import Mistake
from auth.providers.models import ProviderState
from auth.providers.parties import Party
from core import clock, ids
from core.db import Database
from core.errands import Busy, Pending
from core.scope import everything
from core.settings import Settings

LIFE = timedelta(minutes=10)
_ASKS_BY = {"https://accounts.google.com": "select_account"}  # which knows no prompt=login


@dataclass(frozen=True)
class Came:
    """Somebody came back, and it was right: who they are there, and what they had wanted here."""

    claims: Claims
    purpose: str
    identity_id: str | None
    next: str


def leave(database: Database, settings: Settings, discovery: Discovery, party: Party, *, browser: str, purpose: str, next: str = "",
          identity_id: str | None = None, hint: str = "", anew: bool = False) -> str:
    """Write down who leaves, and return the URL to go to. `anew`: they shall show there once more who they are, as for a
    login that is added. Raises Mistake."""
    known = discovery.of(party.issuer)
    if urlsplit(known["authorization_endpoint"]).scheme not in (("https",) if not settings.is_test else ("https", "http")):
        raise Mistake("unreadable", "authorization_endpoint")
    state = ids.secret_token()
    with database.open(everything("somebody leaves for a provider"), write=True) as db:
        db.add(ProviderState(
            id=ids.new_id("pst"), state_hash=tokens.hashed(settings, "provider-state", state),
            browser_hash=tokens.hashed(settings, "browser", browser), party=party.key, purpose=purpose, identity_id=identity_id,
            next=next, expires_at=clock.wall() + LIFE,
        ))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(_derived(settings, "verifier", state).encode()).digest()).decode().rstrip("=")
    asked = {
        "response_type": "code", "client_id": party.client_id, "redirect_uri": party.redirect_uri(settings), "state": state,
        "scope": "openid email profile", "nonce": _derived(settings, "nonce", state), "code_challenge": challenge,
        "code_challenge_method": "S256", **({"login_hint": hint} if hint else {}),
        **({"prompt": _ASKS_BY.get(party.issuer, "login")} if purpose == "link" or anew else {}),
    }
    there = str(known["authorization_endpoint"])
    return there + ("&" if "?" in there else "?") + urlencode(asked)


def come_back(database: Database, settings: Settings, discovery: Discovery, party: Party, said: Mapping[str, str], browser: str) -> Came:
    """Exchange and check the code that the provider's redirect carries. The state is used up whatever follows. Raises Mistake.

    "waiting": the provider has not answered yet; the same call, made again, hands out what came of it, once.
    """
    state = said.get("state", "")
    row, is_new = _use(database, settings, party, state, browser)
    if row is None or not (party.is_enabled or row.purpose == "test"):
        raise Mistake("wrong_state")
    if is_new:
        redirect = dict(said)
        try:
            discovery.errands.ask(party.key, row.id, lambda: exchange.keep(
                database, settings, row.id, lambda: _exchanged(settings, discovery, party, redirect, state)))
        except Busy as busy:
            exchange.close(database, row.id)
            raise Mistake("unreachable", "busy") from busy
        except Pending:
            pass
    return Came(exchange.take(database, settings, row.id), row.purpose, row.identity_id, row.next)


def _exchanged(settings: Settings, discovery: Discovery, party: Party, said: Mapping[str, str], state: str) -> Claims:
    """The code for tokens, and the ID token for claims. Asks the provider: run as an errand."""
    known = discovery.of(party.issuer)
    if said.get("iss", party.issuer) != party.issuer or (known["authorization_response_iss_parameter_supported"] and "iss" not in said):
        raise Mistake("wrong_issuer", "mix-up")  # RFC 9207 §2.4
    if said.get("error") or not said.get("code"):
        raise Mistake("declined", said.get("error", "")[:60])
    answer = discovery.post(*_exchange(settings, known.metadata, party, said["code"], state))
    if "error" in answer:
        raise Mistake("declined", str(answer["error"])[:60])
    checked = claims.id_token(discovery, party, answer.get("id_token"), _derived(settings, "nonce", state))
    if party.claim not in checked.all and known["userinfo_endpoint"] and isinstance(answer.get("access_token"), str):
        checked = claims.with_userinfo(checked, discovery.get(known["userinfo_endpoint"], answer["access_token"]))
    return checked


def _exchange(settings: Settings, metadata: dict[str, Any], party: Party, code: str, state: str) -> tuple[str, bytes, dict[str, str]]:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": party.redirect_uri(settings),
            "code_verifier": _derived(settings, "verifier", state)}
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


def _use(database: Database, settings: Settings, party: Party, state: str, browser: str) -> tuple[ProviderState | None, bool]:
    """The state's row, and whether this is its first use."""
    mine = (ProviderState.state_hash.in_(tokens.hashes(settings, "provider-state", state)), ProviderState.party == party.key,
            ProviderState.browser_hash.in_(tokens.hashes(settings, "browser", browser)))
    at = clock.wall()
    with database.open(everything("somebody comes back from a provider"), write=True) as db:
        used = db.execute(update(ProviderState).where(*mine, ProviderState.used_at.is_(None), ProviderState.expires_at > at)
                          .values(used_at=at), execution_options={"synchronize_session": False})
        return db.scalar(select(ProviderState).where(*mine)), used.rowcount == 1  # type: ignore[attr-defined]


def _derived(settings: Settings, what: str, state: str) -> str:
    """Nonce and verifier of a state (43 characters): nothing to store, nothing to steal."""
    return next(tokens.link_tokens(settings, f"provider-{what}", state))
