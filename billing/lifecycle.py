"""Lifecycles are tables: (state, verb) → the states it may lead to. Buttons, commands, API and docs read the same ones.

What a business allows is `policy.py`; which state allows what is here.
"""

from __future__ import annotations

from core.errors import Conflict

Table = dict[tuple[str, str], tuple[str, ...]]

SUBSCRIPTION: Table = {
    ("pending", "activate"): ("active",),
    ("pending", "fail"): ("failed",),
    ("active", "renew"): ("active",),
    ("active", "hold"): ("on_hold",),
    ("active", "late"): ("past_due",),
    ("active", "pause"): ("paused",),
    ("active", "schedule_cancel"): ("active",),
    ("active", "keep"): ("active",),
    ("active", "cancel"): ("cancelled",),
    ("active", "expire"): ("expired",),
    ("active", "change_plan"): ("active",),
    ("active", "change_method"): ("active",),
    ("past_due", "recover"): ("active",),
    ("past_due", "hold"): ("on_hold",),
    ("past_due", "cancel"): ("cancelled",),
    ("past_due", "schedule_cancel"): ("past_due",),
    ("past_due", "keep"): ("past_due",),
    ("past_due", "change_method"): ("past_due", "active"),
    ("on_hold", "recover"): ("active",),
    ("on_hold", "cancel"): ("cancelled",),
    ("on_hold", "schedule_cancel"): ("on_hold",),
    ("on_hold", "keep"): ("on_hold",),
    ("on_hold", "change_method"): ("on_hold", "active"),
    ("paused", "change_method"): ("paused",),
    ("paused", "resume"): ("active",),
    ("paused", "cancel"): ("cancelled",),
    ("paused", "schedule_cancel"): ("paused",),
    ("paused", "keep"): ("paused",),
    ("paused", "hold"): ("on_hold",),
}

INVOICE: Table = {
    ("open", "pay"): ("paid",),
    ("open", "void"): ("void",),
    ("paid", "refund"): ("paid",),
}

# Payment states are the contract's IntentStatus. Only what can happen here is listed.
PAYMENT: Table = {
    ("processing", "succeed"): ("succeeded",),
    ("processing", "decline"): ("failed",),
    ("processing", "cancel"): ("cancelled",),
    ("processing", "challenge"): ("requires_customer_action",),
    ("requires_payment_method", "process"): ("processing",),
    ("requires_payment_method", "succeed"): ("succeeded",),
    ("requires_payment_method", "decline"): ("failed",),
    ("requires_payment_method", "cancel"): ("cancelled",),
    ("requires_customer_action", "process"): ("processing",),
    ("requires_customer_action", "succeed"): ("succeeded",),
    ("requires_customer_action", "decline"): ("failed",),
    ("requires_customer_action", "cancel"): ("cancelled",),
    # money that was taken after all is booked (and refunded where nothing is owed any more): succeeded beats failed
    ("failed", "succeed"): ("succeeded",),
    ("cancelled", "succeed"): ("succeeded",),
}

REFUND: Table = {("pending", "succeed"): ("succeeded",), ("pending", "fail"): ("failed",)}

# An act that another system is asked for: `opened` waits for its own page; `unanswered` may have been done, and nobody asks any more.
FORWARDED: Table = {
    ("pending", "open"): ("opened",), ("pending", "confirm"): ("confirmed",), ("pending", "refuse"): ("refused",),
    ("opened", "open"): ("opened",), ("opened", "confirm"): ("confirmed",), ("opened", "refuse"): ("refused",),
    ("pending", "give_up"): ("unanswered",), ("opened", "give_up"): ("unanswered",), ("unanswered", "confirm"): ("confirmed",),
}

LICENCE: Table = {
    ("active", "disable"): ("disabled",), ("disabled", "disable"): ("disabled",),
    ("active", "enable"): ("active",), ("disabled", "enable"): ("active",),
}
"""What a business does to a key by hand; otherwise it follows what it came with."""

LIVE = ("active", "on_hold", "past_due", "paused")
"""Subscription states that are neither over nor not begun."""

_CODES = {"cancel": "SUBSCRIPTION_INACTIVE", "schedule_cancel": "SUBSCRIPTION_INACTIVE",
          "change_plan": "INACTIVE_SUBSCRIPTION_PLAN_CHANGE_NOT_SUPPORTED", "pause": "SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE",
          "resume": "SUBSCRIPTION_NOT_PAUSED"}


def may(table: Table, state: str, verb: str) -> bool:
    return (state, verb) in table


def move(table: Table, state: str, verb: str, to: str | None = None) -> str:
    """The state that `verb` leads to. Raises Conflict when the table has no such move."""
    targets = table.get((state, verb))
    if not targets or (to is not None and to not in targets):
        raise Conflict(_CODES.get(verb), "Its present state does not allow this.")
    return to or targets[0]
