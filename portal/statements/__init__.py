"""Cancel or withdraw without signing in: `/cancel` and `/withdraw` for every business, with its id for one, and their emails.

The answer is the same whether or not the statement matches a purchase. The worker matches it, see `billing/statements`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from core.outbox_claims import Work
    from core.services import Services


def _not_cancelled(services: Services, work: Work) -> None:
    from billing.statements import carry_out

    if work.data.get("verb") == "cancel" and work.actor.type == "customer":
        carry_out.not_cancelled(services.database, str(work.business_id), str(work.noun_id))


def register(app: Flask, services: Services) -> None:
    from billing.statements import carry_out, signed_out, staff_withdrawals
    from billing.subscriptions import consents
    from core.worker import Tick
    from portal.statements import emails
    from portal.statements.views import bp, statement_links

    app.register_blueprint(bp)
    app.jinja_env.globals["statement_links"] = statement_links
    services.handlers.on(
        "statement.received",
        lambda work: carry_out.receive(services.database, str(work.business_id), str(work.noun_id)),
        "statements.match",
    )
    services.handlers.on(
        "statement.received",
        lambda work: signed_out.receive(services.processor, str(work.business_id), str(work.noun_id)),
        "statements.withdraw",
    )
    services.handlers.on(
        "refund.failed",
        lambda work: staff_withdrawals.refund_failed(services.database, str(work.business_id), str(work.noun_id)),
        "statements.refund_failed",
    )
    for event in ("dispute.won", "dispute.cancelled"):
        services.handlers.on(
            event,
            lambda work: staff_withdrawals.dispute_returned(services.database, str(work.business_id), str(work.noun_id)),
            "statements.dispute_returned",
        )
    for event in ("subscription.action_refused", "subscription.action_unanswered"):
        services.handlers.on(event, lambda work: _not_cancelled(services, work), "statements.not_cancelled")
    emails.register(services)
    services.worker.ticks.append(Tick("old consents", timedelta(hours=1), lambda: consents.sweep(services.database)))
    services.worker.ticks.append(Tick("planned statements", timedelta(minutes=1), lambda: carry_out.run_due(services.database)))
