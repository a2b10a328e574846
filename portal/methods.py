"""Saved cards and accounts: what each pays for, when it runs out; adding one, using one first or for everything, removing one."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext

from billing.commands import methods as saved
from billing.payments import PaymentMethod
from billing.queries import methods as query
from billing.queries.methods import MethodRow
from billing.queries.one_payment import saved_method
from core import i18n
from core.errors import Conflict, NotFound, Unavailable
from core.web import db, here, house, scope
from portal import bp
from portal.paying import let_forms_leave, needs_proof, way_back
from portal.proof import prove
from portal.standing import Account, account, accounts, businesses, is_several, open_account
from portal.words import card, expires, is_soon


@bp.get("/payment-methods")
def payment_methods() -> ResponseReturnValue:
    rows = query.methods(db(replica=True))
    soon = [row for row in rows if row.pays_for and is_soon(row.expiry_month, row.expiry_year)]
    open_ones = [one for one in accounts() if not one.archived_at]
    let_forms_leave()
    prefix = here("payment_methods")
    return render_template(
        "portal/payment_methods.html", rows=rows, soon=soon, businesses=businesses(), several=is_several(), card=card, expires=expires,
        url=prefix, choices=_choices(open_ones), actions={row.id: _actions(row, rows, f"{prefix}/{row.id}") for row in rows})


@bp.post("/payment-methods")
def add_payment_method() -> ResponseReturnValue:
    """To the hosted page. Which business keeps the card is asked where there is more than one."""
    open_ones = [one for one in accounts() if not one.archived_at]
    wanted = request.form.get("customer_id") or (open_ones[0].customer_id if len(open_ones) == 1 else "")
    theirs = next((one for one in open_ones if one.customer_id == wanted), None)
    if theirs is None:
        raise NotFound(sentence=_("Choose the business that may keep the card."))
    if needs_proof():
        return prove(here("payment_methods"))
    try:
        added = saved.add_method(house().till, scope(), theirs.customer_id, way_back(), locale=i18n.locale())
    except (Conflict, Unavailable) as wrong:
        flash(_(wrong.sentence), "due")
        return redirect(here("payment_methods"), 303)
    let_forms_leave(added.link)
    return redirect(added.link or here("payment_methods"), 303)


@bp.post("/payment-methods/<payment_method_id>/default")
def use_payment_method_first(payment_method_id: str) -> ResponseReturnValue:
    method = _mine(payment_method_id)
    saved.set_default(db(), method.id)
    flash(_("%(card)s is offered first from now on.", card=_named(method)), "good")
    return redirect(here("payment_methods"), 303)


@bp.post("/payment-methods/<payment_method_id>/everything")
def move_to_payment_method(payment_method_id: str) -> ResponseReturnValue:
    """Everything this customer pays one business with other methods is paid with this one."""
    method = _mine(payment_method_id)
    others = [one.id for one in saved.methods_of(db(), method.customer_id) if one.id != method.id]
    moved = sum(len(saved.move_all(db(), method.customer_id, one, method.id)) for one in others)
    flash(ngettext("%(card)s now pays for one more subscription.", "%(card)s now pays for %(num)d more subscriptions.", moved,
                   card=_named(method)) if moved else _("%(card)s paid for everything already.", card=_named(method)), "good")
    return redirect(here("payment_methods"), 303)


@bp.get("/payment-methods/<payment_method_id>/removal")
def payment_method_removal(payment_method_id: str) -> ResponseReturnValue:
    return _removal(saved_method(db(), payment_method_id))


@bp.post("/payment-methods/<payment_method_id>/removal")
def remove_payment_method(payment_method_id: str) -> ResponseReturnValue:
    method = _mine(payment_method_id)
    try:
        saved.remove_method(db(), method.id)
    except Conflict as wrong:
        return _removal(method, wrong), 409
    flash(_("%(card)s is removed. It is not charged any more.", card=_named(method)), "good")
    return redirect(here("payment_methods"), 303)


def _mine(payment_method_id: str) -> PaymentMethod:
    """NotFound for a stranger's, BusinessArchived where nothing can be changed any more."""
    method = saved_method(db(), payment_method_id)
    open_account(method.business_id, method.customer_id)
    return method


def _removal(method: PaymentMethod, wrong: Conflict | None = None) -> str:
    rows = query.methods(db())
    row = next(one for one in rows if one.id == method.id)
    same = [one for one in rows if (one.business_id, one.customer_id) == (row.business_id, row.customer_id) and one.id != row.id]
    return render_template(
        "portal/payment_method_removal.html", row=row, others=same, card=card, name=_named(row), expires=expires,
        account=account(row.business_id, row.customer_id), url=here("payment_methods"), several=is_several(),
        problem=_why(row, wrong) if wrong else "")


def _why(row: MethodRow, wrong: Conflict) -> str:
    names = [name for _id, name in row.pays_for]
    if not names:
        return _(wrong.sentence)
    return ngettext("%(names)s is paid with it. Choose another way to pay there first.",
                    "%(names)s are paid with it. Choose another way to pay there first.", len(names), names=", ".join(names))


def _named(method: PaymentMethod | MethodRow) -> str:
    return card(method.brand, method.last4, method.kind) or _("The saved method")


def _choices(open_ones: list[Account]) -> list[tuple[str, str]]:
    """(customer_id, the business's name), with the address where one bought with several."""
    names = [one.name for one in open_ones]
    return [(one.customer_id, one.name if names.count(one.name) == 1 else f"{one.name}, {one.email}") for one in open_ones]


def _actions(row: MethodRow, rows: list[MethodRow], url: str) -> list[dict[str, object]]:
    """The menu of one method: only what would change something."""
    if account(row.business_id, row.customer_id).archived_at:
        return []
    same = [one for one in rows if (one.business_id, one.customer_id) == (row.business_id, row.customer_id) and one.id != row.id]
    items: list[dict[str, object]] = []
    if same and not row.is_default:
        items.append({"url": f"{url}/default", "label": _("Use this first"), "post": True})
    if any(one.pays_for for one in same):
        items.append({"url": f"{url}/everything", "label": _("Move everything to it"), "post": True})
    items.append({"url": f"{url}/removal", "label": _("Remove"), "line": bool(items)})
    return items
