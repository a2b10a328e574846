"""The result of a connection test for the business's owner: the claims, and the customer they identify."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from auth.oidc_client import business_sign_in
from auth.oidc_client.flow import CallbackResult
from auth.oidc_client.models import Connection
from auth.oidc_client.provider_config import ProviderConfig
from core import clock
from core.db import Database
from core.scope import everything
from core.settings import Settings

SHOWN = ("sub", "email", "email_verified", "name", "preferred_username", "sid")


def result(database: Database, settings: Settings, party: ProviderConfig, callback: CallbackResult) -> dict[str, Any]:
    """Mark the connection as tested and return page data: `claims` [(name, value)], `customer` (id or None), `claim`, `name`."""
    with database.open(everything("store a provider test"), write=True) as db:
        row = db.scalars(select(Connection).where(Connection.business_id == party.business_id, Connection.id == party.connection_id)).one()
        row.tested_at = clock.wall()
        customer = business_sign_in.find_customer(db, party, callback.claims)
    shown = dict.fromkeys((*SHOWN, party.claim))
    return {
        "claims": [(name, str(callback.claims.all[name])[:200]) for name in shown if name in callback.claims.all],
        "customer": customer.customer_id if customer else None,
        "claim": party.claim,
        "name": party.label,
    }
