"""The choices of a business's rules, in words."""

from __future__ import annotations

from flask_babel import gettext as _

DEFAULTS = ("effective_on_upgrade", "proration_on_upgrade", "effective_on_downgrade", "proration_on_downgrade", "on_payment_failure")
"""What a collection may have otherwise than its business."""


def rule_choices() -> dict[str, list[tuple[str, str]]]:
    """Setting → (value, words)."""
    when = [("immediately", _("At once")), ("next_billing_date", _("At the next billing date"))]
    cost = [
        ("prorated_immediately", _("The new price, less what is unused; a new period begins")),
        ("prorated_immediately_keep_cycle", _("The difference for the rest of the period")),
        ("difference_immediately", _("The difference of the two prices; a new period begins")),
        ("full_immediately", _("The new price in full; a new period begins")),
    ]
    return {
        "effective_on_upgrade": when, "effective_on_downgrade": when, "proration_on_upgrade": cost, "proration_on_downgrade": cost,
        "on_payment_failure": [("prevent_change", _("The old plan stays until it is paid")),
                               ("apply_change", _("The plan changes all the same, and is on hold until it is paid"))],
        "grace_action": [("on_hold", _("Put it on hold: it starts again when it is paid")), ("cancel", _("Cancel it: nothing is owed"))],
        "late_payment": [("keep_dates", _("The period keeps its dates")),
                         ("restart_cycle", _("A new period starts on the day of the payment"))],
        "keys_on_full_refund": [("revoke", _("Stop working")), ("keep", _("Keep working"))],
        "invoice_links": [("protected", _("Only with a link from a letter, or signed in")),
                          ("open", _("Anybody who knows the payment\u2019s id"))],
        "retries": [("never", _("Never: the customer pays it")), ("two_weeks", _("Six times in two weeks")),
                    ("a_month", _("Eight times in four weeks"))],
    }


def rule_labels() -> dict[str, str]:
    return {
        "effective_on_upgrade": _("A dearer plan begins"), "proration_on_upgrade": _("What is charged for it"),
        "effective_on_downgrade": _("A cheaper plan begins"), "proration_on_downgrade": _("What is charged for it"),
        "on_payment_failure": _("When the charge is declined"), "grace_action": _("After the days of grace"),
        "late_payment": _("When a subscription on hold is paid"),
        "keys_on_full_refund": _("License keys of a purchase that is refunded in full"),
        "invoice_links": _("Who may open an invoice by its address"), "retries": _("Try a declined renewal again"),
    }
