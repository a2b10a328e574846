"""Change a plan: choose a plan, review the quote, confirm it. Only the amount of the confirmed quote is charged."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.charging.discount_redemption import DiscountRefused
from billing.plan_changes import choices as plan_change_choices
from billing.plan_changes import confirm as command
from billing.plan_changes import discount_codes
from billing.plan_changes import external as plan_change_external
from billing.plan_changes.eligibility import PlanSelection
from billing.pricing import prices
from billing.subscriptions import queries as query
from billing.subscriptions.subscription_row import SubscriptionRow
from core import i18n
from core.errors import Conflict, Invalid
from core.links import external, here
from core.request_context import db, scope, services
from core.scope import Scope, system
from core.template_context import formatter
from portal import bp
from portal.billing_services import dispatcher, processor
from portal.external_billing import back_to_subscription
from portal.phrases import interval
from portal.plan_codes import refusal_sentence, requote_externally
from portal.plan_slip import CodeField, plan_effect, slip, slip_page, slip_url
from portal.renewals import next_charge
from portal.request_accounts import account, open_account
from portal.step_up import is_fresh, prove


@bp.get("/subscriptions/<subscription_id>/plan-change")
def plan_change(subscription_id: str) -> ResponseReturnValue:
    row = query.get_subscription(db(), subscription_id)
    if row.planned_product_id:
        flash(_("A plan change is already scheduled. Keep your current plan first, then choose another."), "wait")
        return redirect(_url(row.id), 303)
    return _choice_page(row, {"product_id": request.args.get("product_id", "")}, earlier=request.args.get("quote_id"))


@bp.post("/subscriptions/<subscription_id>/plan-change/quotes")
def plan_quote(subscription_id: str) -> ResponseReturnValue:
    row, form = query.get_subscription(db(), subscription_id), request.form
    open_account(row.business_id, row.customer_id)
    offered = plan_change_choices.choices(db(), row.id)
    wanted = PlanSelection(row.id, form.get("product_id", ""), _quantity(form.get("quantity")), _addons(offered, form))
    try:
        if row.collected_by != "us":
            try:
                return _quote_externally(row, wanted, form.get("quote_id"))
            except Conflict as refused:
                if refused.code != "REFUSED_ELSEWHERE":
                    raise
                return _choice_page(row, form, {"product_id": _(refused.sentence)}), 409
        if form.get("quote_id"):
            return _requote(row, wanted, form["quote_id"])
        made = command.quote(db(), *wanted)
    except Invalid as wrong:
        errors = {name: _(sentence) for name, sentence in wrong.fields.items()} or {"product_id": _(wrong.sentence)}
        return _choice_page(row, form, errors), 422
    return redirect(slip_url(row.id, made.id), 303)


@bp.get("/subscriptions/<subscription_id>/plan-change/quotes/<quote_id>")
def plan_slip(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    """Show the quote. Once it was used, redirect to the subscription with the outcome."""
    row = query.get_subscription(db(), subscription_id)
    shown = plan_change_choices.shown(db(), row.id, quote_id)
    if shown.is_settled:
        _flash_outcome(shown)
        return redirect(_url(row.id), 303)
    return slip_page(row, shown)


@bp.post("/subscriptions/<subscription_id>/plan-change/quotes/<quote_id>/confirmation")
def confirm_plan_change(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    """Confirm a quote without a database session of this request: it would block the session of the charge."""
    request_scope = scope()
    url = slip_url(subscription_id, quote_id)
    with services().database.open(request_scope) as reading:
        row = query.get_subscription(reading, subscription_id)
        open_account(row.business_id, row.customer_id)
        shown = plan_change_choices.shown(reading, row.id, quote_id)
        before = prices.total(next_charge(row, account(row.business_id, row.customer_id)))
    if slip(row, shown, before).needs_proof and shown.quote.used_at is None and not is_fresh():
        return prove(url)
    if row.collected_by != "us":
        return _order_externally(row, shown, request_scope)
    try:
        done = command.confirm(processor(), request_scope, quote_id, return_url=external(url), locale=i18n.locale())
    except Conflict as stale:
        if stale.code != "QUOTE_STALE":
            raise
        return _show_new_quote(request_scope, subscription_id, shown, stale.fields["quote_id"])
    except DiscountRefused as gone:  # the code reached its usage limit after the quote
        problem = refusal_sentence(gone, gone.which, shown.name) + " " + _("You weren’t charged. Remove it to continue without it.")
        return slip_page(row, shown, CodeField("", problem)), 422
    return redirect(done.link or url, 303)


@bp.post("/subscriptions/<subscription_id>/plan-change/revocation")
def keep_plan(subscription_id: str) -> ResponseReturnValue:
    """Cancel a scheduled plan change. A system session releases its discount codes, which customer sessions cannot do."""
    request_scope = scope()
    with services().database.open(request_scope) as reading:
        row = query.get_subscription(reading, subscription_id)
    open_account(row.business_id, row.customer_id)
    with services().database.open(system(row.business_id, request_scope.actor), write=True) as writing:
        command.cancel_scheduled(writing, row.id)
    if row.collected_by != "us":
        return back_to_subscription(row)
    flash(_("You’re keeping %(name)s. The scheduled change was cancelled.", name=row.name), "good")
    return redirect(_url(row.id), 303)


def _quote_externally(row: SubscriptionRow, wanted: PlanSelection, earlier_id: str | None) -> ResponseReturnValue:
    """Get a quote from the external billing system. The request's session is closed first, before the network call."""
    database, systems, request_scope = services().database, dispatcher().systems, scope()
    discounts = plan_change_choices.shown(db(), row.id, earlier_id).quote.discounts if earlier_id else []
    codes, staying = ([item["code"] for item in discounts if item["named"] == named] for named in (True, False))
    db().close()
    try:
        quote_id = plan_change_external.quote_external(database, systems, request_scope, wanted, codes=codes, staying=staying)
    except Conflict as refused:
        if not codes or refused.code != "REFUSED_ELSEWHERE":
            raise
        quote_id = plan_change_external.quote_external(database, systems, request_scope, wanted)
        for code in codes:
            flash(_("%(code)s doesn’t apply to this plan and was removed.", code=code), "wait")
    return redirect(slip_url(row.id, quote_id), 303)


