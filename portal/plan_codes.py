"""Discount codes of a plan change: one more or one fewer makes a new slip, and everything else that was chosen stays.

A code that is none counts against who tried it and where from, so that nobody finds one by trying; a good one does not count.
"""

from __future__ import annotations

from flask import flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth import budgets, doors, sessions
from billing.commands import plan_codes as command
from billing.commands import plan_elsewhere
from billing.discounts import AT_MOST
from billing.queries import plan_choices
from billing.queries import subscriptions as query
from billing.queries.subscriptions import SubscriptionRow
from billing.quotes import Quote
from billing.redeeming import Refused
from core.errors import Conflict
from core.web import house, scope
from portal import bp
from portal.plan_slip import Field, slip_page, slip_url
from portal.standing import open_account


@bp.post("/subscriptions/<subscription_id>/plan-change/quotes/<quote_id>/discounts")
def apply_code(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    """Opens no session of this request: what is counted is written at once, and one would wait for the other."""
    row, shown = _found(subscription_id, quote_id)
    typed = request.form.get("discount_code", "")
    code, held = _folded(typed), [one["code"] for one in shown.quote.discounts]
    if shown.is_settled:
        return redirect(slip_url(row.id, quote_id), 303)
    if len(set(held)) >= AT_MOST:
        return slip_page(row, shown, Field(typed, _("%(count)s codes are the most for one plan.", count=AT_MOST))), 422
    if not code:
        return slip_page(row, shown, Field("", _("Type the code first."))), 422
    if code in held:
        return slip_page(row, shown, Field("", _("%(code)s is applied already.", code=code))), 422
    limits = [] if code in {one["code"] for one in row.discounts or []} else _limits(row)  # one's own is no guess
    if not budgets.spend(house().database, limits):
        too_many = _("Too many codes were wrong. Please wait an hour before you try another; the change itself can go on.")
        return slip_page(row, shown, Field(typed, too_many)), 429
    try:
        made = _with(row, shown, [*held, code])
    except Refused as wrong:
        if wrong.which != code:  # one that was there before
            _give_back(limits)
        return slip_page(row, shown, Field(typed, why(wrong, code, shown.name))), 422
    except Conflict as wrong:
        if wrong.code != "REFUSED_ELSEWHERE":
            _give_back(limits)
            raise
        return slip_page(row, shown, Field(typed, wrong.sentence)), 422  # the other system's own words
    except Exception:
        _give_back(limits)
        raise
    _give_back(limits)
    flash(_("%(code)s is applied.", code=code), "good")
    return redirect(slip_url(row.id, made), 303)


@bp.post("/subscriptions/<subscription_id>/plan-change/quotes/<quote_id>/discounts/removal")
def remove_code(subscription_id: str, quote_id: str) -> ResponseReturnValue:
    row, shown = _found(subscription_id, quote_id)
    code, held = _folded(request.form.get("discount_code", "")), [one["code"] for one in shown.quote.discounts]
    if shown.is_settled or code not in held:
        return redirect(slip_url(row.id, quote_id), 303)
    try:
        made = _with(row, shown, [one for one in held if one != code])
    except Refused as wrong:
        return slip_page(row, shown, Field("", why(wrong, wrong.which, shown.name))), 422
    flash(_("%(code)s is taken away.", code=code), "good")
    return redirect(slip_url(row.id, made), 303)


def _with(row: SubscriptionRow, shown: plan_choices.Shown, codes: list[str]) -> str:
    """The id of a new quote."""
    if row.collected_by == "us":
        return command.with_codes(house().database, scope(), shown.quote.id, codes)
    return asked_again(row, shown.quote, codes)


def asked_again(row: SubscriptionRow, quote: Quote, codes: list[str]) -> str:
    """The same change with these codes, asked of the system that collects it: the id of a new quote."""
    staying = [one["code"] for one in quote.discounts if not one["named"]]
    chosen = [{"addon_id": one["addon_id"], "quantity": one["quantity"]} for one in quote.addons]
    return plan_elsewhere.foresee(house().database, house().forwarder.systems, scope(), row.id, quote.product_id, quote.quantity, chosen,
                                  [one for one in codes if one not in staying], staying)


def why(wrong: Refused, code: str, plan: str) -> str:
    """Why a code cannot be had. Another business's code is no code here: both get the same words."""
    one, code = (wrong.which or code)[:20], wrong.code
    return {
        "DISCOUNT_NOT_YET_ACTIVE": _("%(code)s cannot be used yet.", code=one),
        "DISCOUNT_CODE_EXPIRED": _("%(code)s has run out.", code=one),
        "DISCOUNT_CODE_USAGE_LIMIT_EXCEEDED": _("%(code)s was used up.", code=one),
        "DISCOUNT_PER_CUSTOMER_USAGE_LIMIT_EXCEEDED": _("You have used %(code)s already.", code=one),
        "DISCOUNT_CUSTOMER_NOT_ELIGIBLE": _("%(code)s is not meant for your account.", code=one),
        "DISCOUNT_NOT_AVAILABLE_FOR_PRODUCT": _("%(code)s is not for %(plan)s.", code=one, plan=plan),
        "DISCOUNT_NOT_APPLICABLE_TO_NEW_PRODUCT": _("%(code)s is not for %(plan)s.", code=one, plan=plan),
        "DISCOUNT_ALREADY_USED_ON_SUBSCRIPTION": _("%(code)s belongs to the plan you have now and ends with it.", code=one),
    }.get(code, _("There is no code %(code)s here. Look at how it is spelled.", code=one))


def _found(subscription_id: str, quote_id: str) -> tuple[SubscriptionRow, plan_choices.Shown]:
    with house().database.open(scope()) as reading:
        row = query.one(reading, subscription_id)
        open_account(row.business_id, row.customer_id)
        return row, plan_choices.shown(reading, row.id, quote_id)


def _folded(typed: str) -> str:
    """As codes are kept. What no code can be is cut: it is as wrong as before."""
    return "".join(typed.split()).upper()[:64]


def _limits(row: SubscriptionRow) -> list[budgets.Limit]:
    visit = sessions.current()
    who = (visit.identity_id if visit else None) or row.customer_id
    return budgets.discounts(house().settings, who, doors.source())


def _give_back(limits: list[budgets.Limit]) -> None:
    for one in limits:
        budgets.give_back(house().database, one)
