"""Changing a plan: choose, see the slip, agree. What the slip says is what is taken; anything else is a new slip."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing import pricing
from billing.commands import plan_change as command
from billing.commands import plan_codes, plan_elsewhere
from billing.queries import plan_choices
from billing.queries import subscriptions as query
from billing.queries.subscriptions import SubscriptionRow
from billing.redeeming import Refused
from core import i18n
from core.errors import Conflict, Invalid
from core.pages import words
from core.scope import Scope, system
from core.web import db, external, here, house, scope
from portal import bp
from portal.elsewhere import asked
from portal.plan_codes import asked_again, why
from portal.plan_slip import Field, moves, slip, slip_page, slip_url
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
    return _choose(row, {"product_id": request.args.get("product_id", "")}, earlier=request.args.get("quote_id"))


@bp.post("/subscriptions/<subscription_id>/plan-change/quotes")
def plan_quote(subscription_id: str) -> ResponseReturnValue:
    row, form = query.one(db(), subscription_id), request.form
    open_account(row.business_id, row.customer_id)
    offered = plan_choices.choices(db(), row.id)
    wanted = (row.id, form.get("product_id", ""), _quantity(form.get("quantity")), _addons(offered, form))
    try:
        if row.collected_by != "us":
            return _elsewhere(row, wanted, form.get("quote_id"))
        if form.get("quote_id"):
            return _anew(row, wanted, form["quote_id"])
        made = command.quote(db(), *wanted)
    except Invalid as wrong:
        errors = {name: _(sentence) for name, sentence in wrong.fields.items()} or {"product_id": _(wrong.sentence)}
        return _choose(row, form, errors), 422
    return redirect(slip_url(row.id, made.id), 303)


@bp.get("/subscriptions/<subscription_id>/plan-change/quotes/<quote_id>")
def plan_slip(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    """The slip; once it was used, what became of it."""
    row = query.one(db(), subscription_id)
    shown = plan_choices.shown(db(), row.id, quote_id)
    if shown.is_settled:
        _tell(shown)
        return redirect(_of(row.id), 303)
    return slip_page(row, shown)


@bp.post("/subscriptions/<subscription_id>/plan-change/quotes/<quote_id>/confirmation")
def confirm_plan_change(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    """Opens no session of this request: the charge has its own, and one would wait for the other."""
    asking = scope()
    url = slip_url(subscription_id, quote_id)
    with house().database.open(asking) as reading:
        row = query.one(reading, subscription_id)
        open_account(row.business_id, row.customer_id)
        shown = plan_choices.shown(reading, row.id, quote_id)
        before = pricing.total(next_charge(row, account(row.business_id, row.customer_id)))
    if slip(row, shown, before).needs_proof and shown.quote.used_at is None and not is_fresh():
        return prove(url)
    if row.collected_by != "us":
        return _order_elsewhere(row, shown, asking)
    try:
        done = command.confirm(house().till, asking, quote_id, return_url=external(url), locale=i18n.locale())
    except Conflict as stale:
        if stale.code != "QUOTE_STALE":
            raise
        return _again(asking, subscription_id, shown, stale.fields["quote_id"])
    except Refused as gone:  # a code had its last use in the meantime
        said = why(gone, gone.which, shown.name) + " " + _("Nothing was taken. Take it away to go on without it.")
        return slip_page(row, shown, Field("", said)), 422
    return redirect(done.link or url, 303)


@bp.post("/subscriptions/<subscription_id>/plan-change/revocation")
def keep_plan(subscription_id: str) -> ResponseReturnValue:
    """Its codes are given back, which no customer's own session can do."""
    asking = scope()
    with house().database.open(asking) as reading:
        row = query.one(reading, subscription_id)
    open_account(row.business_id, row.customer_id)
    with house().database.open(system(row.business_id, asking.actor), write=True) as writing:
        command.cancel_scheduled(writing, row.id)
    if row.collected_by != "us":
        return asked(row)
    flash(_("%(name)s stays as it is. The planned change is taken back.", name=row.name), "good")
    return redirect(_of(row.id), 303)


def _elsewhere(row: SubscriptionRow, wanted: tuple[Any, ...], earlier_id: str | None) -> ResponseReturnValue:
    """The figures of the system that collects it. The request's own session ends first: the question goes over the network."""
    database, systems, asking = house().database, house().forwarder.systems, scope()
    had = plan_choices.shown(db(), row.id, earlier_id).quote.discounts if earlier_id else []
    codes, staying = ([one["code"] for one in had if one["named"] == said] for said in (True, False))
    db().close()
    try:
        quote_id = plan_elsewhere.foresee(database, systems, asking, *wanted, codes=codes, staying=staying)
    except Conflict as refused:
        if not codes or refused.code != "REFUSED_ELSEWHERE":
            raise
        quote_id = plan_elsewhere.foresee(database, systems, asking, *wanted)
        for code in codes:
            flash(_("%(code)s does not hold for this and was left out.", code=code), "wait")
    return redirect(slip_url(row.id, quote_id), 303)


def _anew(row: SubscriptionRow, wanted: tuple[Any, ...], earlier_id: str) -> ResponseReturnValue:
    """With the codes of the slip one came from. The request's own session ends first: codes are looked up in another."""
    asking = scope()
    db().close()
    quote_id, left_out = plan_codes.anew(house().database, asking, earlier_id, *wanted)
    for code in left_out:
        flash(_("%(code)s does not hold for this and was left out.", code=code), "wait")
    return redirect(slip_url(row.id, quote_id), 303)


def _order_elsewhere(row: SubscriptionRow, shown: plan_choices.Shown, asking: Scope) -> ResponseReturnValue:
    quote = shown.quote
    try:
        plan_elsewhere.order(house().database, asking, quote.id)
    except Conflict as stale:
        if stale.code != "QUOTE_STALE":
            raise
        made = asked_again(row, quote, [one["code"] for one in quote.discounts])
        flash(_("These figures had run out. Here they are anew; nothing was taken."), "wait")
        return redirect(slip_url(row.id, made), 303)
    return asked(row)


def _again(asking: Scope, subscription_id: str, shown: plan_choices.Shown, fresh_id: str) -> ResponseReturnValue:
    with house().database.open(asking) as reading:
        fresh = plan_choices.shown(reading, subscription_id, fresh_id).quote
    old = shown.quote
    if (fresh.due_minor, fresh.next_renewal_minor) == (old.due_minor, old.next_renewal_minor):
        flash(_("These figures had run out. Here they are anew; nothing was taken."), "wait")
    else:
        flash(_("The price changed. Here are the new figures; nothing was taken."), "wait")
    return redirect(slip_url(subscription_id, fresh_id), 303)


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


def _choose(row: SubscriptionRow, typed: Any, errors: dict[str, str] | None = None, earlier: str | None = None) -> str:
    """`earlier`: the slip one comes back from, with all that was chosen for it."""
    theirs = account(row.business_id, row.customer_id)
    offered = plan_choices.choices(db(), row.id)
    if earlier:
        was = plan_choices.shown(db(), row.id, earlier).quote
        held = {one["addon_id"]: one["quantity"] for one in was.addons}
        typed = {"product_id": was.product_id, "quantity": was.quantity, "quote_id": was.id,
                 **{f"addon-{one.id}": held.get(one.id, 0) for one in offered.addons}}
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
