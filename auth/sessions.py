"""One browser, one session row, several grants. Loaded from the primary once per request, so removal counts at once.

`current()` says who this is; `scope_for_unified` and `scope_for_business` say which rows exist for them at a door.
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
from auth.faces import Face, face_of
from auth.models import BrowserSession, Grant, Identity, IdentityEmail
from billing.parties import Business, Customer
from core import clock
from core.db import Database
from core.errors import Unauthorized
from core.scope import Scope, customer_of, everything, person, resolving
from core.settings import Settings
from core.web import house

LIFE, IDLE, LINK_LIFE = timedelta(days=30), timedelta(days=7), timedelta(hours=24)
SEEN_EVERY = timedelta(minutes=10)


@dataclass(frozen=True)
class CustomerRow:
    """A customer row of this visit, with the public face of its business. `accepted`: they paid, or said "show it"."""

    business_id: str
    customer_id: str
    name: str
    email: str
    phone: str | None
    locale: str | None
    accepted: bool
    first_paid_at: datetime | None
    business: Face
    currency: str
    settings: dict[str, Any]
    tax_rates: dict[str, int] = field(default_factory=dict)

    @property
    def business_name(self) -> str:
        return self.business.name

    @property
    def brand(self) -> dict[str, Any]:
        return self.business.brand

    @property
    def zone(self) -> str:
        return self.business.zone

    @property
    def support_email(self) -> str:
        return self.business.support_email

    @property
    def archived_at(self) -> datetime | None:
        return self.business.archived_at


@dataclass(frozen=True)
class GrantView:
    id: str
    door: str
    business_id: str | None
    customer_id: str | None
    proof: str
    address_key: str | None
    link_id: str | None
    return_url: str | None
    proved_at: datetime
    expires_at: datetime
    party: str | None = None  # the provider that proved it


@dataclass
class Visit(UserMixin):
    """Who this request is. `identity_id` is None where only a merchant vouched. `addresses` are folded, and only those
    that this session's proofs open. `customers` is filled by `scope_for_*`; `link` is the grant a business door goes by."""

    session_id: str
    identity_id: str | None
    created_at: datetime
    proved_at: datetime | None
    addresses: tuple[str, ...] = ()
    grants: tuple[GrantView, ...] = ()
    locale: str | None = None
    zone: str | None = None
    person_name: str = ""
    primary_email: str = ""
    emails: tuple[tuple[str, str, bool], ...] = ()  # (address as written, folded, is primary), all verified ones
    customers: list[CustomerRow] = field(default_factory=list)
    link: GrantView | None = None

    @property
    def is_person(self) -> bool:
        return self.identity_id is not None

    @property
    def name(self) -> str:
        if self.link or not self.is_person:
            return self.customers[0].name if self.customers else ""
        return self.person_name or next((row.name for row in self.customers if row.accepted), "") or self.email

    @property
    def email(self) -> str:
        if self.link or not self.is_person:
            return self.customers[0].email if self.customers else ""
        return self.primary_email

    def get_id(self) -> str:
        return self.session_id


def current() -> Visit | None:
    """The visit of this request, loaded once; None for a browser that has proved nothing (or nothing that still holds)."""
    if "visit" not in g:
        settings = house().settings
        secret = cookies.read(settings, "signed-in")
        g.visit = load(house().database, settings, secret) if secret else None
    visit: Visit | None = g.visit
    return visit


def load(database: Database, settings: Settings, secret: str) -> Visit | None:
    at = clock.wall()
    query = (
        select(BrowserSession, Grant, Identity, IdentityEmail)
        .outerjoin(Grant, (Grant.session_id == BrowserSession.id) & Grant.revoked_at.is_(None) & (Grant.expires_at > at))
        .outerjoin(Identity, Identity.identity_id == BrowserSession.identity_id)
        .outerjoin(IdentityEmail, IdentityEmail.identity_id == Identity.identity_id)
        .where(
            BrowserSession.secret_hash.in_(tokens.hashes(settings, "session", secret)), BrowserSession.revoked_at.is_(None),
            BrowserSession.expires_at > at, BrowserSession.last_seen_at > at - IDLE,
        )
    )
    with database.open(everything("load session")) as db:
        rows = db.execute(query).all()
    if not rows:
        return None
    session, identity = rows[0][0], rows[0][2]
    grants = tuple(_view(one) for one in {row[1].id: row[1] for row in rows if row[1] is not None}.values())
    emails = sorted({(e.email, e.email_key, e.is_primary) for *_, e in rows if e is not None}, key=lambda e: (not e[2], e[1]))
    addresses = _opened(grants, emails)
    if not addresses and not any(one.door == "business" for one in grants):
        return None
    if session.last_seen_at < at - SEEN_EVERY:
        with database.open(everything("session seen"), write=True) as db:
            db.execute(update(BrowserSession).where(BrowserSession.id == session.id).values(last_seen_at=at),
                       execution_options={"synchronize_session": False})
    whose = identity if addresses else None  # a person whose proof ran out is nobody until the next one
    return Visit(
        session_id=session.id, identity_id=whose.identity_id if whose else None, created_at=session.created_at,
        proved_at=session.proved_at if whose else None, addresses=addresses, grants=grants,
        locale=whose.locale if whose else None, zone=whose.zone if whose else None, person_name=whose.name if whose else "",
        primary_email=(emails[0][0] if whose and emails else ""), emails=tuple(emails) if whose else (),
    )


