"""The state table of the look: every state is a word, an icon and a voice, always all three.

`lookup("subscription", "on_hold")` → State(word "On hold", icon "hold", voice "due", call True).
Voices: good, wait, due, check, "" (second voice). `call` gives it a wash: it needs the reader.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from flask_babel import lazy_gettext as _l


class State(NamedTuple):
    word: Any  # a lazy string
    icon: str
    voice: str
    call: bool = False


CHECKING = State(_l("Checking"), "ask", "check", True)
CONFIRM = State(_l("Confirm with your bank"), "late", "wait", True)
TRIAL = State(_l("Trial"), "clock", "good")
ENDING = State(_l("Ending"), "end", "")
PAID = State(_l("Paid"), "check", "good")
IN_PROGRESS = State(_l("In progress"), "clock", "wait")
NOT_TAKEN = State(_l("Not taken"), "done", "")
REFUNDED = State(_l("Refunded"), "back", "")
PARTLY_REFUNDED = State(_l("Partly refunded"), "back", "")
DISPUTED = State(_l("Disputed"), "late", "due")
NOT_PAID = State(_l("Not paid"), "hold", "due", True)
DECLINED = State(_l("Declined"), "cross", "due")

TABLE: dict[str, dict[str, State]] = {
    "subscription": {
        "active": State(_l("Active"), "check", "good"),
        "trialing": TRIAL,
        "pending": State(_l("Starting"), "clock", "wait"),
        "past_due": State(_l("Payment late"), "late", "wait", True),
        "on_hold": State(_l("On hold"), "hold", "due", True),
        "paused": State(_l("Paused"), "pause", ""),
        "failed": State(_l("Did not start"), "cross", "due"),
        "cancelled": State(_l("Cancelled"), "done", ""),
        "expired": State(_l("Finished"), "done", ""),
    },
    "payment": {
        "succeeded": PAID, "processing": IN_PROGRESS, "pending": IN_PROGRESS, "requires_customer_action": CONFIRM,
        "requires_payment_method": NOT_PAID, "unknown": CHECKING, "failed": DECLINED, "cancelled": NOT_TAKEN,
        "refunded": REFUNDED, "partially_refunded": PARTLY_REFUNDED, "disputed": DISPUTED,
    },
    "invoice": {
        "paid": PAID, "open": NOT_PAID, "void": NOT_TAKEN, "processing": IN_PROGRESS, "unknown": CHECKING,
        "uncollectible": NOT_TAKEN, "refunded": REFUNDED, "partially_refunded": PARTLY_REFUNDED, "draft": State(_l("Draft"), "clock", ""),
    },
    "refund": {
        "succeeded": REFUNDED, "pending": IN_PROGRESS, "processing": IN_PROGRESS, "review": IN_PROGRESS, "unknown": CHECKING,
        "failed": State(_l("Did not go through"), "cross", "due"),
    },
    "license_key": {
        "active": State(_l("Active"), "check", "good"),
        "expired": State(_l("Expired"), "done", ""),
        "disabled": State(_l("Switched off"), "done", ""),
    },
    "payment_method": {
        "active": State(_l("Ready"), "check", "good"),
        "expiring": State(_l("Expires soon"), "card", "wait"),
        "expired": State(_l("Expired"), "cross", "due"),
    },
    "delivery": {
        "succeeded": State(_l("Delivered"), "check", "good"),
        "pending": State(_l("Waiting"), "clock", "wait"),
        "failed": State(_l("Failed"), "cross", "due"),
    },
    "forwarded": {
        "pending": State(_l("Waiting"), "clock", "wait"),
        "opened": State(_l("Page opened"), "clock", ""),
        "confirmed": State(_l("Done"), "check", "good"),
        "refused": State(_l("Refused"), "cross", "due"),
        "unanswered": State(_l("Not known"), "ask", "check"),
    },
    "product": {
        "active": State(_l("On sale"), "check", "good"),
        "archived": State(_l("Archived"), "done", ""),
    },
    "business": {
        "active": State(_l("Open"), "check", "good"),
        "archived": State(_l("Closed"), "done", ""),
    },
}


def lookup(
    noun: str, status: str, *, trial: bool = False, ending: bool = False, checking: bool = False,
    needs_action: bool = False, disputed: bool = False, refunded: str | bool | None = None,
) -> State:
    """What to show. A status we do not know shows as its own word in the second voice: never wrong, never blank.

    `checking`: an open operation of unknown outcome. `refunded`: "full"/True or "partial". `needs_action`: 3-D Secure.
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
    return found or State(status.replace("_", " ").capitalize() or _l("Not known"), "info", "")
