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
from sqlalchemy.orm import aliased

from auth import cookies, tokens
from auth.faces import face_of
from auth.models import BrowserSession, Grant, Identity, IdentityEmail
from auth.rows import CustomerRow, GrantView
from billing.parties import Business, Customer
from core import clock
from core.db import Database
from core.errors import Unauthorized
from core.scope import Scope, customer_of, everything, person, resolving
from core.settings import Settings
from core.web import house

LIFE, IDLE, LINK_LIFE = timedelta(days=30), timedelta(days=7), timedelta(hours=24)
SEEN_EVERY = timedelta(minutes=10)
AT_MOST = 100


@dataclass
class Visit(UserMixin):
    """Who this request is. `identity_id` is None where only a merchant vouched. `addresses` are folded, and only those
    that this session's proofs open; name and address to show are the person's once the main address was proved, until then those
    of what is open (safety 2.2). `customers` is filled by `scope_for_*`, `declined` with those that are "not mine"; `link` is
    the grant a business door goes by."""

    session_id: str
    identity_id: str | None
    created_at: datetime
    proved_at: datetime | None
    addresses: tuple[str, ...] = ()
    grants: tuple[GrantView, ...] = ()
    locale: str | None = None
    zone: str | None = None
    person_name: str = ""
    primary_email: str = ""  # the main one of those that are open
    emails: tuple[tuple[str, str, bool], ...] = ()  # (address as written, folded, is primary), all verified ones; to show: `open_emails`
    customers: list[CustomerRow] = field(default_factory=list)
    declined: list[CustomerRow] = field(default_factory=list)
    link: GrantView | None = None
    at_domain: str | None = None  # a child of this session at a business's own domain: its rows, never the person

    @property
    def is_person(self) -> bool:
        return self.identity_id is not None

    @property
    def opens_all(self) -> bool:
        return len(self.addresses) == len(self.emails)

    @property
    def open_emails(self) -> list[tuple[str, str, bool]]:
        return [one for one in self.emails if one[1] in self.addresses]

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
    return _load(database, BrowserSession.secret_hash.in_(tokens.hashes(settings, "session", secret)))


def load_by_grant(database: Database, grant_id: str) -> Visit | None:
    """The session that a grant belongs to now: it moves along when a session is renewed."""
    return _load(database, BrowserSession.id == select(Grant.session_id).where(Grant.id == grant_id).scalar_subquery())


