"""Which reminders a customer gets from each business. What the law demands is always sent and not listed as a choice."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.customers.optional_notices import notices_off_of, set_notices
from billing.model import policy
from billing.model.optional_notices import OPTIONAL, SETTINGS, OptionalNotice
from core.links import here
from core.request_context import db
from portal import bp
from portal.request_accounts import accounts, is_several


@bp.get("/notifications")
def notifications() -> ResponseReturnValue:
    return render_template(
        "portal/notifications.html",
        accounts=accounts(),
        several=is_several(),
        reminders=notice_labels(),
        off=notices_off_of(db()),
        is_offered=lambda account, reminder: bool(policy.setting(account, SETTINGS[reminder])),
    )


@bp.post("/notifications")
def set_notifications() -> ResponseReturnValue:
    """`on`: the ticked boxes, each customer_id:reminder. `all`: on or off for every business, whatever is ticked."""
    form, theirs = request.form, [account.customer_id for account in accounts()]
    everywhere = {"on": OPTIONAL, "off": ()}.get(form.get("all", ""))
    if everywhere is not None:
        on: dict[str, list[str]] = {customer_id: list(everywhere) for customer_id in theirs}
    else:
        on = {customer_id: [] for customer_id in form.getlist("row")}
        for box in form.getlist("on"):
            customer_id, _colon, reminder = box.partition(":")
            on.setdefault(customer_id, []).append(reminder)
    changed = set_notices(db(), on)
    flash(_("Saved.") if changed else _("Saved. Nothing changed."), "good")
    return redirect(here("notifications"), 303)


def notice_labels() -> dict[OptionalNotice, str]:
    return {
        "trial_end": _("Before a free trial ends"),
        "renewal": _("Before a subscription renews"),
        "card_expiring": _("Before a saved card expires"),
    }
