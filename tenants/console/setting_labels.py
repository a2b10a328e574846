"""Labels of the portal rules and their options."""

from __future__ import annotations

from flask_babel import gettext as _

DEFAULTS = ("effective_on_upgrade", "proration_on_upgrade", "effective_on_downgrade", "proration_on_downgrade", "on_payment_failure")
"""Rules that a collection can override."""


def rule_choices() -> dict[str, list[tuple[str, str]]]:
    """Return setting → (value, label) of its options."""
    when = [("immediately", _("Immediately")), ("next_billing_date", _("At the next billing date"))]
    cost = [
        ("prorated_immediately", _("The new price minus unused time; a new period starts")),
        ("prorated_immediately_keep_cycle", _("The difference for the rest of the period")),
        ("difference_immediately", _("The difference between the two prices; a new period starts")),
        ("full_immediately", _("The full new price; a new period starts")),
    ]
    return {
        "effective_on_upgrade": when,
        "effective_on_downgrade": when,
        "proration_on_upgrade": cost,
        "proration_on_downgrade": cost,
        "on_payment_failure": [
            ("prevent_change", _("Keep the old plan until the payment succeeds")),
            ("apply_change", _("Change the plan and put it on hold until it is paid")),
        ],
        "grace_action": [("on_hold", _("Put on hold: it is active again when paid")), ("cancel", _("Cancel: nothing is owed"))],
        "late_payment": [
            ("keep_dates", _("The period keeps its dates")),
            ("restart_cycle", _("A new period starts on the day of the payment")),
        ],
        "keys_on_full_refund": [("revoke", _("Stop working")), ("keep", _("Keep working"))],
        "on_dispute": [("keep", _("Keep it active")), ("hold", _("Pause it, and resume it if you win")), ("end", _("Cancel it now"))],
        "invoice_links": [
            ("protected", _("Only people with a link from an email, or signed in")),
            ("open", _("Anyone who knows the payment ID")),
        ],
        "retries": [
            ("never", _("Never: the customer pays manually")),
            ("two_weeks", _("Six times in two weeks")),
            ("a_month", _("Eight times in four weeks")),
        ],
    }


def rule_labels() -> dict[str, str]:
    return {
        "effective_on_upgrade": _("Upgrades take effect"),
        "proration_on_upgrade": _("What is charged for it"),
        "effective_on_downgrade": _("Downgrades take effect"),
        "proration_on_downgrade": _("What is charged for it"),
        "on_payment_failure": _("If the payment is declined"),
        "grace_action": _("After the grace period"),
        "late_payment": _("When a subscription on hold is paid"),
        "keys_on_full_refund": _("License keys of a fully refunded purchase"),
        "on_dispute": _("The subscription of a disputed payment"),
        "invoice_links": _("Who can open an invoice by its link"),
        "retries": _("Retry declined renewals"),
    }