def _load(database: Database, which: Any) -> Visit | None:
    at = clock.wall()
    query = (
        select(BrowserSession, Grant, Identity, IdentityEmail)
        .outerjoin(Grant, (Grant.session_id == BrowserSession.id) & Grant.revoked_at.is_(None) & (Grant.expires_at > at))
        .outerjoin(Identity, Identity.identity_id == BrowserSession.identity_id)
        .outerjoin(IdentityEmail, IdentityEmail.identity_id == Identity.identity_id)
        .where(
            which, BrowserSession.revoked_at.is_(None), BrowserSession.expires_at > at, BrowserSession.last_seen_at > at - IDLE,
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
        with database.open(everything("session seen"), write=True, repeatable=True) as db:
            db.execute(update(BrowserSession).where(BrowserSession.id == session.id).values(last_seen_at=at),
                       execution_options={"synchronize_session": False})
    whose = identity if addresses else None  # a person whose proof ran out is nobody until the next one
    visit = Visit(
        session_id=session.id, identity_id=whose.identity_id if whose else None, created_at=session.created_at,
        proved_at=session.proved_at if whose else None, addresses=addresses, grants=grants,
        locale=whose.locale if whose else None, zone=whose.zone if whose else None, emails=tuple(emails) if whose else (),
    )
    visit.primary_email = next((email for email, _, _ in visit.open_emails), "")
    visit.person_name = whose.name if whose and visit.opens_all else ""
    return visit


def scope_for_unified(visit: Visit) -> Scope:
    """Every customer row of the addresses this visit has proved, in every business. Raises Unauthorized without a person."""
    if visit.identity_id is None:
        raise Unauthorized()
    visit.link = None
    found = _customers(resolving(visit.addresses, identity_id=visit.identity_id))
    visit.customers, visit.declined = [row for row in found if not row.declined], [row for row in found if row.declined]
    return person(visit.identity_id, [(row.business_id, row.customer_id) for row in visit.customers])


def scope_for_business(visit: Visit, business_id: str) -> Scope | None:
    """What this visit may see at one business's door; None for nothing.

    A merchant's link to a row that is not the person's own shows that row alone, without the person: its rows are never
    mixed with theirs, and their session is as it was. So does a link to a row of theirs by which nobody is known there yet, if
    they came by it last: a link asks nothing and answers nothing (decision 9), and proving it once more ends that.
    """
    visit.link, visit.customers = None, []
    own = rows_of(resolving(visit.addresses, identity_id=visit.identity_id), business_id) if visit.addresses else []
    here = (one for one in visit.grants if one.door == "business" and one.business_id == business_id)
    links = sorted(here, key=lambda one: one.proved_at)
    if links and (links[-1].customer_id not in {row.customer_id for row in own} or _came_by(links[-1], visit, own)):
        link = links[-1]
        scope = customer_of(business_id, str(link.customer_id))
        visit.customers = rows_of(scope, business_id)
        if visit.customers:
            visit.link = link
            return scope
    visit.customers = own
    return customer_of(business_id, [row.customer_id for row in own], visit.identity_id) if own else None


def _came_by(link: GrantView, visit: Visit, own: list[CustomerRow]) -> bool:
    return not any(row.accepted for row in own) and all(one.proved_at < link.proved_at for one in visit.grants if one.door == "unified")


def proved_within(visit: Visit, minutes: int = 30) -> bool:
    """A proof of the person younger than that, and as wide as what this session opens: a letter to a secondary address
    does not freshen a session that the main one opened (safety 2.2). A merchant's link is none."""
    if visit.at_domain is not None:  # what is set there was young and wide enough at the session it is a child of
        return bool(visit.proved_at and visit.proved_at > clock.wall() - timedelta(minutes=minutes))
    since = clock.wall() - timedelta(minutes=minutes)
    if visit.identity_id is None or visit.link or visit.proved_at is None or visit.proved_at <= since:
        return False
    young = tuple(one for one in visit.grants if one.proved_at > since)
    return set(_opened(young, list(visit.emails))) >= set(visit.addresses)


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
    """Of rows that nobody paid or answered, which cost a business nothing, the first hundred: nobody's pages are slowed down by
    a business that writes their address a hundred thousand times."""
    claim = aliased(Customer)
    claims = select(claim.customer_id).where(~claim.is_known, ~claim.is_declined).order_by(claim.created_at).limit(AT_MOST)
    query = (
        select(Customer, Business).join(Business, Business.business_id == Customer.business_id)
        .order_by(Business.name, Customer.business_id, Customer.created_at)
    )
    if business_id is not None:
        query, claims = query.where(Customer.business_id == business_id), claims.where(claim.business_id == business_id)
    else:  # who was told no does not ask through another row, and keeps nobody else's question out
        told = aliased(Customer)
        claims = claims.where(claim.business_id.not_in(select(told.business_id).where(told.is_declined)))
    query = query.where(Customer.is_known | Customer.is_declined | Customer.customer_id.in_(claims))
    with house().database.open(scope) as db:
        return [
            CustomerRow(
                c.business_id, c.customer_id, c.name, c.email, c.phone, c.locale, c.is_known,
                c.accepted_at is not None, c.is_declined, c.first_paid_at, face_of(b), b.currency,
                dict(b.settings or {}), dict(b.tax_rates or {}), b.tax_country, b.tax_id,
            )
            for c, b in db.execute(query)
        ]


def rows_of(scope: Scope, business_id: str) -> list[CustomerRow]:
    """The customer rows of a scope at one business, without what is "not mine"."""
    return [row for row in _customers(scope, business_id) if not row.declined]


def _view(grant: Grant) -> GrantView:
    return GrantView(
        grant.id, grant.door, grant.business_id, grant.customer_id, grant.proof, grant.address_key, grant.link_id,
        grant.return_url, grant.proved_at, grant.expires_at, grant.party,
    )
