"""Results of token requests, stored for the page that waits for them.

The request runs in the background (core/background_calls.py), so that a slow provider does not block a web request. The result is
encrypted in the state row. The page reads it once when it is reloaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import select, update

from auth.oidc_client import claims
from auth.oidc_client.claims import ProviderClaims
from auth.oidc_client.errors import ProviderError
from auth.oidc_client.models import ProviderState
from core import clock
from core.db import Database
from core.encryption import seal, unseal
from core.scope import everything
from core.settings import Settings

PATIENCE = timedelta(seconds=40)
"""How long the page waits in total before it reports that the provider does not answer."""
_TAKEN = ""
"""Marks a state whose outcome was already read."""


def run_and_store(database: Database, settings: Settings, state_id: str, ask: Callable[[], ProviderClaims]) -> None:
    """Run the exchange and store its outcome."""
    try:
        outcome: dict[str, object] = {"claims": ask().all}
    except ProviderError as error:
        outcome = {"mistake": [error.code, error.detail]}
    with database.open(everything("store a provider outcome"), write=True) as db:
        db.execute(
            update(ProviderState)
            .where(ProviderState.id == state_id, ProviderState.outcome.is_(None))
            .values(outcome=seal(settings.secret_keys, _purpose(state_id), json.dumps(outcome))),
            execution_options={"synchronize_session": False},
        )


def close(database: Database, state_id: str) -> None:
    """Mark the state as finished without a request."""
    with database.open(everything("close a provider state"), write=True) as db:
        db.execute(
            update(ProviderState).where(ProviderState.id == state_id).values(outcome=_TAKEN),
            execution_options={"synchronize_session": False},
        )


def take(database: Database, settings: Settings, state_id: str) -> ProviderClaims:
    """Read the outcome once. Raises ProviderError: "waiting" without an outcome yet, "wrong_state" if already read, or its error."""
    with database.open(everything("read a provider outcome")) as db:
        row = db.scalar(select(ProviderState).where(ProviderState.id == state_id))
    if row is None or row.outcome == _TAKEN or row.used_at is None:
        raise ProviderError("wrong_state", "used before")
    if row.outcome is None:
        raise ProviderError("waiting" if clock.wall() - row.used_at < PATIENCE else "unreachable", "no answer yet")
    with database.open(everything("take a provider outcome"), write=True) as db:
        taken = db.execute(
            update(ProviderState).where(ProviderState.id == state_id, ProviderState.outcome == row.outcome).values(outcome=_TAKEN),
            execution_options={"synchronize_session": False},
        )
    if taken.rowcount != 1:  # type: ignore[attr-defined]
        raise ProviderError("wrong_state", "used before")
    outcome = json.loads(unseal(settings.secret_keys, _purpose(state_id), row.outcome))
    if "mistake" in outcome:
        raise ProviderError(*outcome["mistake"])
    return claims.read(outcome["claims"])


def _purpose(state_id: str) -> str:
    return f"outcome of a provider's answer, {state_id}"
