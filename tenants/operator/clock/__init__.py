"""The billing clock of a test deployment: the command `flask --app wsgi clock`, the page `/clock`, and the processes that follow."""

from __future__ import annotations

from flask import Flask

from core.services import Services
from core.shared_clock import SharedClock
from tenants.operator.clock import cli, pages
from tenants.operator.clock.turning import Turning

ROUND = 5.0  # seconds that a worker moves the clock before it does other work


def register(app: Flask, services: Services) -> None:
    """Register the command and, in test mode, the page. In live mode the command refuses and the page does not exist."""
    shared = SharedClock(services.database)
    turning = Turning(services, shared)
    cli.register(app, services, shared, turning)
    if not services.settings.is_test:
        return
    app.register_blueprint(pages.make_blueprint(services, shared))
    shared.follow()

    def move_clock() -> None:
        if shared.follow().goal is not None:
            turning.run_for(ROUND)

    services.worker.each_round.append(move_clock)
    if services.settings.worker == "off":  # no worker in this process follows the clock
        app.before_request(shared.follow_at_times)
