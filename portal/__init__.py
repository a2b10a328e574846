"""The pages a customer sees, written once and hung on both doors. A page asks `db()` and never knows where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

if TYPE_CHECKING:
    from flask import Flask

    from core.web import House

bp = Blueprint("portal", __name__)

from portal import (  # noqa: E402 - the pages hang themselves on `bp`
    activity,
    billing_details,
    cancellation,
    documents,
    elsewhere,
    email_change,
    history,
    keys,
    methods,
    pausing,
    paying,
    payments,
    plan_change,
    plan_codes,
    profile,
    purchases,
    search,
    sessions,
    subscriptions,
)

__all__ = [
    "activity", "billing_details", "bp", "cancellation", "documents", "elsewhere", "email_change", "history", "keys", "methods", "pausing",
    "paying", "payments", "plan_change", "plan_codes", "profile", "purchases", "register", "search", "sessions", "subscriptions",
]  # fmt: skip


def register(app: Flask, house: House) -> None:
    """The pages themselves come with each door; here, the letters about what happens on them."""
    from portal import act_letters, address_letters, letters

    letters.register(house)
    act_letters.register(house)
    address_letters.register(house)
