"""Translated labels of the sandbox's states and operations."""

from __future__ import annotations

from flask_babel import gettext as _

from gateways.sandbox.declines import reason as _english


def reason(code: str) -> str:
    """Return the translated message of a decline code."""
    message = _english(code)
    return _(message) if message else ""  # gettext("") would return the header of the catalog


def verb(name: str) -> str:
    return {
        "collect": _("Page opened"),
        "try": _("Card submitted on the page"),
        "challenge": _("Bank confirmation answered"),
        "leave": _("Page closed by the customer"),
        "charge": _("Charge of a saved card"),
        "refund": _("Refund"),
        "settle": _("Slow charge settled"),
        "cancel": _("Cancel"),
        "notify": _("Notification"),
    }.get(name, name)


def result(name: str) -> str:
    return {
        "succeeded": _("Succeeded"),
        "declined": _("Declined"),
        "cancelled": _("Cancelled"),
        "processing": _("In progress"),
        "requires_action": _("Waiting for the customer"),
        "delivered": _("Delivered"),
        "failed": _("Failed, tried again later"),
    }.get(name, name)


def voice(name: str) -> str:
    """Return the CSS class for the color of a result."""
    return {"succeeded": "good", "delivered": "good", "declined": "due", "failed": "due", "processing": "wait",
            "requires_action": "wait"}.get(name, "")  # fmt: skip


def icon(name: str) -> str:
    return {"good": "check", "due": "cross", "wait": "clock"}.get(voice(name), "end")
