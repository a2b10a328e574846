"""What a business's owner sees after the test: whom the provider named, and which customer that is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from auth.providers import joining
from auth.providers.flow import Came
from auth.providers.models import Connection
from auth.providers.parties import Party
from core import clock
from core.db import Database
from core.scope import everything
from core.settings import Settings

SHOWN = ("sub", "email", "email_verified", "name", "preferred_username", "sid")


def result(database: Database, settings: Settings, party: Party, came: Came) -> dict[str, Any]:
    """For the page: `claims` [(name, value)], `customer` (id or None), `claim`. Marks the connection as tested."""
    with database.open(everything("a business tests its provider"), write=True) as db:
        row = db.scalars(select(Connection).where(Connection.business_id == party.business_id, Connection.id == party.connection_id)).one()
        row.tested_at = clock.wall()
        customer = joining.named_customer(db, party, came.claims)
    shown = dict.fromkeys((*SHOWN, party.claim))
    return {"claims": [(name, str(came.claims.all[name])[:200]) for name in shown if name in came.claims.all],
            "customer": customer.customer_id if customer else None, "claim": party.claim, "name": party.label}
