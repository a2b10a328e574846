"""Defines the allowed state changes as tables: (state, verb) → the possible next states.

Buttons, commands, the API and the docs use the same tables. `policy.py` defines what a business allows.
"""

from __future__ import annotations

from core.errors import N_, Conflict

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

INVOICE: Table = {("open", "pay"): ("paid",), ("open", "void"): ("void",), ("paid", "refund"): ("paid",)}

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
    # a charge that succeeded after all is recorded, and refunded if nothing is owed any more
    ("failed", "succeed"): ("succeeded",),
    ("cancelled", "succeed"): ("succeeded",),
}

# `reverse`: the customer's bank returned the money of a refund that had succeeded, perhaps days later.
REFUND: Table = {("pending", "succeed"): ("succeeded",), ("pending", "fail"): ("failed",), ("succeeded", "reverse"): ("failed",)}

# A dispute. The processor decides it and may replace its decision, so that every state can follow from every other.
DISPUTE_OPEN = ("dispute_opened", "dispute_challenged")
"""States of a dispute that is not decided."""
DISPUTE_TAKEN = ("dispute_lost", "dispute_accepted", "dispute_expired")
"""States of a dispute after which the customer keeps the money."""
DISPUTE_RETURNED = ("dispute_won", "dispute_cancelled")
"""States of a dispute after which the business keeps the money."""
DISPUTE_STATES = (*DISPUTE_OPEN, *DISPUTE_TAKEN, *DISPUTE_RETURNED)
_DISPUTE_VERBS = {
    "dispute_opened": "reopen",
    "dispute_challenged": "challenge",
    "dispute_lost": "lose",
    "dispute_accepted": "accept",
    "dispute_expired": "expire",
    "dispute_won": "win",
    "dispute_cancelled": "cancel",
}
DISPUTE: Table = {(state, verb): (to,) for state in DISPUTE_STATES for to, verb in _DISPUTE_VERBS.items() if to != state}

# A payment account of a business. `refunds_only`: no new charges; its open payments are settled and its refunds are sent there.
PAYMENT_ACCOUNT: Table = {
    ("open", "stop_charges"): ("refunds_only",),
    ("refunds_only", "resume_charges"): ("open",),
    ("refunds_only", "close"): ("closed",),
}

# A delegated action. `opened`: the customer has to finish it on the other system's page. `unanswered`: it may have been done, and is no
# longer looked up.
DELEGATED_ACTION: Table = {
    ("pending", "open"): ("opened",),
    ("pending", "confirm"): ("confirmed",),
    ("pending", "refuse"): ("refused",),
    ("opened", "open"): ("opened",),
    ("opened", "confirm"): ("confirmed",),
    ("opened", "refuse"): ("refused",),
    ("pending", "give_up"): ("unanswered",),
    ("opened", "give_up"): ("unanswered",),
    ("unanswered", "confirm"): ("confirmed",),
}

# The change of a subscription's price. `kept`: the customer did not agree, so the old price stays. `superseded`: another price was agreed
# since it was planned.
PRICE_CHANGE: Table = {
    ("planned", "announce"): ("announced",),
    ("planned", "stop"): ("stopped",),
    ("planned", "supersede"): ("superseded",),
    ("announced", "apply"): ("applied",),
    ("announced", "keep"): ("kept",),
    ("announced", "stop"): ("stopped",),
    ("announced", "supersede"): ("superseded",),
}

# What somebody declared without signing in. `received`: not matched yet. `waiting`: staff decide. `planned`: it takes effect at the end of
# a later billing period.
STATEMENT: Table = {
    ("received", "carry_out"): ("effective", "planned"),
    ("received", "queue"): ("waiting",),
    ("planned", "carry_out"): ("effective", "planned"),
    ("planned", "queue"): ("waiting",),
    ("planned", "dismiss"): ("dismissed",),
    ("effective", "queue"): ("waiting",),  # another system refused to cancel
    ("waiting", "carry_out"): ("effective", "planned"),
    ("waiting", "dismiss"): ("dismissed",),
}

REFUND_REQUEST: Table = {("open", "refund"): ("refunded",), ("open", "decline"): ("declined",), ("open", "withdraw"): ("withdrawn",)}

LICENSE_KEY: Table = {
    ("active", "disable"): ("disabled",),
    ("disabled", "disable"): ("disabled",),
    ("active", "enable"): ("active",),
    ("disabled", "enable"): ("active",),
}
"""Changes that a business makes to a key. Otherwise the key follows its purchase or subscription."""

LIVE = ("active", "on_hold", "past_due", "paused")
"""States of a subscription that has started and has not ended."""
ENDED = ("cancelled", "expired", "failed")
"""States of a subscription that has ended or never started. It does not change any more."""
HAS_ACCESS = ("active", "past_due")
"""States in which the customer may use what the subscription pays for."""
UNPAID_STATES = ("past_due", "on_hold")
"""States of a subscription whose latest invoice is not paid."""

_CODES = {
    "cancel": "SUBSCRIPTION_INACTIVE",
    "schedule_cancel": "SUBSCRIPTION_INACTIVE",
    "change_plan": "INACTIVE_SUBSCRIPTION_PLAN_CHANGE_NOT_SUPPORTED",
    "pause": "SUBSCRIPTION_NOT_ELIGIBLE_FOR_PAUSE",
    "resume": "SUBSCRIPTION_NOT_PAUSED",
}


def may(table: Table, state: str, verb: str) -> bool:
    return (state, verb) in table


def move(table: Table, state: str, verb: str, to: str | None = None) -> str:
    """Return the state that `verb` leads to. Raises Conflict if the table has no such change."""
    targets = table.get((state, verb))
    if not targets or (to is not None and to not in targets):
        raise Conflict(_CODES.get(verb), N_("This is not possible in its current state."))
    return to or targets[0]
