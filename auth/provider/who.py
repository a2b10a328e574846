"""Who may be told of to an app: a person that this browser proved, or a customer whom the business's own provider proved.

A merchant's link says nothing about who holds it, so it is never enough (design §2.3). Which customer row: of several, the
one that an app knows already, then that of the main address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from auth.models import Grant, IdentityEmail
from auth.provider.models import AppSession, AppSubject
from auth.sessions import GrantView, Visit
from billing.parties import Customer
from core.db import Database, ScopedSession
from core.scope import customer_of, everything, resolving


@dataclass(frozen=True)
class Who:
    """One customer row of the app's business, and the grant of this browser that opens it. `name`, `email`: of that row."""

    business_id: str
    customer_id: str
    name: str
    email: str
    identity_id: str | None
    grant_id: str
    auth_time: datetime
    subject: str | None


def of_visit(database: Database, visit: Visit | None, business_id: str) -> Who | None:
    if visit is None:
        return None
    proved = [one for one in visit.grants if one.door == "unified"]
    if visit.identity_id is not None and proved and visit.addresses:
        found = _row(database, visit, business_id)
        if found is not None:
            return _who(*found, visit.identity_id, _newest(proved, found[0].email_key, _main(visit)))
    by_business = [one for one in visit.grants if one.door == "business" and one.business_id == business_id and one.proof == "sso"]
    if by_business:
        grant = max(by_business, key=lambda one: one.proved_at)
        with database.open(customer_of(business_id, str(grant.customer_id))) as db:
            row = db.scalar(select(Customer).where(~Customer.is_declined))
        if row is not None:
            return _who(row, _subjects(database, business_id, [row]).get(row.customer_id), None, grant)
    return None


def is_somebody(visit: Visit | None, business_id: str) -> bool:
    """Whether this browser proved anybody at all, customer there or not."""
    return visit is not None and (visit.is_person or any(one.proof == "sso" and one.business_id == business_id for one in visit.grants))


def still_theirs(db: ScopedSession, one: AppSession, row: Customer) -> bool:
    """The row may have got another address since: then it is not this person's any more. `db` runs under everything()."""
    if row.is_declined:
        return False
    if one.identity_id is None:
        grant = db.scalar(select(Grant.customer_id).where(Grant.id == one.grant_id))
        return grant == row.customer_id
    mine = select(IdentityEmail.id).where(IdentityEmail.identity_id == one.identity_id, IdentityEmail.email_key == row.email_key)
    return db.scalar(mine) is not None


def _row(database: Database, visit: Visit, business_id: str) -> tuple[Customer, str | None] | None:
    with database.open(resolving(visit.addresses, identity_id=visit.identity_id)) as db:
        rows = list(db.scalars(select(Customer).where(Customer.business_id == business_id, ~Customer.is_declined)
                               .order_by(Customer.created_at, Customer.customer_id)))
    subjects = _subjects(database, business_id, rows)
    main = _main(visit)
    rows.sort(key=lambda row: (row.customer_id not in subjects, row.email_key != main))  # stable: then the first there was
    return (rows[0], subjects.get(rows[0].customer_id)) if rows else None


def _subjects(database: Database, business_id: str, rows: list[Customer]) -> dict[str, str]:
    with database.open(everything("what apps call a customer")) as db:
        known = db.execute(select(AppSubject.customer_id, AppSubject.id).where(
            AppSubject.business_id == business_id, AppSubject.customer_id.in_([row.customer_id for row in rows])))
        return {row.customer_id: row.id for row in known}


def _main(visit: Visit) -> str:
    return next((key for _, key, is_primary in visit.emails if is_primary), "")


def _newest(proved: list[GrantView], address_key: str, main: str) -> GrantView:
    """The newest proof that opens that address's rows: when this person was authenticated as who the app is told of (`auth_time`,
    OpenID Connect Core §2). A younger letter to another address, one that does not open these rows, is none (safety 2.2)."""
    return max((one for one in proved if one.address_key in (None, address_key, main)), key=lambda one: one.proved_at)


def _who(row: Customer, subject: str | None, identity_id: str | None, grant: GrantView) -> Who:
    return Who(row.business_id, row.customer_id, row.name, row.email, identity_id, grant.id, grant.proved_at, subject)
