"""Add and remove discount codes of a plan change. Each change creates a new quote with the same plan, quantity and add-ons.

Wrong codes count against rate limits per person and source, so that codes cannot be guessed. Valid codes do not count.
"""

from __future__ import annotations

from flask import flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import rate_limits, sessions, sign_in_context
from billing.charging.discount_redemption import DiscountRefused
from billing.model.discounts import AT_MOST
from billing.model.quotes import Quote
from billing.plan_changes import choices, external
from billing.plan_changes import discount_codes as command
from billing.plan_changes.eligibility import PlanSelection
from billing.subscriptions import queries as query
from billing.subscriptions.subscription_row import SubscriptionRow
from core.errors import Conflict
from core.request_context import scope, services
from portal import bp
from portal.billing_services import dispatcher
from portal.plan_slip import CodeField, slip_page, slip_url
from portal.request_accounts import open_account


@bp.post("/subscriptions/<subscription_id>/plan-change/quotes/<quote_id>/discounts")
def apply_code(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    """Apply a code without a database session of this request: it would block the session that writes the rate limit."""
    row, shown = _load(subscription_id, quote_id)
    typed = request.form.get("discount_code", "")
    code, applied = normalize(typed), [discount["code"] for discount in shown.quote.discounts]
    if shown.is_settled:
        return redirect(slip_url(row.id, quote_id), 303)
    if len(set(applied)) >= AT_MOST:
        return slip_page(row, shown, CodeField(typed, _("You can use at most %(count)s codes.", count=AT_MOST))), 422
    if not code:
        return slip_page(row, shown, CodeField("", _("Enter a discount code."))), 422
    if code in applied:
        return slip_page(row, shown, CodeField("", _("%(code)s is already applied.", code=code))), 422
    limits = (
        [] if code in {discount["code"] for discount in row.discounts or []} else code_limits(row)
    )  # the customer's own codes are not guesses
    if not rate_limits.spend(services().database, limits):
        too_many = _("Too many wrong codes. Please wait an hour before you try another. You can still change your plan.")
        return slip_page(row, shown, CodeField(typed, too_many)), 429
    try:
        made = _requote(row, shown, [*applied, code])
    except DiscountRefused as wrong:
        if wrong.which != code:  # a code that was applied before
            refund_limits(limits)
        return slip_page(row, shown, CodeField(typed, refusal_sentence(wrong, code, shown.name))), 422
    except Conflict as wrong:
        if wrong.code != "REFUSED_ELSEWHERE":
            refund_limits(limits)
            raise
        return slip_page(row, shown, CodeField(typed, wrong.sentence)), 422  # message of the external system
    except Exception:
        refund_limits(limits)
        raise
    refund_limits(limits)
    flash(_("%(code)s was applied.", code=code), "good")
    return redirect(slip_url(row.id, made), 303)


@bp.post("/subscriptions/<subscription_id>/plan-change/quotes/<quote_id>/discounts/removal")
def remove_code(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    row, shown = _load(subscription_id, quote_id)
    code, applied = normalize(request.form.get("discount_code", "")), [discount["code"] for discount in shown.quote.discounts]
    if shown.is_settled or code not in applied:
        return redirect(slip_url(row.id, quote_id), 303)
    try:
        made = _requote(row, shown, [shown_code for shown_code in applied if shown_code != code])
    except DiscountRefused as wrong:
        return slip_page(row, shown, CodeField("", refusal_sentence(wrong, wrong.which, shown.name))), 422
    flash(_("%(code)s was removed.", code=code), "good")
    return redirect(slip_url(row.id, made), 303)


def _requote(row: SubscriptionRow, shown: choices.ShownPlans, codes: list[str]) -> str:
    """Return the id of a new quote with these codes."""
    if row.collected_by == "us":
        return command.with_codes(services().database, scope(), shown.quote.id, codes)
    return requote_externally(row, shown.quote, codes)


def requote_externally(row: SubscriptionRow, quote: Quote, codes: list[str]) -> str:
    """Return the id of a new quote from the external billing system for the same change with these codes."""
    staying = [discount["code"] for discount in quote.discounts if not discount["named"]]
    chosen = [{"addon_id": addon["addon_id"], "quantity": addon["quantity"]} for addon in quote.addons]
    selection = PlanSelection(row.id, quote.product_id, quote.quantity, chosen)
    entered = [code for code in codes if code not in staying]
    return external.quote_external(services().database, dispatcher().systems, scope(), selection, codes=entered, staying=staying)


def refusal_sentence(wrong: DiscountRefused, code: str, plan: str) -> str:
    """Return why a code was refused. Unknown codes and codes of other businesses give the same sentence."""
    shown_code, code = (wrong.which or code)[:20], wrong.code
    return {
        "DISCOUNT_NOT_YET_ACTIVE": _("%(code)s can’t be used yet.", code=shown_code),
        "DISCOUNT_CODE_EXPIRED": _("%(code)s has expired.", code=shown_code),
        "DISCOUNT_CODE_USAGE_LIMIT_EXCEEDED": _("%(code)s has reached its usage limit.", code=shown_code),
        "DISCOUNT_PER_CUSTOMER_USAGE_LIMIT_EXCEEDED": _("You’ve already used %(code)s.", code=shown_code),
        "DISCOUNT_CUSTOMER_NOT_ELIGIBLE": _("%(code)s isn’t available for your account.", code=shown_code),
        "DISCOUNT_NOT_AVAILABLE_FOR_PRODUCT": _("%(code)s doesn’t apply to %(plan)s.", code=shown_code, plan=plan),
        "DISCOUNT_NOT_APPLICABLE_TO_NEW_PRODUCT": _("%(code)s doesn’t apply to %(plan)s.", code=shown_code, plan=plan),
        "DISCOUNT_ALREADY_USED_ON_SUBSCRIPTION": _("%(code)s belongs to your current plan and ends with it.", code=shown_code),
    }.get(code, _("We don’t recognize the code %(code)s. Check the spelling.", code=shown_code))


def _load(subscription_id: str, quote_id: str) -> tuple[SubscriptionRow, choices.ShownPlans]:
    """Return the subscription and the quote. Raises NotFound and BusinessArchived."""
    with services().database.open(scope()) as reading:
        row = query.get_subscription(reading, subscription_id)
        open_account(row.business_id, row.customer_id)
        return row, choices.shown(reading, row.id, quote_id)


def normalize(typed: str) -> str:
    """Return the code in its stored form: without spaces, in upper case, at most 64 characters."""
    return "".join(typed.split()).upper()[:64]


def code_limits(row: SubscriptionRow) -> list[rate_limits.Limit]:
    visit = sessions.current_visit()
    subject = (visit.identity_id if visit else None) or row.customer_id
    return rate_limits.discounts(services().settings, subject, sign_in_context.source())


def refund_limits(limits: list[rate_limits.Limit]) -> None:
    for limit in limits:
        rate_limits.give_back(services().database, limit)
