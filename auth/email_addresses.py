"""Addresses of a person: add one (proved by email), choose the main one, or remove one. The last one cannot be removed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update

from auth import account_join, account_merge, challenges, personal_export
from auth.challenges import ChallengeRequest
from auth.identity_locks import lock_people
from auth.models import BrowserSession, Challenge, Grant, IdentityEmail, Merge
from auth.oidc_client.models import ProviderLogin
from auth.sessions import Visit
from billing.model.email_address import clean_address
from core import clock, ids
from core.db import Database, ScopedSession
from core.errors import N_, Conflict, Forbidden, NotFound, Unauthorized
from core.outbox import emit
from core.scope import Actor, everything
from core.settings import Settings
from core.transaction_retry import retried

_QUIETLY = {"synchronize_session": False}


def request_address(
    database: Database,
    settings: Settings,
    visit: Visit,
    email: str,
    *,
    browser: str,
    source: str | None,
    device: str,
    locale: str,
    next: str = "/profile",
) -> datetime | None:
    """Send a confirmation email to a new address. Returns when it is due, or None if a rate limit is used up.

    Raises Invalid for an invalid address; otherwise the response does not depend on who has the address. `browser` is
    `cookies.browser(settings)`, stored on the response: the link works only in this browser.
    """
    _require_primary(visit)
    clean_email, key = clean_address(email)
    return challenges.request_challenge(
        database,
        settings,
        ChallengeRequest(
            email=clean_email,
            address_key=key,
            browser=browser,
            source=source,
            device=device,
            locale=locale,
            next=next,
            purpose="add_address",
            identity_id=visit.identity_id,
        ),
    )


@retried
def add(database: Database, settings: Settings, challenge: Challenge, visit: Visit | None) -> str | None:
    """Redeem the link: add the address to the person who asked, in the same, still signed-in browser.

    If the address has its own account, nothing changes yet: returns the id of the merge that both sides must confirm.
    Raises Forbidden, Conflict.
    """
    if visit is None or visit.identity_id is None or visit.identity_id != challenge.identity_id:
        raise Forbidden("WRONG_SESSION", N_("Open this link in the browser where you asked to add the address, and stay signed in there."))
    _require_primary(visit)
    with database.open(everything("add an address"), write=True) as db:
        lock_people(db, visit.identity_id)
        if not challenges.consume(db, challenge):
            raise Conflict("LINK_USED", N_("This link was already used."))
        existing = db.scalar(select(IdentityEmail).where(IdentityEmail.email_key == challenge.address_key).with_for_update())
        if existing is None:
            _join(db, visit, challenge.email, challenge.address_key)
        elif existing.identity_id != visit.identity_id:
            return account_merge.begin(db, visit.identity_id, existing)
    return None


@retried
def take(database: Database, visit: Visit, merge_id: str) -> None:
    """Move one secondary address from another account, and nothing else of that account. Raises NotFound."""
    _require_primary(visit)
    merge = account_merge.movable(database, visit, merge_id)
    with database.open(everything("move an address"), write=True) as db:
        lock_people(db, visit.identity_id, merge.from_id)
        existing = db.scalar(
            select(IdentityEmail)
            .where(
                IdentityEmail.identity_id == merge.from_id, IdentityEmail.email_key == merge.email_key, IdentityEmail.is_primary.is_(False)
            )
            .with_for_update()
        )
        if existing is None:
            raise NotFound()
        addresses = list(db.scalars(select(IdentityEmail.email).where(IdentityEmail.identity_id == merge.from_id)))
        emit(
            db,
            "auth.addresses_changed",
            noun=merge.from_id,
            actor=Actor("customer", visit.identity_id),
            data={"what": "removed", "address": existing.email, "to": addresses, "locale": visit.locale},
        )
        _detach(db, existing)
        db.execute(update(Merge).where(Merge.id == merge_id).values(ended_at=clock.wall()), execution_options=_QUIETLY)
        _join(db, visit, merge.email, merge.email_key)


@retried
def remove(database: Database, visit: Visit, address_key: str) -> None:
    """Remove an address and end its sessions and challenges. Raises Conflict for the main address, NotFound."""
    _require_primary(visit)
    with database.open(everything("remove an address"), write=True) as db:
        lock_people(db, visit.identity_id)
        row = _own(db, visit, address_key)
        if row.is_primary:
            raise Conflict("ADDRESS_IS_PRIMARY", N_("This is your main address. Choose another main address first."))
        _notify(db, visit, "removed", row.email)
        _detach(db, row)


@retried
def make_primary(database: Database, visit: Visit, address_key: str) -> None:
    """Choose the main address. It opens everything; other addresses open only their own rows until a second proof."""
    _require_primary(visit)
    with database.open(everything("choose the main address"), write=True) as db:
        lock_people(db, visit.identity_id)
        row = _own(db, visit, address_key)
        db.execute(
            update(IdentityEmail).where(IdentityEmail.identity_id == visit.identity_id).values(is_primary=False), execution_options=_QUIETLY
        )
        db.execute(
            update(IdentityEmail).where(IdentityEmail.identity_id == visit.identity_id, IdentityEmail.id == row.id).values(is_primary=True),
            execution_options=_QUIETLY,
        )
        # this session proved the old main address and must continue to open everything
        has_proof = db.scalar(
            select(Grant.id).where(
                Grant.session_id == visit.session_id, Grant.door == "unified", Grant.address_key == address_key, Grant.revoked_at.is_(None)
            )
        )
        if has_proof is None:
            proved = max((grant for grant in visit.grants if grant.door == "unified"), key=lambda item: item.proved_at)
            newest = db.scalars(select(Grant).where(Grant.id == proved.id)).one()
            db.add(
                Grant(
                    id=ids.new_id("gra"),
                    session_id=visit.session_id,
                    door="unified",
                    sign_in_method=newest.sign_in_method,
                    address_key=address_key,
                    proved_at=newest.proved_at,
                    expires_at=newest.expires_at,
                    party=newest.party,
                    party_session=newest.party_session,
                    party_subject=newest.party_subject,  # the provider's logout ends it too
                    passkey_id=newest.passkey_id,
                )
            )  # removing the passkey ends it too
        _notify(db, visit, "main", row.email)


def _require_primary(visit: Visit) -> None:
    """Raise Unauthorized or Forbidden unless the session opens everything: addresses control access to everything."""
    if visit.identity_id is None or visit.link is not None:
        raise Unauthorized()
    if len(visit.addresses) < len(visit.emails):
        raise Forbidden("PROOF_NEEDED", N_("Sign in with your main address first."))


def _own(db: ScopedSession, visit: Visit, address_key: str) -> IdentityEmail:
    row = db.scalar(select(IdentityEmail).where(IdentityEmail.identity_id == visit.identity_id, IdentityEmail.email_key == address_key))
    if row is None:
        raise NotFound()
    return row


def _notify(db: ScopedSession, visit: Visit, what: str, email: str) -> None:
    """Email all addresses of the person, including a removed one."""
    to = dict.fromkeys([*(clean_email for clean_email, _, _ in visit.emails), email])
    emit(
        db,
        "auth.addresses_changed",
        noun=visit.identity_id,
        actor=Actor("customer", visit.identity_id),
        data={"what": what, "address": email, "to": list(to), "locale": visit.locale},
    )


def _join(db: ScopedSession, visit: Visit, email: str, address_key: str) -> None:
    db.add(
        IdentityEmail(
            identity_id=visit.identity_id,
            id=ids.new_id("eml"),
            email=email,
            email_key=address_key,
            is_primary=False,
            verified_at=clock.wall(),
        )
    )
    _notify(db, visit, "added", email)


def _detach(db: ScopedSession, row: IdentityEmail) -> None:
    """Remove an address from a person. Sessions it proved and pending emails to it become invalid."""
    at, identity_id, address_key, came_from = clock.wall(), row.identity_id, row.email_key, row.came_from
    db.execute(
        delete(ProviderLogin).where(ProviderLogin.identity_id == identity_id, ProviderLogin.address_key == address_key),
        execution_options=_QUIETLY,
    )  # logins linked by this address only
    theirs = select(BrowserSession.id).where(BrowserSession.identity_id == identity_id)
    proved = list(
        db.scalars(
            select(Grant.session_id).where(Grant.session_id.in_(theirs), Grant.address_key == address_key, Grant.revoked_at.is_(None))
        )
    )
    db.execute(update(BrowserSession).where(BrowserSession.id.in_(proved)).values(revoked_at=at), execution_options=_QUIETLY)
    db.execute(
        update(Challenge)
        .where(Challenge.address_key == address_key, Challenge.used_at.is_(None), Challenge.revoked_at.is_(None))
        .values(revoked_at=at),
        execution_options=_QUIETLY,
    )
    personal_export.forget(db, identity_id)  # an existing export contains data that this address opened
    db.delete(row)
    db.flush()
    account_join.remove_merged(db, identity_id, came_from)
