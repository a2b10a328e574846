"""Translated labels of the sandbox's states and operations."""

from __future__ import annotations

from collections.abc import Sequence

from flask_babel import gettext as _

from core import dispute_words
from gateways.sandbox.declines import reason as _english


def reason(code: str) -> str:
    """Return the translated message of a decline code."""
    message = _english(code)
    return _(message) if message else ""  # gettext("") would return the header of the catalog


def reasons(codes: Sequence[str]) -> list[tuple[str, str]]:
    """Return (code, words) of the reasons of disputes, for a choice."""
    return [(code, dispute_words.reason(code)) for code in codes]


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
        "dispute": _("Dispute"),
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
        "dispute_opened": _("Needs an answer"),
        "dispute_challenged": _("Answered"),
        "dispute_won": _("Won"),
        "dispute_lost": _("Lost"),
        "dispute_accepted": _("Accepted"),
        "dispute_expired": _("Not answered in time"),
        "dispute_cancelled": _("Withdrawn"),
    }.get(name, name)


def voice(name: str) -> str:
    """Return the CSS class for the color of a result."""
    return {"succeeded": "good", "delivered": "good", "declined": "due", "failed": "due", "processing": "wait",
            "requires_action": "wait", "dispute_opened": "due", "dispute_challenged": "wait", "dispute_won": "good",
            "dispute_lost": "due", "dispute_accepted": "due", "dispute_expired": "due"}.get(name, "")  # fmt: skip


def icon(name: str) -> str:
    return {"good": "check", "due": "cross", "wait": "clock"}.get(voice(name), "end")
