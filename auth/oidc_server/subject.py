"""Find the customer that may be disclosed to an app: proved by this browser or by the business's own provider.

A portal link does not identify its holder, so it never suffices (design §2.3). Of several customer rows, one already known to an
app is preferred, then the one with the main address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from auth.models import Grant, IdentityEmail
from auth.oidc_server.models import AppSession, AppSubject
from auth.sessions import Visit
from auth.visit_rows import VisitGrant
from billing.model.parties import Customer
from core.db import Database, ScopedSession
from core.scope import customer_of, everything, resolving


@dataclass(frozen=True)
class DisclosedCustomer:
    """One customer row of the app's business, and the grant of this browser that opens it. `name`, `email`: of that row."""

    business_id: str
    customer_id: str
    name: str
    email: str
    identity_id: str | None
    grant_id: str
    auth_time: datetime
    subject: str | None


def of_visit(database: Database, visit: Visit | None, business_id: str) -> DisclosedCustomer | None:
    if visit is None:
        return None
    proved = [item for item in visit.grants if item.door == "unified"]
    if visit.identity_id is not None and proved and visit.addresses:
        found = _row(database, visit, business_id)
        if found is not None:
            return _disclosed(*found, visit.identity_id, _newest(proved, found[0].email_key, _main(visit)))
    by_business = [
        item for item in visit.grants if item.door == "business" and item.business_id == business_id and item.sign_in_method == "sso"
    ]
    if by_business:
        grant = max(by_business, key=lambda item: item.proved_at)
        with database.open(customer_of(business_id, str(grant.customer_id))) as db:
            row = db.scalar(select(Customer).where(~Customer.is_declined))
        if row is not None:
            return _disclosed(row, _subjects(database, business_id, [row]).get(row.customer_id), None, grant)
    return None


def is_somebody(visit: Visit | None, business_id: str) -> bool:
    """Return whether this browser proved any person, customer or not."""
    return visit is not None and (
        visit.is_person or any(grant.sign_in_method == "sso" and grant.business_id == business_id for grant in visit.grants)
    )


def still_theirs(db: ScopedSession, app_session: AppSession, row: Customer) -> bool:
    """Return whether the row still belongs to the person. Its address may have changed since. `db` runs under everything()."""
    if row.is_declined:
        return False
    if app_session.identity_id is None:
        grant = db.scalar(select(Grant.customer_id).where(Grant.id == app_session.grant_id))
        return grant == row.customer_id
    mine = select(IdentityEmail.id).where(IdentityEmail.identity_id == app_session.identity_id, IdentityEmail.email_key == row.email_key)
    return db.scalar(mine) is not None


def _row(database: Database, visit: Visit, business_id: str) -> tuple[Customer, str | None] | None:
    with database.open(resolving(visit.addresses, identity_id=visit.identity_id)) as db:
        rows = list(
            db.scalars(
                select(Customer)
                .where(Customer.business_id == business_id, ~Customer.is_declined)
                .order_by(Customer.created_at, Customer.customer_id)
            )
        )
    subjects = _subjects(database, business_id, rows)
    main = _main(visit)
    rows.sort(key=lambda row: (row.customer_id not in subjects, row.email_key != main))  # stable sort: the oldest row comes first otherwise
    return (rows[0], subjects.get(rows[0].customer_id)) if rows else None


def _subjects(database: Database, business_id: str, rows: list[Customer]) -> dict[str, str]:
    with database.open(everything("load subject ids")) as db:
        known = db.execute(
            select(AppSubject.customer_id, AppSubject.id).where(
                AppSubject.business_id == business_id, AppSubject.customer_id.in_([row.customer_id for row in rows])
            )
        )
        return {row.customer_id: row.id for row in known}


def _main(visit: Visit) -> str:
    return next((key for _, key, is_primary in visit.emails if is_primary), "")


def _newest(proved: list[VisitGrant], address_key: str, main: str) -> VisitGrant:
    """Return the newest proof that opens the rows of that address. It determines `auth_time` (OpenID Connect Core §2).

    A newer email to another address that does not open these rows does not count (safety 2.2).
    """
    return max((item for item in proved if item.address_key in (None, address_key, main)), key=lambda item: item.proved_at)


def _disclosed(row: Customer, subject: str | None, identity_id: str | None, grant: VisitGrant) -> DisclosedCustomer:
    return DisclosedCustomer(row.business_id, row.customer_id, row.name, row.email, identity_id, grant.id, grant.proved_at, subject)
