"""Webhooks: what happens here is told to a business's programs (Standard Webhooks; reference §2.9).

event → deliveries (`queueing.py`, a worker's handler) → attempts (`sending.py`, threads of its own, so that letters and
other endpoints never wait for a slow one). Endpoints are kept by `endpoints.py`, what was sent is read in `history.py`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from core.web import House

__all__ = ["register"]


def register(app: Flask, house: House) -> None:
    from core.worker import Tick
    from tenants.webhooks import letters, queueing
    from tenants.webhooks.sending import Sender
    from tenants.webhooks.sweeping import sweep

    sender = Sender(house)
    app.extensions["webhooks"] = sender
    queueing.register(house, sender.wake)
    letters.register(house)
    house.worker.each_round.append(sender.start)
    house.worker.at_end.append(sender.stop)
    house.worker.ticks.append(Tick("sweep webhooks", timedelta(hours=1), lambda: sweep(house.database)))
