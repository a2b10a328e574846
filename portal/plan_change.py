"""Changing a plan: choose, see the slip, agree. What the slip says is what is taken; anything else is a new slip."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.sessions import fresh_proof_url
from billing import pricing
from billing.commands import plan_change as command
from billing.commands import plan_elsewhere
from billing.queries import plan_choices
from billing.queries import subscriptions as query
from billing.queries.subscriptions import SubscriptionRow
from core import i18n
from core.errors import Conflict, Invalid
from core.pages import words
from core.web import db, external, here, house
from portal import bp
from portal.elsewhere import asked
from portal.plan_slip import moves, slip
from portal.proof import is_fresh, prove
from portal.renewals import next_charge
from portal.standing import account, open_account
from portal.words import interval


@bp.get("/subscriptions/<subscription_id>/plan-change")
def plan_change(subscription_id: str) -> ResponseReturnValue:
    row = query.one(db(), subscription_id)
    if row.planned_product_id:
        flash(_("A change is planned already. Keep the present plan first, then choose another."), "wait")
        return redirect(_of(row.id), 303)
    return _choose(row, {"product_id": request.args.get("product_id", "")})


@bp.post("/subscriptions/<subscription_id>/plan-change/quotes")
def plan_quote(subscription_id: str) -> ResponseReturnValue:
    row, form = query.one(db(), subscription_id), request.form
    open_account(row.business_id, row.customer_id)
    offered = plan_choices.choices(db(), row.id)
    wanted = (row.id, form.get("product_id", ""), _quantity(form.get("quantity")), _addons(offered, form))
    try:
        if row.collected_by != "us":
            return _elsewhere(row, wanted)
        made = command.quote(db(), *wanted)
    except Invalid as wrong:
        errors = {name: _(sentence) for name, sentence in wrong.fields.items()} or {"product_id": _(wrong.sentence)}
        return _choose(row, form, errors), 422
    return redirect(f"{_of(row.id)}/plan-change/quotes/{made.id}", 303)


@bp.get("/subscriptions/<subscription_id>/plan-change/quotes/<quote_id>")
def plan_slip(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    """The slip; once it was used, what became of it."""
    row = query.one(db(), subscription_id)
    shown = plan_choices.shown(db(), row.id, quote_id)
    if shown.quote.used_at is not None and shown.quote.outcome != "declined":
        _tell(shown)
        return redirect(_of(row.id), 303)
    theirs = account(row.business_id, row.customer_id)
    told = slip(row, shown, pricing.total(next_charge(row, theirs)))
    return render_template(
        "portal/plan_slip.html", row=row, account=theirs, url=_of(row.id), shown=shown, quote=shown.quote, slip=told,
        each=interval,
        may_confirm=is_fresh() or not told.needs_proof, prove_url=fresh_proof_url(request.path))


@bp.post("/subscriptions/<subscription_id>/plan-change/quotes/<quote_id>/confirmation")
def confirm_plan_change(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    """Opens no session of this request: the charge has its own, and one would wait for the other."""
    scope = db().scope
    url = f"{_of(subscription_id)}/plan-change/quotes/{quote_id}"
    with house().database.open(scope) as reading:
        row = query.one(reading, subscription_id)
        open_account(row.business_id, row.customer_id)
        shown = plan_choices.shown(reading, row.id, quote_id)
        before = pricing.total(next_charge(row, account(row.business_id, row.customer_id)))
    if slip(row, shown, before).needs_proof and shown.quote.used_at is None and not is_fresh():
        return prove(url)
    if row.collected_by != "us":
        return _order_elsewhere(row, shown, scope)
    try:
        done = command.confirm(house().till, scope, quote_id, return_url=external(url), locale=i18n.locale())
    except Conflict as stale:
        if stale.code != "QUOTE_STALE":
            raise
        return _again(scope, subscription_id, shown, stale.fields["quote_id"])
    return redirect(done.link or url, 303)


@bp.post("/subscriptions/<subscription_id>/plan-change/revocation")
def keep_plan(subscription_id: str) -> ResponseReturnValue:
    row = query.one(db(), subscription_id)
    open_account(row.business_id, row.customer_id)
    command.cancel_scheduled(db(), row.id)
    if row.collected_by != "us":
        return asked(row)
    flash(_("%(name)s stays as it is. The planned change is taken back.", name=row.name), "good")
    return redirect(_of(row.id), 303)


def _elsewhere(row: SubscriptionRow, wanted: tuple[Any, ...]) -> ResponseReturnValue:
    """The figures of the system that collects it. The request's own session ends first: the question goes over the network."""
    scope = db().scope
    db().close()
    quote_id = plan_elsewhere.foresee(house().database, house().forwarder.systems, scope, *wanted)
    return redirect(f"{_of(row.id)}/plan-change/quotes/{quote_id}", 303)


