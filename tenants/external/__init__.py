"""External billing: pulls the data of businesses that another system bills, keeps it current, and delegates actions to that system."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services


def register(app: Flask, services: Services) -> None:
    from tenants.external import cli, incoming_webhooks
    from tenants.external.lanes import Accounts

    cli.register(app, services)
    incoming_webhooks.register(app, services)
    lanes = Accounts(services).lanes
    services.worker.lanes.append(lanes)
    if services.handlers is not None:
        services.handlers.on("subscription.action_delegated", lambda work: lanes.wake(), "external.wake")
