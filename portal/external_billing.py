"""Subscriptions that an external billing system collects: the state of the last request, and its page for changing the card."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from flask import flash, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.visit_rows import Account
from billing.external import latest as external_latest
from billing.external.port import pays_there
from billing.model.delegated_actions import DelegatedAction
from billing.subscriptions import external_pages as command
from billing.subscriptions.subscription_row import SubscriptionRow
from core import clock
from core.errors import Conflict, Unavailable
from core.links import external, here
from core.request_context import db, scope
from portal.billing_services import dispatcher
from portal.phrases import card

SOON = timedelta(seconds=90)


@dataclass(frozen=True)
class ExternalNote:
    """A note about the last request. `reload`: seconds until the page refreshes, 0 for never."""

    tone: str
    title: str
    body: str
    link: str = ""
    reload: int = 0


def note(row: SubscriptionRow, theirs: Account) -> ExternalNote | None:
    """Return a note about the last request sent to the external billing system, or None without one."""
    if row.collected_by == "us":
        return None
    action = external_latest.latest(db(), row.business_id, row.id)
    return _note(action, theirs) if action is not None else None


def _note(action: DelegatedAction, theirs: Account) -> ExternalNote:
    change = requested_change(action.verb)
    if action.status == "refused":
        return ExternalNote(
            "due",
            _("%(business)s’s billing system declined the request: %(action)s.", business=theirs.name, action=change),
            _("Its message: “%(message)s” Nothing was changed.", message=_(action.error) if action.error else ""),
        )
    if action.status == "unanswered":
        return ExternalNote(
            "check",
            _("We don’t know whether %(business)s’s billing system made the change: %(action)s.", business=theirs.name, action=change),
            _("It hasn’t answered for a day. We’ll update this page when we hear from it. You can try again."),
        )
    if action.status == "confirmed":
        return ExternalNote("good", _("%(business)s’s billing system has confirmed: %(action)s.", business=theirs.name, action=change), "")
    if action.link and action.verb == "pay_invoice":
        return ExternalNote(
            "wait",
            _("You opened the payment page of %(business)s’s billing system.", business=theirs.name),
            _("If you’ve paid, this page shows it within a few minutes. Otherwise you can continue there."),
            action.link,
        )
    if action.link:
        return ExternalNote(
            "wait",
            _("%(business)s’s billing system needs you to finish this on its page.", business=theirs.name),
            _("Nothing changes until you do."),
            action.link,
        )
    late = clock.wall() - (action.sent_at or clock.wall()) > SOON
    body = _("It hasn’t answered yet. We keep checking. The change is made only once.") if late else _("It should confirm in a moment.")
    return ExternalNote(
        "wait",
        _("We’ve sent the request to %(business)s’s billing system: %(action)s.", business=theirs.name, action=change),
        body,
        reload=0 if late else 3,
    )


def requested_change(verb: str) -> str:
    """Return the requested change as text that follows a colon."""
    return {
        "cancel": _("cancel at the end of the billing period"),
        "keep": _("undo the cancellation"),
        "end": _("cancel now"),
        "pause": _("pause"),
        "resume": _("resume"),
        "change_plan": _("change the plan"),
        "keep_plan": _("keep the current plan"),
        "edit_billing": _("change the billing details"),
        "change_method": _("change the payment method"),
        "pay_invoice": _("pay the invoice"),
    }[verb]


def back_to_subscription(row: SubscriptionRow) -> ResponseReturnValue:
    """Redirect to the subscription page, which shows the state of the request."""
    return redirect(f"{here('subscriptions')}/{row.id}", 303)


def leave_for(link: str, row: SubscriptionRow, theirs: Account) -> str:
    """Return a page that opens a page of the external billing system.

    It is no redirect of the form: browsers apply the CSP's `form-action` to that, and nobody knows the origin before it is answered.
    """
    return render_template("portal/leaving.html", link=link, account=theirs, url=f"{here('subscriptions')}/{row.id}", name=row.name)


def method_page(row: SubscriptionRow, theirs: Account, problem: str = "") -> str:
    return render_template(
        "portal/payment_method_external.html",
        row=row,
        account=theirs,
        url=f"{here('subscriptions')}/{row.id}",
        card=card(row.brand, row.last4, row.kind),
        problem=problem,
        takes_payment=row.status == "on_hold" and not pays_there(row.collected_by),
    )


def open_method_page(row: SubscriptionRow, theirs: Account) -> ResponseReturnValue:
    """Redirect to the page of the external billing system. Opens no database session of this request."""
    try:
        link = command.open_method_page(dispatcher(), scope(), row.id, external(f"{here('subscriptions')}/{row.id}"))
    except (Conflict, Unavailable) as wrong:
        return method_page(row, theirs, _(wrong.sentence)), wrong.status
    if not link:
        flash(_("You don’t need to enter anything. %(business)s’s billing system has taken care of it.", business=theirs.name), "good")
        return back_to_subscription(row)
    return leave_for(link, row, theirs)