def _requote(row: SubscriptionRow, wanted: PlanSelection, earlier_id: str) -> ResponseReturnValue:
    """Make a new quote with the codes of an earlier one. The request's session is closed first: codes use another session."""
    request_scope = scope()
    db().close()
    quote_id, left_out = discount_codes.requote(services().database, request_scope, earlier_id, wanted)
    for code in left_out:
        flash(_("%(code)s doesn’t apply to this plan and was removed.", code=code), "wait")
    return redirect(slip_url(row.id, quote_id), 303)


def _order_externally(row: SubscriptionRow, shown: plan_change_choices.ShownPlans, request_scope: Scope) -> ResponseReturnValue:
    quote = shown.quote
    try:
        plan_change_external.order(services().database, request_scope, quote.id)
    except Conflict as stale:
        if stale.code != "QUOTE_STALE":
            raise
        made = requote_externally(row, quote, [discount["code"] for discount in quote.discounts])
        flash(_("The quoted price had expired. Please review the updated price. You weren’t charged."), "wait")
        return redirect(slip_url(row.id, made), 303)
    return back_to_subscription(row)


def _show_new_quote(
    request_scope: Scope, subscription_id: str, shown: plan_change_choices.ShownPlans, fresh_id: str
) -> ResponseReturnValue:
    with services().database.open(request_scope) as reading:
        fresh = plan_change_choices.shown(reading, subscription_id, fresh_id).quote
    old = shown.quote
    if (fresh.due_minor, fresh.next_renewal_minor) == (old.due_minor, old.next_renewal_minor):
        flash(_("The quoted price had expired. Please review the updated price. You weren’t charged."), "wait")
    else:
        flash(_("The price has changed. Please review the new price. You weren’t charged."), "wait")
    return redirect(slip_url(subscription_id, fresh_id), 303)


def _flash_outcome(shown: plan_change_choices.ShownPlans) -> None:
    quote, day = shown.quote, formatter().date(shown.quote.next_billing_at, "sentence")
    if quote.outcome == "delegated":
        return  # the subscription page shows the outcome
    if quote.outcome == "scheduled":
        flash(_("%(name)s starts on %(date)s. You can undo this until then.", name=shown.name, date=day), "good")
    elif quote.outcome == "applied" and quote.due_minor:
        flash(_("Paid. You’re now on %(name)s. It next renews on %(date)s.", name=shown.name, date=day), "good")
    elif quote.outcome == "applied":
        flash(_("Done. You’re now on %(name)s. It next renews on %(date)s.", name=shown.name, date=day), "good")
    else:
        flash(_("You’ll be on %(name)s as soon as the payment is settled.", name=shown.name), "wait")


def _choice_page(row: SubscriptionRow, typed: Any, errors: dict[str, str] | None = None, earlier: str | None = None) -> str:
    """Return the page of plans. `earlier`: id of the quote whose choices are preselected."""
    theirs = account(row.business_id, row.customer_id)
    offered = plan_change_choices.choices(db(), row.id)
    if earlier:
        previous = plan_change_choices.shown(db(), row.id, earlier).quote
        quantities = {addon["addon_id"]: addon["quantity"] for addon in previous.addons}
        typed = {
            "product_id": previous.product_id,
            "quantity": previous.quantity,
            "quote_id": previous.id,
            **{f"addon-{addon.id}": quantities.get(addon.id, 0) for addon in offered.addons},
        }
    return render_template(
        "portal/plan_change.html",
        row=row,
        account=theirs,
        url=_url(row.id),
        offered=offered,
        typed=typed,
        errors=errors or {},
        present_minor=prices.total(next_charge(row, theirs)),
        effects=[plan_effect(row, plan) for plan in offered.plans],
        each=interval,
        names={plan.option.product_id: plan.option.name for plan in offered.plans},
    )


def _quantity(typed: str | None) -> int | None:
    if typed is None or not typed.strip():
        return None
    try:
        return int(typed)
    except ValueError:
        raise Invalid("INVALID_QUANTITY", fields={"quantity": _("Enter a whole number, 1 or more.")}) from None


def _addons(offered: plan_change_choices.PlanChoices, form: Any) -> list[dict[str, Any]] | None:
    """Return the chosen add-ons, or None if the page offers none. Raises Invalid.

    With None, the current add-ons are kept or dropped with the plan.
    """
    if not offered.addons:
        return None
    chosen, errors = [], {}
    for addon in offered.addons:
        name = f"addon-{addon.id}"
        typed = form.get(name, "").strip() or "0"
        if not typed.isascii() or not typed.isdigit() or int(typed) > 10_000:
            errors[name] = _("Enter a whole number, 0 or more.")
        elif int(typed):
            if form.get("product_id") in addon.product_ids:
                chosen.append({"addon_id": addon.id, "quantity": int(typed)})
            elif int(typed) != addon.held:  # an add-on that the new plan lacks ends with the old plan
                errors[name] = _("This add-on isn’t available with the plan you chose.")
    if errors:
        raise Invalid("INVALID_QUANTITY", fields=errors)
    return chosen


def _url(subscription_id: str) -> str:
    return f"{here('subscriptions')}/{subscription_id}"
