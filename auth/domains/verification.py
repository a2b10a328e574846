"""Add, verify, recheck and remove custom domains. A domain is served only while its DNS record exists, checked daily."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, select

from auth.domains.dns import Resolve, Unknown
from auth.domains.models import Domain, DomainCode, DomainSession
from billing.model.parties import Business
from core import clock, ids, recurring_jobs
from core.background_calls import BackgroundCalls, Busy
from core.db import Database, ScopedSession
from core.domain_names import BadDomain, ascii_domain
from core.errors import N_, Conflict, Invalid, NotFound
from core.metrics.snapshot import Due, count_due
from core.outbox import emit
from core.scope import Actor, everything
from core.settings import Settings

JOB = "domains"
CHECK_INTERVAL = timedelta(days=1)
MOST = 5
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass
class Binding:
    database: Database
    settings: Settings
    resolve: Resolve
    background_calls: BackgroundCalls

    def serving(self, host: str) -> Domain | None:
        """Return the verified domain of a host name (without port), or None. If two businesses verified it, the first one wins."""
        query = (
            select(Domain)
            .join(Business, Business.business_id == Domain.business_id)
            .where(Domain.host == host.lower(), Domain.verified_at.is_not(None), Domain.removed_at.is_(None))
            .order_by(Domain.verified_at, Domain.id)
            .limit(1)
        )
        with self.database.open(everything("find the domain of a host")) as db:
            return db.scalar(query)

    def hosts(self) -> list[str]:
        """Return all served hosts, sorted."""
        query = (
            select(Domain.host)
            .join(Business, Business.business_id == Domain.business_id)
            .where(Domain.verified_at.is_not(None), Domain.removed_at.is_(None))
            .distinct()
            .order_by(Domain.host)
        )
        with self.database.open(everything("list served hosts")) as db:
            return list(db.scalars(query))

    def by_id(self, domain_id: str) -> Domain | None:
        """Return a served domain by id; None if it is not served, or another business's domain has that host."""
        with self.database.open(everything("find a domain")) as db:
            row = db.scalar(select(Domain).where(Domain.id == domain_id, Domain.removed_at.is_(None)))
        found = self.serving(row.host) if row is not None else None
        return found if found is not None and found.id == domain_id else None

    def record(self, domain: Domain) -> tuple[str, str]:
        """Return (name, text) of the required TXT record."""
        return f"_portal.{domain.host}", f"portal-domain={domain.token}"

    def has_record(self, domain: Domain) -> bool:
        """Look up the record in DNS. Never call this in a transaction or in a request's thread. Raises Unknown."""
        name, text = self.record(domain)
        return text in self.resolve(name)

    def has_record_soon(self, domain: Domain) -> bool:
        """Like `has_record`, for a page: waits briefly. Raises Unknown, or Pending if the lookup is still running; call again."""
        try:
            return self.background_calls.wait_for(f"dns of {domain.business_id}", domain.id, lambda: self.has_record(domain))
        except Busy as busy:
            raise Unknown("busy") from busy

    def due(self) -> list[str]:
        """Return businesses with a domain that was not checked for a day."""
        with self.database.open(everything("list domains to recheck")) as db:
            query = select(Domain.business_id).where(*_due()).group_by(Domain.business_id)
            return list(db.scalars(query.order_by(func.min(Domain.checked_at))))

    def backlog(self, db: ScopedSession) -> Due:
        """Return how many domains are due for a check, and since when."""
        count, checked_at = count_due(db, Domain.checked_at, *_due())
        return count, checked_at + CHECK_INTERVAL if checked_at else None

    def recheck(self, business_id: str) -> int:
        """Recheck the due domains of a business. Returns how many DNS answered for.

        A domain without its record is no longer served, at once. If DNS does not answer, the check is repeated later.
        """
        with self.database.open(everything("list domains of a business to recheck")) as db:
            due = list(db.scalars(select(Domain).where(Domain.business_id == business_id, *_due()).order_by(Domain.checked_at)))
        by_id, answered = {item.id: item for item in due}, []

        def check(_business_id: str, item: str) -> None:
            self._store_result(by_id[item], self.has_record(by_id[item]))
            answered.append(item)

        recurring_jobs.run(self.database, JOB, [(business_id, item.id) for item in due], check)
        return len(answered)

    def _store_result(self, domain: Domain, has_record: bool) -> None:
        with self.database.open(everything("store a domain check"), write=True) as db:
            row = db.scalars(select(Domain).where(Domain.business_id == domain.business_id, Domain.id == domain.id)).one()
            row.checked_at = clock.wall()
            if not has_record and row.verified_at is not None:
                row.verified_at = None
                end_sessions(db, row.id)
                emit(db, "domain.lost", business_id=row.business_id, noun=row.id, data={"host": row.host}, actor=Actor("system"))
                emit(
                    db,
                    "owners.notified",
                    business_id=row.business_id,
                    data={"what": "domain_changed", "about": row.host},
                    actor=Actor("system"),
                )


