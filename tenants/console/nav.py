"""The navigation of the console. A section is shown if its page exists and the role allows it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flask import current_app, request
from flask_babel import lazy_gettext as _l

from core.links import here
from tenants.team import Member

SECTIONS = (
    # group, label, endpoint, verb
    (_l("Sales"), _l("Home"), "console.home", "customers.read"),
    (_l("Sales"), _l("Customers"), "console.customers", "customers.read"),
    (_l("Sales"), _l("Subscriptions"), "console.subscriptions", "subscriptions.read"),
    (_l("Sales"), _l("Statements received"), "console.statements", "subscriptions.read"),
    (_l("Sales"), _l("Payments"), "console.payments", "money.read"),
    (_l("Sales"), _l("Refund requests"), "console.refund_requests", "money.read"),
    (_l("Sales"), _l("Disputes"), "console.disputes", "money.read"),
    (_l("Catalogue"), _l("Products"), "console.products", "products.read"),
    (_l("Catalogue"), _l("Collections"), "console.collections", "products.read"),
    (_l("Settings"), _l("Portal rules"), "console.settings", "settings.read"),
    (_l("Settings"), _l("Payment accounts"), "console.payment_accounts", "settings.read"),
    (_l("Settings"), _l("Taxes"), "console.taxes", "settings.read"),
    (_l("Settings"), _l("Brand"), "console.brand", "settings.read"),
    (_l("Settings"), _l("Domain"), "console.domains", "settings.read"),
    (_l("Developers"), _l("API keys"), "console.keys", "developers.read"),
    (_l("Developers"), _l("Webhooks"), "console.webhooks", "developers.read"),
    (_l("Developers"), _l("Events"), "console.events", "developers.read"),
    (_l("Developers"), _l("Sign-in provider"), "console.provider", "developers.read"),
    (_l("Developers"), _l("Apps"), "console.apps", "developers.read"),
    (_l("Developers"), _l("External billing"), "console.external_billing", "developers.read"),
    (_l("Business"), _l("Team"), "console.team", "team.read"),
    (_l("Business"), _l("Activity"), "console.activity", "activity.read"),
)

ALSO_BELOW = {
    "console.customers": ("console.share",),
    "console.subscriptions": ("console.failing",),
    "console.payments": ("console.refunds", "console.reconciliation"),
    "console.products": ("console.new_addon", "console.addon"),
}
"""Section → endpoints that belong to it although their address is not below its own."""


@dataclass(frozen=True)
class Section:
    group: str
    label: str
    address: str
    current: str


def sections(member: Member) -> list[Section]:
    out = []
    for group, label, endpoint, verb in SECTIONS:
        if endpoint in current_app.view_functions and member.may(verb):
            address = here(endpoint)
            out.append(Section(str(group), str(label), address, _current(endpoint, address)))
    inner = max((item.address for item in out if item.current), key=len, default="")  # a section may be below another one
    return [item if item.address == inner else replace(item, current="") for item in out]


def _current(endpoint: str, address: str) -> str:
    """Return the value of aria-current. Every page of the business is below the home page, which is current only by itself."""
    if request.path == address:
        return "page"
    if endpoint == "console.home":
        return ""
    return "true" if request.path.startswith(address + "/") or request.endpoint in ALSO_BELOW.get(endpoint, ()) else ""
