"""The sections of the console, in the order one reads them. A section shows where its pages exist and the role may look."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app, request
from flask_babel import lazy_gettext as _l

from core.web import here
from tenants.team import Member

SECTIONS = (
    # group, label, endpoint, verb
    (_l("Sales"), _l("Customers"), "console.customers", "customers.read"),
    (_l("Sales"), _l("Subscriptions"), "console.subscriptions", "subscriptions.read"),
    (_l("Sales"), _l("Payments"), "console.payments", "money.read"),
    (_l("Catalogue"), _l("Products"), "console.products", "products.read"),
    (_l("Catalogue"), _l("Collections"), "console.collections", "products.read"),
    (_l("Settings"), _l("Portal rules"), "console.settings", "settings.read"),
    (_l("Settings"), _l("Brand"), "console.brand", "settings.read"),
    (_l("Settings"), _l("Domain"), "console.domains", "settings.read"),
    (_l("Developers"), _l("API keys"), "console.keys", "developers.read"),
    (_l("Developers"), _l("Webhooks"), "console.webhooks", "developers.read"),
    (_l("Developers"), _l("Events"), "console.events", "developers.read"),
    (_l("Developers"), _l("Sign-in provider"), "console.provider", "developers.read"),
    (_l("Developers"), _l("Apps"), "console.apps", "developers.read"),
    (_l("Developers"), _l("Collected elsewhere"), "console.elsewhere", "developers.read"),
    (_l("Business"), _l("Team"), "console.team", "team.read"),
    (_l("Business"), _l("Activity"), "console.activity", "activity.read"),
)


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
            out.append(Section(str(group), str(label), address, _current(address)))
    return out


def first_page(member: Member) -> str | None:
    """Where somebody of this role begins."""
    found = sections(member)
    return found[0].address if found else None


def _current(address: str) -> str:
    if request.path == address:
        return "page"
    return "true" if request.path.startswith(address + "/") else ""