def scope_for_unified(visit: Visit) -> Scope:
    """Every customer row of the addresses this visit has proved, in every business. Raises Unauthorized without a person."""
    if visit.identity_id is None:
        raise Unauthorized()
    visit.link = None
    visit.customers = _customers(resolving(visit.addresses, identity_id=visit.identity_id))
    return person(visit.identity_id, [(row.business_id, row.customer_id) for row in visit.customers])


def scope_for_business(visit: Visit, business_id: str) -> Scope | None:
    """What this visit may see at one business's door; None for nothing.

    A merchant's link to a row that is not the person's own shows that row alone, without the person: its rows are never
    mixed with theirs, and their session is as it was.
    """
    visit.link, visit.customers = None, []
    own = _customers(resolving(visit.addresses, identity_id=visit.identity_id), business_id) if visit.addresses else []
    here = (one for one in visit.grants if one.door == "business" and one.business_id == business_id)
    links = sorted(here, key=lambda one: one.proved_at)
    if links and links[-1].customer_id not in {row.customer_id for row in own}:
        link = links[-1]
        scope = customer_of(business_id, str(link.customer_id))
        visit.customers = _customers(scope, business_id)
        if visit.customers:
            visit.link = link
            return scope
    visit.customers = own
    return customer_of(business_id, [row.customer_id for row in own], visit.identity_id) if own else None


def proved_within(visit: Visit, minutes: int = 30) -> bool:
    """A proof of the person younger than that. A merchant's link is none."""
    return bool(visit.identity_id and not visit.link and visit.proved_at and visit.proved_at > clock.wall() - timedelta(minutes=minutes))


def fresh_proof_url(next: str) -> str:
    """Where to send somebody who is signed in but has to prove it once more; they come back to `next`."""
    return "/login?" + urlencode({"again": 1, "next": next})


def _opened(grants: tuple[GrantView, ...], emails: list[tuple[str, str, bool]]) -> tuple[str, ...]:
    """The primary address, a passkey and a provider joined by it open all of the person's addresses; a secondary address
    itself alone (safety 2.2)."""
    proved = {one.address_key for one in grants if one.door == "unified"}
    if None in proved or any(key in proved and is_primary for _, key, is_primary in emails):
        return tuple(key for _, key, _ in emails)
    return tuple(key for _, key, _ in emails if key in proved)


def _customers(scope: Scope, business_id: str | None = None) -> list[CustomerRow]:
    query = (
        select(Customer, Business).join(Business, Business.business_id == Customer.business_id)
        .where(Customer.declined_at.is_(None)).order_by(Business.name, Customer.business_id, Customer.created_at)
    )
    if business_id is not None:
        query = query.where(Customer.business_id == business_id)
    with house().database.open(scope) as db:
        return [
            CustomerRow(
                c.business_id, c.customer_id, c.name, c.email, c.phone, c.locale, bool(c.accepted_at or c.first_paid_at),
                c.first_paid_at, face_of(b), b.currency, dict(b.settings or {}), dict(b.tax_rates or {}),
            )
            for c, b in db.execute(query)
        ]


def rows_of(scope: Scope, business_id: str) -> list[CustomerRow]:
    """The customer rows of a scope at one business, for a door that found out by itself whose they are."""
    return _customers(scope, business_id)


def _view(grant: Grant) -> GrantView:
    return GrantView(
        grant.id, grant.door, grant.business_id, grant.customer_id, grant.proof, grant.address_key, grant.link_id,
        grant.return_url, grant.proved_at, grant.expires_at, grant.party,
    )
