"""A consent: the scopes that a customer allowed an app. One row per app and customer. An app that wants more asks again."""

from __future__ import annotations

from sqlalchemy import select, update

from auth.oidc_server.clients import Client
from auth.oidc_server.models import AppConsent, AppSession
from auth.oidc_server.subject import DisclosedCustomer
from billing.model.parties import Customer
from core import clock, ids
from core.db import Database, ScopedSession
from core.errors import NotFound
from core.outbox import emit
from core.scope import Actor, everything
from core.transaction_retry import retried

BY_BUSINESS = "sso"


def covers(database: Database, client: Client, customer: DisclosedCustomer, scope: str) -> bool:
    with database.open(everything("check a consent")) as db:
        row = _of(db, client, customer)
        return row is not None and _holds(row, customer) and set(scope.split()) <= set(row.scopes)


@retried
def give(database: Database, client: Client, customer: DisclosedCustomer, scope: str) -> None:
    with database.open(everything("store a consent"), write=True) as db:
        row = _of(db, client, customer, lock=True)
        if row is None:
            row = AppConsent(
                business_id=customer.business_id,
                id=ids.new_id("cst"),
                customer_id=customer.customer_id,
                app_id=client.client_id,
                app_name=client.app.name,
                scopes=[],
                given_at=clock.wall(),
                revoked_at=clock.wall(),
            )
            db.add(row)
        before = set(row.scopes) if _holds(row, customer) else set()
        row.scopes, row.app_name = sorted(before | set(scope.split())), client.app.name
        row.given_by = customer.identity_id or BY_BUSINESS
        row.given_at, row.revoked_at = clock.wall(), None
        emit(
            db,
            "app.allowed",
            business_id=customer.business_id,
            customer_id=customer.customer_id,
            noun=row.app_id,
            data={"name": row.app_name},
            actor=Actor("customer", customer.identity_id or customer.customer_id),
        )


def _holds(row: AppConsent, customer: DisclosedCustomer) -> bool:
    """Return whether the consent is valid and was given by the same person, or by the same provider sign-in.

    A business can put any address into a customer row and vouch for it by its own provider. Such a consent must not count for the
    person who owns that address, and vice versa.
    """
    return row.revoked_at is None and row.given_by == (customer.identity_id or BY_BUSINESS)


def of_person(db: ScopedSession) -> list[AppConsent]:
    """Return the person's active consents, newest first. `db` is the person's own session."""
    return list(db.scalars(select(AppConsent).where(AppConsent.revoked_at.is_(None)).order_by(AppConsent.given_at.desc(), AppConsent.id)))


def revoke(db: ScopedSession, consent_id: str) -> AppConsent:
    """Revoke a consent and end the app's sessions, in the person's own session. Raises NotFound."""
    row = db.scalar(select(AppConsent).where(AppConsent.id == consent_id, AppConsent.revoked_at.is_(None)))
    if row is None:
        raise NotFound()
    _revoke(db, row)
    return row


def revoke_all(db: ScopedSession, address_keys: list[str], actor: Actor) -> None:
    """Revoke all consents of these addresses, so that a later owner is asked again. `db` runs under everything()."""
    same_customer = (
        (Customer.business_id == AppConsent.business_id)
        & (Customer.customer_id == AppConsent.customer_id)
        & Customer.email_key.in_(address_keys)
    )
    for row in list(db.scalars(select(AppConsent).join(Customer, same_customer).where(AppConsent.revoked_at.is_(None)))):
        _revoke(db, row, actor)


def _revoke(db: ScopedSession, row: AppConsent, actor: Actor | None = None) -> None:
    row.revoked_at = clock.wall()
    db.execute(
        update(AppSession)
        .where(
            AppSession.business_id == row.business_id,
            AppSession.customer_id == row.customer_id,
            AppSession.app_id == row.app_id,
            AppSession.ended_at.is_(None),
        )
        .values(ended_at=clock.wall()),
        execution_options={"synchronize_session": False},
    )
    emit(
        db,
        "app.disallowed",
        business_id=row.business_id,
        customer_id=row.customer_id,
        noun=row.app_id,
        data={"name": row.app_name},
        actor=actor,
    )


def _of(db: ScopedSession, client: Client, customer: DisclosedCustomer, lock: bool = False) -> AppConsent | None:
    query = select(AppConsent).where(
        AppConsent.business_id == customer.business_id,
        AppConsent.customer_id == customer.customer_id,
        AppConsent.app_id == client.client_id,
    )
    return db.scalar(query.with_for_update() if lock else query)
