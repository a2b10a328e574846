"""Labels of the operator's pages: events, jobs and outcomes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

# beginning of a handler's name → what it does when the work is tried again
EFFECTS: tuple[tuple[str, Any], ...] = (
    ("portal.", _l("Sends the email about it to the customer.")),
    ("auth.exports", _l("Starts the person's export again.")),
    ("auth.following", _l("Applies the customer's new email address to their account.")),
    ("auth.", _l("Sends the email about it to the person. A sign-in link that has expired is not sent.")),
    ("tenants.exports", _l("Starts the business's export again.")),
    ("tenants.", _l("Sends the email about it to the owners of the business.")),
    ("webhooks.queue", _l("Adds the message to the queue of the business's webhooks.")),
    ("webhooks.", _l("Sends the email about it to the owners of the business.")),
    ("gateway.follow_up", _l("Asks the payment processor for the outcome and records it. It charges nothing.")),
    ("dispute.policy", _l("Applies the business's setting for disputed payments to the subscription.")),
    ("external.wake", _l("Sends the customer's request to the other billing system.")),
    ("team.follow", _l("Applies the merge of two accounts to their memberships.")),
)
QUEUES = {
    "work": _l("Work queue"),
    "webhooks": _l("Webhook messages"),
    "payments": _l("Payments without an outcome"),
    "refunds": _l("Refunds without an outcome"),
    "delegated actions": _l("Requests to external billing systems"),
    "app logouts": _l("Logouts sent to apps"),
    "people's exports": _l("Account data exports"),
    "customer exports": _l("Customer list exports"),
}
OUTCOMES = {  # outcome → words, icon, voice
    "sent": (_l("Sent"), "check", "good"),
    "kept": (_l("Kept in the test mailbox"), "check", "good"),
    "refused": (_l("Refused"), "cross", "due"),
    "deferred": (_l("Deferred"), "clock", "wait"),
    "queued": (_l("Queued"), "clock", ""),
    "withheld": (_l("Withheld"), "pause", ""),
}
ACTIONS = {
    "signed_in": _l("Signed in"),
    "tried_again": _l("Tried work again"),
    "set_aside": _l("Set work aside"),
    "job_tried_again": _l("Tried a job row again"),
    "emails_looked_up": _l("Looked up the emails of an address"),
}
DONE = {
    "tried_again": _l("The work is being tried again."),
    "set_aside": _l("The work is set aside and no longer tried."),
    "job_tried_again": _l("The row is tried in the next run of the job."),
    "signed_out": _l("You have signed out."),
}


def effects(handlers: tuple[str, ...]) -> list[str]:
    """Return what trying the work again would do, one sentence per effect."""
    found = [
        str(next((words for start, words in EFFECTS if name.startswith(start)), "")) or _("Runs %(name)s.", name=name) for name in handlers
    ]
    return list(dict.fromkeys(found))


def duration(span: timedelta) -> str:
    """Format a duration in its largest unit, such as `3 hours`. Below one second: `a moment`."""
    seconds = int(span.total_seconds())
    if seconds < 1:
        return _("a moment")
    if seconds < 60:
        return ngettext("one second", "%(num)d seconds", seconds)
    if seconds < 3600:
        return ngettext("one minute", "%(num)d minutes", seconds // 60)
    if seconds < 2 * 86400:
        return ngettext("one hour", "%(num)d hours", seconds // 3600)
    return ngettext("one day", "%(num)d days", seconds // 86400)


def size(count: int) -> str:
    """Format bytes in decimal units (IEC 80000-13)."""
    for unit, bytes in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= bytes:
            return f"{count / bytes:.1f}\N{NO-BREAK SPACE}{unit}"
    return f"{count / 1000:.1f}\N{NO-BREAK SPACE}kB"
