"""The turned clock of a test deployment: `flask --app wsgi clock`, the page `/clock`, and who follows it."""

from __future__ import annotations

from flask import Flask

from core.shared_clock import SharedClock
from core.web import House
from tenants.clock import cli, pages
from tenants.clock.turning import Turning

ROUND = 5.0  # seconds of turning before a worker looks after everything else again


def register(app: Flask, house: House) -> None:
    """In live mode there is no clock to turn: the command says so, the page does not exist."""
    shared = SharedClock(house.database)
    turning = Turning(house, shared)
    cli.register(app, house, shared, turning)
    if not house.settings.is_test:
        return
    app.register_blueprint(pages.make_blueprint(house, shared))
    shared.follow()

    def look() -> None:
        if shared.follow().goal is not None:
            turning.run_for(ROUND)

    house.worker.each_round.append(look)
    if house.settings.worker == "off":  # no worker in this process that would look
        app.before_request(shared.follow_at_times)
