"""Businesses whose billing another system does: their data is pulled, kept up to date, and acts on it are handed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from core.web import House


def register(app: Flask, house: House) -> None:
    from tenants.elsewhere import cli, hooks
    from tenants.elsewhere.lanes import Accounts

    cli.register(app, house)
    hooks.register(app, house)
    lanes = Accounts(house).lanes
    house.worker.lanes.append(lanes)
    if house.handlers is not None:
        house.handlers.on("subscription.asked_elsewhere", lambda work: lanes.wake(), "elsewhere.wake")
