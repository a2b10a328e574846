"""Browser sessions: one session row per browser, with several grants. Loaded from the primary once per request.

Revocations therefore take effect at once. `current_visit()` returns the visitor; `scope_for_unified` and `scope_for_business`
return which rows they can see.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import g
from flask_login import UserMixin
from sqlalchemy import select, update

from auth import cookies, tokens
from auth.models import BrowserSession, Grant, Identity, IdentityEmail
from auth.visit_rows import Account, VisitGrant, load_customers, rows_of
from core import clock
from core.db import Database
from core.errors import Unauthorized
from core.request_context import services
from core.scope import Scope, customer_of, everything, person, resolving
from core.settings import Settings

LIFE, IDLE, LINK_LIFE = timedelta(days=30), timedelta(days=7), timedelta(hours=24)
SEEN_EVERY = timedelta(minutes=10)


@dataclass
class Visit(UserMixin):  # type: ignore[misc]
    """The visitor of this request. `identity_id` is None if only a business vouched for them.

    `addresses` are folded, and only those that this session's proofs open. The name and address shown are the person's if the
    main address was proved, otherwise those of the open addresses (safety 2.2). `scope_for_*` fills `customers`, and `declined`
    with rows marked "not mine". `link` is the grant used in a business's portal.
    """

    session_id: str
    identity_id: str | None
    created_at: datetime
    proved_at: datetime | None
    addresses: tuple[str, ...] = ()
    grants: tuple[VisitGrant, ...] = ()
    locale: str | None = None
    zone: str | None = None
    person_name: str = ""
    primary_email: str = ""  # the main address if it is open, otherwise another open one
    emails: tuple[tuple[str, str, bool], ...] = ()  # (address, folded, is primary) of all verified ones; for display use `open_emails`
    customers: list[Account] = field(default_factory=list)
    declined: list[Account] = field(default_factory=list)
    link: VisitGrant | None = None
    at_domain: str | None = None  # session at a business's custom domain: sees its rows, never the person

    @property
    def is_person(self) -> bool:
        return self.identity_id is not None

    @property
    def opens_all(self) -> bool:
        return len(self.addresses) == len(self.emails)

    @property
    def open_emails(self) -> list[tuple[str, str, bool]]:
        return [email for email in self.emails if email[1] in self.addresses]

    @property
    def name(self) -> str:
        if self.link or not self.is_person:
            return self.customers[0].customer_name if self.customers else ""
        return self.person_name or next((row.customer_name for row in self.customers if row.accepted), "") or self.email

    @property
    def email(self) -> str:
        if self.link or not self.is_person:
            return self.customers[0].email if self.customers else ""
        return self.primary_email

    def get_id(self) -> str:
        return self.session_id


def current_visit() -> Visit | None:
    """Return the visit of this request, loaded once; None if the browser has no valid proof."""
    if "visit" not in g:
        settings = services().settings
        secret = cookies.read(settings, "signed-in")
        g.visit = load(services().database, settings, secret) if secret else None
    visit: Visit | None = g.visit
    return visit


def load(database: Database, settings: Settings, secret: str) -> Visit | None:
    return _load(database, BrowserSession.secret_hash.in_(tokens.hashes(settings, "session", secret)))


def load_by_id(database: Database, session_id: str) -> Visit | None:
    return _load(database, BrowserSession.id == session_id)


def load_by_grant(database: Database, grant_id: str) -> Visit | None:
    """Load the session that a grant belongs to now. Grants move to the new session on renewal."""
    return _load(database, BrowserSession.id == select(Grant.session_id).where(Grant.id == grant_id).scalar_subquery())


_GRANT = (
    Grant.id,
    Grant.door,
    Grant.business_id,
    Grant.customer_id,
    Grant.sign_in_method,
    Grant.address_key,
    Grant.link_id,
    Grant.return_url,
    Grant.proved_at,
    Grant.expires_at,
    Grant.party,
)
"""The columns of a grant in the order of the fields of VisitGrant."""
_SESSION = (BrowserSession.id, BrowserSession.created_at, BrowserSession.proved_at, BrowserSession.last_seen_at)
_PERSON = (Identity.identity_id, Identity.locale, Identity.zone, Identity.name)
_EMAIL = (IdentityEmail.email, IdentityEmail.email_key, IdentityEmail.is_primary)


def _load(database: Database, which: Any) -> Visit | None:
    at = clock.wall()
    query = (
        select(*_SESSION, *_PERSON, *_EMAIL, *_GRANT)  # columns, not entities: this runs on every request
        .select_from(BrowserSession)
        .outerjoin(Grant, (Grant.session_id == BrowserSession.id) & Grant.revoked_at.is_(None) & (Grant.expires_at > at))
        .outerjoin(Identity, Identity.identity_id == BrowserSession.identity_id)
        .outerjoin(IdentityEmail, IdentityEmail.identity_id == Identity.identity_id)
        .where(which, BrowserSession.revoked_at.is_(None), BrowserSession.expires_at > at, BrowserSession.last_seen_at > at - IDLE)
    )
    with database.open(everything("load session")) as db:
        rows = [tuple(row) for row in db.execute(query)]
    if not rows:
        return None
    session_id, created_at, proved_at, last_seen_at, identity_id, locale, zone, name = rows[0][:8]
    grants = tuple({row[11]: VisitGrant(*row[11:]) for row in rows if row[11] is not None}.values())
    emails = sorted({row[8:11] for row in rows if row[8] is not None}, key=lambda e: (not e[2], e[1]))
    addresses = _opened(grants, emails)
    if not addresses and not any(grant.door == "business" for grant in grants):
        return None
    if last_seen_at < at - SEEN_EVERY:
        with database.open(everything("record session activity"), write=True, repeatable=True) as db:
            db.execute(
                update(BrowserSession).where(BrowserSession.id == session_id).values(last_seen_at=at),
                execution_options={"synchronize_session": False},
            )
    is_person = bool(addresses and identity_id)  # without a valid proof there is no person
    visit = Visit(
        session_id=session_id,
        identity_id=identity_id if is_person else None,
        created_at=created_at,
        proved_at=proved_at if is_person else None,
        addresses=addresses,
        grants=grants,
        locale=locale if is_person else None,
        zone=zone if is_person else None,
        emails=tuple(emails) if is_person else (),
    )
    visit.primary_email = next((email for email, _, _ in visit.open_emails), "")
    visit.person_name = name if is_person and visit.opens_all else ""
    return visit


def scope_for_unified(visit: Visit) -> Scope:
    """Return the scope of all customer rows of the proved addresses, in every business. Raises Unauthorized without a person."""
    if visit.identity_id is None:
        raise Unauthorized()
    visit.link = None
    found = load_customers(resolving(visit.addresses, identity_id=visit.identity_id))
    visit.customers, visit.declined = [row for row in found if not row.declined], [row for row in found if row.declined]
    return person(visit.identity_id, [(row.business_id, row.customer_id) for row in visit.customers])


def scope_for_business(visit: Visit, business_id: str) -> Scope | None:
    """Return what this visit can see at one business, or None.

    A portal link to a row that is not the person's own shows only that row. Rows are never mixed, and the person's session does
    not change. The same applies to a link to an own row that nobody has accepted yet, if the link was the last proof: a link
    neither requests nor gives approval (decision 9). A new proof of the address ends that.
    """
    visit.link, visit.customers = None, []
    own = rows_of(resolving(visit.addresses, identity_id=visit.identity_id), business_id) if visit.addresses else []
    here = (grant for grant in visit.grants if grant.door == "business" and grant.business_id == business_id)
    links = sorted(here, key=lambda item: item.proved_at)
    if links and (links[-1].customer_id not in {row.customer_id for row in own} or _is_latest_unaccepted(links[-1], visit, own)):
        link = links[-1]
        scope = customer_of(business_id, str(link.customer_id))
        visit.customers = rows_of(scope, business_id)
        if visit.customers:
            visit.link = link
            return scope
    visit.customers = own
    return customer_of(business_id, [row.customer_id for row in own], visit.identity_id) if own else None


def _is_latest_unaccepted(link: VisitGrant, visit: Visit, own: list[Account]) -> bool:
    return not any(row.accepted for row in own) and all(
        grant.proved_at < link.proved_at for grant in visit.grants if grant.door == "unified"
    )


def proved_within(visit: Visit, minutes: int = 30) -> bool:
    """Return whether the person was proved within the last `minutes`, for everything this session opens.

    An email to a secondary address does not refresh a session opened by the main one (safety 2.2). A portal link is no proof.
    """
    if visit.at_domain is not None:  # only set if the parent session's proof was recent and complete
        return bool(visit.proved_at and visit.proved_at > clock.wall() - timedelta(minutes=minutes))
    since = clock.wall() - timedelta(minutes=minutes)
    if visit.identity_id is None or visit.link or visit.proved_at is None or visit.proved_at <= since:
        return False
    young = tuple(grant for grant in visit.grants if grant.proved_at > since)
    return set(_opened(young, list(visit.emails))) >= set(visit.addresses)


def fresh_proof_url(next: str) -> str:
    """Return the URL where a signed-in person proves their identity again and then returns to `next`."""
    return "/login?" + urlencode({"again": 1, "next": next})


def _opened(grants: tuple[VisitGrant, ...], emails: list[tuple[str, str, bool]]) -> tuple[str, ...]:
    """Return the folded addresses that the grants open (safety 2.2).

    The primary address, a passkey, or a provider linked by it opens all addresses. A secondary address opens only itself.
    """
    proved = {grant.address_key for grant in grants if grant.door == "unified"}
    if None in proved or any(key in proved and is_primary for _, key, is_primary in emails):
        return tuple(key for _, key, _ in emails)
    return tuple(key for _, key, _ in emails if key in proved)
