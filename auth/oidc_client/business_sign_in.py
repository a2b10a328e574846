"""Sign-in with a business's own provider: opens one customer row of that business and nothing else (safety 6.3)."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from auth import session_lifecycle, tokens
from auth.oidc_client.account_linking import claimed_address, grant_columns
from auth.oidc_client.claims import ProviderClaims
from auth.oidc_client.errors import ProviderError
from auth.oidc_client.flow import CallbackResult
from auth.oidc_client.models import Connection, ConnectionLogin
from auth.oidc_client.provider_config import ProviderConfig
from auth.sessions import Visit
from billing.model.parties import Customer
from core import clock
from core.db import Database, ScopedSession
from core.scope import everything
from core.settings import Settings
from core.transaction_retry import retried

SSO_LIFE = timedelta(hours=24)


@retried
def sign_in(
    database: Database, settings: Settings, party: ProviderConfig, callback: CallbackResult, before: Visit | None, device: str
) -> str:
    """Open one customer of that business. Returns the cookie secret. Raises ProviderError."""
    claims = callback.claims
    business_id, connection_id = str(party.business_id), str(party.connection_id)
    with database.open(everything("sign in with a business's provider"), write=True) as db:
        still = select(Connection.id).where(
            Connection.business_id == business_id, Connection.id == connection_id, Connection.removed_at.is_(None), Connection.is_enabled
        )
        if db.scalar(still.with_for_update(read=True)) is None:  # locked, because it may be removed at the same time
            raise ProviderError("wrong_state", "switched off")
        hashes = tokens.hashes(settings, "connection-login", f"{party.key}\0{claims.subject}")
        login = db.scalar(
            select(ConnectionLogin).where(
                ConnectionLogin.business_id == business_id, ConnectionLogin.connection_id == connection_id, ConnectionLogin.id.in_(hashes)
            )
        )
        if login is None:
            customer = find_customer(db, party, claims)
            if customer is None:
                raise ProviderError("not_a_customer")
            login = ConnectionLogin(
                business_id=business_id,
                id=hashes[0],
                customer_id=customer.customer_id,
                connection_id=connection_id,
                created_at=clock.wall(),
                last_used_at=clock.wall(),
            )
            db.add(login)
        login.last_used_at = clock.wall()
        return session_lifecycle.grant_business(
            db,
            settings,
            before,
            device,
            business_id=business_id,
            customer_id=login.customer_id,
            sign_in_method="sso",
            life=SSO_LIFE,
            **grant_columns(settings, party, claims),
        )


def find_customer(db: ScopedSession, party: ProviderConfig, claims: ProviderClaims) -> Customer | None:
    """Return the customer that the connection's claim identifies, by id or address. Of several, the oldest."""
    query = select(Customer).where(Customer.business_id == party.business_id, ~Customer.is_declined)
    if party.claim == "email":
        try:
            return db.scalar(query.where(Customer.email_key == claimed_address(claims)[1]).order_by(Customer.created_at).limit(1))
        except ProviderError:
            return None
    value = claims.all.get(party.claim)
    return db.scalar(query.where(Customer.customer_id == value)) if isinstance(value, str) else None
