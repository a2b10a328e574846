"""Permissions of the roles at a business. Pages, buttons and the test of every console route use this table."""

from __future__ import annotations

from typing import Literal

from flask_babel import lazy_gettext as _l

Role = Literal["owner", "support", "developer", "read_only"]

ROLES: dict[str, object] = {"owner": _l("Owner"), "support": _l("Support"), "developer": _l("Developer"), "read_only": _l("Read only")}
"""Role → its label, widest role first."""

DUTIES: dict[str, object] = {
    "owner": _l("Everything, including the team and secrets."),
    "support": _l("Customers, subscriptions and refunds."),
    "developer": _l("Products, brand, API keys and webhooks."),
    "read_only": _l("Can view everything, but change nothing."),
}

VERBS: dict[str, str] = {
    "customers.read": "owner support developer read_only",
    "customers.write": "owner support",
    "customers.invite": "owner support",
    "customers.export": "owner support",
    "impersonate": "owner support",
    "subscriptions.read": "owner support developer read_only",
    "subscriptions.change": "owner support",
    "subscriptions.cancel": "owner support",
    "money.read": "owner support developer read_only",
    "money.refund": "owner support",
    "products.read": "owner support developer read_only",
    "products.write": "owner developer",
    "settings.read": "owner support developer read_only",
    "settings.write": "owner",
    "brand.write": "owner developer",
    "developers.read": "owner developer",
    "developers.keys": "owner developer",
    "developers.webhooks": "owner developer",
    "provider.write": "owner",
    "domain.write": "owner",
    "team.read": "owner support developer read_only",
    "team.write": "owner",
    "activity.read": "owner support developer read_only",
}
"""Permission → the roles that have it, separated by spaces."""

_TABLE = {verb: frozenset(roles.split()) for verb, roles in VERBS.items()}


def may(role: str, verb: str) -> bool:
    """Return whether a role has a permission. Raises KeyError for an unknown permission, so that a typo is not taken for "no"."""
    return role in _TABLE[verb]
