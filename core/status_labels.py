"""The label, icon and tone of every status.

`lookup("subscription", "on_hold")` returns StatusLabel(word "On hold", icon "hold", voice "due", call True).
The tone (`voice`) is good, wait, due, check or "" (neutral). `call` highlights a status that needs the customer's attention.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flask_babel import lazy_gettext as _l


class StatusLabel(NamedTuple):
    word: Any  # a lazy string
    icon: str
    voice: str
    call: bool = False


CHECKING = StatusLabel(_l("Checking"), "ask", "check", True)
CONFIRM = StatusLabel(_l("Confirm with your bank"), "late", "wait", True)
TRIAL = StatusLabel(_l("Trial"), "clock", "good")
ENDING = StatusLabel(_l("Ending"), "end", "")
PAID = StatusLabel(_l("Paid"), "check", "good")
IN_PROGRESS = StatusLabel(_l("In progress"), "clock", "wait")
NOT_TAKEN = StatusLabel(_l("Not charged"), "done", "")
REFUNDED = StatusLabel(_l("Refunded"), "back", "")
PARTLY_REFUNDED = StatusLabel(_l("Partially refunded"), "back", "")
DISPUTED = StatusLabel(_l("Disputed"), "late", "due")
NOT_PAID = StatusLabel(_l("Unpaid"), "hold", "due", True)
DECLINED = StatusLabel(_l("Declined"), "cross", "due")

TABLE: dict[str, dict[str, StatusLabel]] = {
    "subscription": {
        "active": StatusLabel(_l("Active"), "check", "good"),
        "trialing": TRIAL,
        "pending": StatusLabel(_l("Starting"), "clock", "wait"),
        "past_due": StatusLabel(_l("Past due"), "late", "wait", True),
        "on_hold": StatusLabel(_l("On hold"), "hold", "due", True),
        "paused": StatusLabel(_l("Paused"), "pause", ""),
        "failed": StatusLabel(_l("Didn’t start"), "cross", "due"),
        "cancelled": StatusLabel(_l("Cancelled"), "done", ""),
        "expired": StatusLabel(_l("Expired"), "done", ""),
    },
    "payment": {
        "succeeded": PAID,
        "processing": IN_PROGRESS,
        "pending": IN_PROGRESS,
        "requires_customer_action": CONFIRM,
        "requires_payment_method": NOT_PAID,
        "unknown": CHECKING,
        "failed": DECLINED,
        "cancelled": NOT_TAKEN,
        "refunded": REFUNDED,
        "partially_refunded": PARTLY_REFUNDED,
        "disputed": DISPUTED,
    },
    "invoice": {
        "paid": PAID,
        "open": NOT_PAID,
        "void": NOT_TAKEN,
        "processing": IN_PROGRESS,
        "unknown": CHECKING,
        "uncollectible": NOT_TAKEN,
        "refunded": REFUNDED,
        "partially_refunded": PARTLY_REFUNDED,
        "draft": StatusLabel(_l("Draft"), "clock", ""),
    },
    "refund": {
        "succeeded": REFUNDED,
        "pending": IN_PROGRESS,
        "processing": IN_PROGRESS,
        "review": IN_PROGRESS,
        "unknown": CHECKING,
        "failed": StatusLabel(_l("Failed"), "cross", "due"),
    },
    "statement": {
        "received": StatusLabel(_l("Received"), "clock", "wait"),
        "waiting": StatusLabel(_l("Needs a decision"), "late", "due", True),
        "planned": StatusLabel(_l("Planned"), "clock", "wait"),
        "effective": StatusLabel(_l("In effect"), "check", "good"),
        "dismissed": StatusLabel(_l("Answered"), "done", ""),
    },
    "refund_request": {
        "open": StatusLabel(_l("Waiting for an answer"), "clock", "wait"),
        "overdue": StatusLabel(_l("Overdue"), "late", "due", True),
        "refunded": REFUNDED,
        "declined": StatusLabel(_l("Declined"), "cross", ""),
        "withdrawn": StatusLabel(_l("Withdrawn"), "done", ""),
    },
    "dispute": {
        "dispute_opened": StatusLabel(_l("Needs an answer"), "late", "due", True),
        "dispute_challenged": StatusLabel(_l("Answered"), "clock", "wait"),
        "dispute_won": StatusLabel(_l("Won"), "check", "good"),
        "dispute_lost": StatusLabel(_l("Lost"), "cross", "due"),
        "dispute_accepted": StatusLabel(_l("Accepted"), "cross", "due"),
        "dispute_expired": StatusLabel(_l("Not answered in time"), "cross", "due"),
        "dispute_cancelled": StatusLabel(_l("Withdrawn"), "done", ""),
    },
    "license_key": {
        "active": StatusLabel(_l("Active"), "check", "good"),
        "expired": StatusLabel(_l("Expired"), "done", ""),
        "disabled": StatusLabel(_l("Disabled"), "done", ""),
    },
    "payment_method": {
        "active": StatusLabel(_l("Ready"), "check", "good"),
        "expiring": StatusLabel(_l("Expires soon"), "card", "wait"),
        "expired": StatusLabel(_l("Expired"), "cross", "due"),
    },
    "delivery": {
        "succeeded": StatusLabel(_l("Delivered"), "check", "good"),
        "pending": StatusLabel(_l("Pending"), "clock", "wait"),
        "failed": StatusLabel(_l("Failed"), "cross", "due"),
    },
    "delegated": {
        "pending": StatusLabel(_l("Pending"), "clock", "wait"),
        "opened": StatusLabel(_l("Page opened"), "clock", ""),
        "confirmed": StatusLabel(_l("Done"), "check", "good"),
        "refused": StatusLabel(_l("Rejected"), "cross", "due"),
        "unanswered": StatusLabel(_l("Unknown"), "ask", "check"),
    },
    "payment_account": {
        "open": StatusLabel(_l("Active"), "check", "good"),
        "refunds_only": StatusLabel(_l("Refunds only"), "back", ""),
        "closed": StatusLabel(_l("Closed"), "done", ""),
    },
    "product": {"active": StatusLabel(_l("On sale"), "check", "good"), "archived": StatusLabel(_l("Archived"), "done", "")},
    "business": {"active": StatusLabel(_l("Active"), "check", "good"), "archived": StatusLabel(_l("Closed"), "done", "")},
}


def lookup(
    noun: str,
    status: str,
    *,
    trial: bool = False,
    ending: bool = False,
    checking: bool = False,
    needs_action: bool = False,
    disputed: bool = False,
    refunded: str | bool | None = None,
) -> StatusLabel:
    """Return the label of a status. An unknown status is shown by its own name in the neutral tone.

    `checking`: an operation with unknown outcome is open. `refunded`: "full"/True or "partial". `needs_action`: 3-D Secure.
    """
    if checking:
        return CHECKING
    if needs_action and noun in ("payment", "invoice", "subscription"):
        return CONFIRM
    if disputed:
        return DISPUTED
    if refunded and noun in ("payment", "invoice"):
        return PARTLY_REFUNDED if refunded in ("partial", "partially_refunded") else REFUNDED
    if noun == "subscription" and status in ("active", "trialing"):
        if ending:
            return ENDING
        if trial:
            return TRIAL
    found = TABLE.get(noun, {}).get(status)
    return found or StatusLabel(status.replace("_", " ").capitalize() or _l("Unknown"), "info", "")