def _order_elsewhere(row: SubscriptionRow, shown: plan_choices.Shown, scope: Any) -> ResponseReturnValue:
    quote = shown.quote
    try:
        plan_elsewhere.order(house().database, scope, quote.id)
    except Conflict as stale:
        if stale.code != "QUOTE_STALE":
            raise
        chosen = [{"addon_id": one["addon_id"], "quantity": one["quantity"]} for one in quote.addons]
        flash(_("These figures had run out. Here they are anew; nothing was taken."), "wait")
        return _elsewhere(row, (row.id, quote.product_id, quote.quantity, chosen))
    return asked(row)


def _again(scope: Any, subscription_id: str, shown: plan_choices.Shown, fresh_id: str) -> ResponseReturnValue:
    with house().database.open(scope) as reading:
        fresh = plan_choices.shown(reading, subscription_id, fresh_id).quote
    old = shown.quote
    if (fresh.due_minor, fresh.next_renewal_minor) == (old.due_minor, old.next_renewal_minor):
        flash(_("These figures had run out. Here they are anew; nothing was taken."), "wait")
    else:
        flash(_("The price changed. Here are the new figures; nothing was taken."), "wait")
    return redirect(f"{_of(subscription_id)}/plan-change/quotes/{fresh_id}", 303)


def _tell(shown: plan_choices.Shown) -> None:
    quote, day = shown.quote, words().date(shown.quote.next_billing_at, "sentence")
    if quote.outcome == "forwarded":
        return  # the subscription's page says what came of it
    if quote.outcome == "scheduled":
        flash(_("%(name)s begins on %(date)s. Until then nothing changes, and you can take it back.", name=shown.name, date=day), "good")
    elif quote.outcome == "applied" and quote.due_minor:
        flash(_("Paid. %(name)s is yours now. It next renews on %(date)s.", name=shown.name, date=day), "good")
    elif quote.outcome == "applied":
        flash(_("Done. %(name)s is yours now. It next renews on %(date)s.", name=shown.name, date=day), "good")
    else:
        flash(_("The change to %(name)s is made as soon as its payment is settled.", name=shown.name), "wait")


def _choose(row: SubscriptionRow, typed: Any, errors: dict[str, str] | None = None) -> str:
    theirs = account(row.business_id, row.customer_id)
    offered = plan_choices.choices(db(), row.id)
    return render_template(
        "portal/plan_change.html", row=row, account=theirs, url=_of(row.id), offered=offered, typed=typed, errors=errors or {},
        present_minor=pricing.total(next_charge(row, theirs)), moves=[moves(row, one) for one in offered.plans],
        each=interval,
        names={one.option.product_id: one.option.name for one in offered.plans})


def _quantity(typed: str | None) -> int | None:
    if typed is None or not typed.strip():
        return None
    try:
        return int(typed)
    except ValueError:
        raise Invalid("INVALID_QUANTITY", fields={"quantity": _("Write a whole number, 1 or more.")}) from None


def _addons(offered: plan_choices.Choices, form: Any) -> list[dict[str, Any]] | None:
    """What was typed beside each add-on; None where the page has none, which keeps or drops them with the plan."""
    if not offered.addons:
        return None
    chosen, errors = [], {}
    for one in offered.addons:
        name = f"addon-{one.id}"
        typed = form.get(name, "").strip() or "0"
        if not typed.isascii() or not typed.isdigit() or int(typed) > 10_000:
            errors[name] = _("Write a whole number, 0 or more.")
        elif int(typed):
            if form.get("product_id") in one.product_ids:
                chosen.append({"addon_id": one.id, "quantity": int(typed)})
            elif int(typed) != one.held:  # what one has and the new plan does not know goes with the old plan
                errors[name] = _("The plan you chose does not have this.")
    if errors:
        raise Invalid("INVALID_QUANTITY", fields=errors)
    return chosen


def _of(subscription_id: str) -> str:
    return f"{here('subscriptions')}/{subscription_id}"
