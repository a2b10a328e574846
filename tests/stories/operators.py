"""An operator signed in to the operator's page, and failed work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import select

from core import clock
from core.operations.audit import OperatorAction
from core.outbox import Outbox, emit
from core.scope import everything, system
from core.services import Services
from tests.cast import Cast
from tests.visitor import Visitor

SECRET = "an operator's long secret"  # noqa: S105 - of a test
PAGES = (
    "/operator",
    "/operator/work",
    "/operator/work?state=retrying",
    "/operator/work?state=set_aside",
    "/operator/emails",
    "/operator/actions",
)
PRIVATE = "SMTPRecipientsRefused: {'ada@marlow.example': (550, b'no Ada Marlow here, EUR 24.17')}"


def with_secret(services: Services, **changes: Any) -> None:
    """Set an operator secret for this test."""
    services.settings = replace(services.settings, operator_secret=SECRET, **changes)


def sign_in(app: Any, **kwargs: Any) -> Visitor:
    operator = Visitor(app, **kwargs)
    operator.get("/operator")
    operator.submit("sign-in", secret=SECRET)
    return operator


def failed_work(cast: Cast, state: str = "given_up", type: str = "subscription.paused", **changes: Any) -> str:
    """Create an event of Ada at Acorn whose work failed nine times. Returns its id."""
    buyer = cast.ada_at_acorn
    with cast.services.database.open(system(buyer.business_id), write=True) as db:
        id = emit(
            db,
            type,
            business_id=buyer.business_id,
            customer_id=buyer.customer_id,
            noun=buyer.subscription_id,
            data={"address": buyer.email},
        )
    with cast.services.database.open(everything("a test's work fails"), write=True) as db:
        row = db.get(Outbox, id)
        row.state, row.attempts, row.error = state, 9, f"{emailer(cast.services, type)}: {PRIVATE}"
        for name, value in changes.items():
            setattr(row, name, value)
    return id


def emailer(services: Services, type: str) -> str:
    """Return the name of the handler that emails the customer about an event."""
    return next(name for name, _ in services.handlers.of(type) if name.startswith("portal."))


def row_of(services: Services, id: str) -> Outbox:
    with services.database.open(everything("a test looks at work")) as db:
        row = db.get(Outbox, id)
        assert row is not None
        return row


def actions(services: Services, *but: str) -> list[tuple[str, str, str | None, str]]:
    """Return (action, subject, reason, source), oldest first."""
    with services.database.open(everything("a test looks at actions")) as db:
        rows = db.scalars(select(OperatorAction).order_by(OperatorAction.at, OperatorAction.id))
        return [(row.action, row.subject, row.reason, row.source) for row in rows if row.action not in but]


def minutes_ago(count: float) -> Any:
    from datetime import timedelta

    return clock.wall() - timedelta(minutes=count)
