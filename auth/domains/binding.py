"""A domain from the wish to its end. It is served only while DNS says that its owner wants it: looked at before, and daily."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, select

from auth.domains.dns import Resolve, Unknown
from auth.domains.models import Domain, DomainCode, DomainSession
from billing.parties import Business
from core import clock, ids, turns
from core.db import Database, ScopedSession
from core.domain_names import BadDomain, ascii_domain
from core.errands import Busy, Errands
from core.errors import Conflict, Invalid, NotFound
from core.outbox import emit
from core.scope import Actor, everything
from core.settings import Settings

JOB = "domains"
LOOKED_AT_EVERY = timedelta(days=1)
MOST = 5
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass
class Binding:
    database: Database
    settings: Settings
    resolve: Resolve
    errands: Errands

    def serving(self, host: str) -> Domain | None:
        """The verified domain of a host name, without its port; None for a host that is nobody's. Of two that proved it,
        the one who did so first."""
        query = (select(Domain).join(Business, Business.business_id == Domain.business_id)
                 .where(Domain.host == host.lower(), Domain.verified_at.is_not(None), Domain.removed_at.is_(None))
                 .order_by(Domain.verified_at, Domain.id).limit(1))
        with self.database.open(everything("whose host is it")) as db:
            return db.scalar(query)

    def by_id(self, domain_id: str) -> Domain | None:
        """A domain that is served, by its id; None where another one of that host is."""
        with self.database.open(everything("which domain is meant")) as db:
            row = db.scalar(select(Domain).where(Domain.id == domain_id, Domain.removed_at.is_(None)))
        found = self.serving(row.host) if row is not None else None
        return found if found is not None and found.id == domain_id else None

    def record(self, domain: Domain) -> tuple[str, str]:
        """(name, text) of the TXT record that DNS has to have."""
        return f"_portal.{domain.host}", f"portal-domain={domain.token}"

    def says_so(self, domain: Domain) -> bool:
        """Asks DNS; never within a transaction, nor in the thread of a request. Raises Unknown."""
        name, text = self.record(domain)
        return text in self.resolve(name)

    def says_so_soon(self, domain: Domain) -> bool:
        """The same for a page, which waits for a moment. Raises Unknown, or Pending: ask again, and the answer will be there."""
        try:
            return self.errands.ask(f"dns of {domain.business_id}", domain.id, lambda: self.says_so(domain))
        except Busy as busy:
            raise Unknown("busy") from busy

    def due(self) -> list[str]:
        """Businesses with a domain that was not looked at for a day."""
        with self.database.open(everything("domains to look at again")) as db:
            query = select(Domain.business_id).where(*_due()).group_by(Domain.business_id)
            return list(db.scalars(query.order_by(func.min(Domain.checked_at))))

    def look_again(self, business_id: str) -> int:
        """A domain whose DNS record is gone is no longer served, at once. When DNS does not answer, the check is repeated later.
        Returns how many domains of the business DNS answered for."""
        with self.database.open(everything("domains of a business to look at again")) as db:
            due = list(db.scalars(select(Domain).where(Domain.business_id == business_id, *_due()).order_by(Domain.checked_at)))
        by_id, answered = {one.id: one for one in due}, []

        def look(_business_id: str, one: str) -> None:
            self._record(by_id[one], self.says_so(by_id[one]))
            answered.append(one)

        turns.run(self.database, JOB, [(business_id, one.id) for one in due], look)
        return len(answered)

    def _record(self, one: Domain, holds: bool) -> None:
        with self.database.open(everything("a domain was looked at"), write=True) as db:
            row = db.scalars(select(Domain).where(Domain.business_id == one.business_id, Domain.id == one.id)).one()
            row.checked_at = clock.wall()
            if not holds and row.verified_at is not None:
                row.verified_at = None
                end_sessions(db, row.id)
                emit(db, "domain.lost", business_id=row.business_id, noun=row.id, data={"host": row.host}, actor=Actor("system"))
                emit(db, "owners.told", business_id=row.business_id, data={"what": "domain_changed", "about": row.host},
                     actor=Actor("system"))


def _due() -> tuple[ColumnElement[bool], ...]:
    return (Domain.verified_at.is_not(None), Domain.removed_at.is_(None), Domain.checked_at <= clock.wall() - LOOKED_AT_EVERY,
            turns.rested(JOB, Domain.business_id, Domain.id))


def of_business(db: ScopedSession) -> list[Domain]:
    """In the staff's own session."""
    return list(db.scalars(select(Domain).where(Domain.removed_at.is_(None)).order_by(Domain.created_at, Domain.id)))


def find(db: ScopedSession, domain_id: str) -> Domain:
    row = db.scalar(select(Domain).where(Domain.id == domain_id, Domain.removed_at.is_(None)))
    if row is None:
        raise NotFound()
    return row


def add(db: ScopedSession, settings: Settings, business_id: str, typed: str) -> Domain:
    """Raises Invalid, Conflict."""
    host = clean_host(settings, typed)
    mine = of_business(db)
    if len(mine) >= MOST or host in {one.host for one in mine}:
        raise Conflict("DOMAIN_THERE", "This domain is here already, or there are five; remove one first.")
    row = Domain(business_id=business_id, id=ids.new_id("dom"), host=host, token=ids.secret_token(16), created_at=clock.wall(),
                 verified_at=None, checked_at=None, removed_at=None)
    db.add(row)
    emit(db, "domain.added", business_id=business_id, noun=row.id, data={"host": host})
    return row


def verified(db: ScopedSession, domain_id: str) -> Domain:
    """DNS said so just now."""
    row = find(db, domain_id)
    row.checked_at = clock.wall()
    if row.verified_at is None:
        row.verified_at = clock.wall()
        emit(db, "domain.verified", business_id=row.business_id, noun=row.id, data={"host": row.host})
    return row


def remove(db: ScopedSession, domain_id: str) -> Domain:
    """Not served from the next request on; its sessions never open anything again, since they name a domain that is gone."""
    row = find(db, domain_id)
    row.removed_at = clock.wall()
    emit(db, "domain.removed", business_id=row.business_id, noun=row.id, data={"host": row.host})
    return row


def end_sessions(db: ScopedSession, domain_id: str) -> None:
    """`db` runs under everything()."""
    for table in (DomainSession, DomainCode):
        db.execute(delete(table).where(table.domain_id == domain_id), execution_options={"synchronize_session": False})


def clean_host(settings: Settings, typed: str) -> str:
    """`billing.acorn.example` of what people type. Raises Invalid for what is no name of the public internet, or is ours."""
    text = typed.strip()
    text = text[len("https://"):] if text[:8].lower() == "https://" else text
    try:
        host = ascii_domain(text.rstrip("/."))
    except BadDomain:
        host = ""
    labels = host.split(".")
    ours = ascii_domain(settings.hostname)
    if len(labels) < 2 or len(host) > 200 or not all(_LABEL.fullmatch(one) for one in labels) or labels[-1].isdigit():
        raise Invalid(fields={"host": "Give a full name such as billing.example.com."})
    if host == ours or host.endswith("." + ours) or ours.endswith("." + host):
        raise Invalid(fields={"host": "This name belongs to the portal itself."})
    return host
