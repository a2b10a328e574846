"""The merchant's console: sales, catalogue, settings, developers, team, activity. Each module hangs its pages on `door.bp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenants.console import (
    activity,
    addons,
    apps,
    blocking,
    brand,
    collections,
    customers,
    deliveries,
    domains,
    elsewhere,
    events,
    exports,
    founding,
    groups,
    invites,
    keys,
    languages,
    lobby,
    parked,
    payments,
    products,
    provider,
    refunding,
    settings,
    staff_changes,
    subscriptions,
    team,
    view_as,
    webhooks,
)
from tenants.console.door import bp

if TYPE_CHECKING:
    from flask import Flask

    from core.web import House

__all__ = [
    "activity", "addons", "apps", "blocking", "brand", "collections", "customers", "deliveries", "domains", "elsewhere", "events",
    "exports", "founding", "groups", "invites", "keys", "languages", "lobby", "parked", "payments", "products", "provider", "refunding",
    "register", "settings", "staff_changes", "subscriptions", "team", "view_as", "webhooks",
]  # fmt: skip


def register(app: Flask, house: House) -> None:
    import auth
    from tenants import exports as files
    from tenants import letters, team
    from tenants.console.door import me
    from tenants.console.nav import sections

    app.register_blueprint(bp)
    app.register_blueprint(view_as.door)
    letters.register(house)
    files.register(house)
    house.handlers.on("auth.accounts_merged", lambda work: team.follow(house.database, work.data["from"], work.data["into"]), "team.follow")
    app.jinja_env.globals.update(console_sections=sections, member=me)
    auth.also_known(app, lambda address_key: team.invited_address(house.database, address_key))
