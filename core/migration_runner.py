"""Run the steps of migrations (core/migration_steps.py) that follow a committed revision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from alembic.script import Script, ScriptDirectory
from sqlalchemy import select
from sqlalchemy.engine import Engine

from core import guard, revisions
from core.migration_steps import MigrationStep, Say, Step, see_everything


@lru_cache(maxsize=1)
def ordered() -> tuple[Script, ...]:
    """Return every revision, oldest first."""
    return tuple(reversed(list(ScriptDirectory.from_config(revisions.config()).walk_revisions())))


def steps_of(script: Script) -> Sequence[Step]:
    return getattr(script.module, "steps", ())


def step_ids(script: Script) -> Iterator[tuple[str, Step]]:
    yield from ((f"{script.revision}/{item.name}", item) for item in steps_of(script))


def targets(found: frozenset[str]) -> list[str]:
    """Return the revisions where an upgrade from `found` stops: each one with steps, and the newest."""
    pending = ordered()[_applied(found) :]
    return list(dict.fromkeys([item.revision for item in pending if steps_of(item)] + [item.revision for item in pending[-1:]]))


def run(engine: Engine, found: frozenset[str], say: Say) -> None:
    """Run the unfinished steps of every revision up to `found`."""
    for script in ordered()[: _applied(found)]:
        for id, step in step_ids(script):
            with guard.raw_sql():
                with engine.begin() as connection:
                    see_everything(connection)
                    done_at = connection.execute(select(MigrationStep.done_at).where(MigrationStep.id == id)).scalar()
                if done_at is None:
                    step.run(engine, id, say)


def expected() -> frozenset[str]:
    """Return the ids of the steps of all revisions. A database must have finished them before it is served."""
    return frozenset(id for script in ordered() for id, _ in step_ids(script))


def _applied(found: frozenset[str]) -> int:
    return max((n for n, item in enumerate(ordered(), 1) if item.revision in found), default=0)
