"""Checks customers' EU VAT IDs with VIES, the register of the European Commission, in the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services

__all__ = ["register"]


def register(app: Flask, services: Services) -> None:
    from tenants.vies.lanes import VatIdChecks

    checks = VatIdChecks(services)
    services.worker.lanes.append(checks.lanes)
    services.metrics.add_queue(checks.lanes.name, checks.backlog)
