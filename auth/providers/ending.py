"""Logout both ways: OpenID Connect Back-Channel Logout 1.0 (theirs ends ours) and RP-Initiated Logout 1.0 (ours ends theirs)."""

from __future__ import annotations

import hashlib
from urllib.parse import urlencode, urlsplit

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from auth import budgets, tokens
from auth.models import Grant
from auth.providers import claims, parties
from auth.providers.discovery import Discovery
from auth.providers.mistakes import Mistake
from auth.providers.models import LogoutTokenSeen, ProviderLogin
from auth.providers.parties import Party
from auth.sessions import Visit
from core import clock
from core.db import Database
from core.errors import TooMany
from core.scope import everything
from core.settings import Settings

_QUIETLY = {"synchronize_session": False}


def back_channel(database: Database, settings: Settings, discovery: Discovery, party: Party, token: object, source: str | None) -> int:
    """End what that provider's session or subject opened here, and nothing else. Returns how many grants ended.

    Raises Mistake: "waiting" and "unreachable" where the provider's keys are not at hand; "wrong_token" for a token that is not
    one, or was used before. Raises TooMany where too many such came (`source`: from where).
    """
    spent = budgets.logouts(database, settings, party.key, source)
    if not budgets.spend(database, spent):
        raise TooMany()
    try:
        ended = _end(database, settings, discovery, party, token)
    except Mistake as slow:
        if slow.code == "waiting":  # whoever sent it may not send it again: it is followed when the keys have come
            name = f"logout {hashlib.sha256(str(token).encode()).hexdigest()[:32]}"
            discovery.errands.start(party.key, name, lambda: _end(database, settings, discovery, party, token))
        raise
    budgets.true_logout(database, settings, party.key, source, spent)
    return ended


def _end(database: Database, settings: Settings, discovery: Discovery, party: Party, token: object) -> int:
    said = claims.logout_token(discovery, party, token)
    which = []
    if isinstance(said.get("sid"), str):
        which.append(Grant.party_session.in_(tokens.hashes(settings, "party-session", f"{party.key}\0{said['sid']}")))
    if isinstance(said.get("sub"), str):
        which.append(Grant.party_subject.in_(tokens.hashes(settings, "party-subject", f"{party.key}\0{said['sub']}")))
    try:
        with database.open(everything("a provider's logout token"), write=True) as db:
            db.add(LogoutTokenSeen(id=tokens.hashed(settings, "logout-token", f"{party.key}\0{said['jti']}"), seen_at=clock.wall()))
            db.flush()
            ended = db.execute(update(Grant).where(Grant.party == party.key, Grant.revoked_at.is_(None), *which)
                               .values(revoked_at=clock.wall()), execution_options=_QUIETLY)
            return int(ended.rowcount)  # type: ignore[attr-defined]
    except IntegrityError as again:
        raise Mistake("wrong_token", "used before") from again


def away(database: Database, settings: Settings, discovery: Discovery, visit: Visit, business_id: str | None) -> str | None:
    """Where to go on to after signing out here, so that the business's own provider signs out too; None to stay.

    Only at the door of the business whose provider it is: signing out here does not sign anybody out of Google.
    """
    grant = next((one for one in visit.grants if one.party and business_id and one.business_id == business_id), None)
    party = parties.of_business(database, settings, business_id, also_disabled=True) if grant and business_id else None
    if party is None or grant is None or grant.party != party.key:
        return None
    try:
        there = discovery.of(party.issuer, fetch=party.is_enabled)["end_session_endpoint"]
    except Mistake:
        return None
    if not isinstance(there, str) or urlsplit(there).scheme not in (("https", "http") if settings.is_test else ("https",)):
        return None
    return there + ("&" if "?" in there else "?") + urlencode({
        "client_id": party.client_id, "post_logout_redirect_uri": f"{settings.base_url}/login/{business_id}"})


def logins_of(database: Database, identity_id: str) -> list[ProviderLogin]:
    with database.open(everything("a person's own providers")) as db:
        return list(db.scalars(select(ProviderLogin).where(ProviderLogin.identity_id == identity_id).order_by(ProviderLogin.created_at)))
