"""Webhooks: sends events to the programs of a business (Standard Webhooks; reference §2.9).

Events become deliveries (`queueing.py`, a handler of the worker), and deliveries become attempts (`sending.py`, in separate threads, so
that a slow endpoint delays neither emails nor other endpoints). `endpoints.py` manages endpoints, `history.py` reads deliveries.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services

__all__ = ["register"]


def register(app: Flask, services: Services) -> None:
    from core.worker import Tick
    from tenants.webhooks import backlog, emails, queueing
    from tenants.webhooks.retention import sweep
    from tenants.webhooks.sending import Sender

    sender = Sender(services)
    app.extensions["webhooks"] = sender
    queueing.register(services, sender.wake)
    emails.register(services)
    backlog.register(services.metrics)
    services.worker.each_round.append(sender.start)
    services.worker.at_end.append(sender.stop)
    services.worker.ticks.append(Tick("old webhook deliveries", timedelta(hours=1), lambda: sweep(services.database)))
