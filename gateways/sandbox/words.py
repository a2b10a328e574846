"""What the sandbox's states and verbs are called on its pages."""

from __future__ import annotations

from flask_babel import gettext as _

from gateways.sandbox.declines import reason as _english


def reason(code: str) -> str:
    """Why the bank said no, in the reader's language."""
    said = _english(code)
    return _(said) if said else ""  # gettext("") would answer with the catalogue's header


def verb(name: str) -> str:
    return {
        "collect": _("Page opened"),
        "try": _("Card tried on the page"),
        "challenge": _("Bank confirmation answered"),
        "leave": _("Person left the page"),
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
        "requires_action": _("Waits for the person"),
        "delivered": _("Delivered"),
        "failed": _("Not taken, tried again later"),
    }.get(name, name)


def voice(name: str) -> str:
    """The class of the colour a result is written in."""
    return {"succeeded": "good", "delivered": "good", "declined": "due", "failed": "due", "processing": "wait",
            "requires_action": "wait"}.get(name, "")  # fmt: skip


def icon(name: str) -> str:
    return {"good": "check", "due": "cross", "wait": "clock"}.get(voice(name), "end")
