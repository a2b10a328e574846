"""The answer of a provider's token endpoint, kept for the page that waits for it.

The exchange runs as an errand (core/errands.py), so that a provider which does not answer holds no request. What it proved
is sealed into the row of the state; the page, loaded again, takes it from there once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import select, update

from auth.providers import claims
from auth.providers.claims import Claims
from auth.providers.mistakes import Mistake
from auth.providers.models import ProviderState
from core import clock
from core.db import Database
from core.scope import everything
from core.secrets import seal, unseal
from core.settings import Settings

PATIENCE = timedelta(seconds=40)
"""How long the page waits in all; then the provider is said not to answer."""
_TAKEN = ""
"""The outcome of a state whose outcome was taken."""


def keep(database: Database, settings: Settings, state_id: str, ask: Callable[[], Claims]) -> None:
    """Run the exchange and write down what came of it."""
    try:
        outcome: dict[str, object] = {"claims": ask().all}
    except Mistake as wrong:
        outcome = {"mistake": [wrong.code, wrong.detail]}
    with database.open(everything("what a provider answered"), write=True) as db:
        db.execute(update(ProviderState).where(ProviderState.id == state_id, ProviderState.outcome.is_(None))
                   .values(outcome=seal(settings.secret_keys, _purpose(state_id), json.dumps(outcome))),
                   execution_options={"synchronize_session": False})


def close(database: Database, state_id: str) -> None:
    """Nothing was asked, and nothing will be."""
    with database.open(everything("a provider was not asked"), write=True) as db:
        db.execute(update(ProviderState).where(ProviderState.id == state_id).values(outcome=_TAKEN),
                   execution_options={"synchronize_session": False})


def take(database: Database, settings: Settings, state_id: str) -> Claims:
    """Raises Mistake: "waiting" while there is no outcome, "wrong_state" where it was taken before, or what went wrong."""
    with database.open(everything("has the provider answered")) as db:
        row = db.scalar(select(ProviderState).where(ProviderState.id == state_id))
    if row is None or row.outcome == _TAKEN or row.used_at is None:
        raise Mistake("wrong_state", "used before")
    if row.outcome is None:
        raise Mistake("waiting" if clock.wall() - row.used_at < PATIENCE else "unreachable", "no answer yet")
    with database.open(everything("an outcome is taken once"), write=True) as db:
        taken = db.execute(update(ProviderState).where(ProviderState.id == state_id, ProviderState.outcome == row.outcome)
                           .values(outcome=_TAKEN), execution_options={"synchronize_session": False})
    if taken.rowcount != 1:  # type: ignore[attr-defined]
        raise Mistake("wrong_state", "used before")
    outcome = json.loads(unseal(settings.secret_keys, _purpose(state_id), row.outcome))
    if "mistake" in outcome:
        raise Mistake(*outcome["mistake"])
    return claims.read(outcome["claims"])


def _purpose(state_id: str) -> str:
    return f"outcome of a provider's answer, {state_id}"
