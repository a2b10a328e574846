"""Cancelling, at the period's end or now, and taking it back: as easy the one as the other, a reason never asked for twice."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands import cancelling
from billing.commands.ending import cancel_now
from billing.elsewhere import can
from billing.queries import held_keys
from billing.queries import subscriptions as query
from billing.queries.subscriptions import SubscriptionRow
from core.db import ScopedSession
from core.errors import Conflict, Invalid
from core.pages import words
from core.web import db, here, house
from portal import bp, elsewhere
from portal.lines import ends_at, may_cancel, may_keep
from portal.proof import is_fresh, prove
from portal.standing import account, open_account
from portal.words import days_to


@bp.get("/subscriptions/<subscription_id>/cancellation")
def cancellation(subscription_id: str) -> ResponseReturnValue:
    row = query.one(db(), subscription_id)
    theirs = account(row.business_id, row.customer_id)
    if may_keep(row, theirs) or not may_cancel(row, theirs):
        return redirect(_of(row.id), 303)
    return _ask(row, typed=request.args)


@bp.post("/subscriptions/<subscription_id>/cancellation")
def cancel(subscription_id: str) -> ResponseReturnValue:
    """At the period's end; or, with `when=now`, at once, on a fresh proof."""
    if request.form.get("when") == "now":
        return _now(subscription_id)
    row = _ours(query.one(db(), subscription_id))
    try:
        cancelling.cancel_at_period_end(db(), row.id, request.form.get("feedback") or None, request.form.get("comment") or None)
    except Invalid as wrong:
        return _ask(row, {name: _(sentence) for name, sentence in wrong.fields.items()}), 422
    if row.collected_by != "us":
        return elsewhere.asked(row)
    day = ends_at(row)
    if day:
        flash(_("%(name)s ends on %(date)s. You can take it back until then.", name=row.name, date=words().date(day, "sentence")), "good")
    else:
        flash(_("%(name)s ends with its period. You can take it back until then.", name=row.name), "good")
    return redirect(_of(row.id), 303)


@bp.post("/subscriptions/<subscription_id>/cancellation/revocation")
def keep(subscription_id: str) -> ResponseReturnValue:
    row = _ours(query.one(db(), subscription_id))
    cancelling.keep(db(), row.id)
    if row.collected_by != "us":
        return elsewhere.asked(row)
    day = ends_at(row)
    if day:
        flash(_("%(name)s goes on. It next renews on %(date)s.", name=row.name, date=words().date(day, "sentence")), "good")
    else:
        flash(_("%(name)s goes on.", name=row.name), "good")
    return redirect(_of(row.id), 303)


def _now(subscription_id: str) -> ResponseReturnValue:
    """The command opens sessions of its own; one of this request would wait for them."""
    scope, form = db().scope, request.form
    with house().database.open(scope) as reading:
        row = _ours(query.one(reading, subscription_id))
        if not is_fresh():
            asked = {"when": "now"} | ({"feedback": form["feedback"]} if form.get("feedback") else {})
            return prove(f"{_of(row.id)}/cancellation?{urlencode(asked)}")
        others = _others(reading, row)
    try:
        cancel_now(house().till, scope, row.id, form.get("feedback") or None, form.get("comment") or None)
    except Invalid as wrong:
        return _ask(row, wrong.fields, others=others), 422
    if row.collected_by != "us":
        return elsewhere.asked(row)
    flash(_("%(name)s has ended. Nothing more is taken.", name=row.name), "good")
    return redirect(_of(row.id), 303)


def _ours(row: SubscriptionRow) -> SubscriptionRow:
    """Raises BusinessArchived, Conflict (another system bills it)."""
    open_account(row.business_id, row.customer_id)
    if not can(row.collected_by, "cancel"):
        raise Conflict("NOT_COLLECTED_HERE", _("The business bills this itself; ask it to end it."))
    return row


def _others(reading: ScopedSession, row: SubscriptionRow) -> list[str]:
    names = (one.name for one in query.live(reading) if one.business_id == row.business_id and one.id != row.id)
    return list(dict.fromkeys(names))


def _ask(row: SubscriptionRow, errors: dict[str, str] | None = None, typed: Any = None, others: list[str] | None = None) -> str:
    others = _others(db(), row) if others is None else others
    theirs = account(row.business_id, row.customer_id)
    return render_template(
        "portal/cancellation.html",
        row=row,
        account=theirs,
        url=_of(row.id),
        reasons=reasons(),
        others=others,
        ends_at=ends_at(row),
        errors={name: _(sentence) for name, sentence in (errors or {}).items()},
        typed=request.form if typed is None else typed,
        is_fresh=is_fresh(),
        has_keys=held_keys.has_keys(db(), row.id),
        days_left=days_to(row.next_billing_at) if ends_at(row) and row.status == "active" else 0,
    )


def reasons() -> list[tuple[str, str]]:
    """(code of the contract, words); the first is none."""
    return [
        ("", _("No reason")),
        ("too_expensive", _("It costs too much")),
        ("missing_features", _("Something is missing")),
        ("switched_service", _("I use something else now")),
        ("unused", _("I do not use it")),
        ("customer_service", _("The help I got")),
        ("low_quality", _("It is not good enough")),
        ("too_complex", _("It is too complicated")),
        ("other", _("Something else")),
    ]


def _of(subscription_id: str) -> str:
    return f"{here('subscriptions')}/{subscription_id}"