def _due() -> tuple[ColumnElement[bool], ...]:
    return (
        Domain.verified_at.is_not(None),
        Domain.removed_at.is_(None),
        Domain.checked_at <= clock.wall() - CHECK_INTERVAL,
        recurring_jobs.rested(JOB, Domain.business_id, Domain.id),
    )


def of_business(db: ScopedSession) -> list[Domain]:
    """Return the business's domains. `db` is the staff's own session."""
    return list(db.scalars(select(Domain).where(Domain.removed_at.is_(None)).order_by(Domain.created_at, Domain.id)))


def find(db: ScopedSession, domain_id: str) -> Domain:
    row = db.scalar(select(Domain).where(Domain.id == domain_id, Domain.removed_at.is_(None)))
    if row is None:
        raise NotFound()
    return row


def add(db: ScopedSession, settings: Settings, business_id: str, typed: str) -> Domain:
    """Add a domain. Raises Invalid, Conflict."""
    host = clean_host(settings, typed)
    mine = of_business(db)
    if len(mine) >= MOST or host in {item.host for item in mine}:
        raise Conflict("DOMAIN_THERE", N_("You have already added this domain, or you have five domains. Remove one first."))
    row = Domain(
        business_id=business_id,
        id=ids.new_id("dom"),
        host=host,
        token=ids.secret_token(16),
        created_at=clock.wall(),
        verified_at=None,
        checked_at=None,
        removed_at=None,
    )
    db.add(row)
    emit(db, "domain.added", business_id=business_id, noun=row.id, data={"host": host})
    return row


def mark_verified(db: ScopedSession, domain_id: str) -> Domain:
    """Mark a domain as verified, after a successful DNS check."""
    row = find(db, domain_id)
    row.checked_at = clock.wall()
    if row.verified_at is None:
        row.verified_at = clock.wall()
        emit(db, "domain.verified", business_id=row.business_id, noun=row.id, data={"host": row.host})
    return row


def remove(db: ScopedSession, domain_id: str) -> Domain:
    """Remove a domain. It is not served from the next request on, and its sessions become useless."""
    row = find(db, domain_id)
    row.removed_at = clock.wall()
    emit(db, "domain.removed", business_id=row.business_id, noun=row.id, data={"host": row.host})
    return row


def end_sessions(db: ScopedSession, domain_id: str) -> None:
    """Delete all sessions and codes of a domain. `db` runs under everything()."""
    for table in (DomainSession, DomainCode):
        db.execute(delete(table).where(table.domain_id == domain_id), execution_options={"synchronize_session": False})


def clean_host(settings: Settings, typed: str) -> str:
    """Return the host name of typed text, such as `billing.acorn.example`. Raises Invalid if it is not public or is ours."""
    text = typed.strip()
    text = text[len("https://") :] if text[:8].lower() == "https://" else text
    try:
        host = ascii_domain(text.rstrip("/."))
    except BadDomain:
        host = ""
    labels = host.split(".")
    ours = ascii_domain(settings.hostname)
    if len(labels) < 2 or len(host) > 200 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise Invalid(fields={"host": N_("Enter a full domain name such as billing.example.com.")})
    if host == ours or host.endswith("." + ours) or ours.endswith("." + host):
        raise Invalid(fields={"host": N_("This domain belongs to the portal itself.")})
    return host
