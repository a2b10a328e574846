"""Saved payment methods: list them, add one, make one the default, use one for everything, and remove one."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import ngettext

from auth.visit_rows import Account
from billing.model.payments import PaymentMethod
from billing.renewals import method_queries as query
from billing.renewals import payment_methods as saved
from billing.renewals.method_queries import MethodRow
from billing.renewals.payment_queries import saved_method
from core import i18n
from core.errors import Conflict, NotFound, Unavailable
from core.links import here
from core.request_context import db, scope
from portal import bp
from portal.billing_services import processor
from portal.hosted_pages import allow_form_targets, needs_proof, return_url
from portal.phrases import expires, is_soon, method_name
from portal.request_accounts import account, accounts, is_several, open_account
from portal.step_up import prove


@dataclass
class CardGroup:
    """One card or account, with a row for each business that has saved it. Businesses save their own copies."""

    name: str
    kind: str
    expires: str
    is_soon: bool
    rows: list[MethodRow] = field(default_factory=list)

    @property
    def pays_for(self) -> list[str]:
        return [name for row in self.rows for _id, name in row.pays_for]


@bp.get("/payment-methods")
def payment_methods() -> ResponseReturnValue:
    rows = query.methods(db(replica=True))
    groups = _groups(rows)
    open_ones = [account for account in accounts() if not account.archived_at]
    allow_form_targets()
    prefix = here("payment_methods")
    return render_template(
        "portal/payment_methods.html",
        groups=groups,
        soon=[group for group in groups if group.is_soon and group.pays_for and any(row.is_chargeable for row in group.rows)],
        default_ids=_default_ids(rows),
        accounts={row.id: account(row.business_id, row.customer_id) for row in rows},
        owners=_owner_names(),
        several=is_several(),
        url=prefix,
        choices=_choices(open_ones),
        actions={row.id: _actions(row, rows, f"{prefix}/{row.id}") for row in rows},
    )


@bp.post("/payment-methods")
def add_payment_method() -> ResponseReturnValue:
    """Redirect to the hosted page. With more than one business, the form names the one that saves the card."""
    open_ones = [account for account in accounts() if not account.archived_at]
    wanted = request.form.get("customer_id") or (open_ones[0].customer_id if len(open_ones) == 1 else "")
    theirs = next((item for item in open_ones if item.customer_id == wanted), None)
    if theirs is None:
        raise NotFound(sentence=_("Choose the business that can save the card."))
    if needs_proof():
        return prove(here("payment_methods"))
    try:
        added = saved.add_method(processor(), scope(), theirs.customer_id, return_url(), locale=i18n.locale())
    except (Conflict, Unavailable) as wrong:
        flash(_(wrong.sentence), "due")
        return redirect(here("payment_methods"), 303)
    allow_form_targets(added.link)
    return redirect(added.link or here("payment_methods"), 303)


@bp.post("/payment-methods/<payment_method_id>/default")
def use_payment_method_first(payment_method_id: str) -> ResponseReturnValue:
    method = _own_method(payment_method_id)
    saved.set_default(db(), method.id)
    flash(_("%(card)s is now the default.", card=_label(method)), "good")
    return redirect(here("payment_methods"), 303)


@bp.post("/payment-methods/<payment_method_id>/everything")
def move_to_payment_method(payment_method_id: str) -> ResponseReturnValue:
    """Move all of this customer's subscriptions with one business to this method."""
    method = _own_method(payment_method_id)
    others = [item.id for item in saved.methods_of(db(), method.customer_id) if item.id != method.id]
    moved = sum(len(saved.move_all(db(), method.customer_id, other, method.id)) for other in others)
    flash(
        ngettext(
            "%(card)s is now used for one more subscription.",
            "%(card)s is now used for %(num)d more subscriptions.",
            moved,
            card=_label(method),
        )
        if moved
        else _("%(card)s was already used for everything.", card=_label(method)),
        "good",
    )
    return redirect(here("payment_methods"), 303)


@bp.get("/payment-methods/<payment_method_id>/removal")
def payment_method_removal_page(payment_method_id: str) -> ResponseReturnValue:
    return _removal_page(saved_method(db(), payment_method_id))


@bp.post("/payment-methods/<payment_method_id>/removal")
def remove_payment_method(payment_method_id: str) -> ResponseReturnValue:
    method = _own_method(payment_method_id)
    try:
        saved.remove_method(db(), method.id)
    except Conflict as wrong:
        return _removal_page(method, wrong), 409
    flash(_("%(card)s was removed and won’t be charged again.", card=_label(method)), "good")
    return redirect(here("payment_methods"), 303)


def _groups(rows: list[MethodRow]) -> list[CardGroup]:
    """Return the methods by card, in the order of the rows. A renewed card has another expiry date and is another group."""
    found: dict[tuple[object, ...], CardGroup] = {}
    for row in rows:
        key: tuple[object, ...] = (row.kind, (row.brand or "").lower(), row.last4, row.expiry_month, row.expiry_year, row.wallet)
        if not row.last4:
            key = (row.id,)  # nothing tells whether two of these are the same
        group = found.get(key)
        if group is None:
            name = method_name(row) or _("Saved method")
            until, soon = expires(row.expiry_month, row.expiry_year), is_soon(row.expiry_month, row.expiry_year)
            group = found[key] = CardGroup(name, row.kind, until, soon)
        group.rows.append(row)
    return list(found.values())


def _default_ids(rows: list[MethodRow]) -> set[str]:
    """Return the ids of the defaults, one for each customer account: the rows begin with the defaults, newest first."""
    found: dict[tuple[str, str], str] = {}
    for row in rows:
        if row.is_default and row.is_chargeable:
            found.setdefault((row.business_id, row.customer_id), row.id)
    return set(found.values())


def _owner_names() -> dict[str, str]:
    """Map customer ids to the name of the business. The email address is added if the person has several accounts with it."""
    return dict(_choices(accounts()))


def _own_method(payment_method_id: str) -> PaymentMethod:
    """Return the customer's payment method. Raises NotFound, and BusinessArchived if the business has closed."""
    method = saved_method(db(), payment_method_id)
    open_account(method.business_id, method.customer_id)
    return method


def _removal_page(method: PaymentMethod, wrong: Conflict | None = None) -> str:
    rows = query.methods(db())
    row = next(entry for entry in rows if entry.id == method.id)
    same = [entry for entry in rows if (entry.business_id, entry.customer_id) == (row.business_id, row.customer_id) and entry.id != row.id]
    return render_template(
        "portal/payment_method_removal.html",
        row=row,
        others=[entry for entry in same if entry.is_chargeable],
        method_name=method_name,
        name=_label(row),
        expires=expires,
        account=account(row.business_id, row.customer_id),
        url=here("payment_methods"),
        several=is_several(),
        problem=_removal_problem(row, wrong) if wrong else "",
    )


def _removal_problem(row: MethodRow, wrong: Conflict) -> str:
    names = [name for _id, name in row.pays_for]
    if not names:
        return _(wrong.sentence)
    return ngettext(
        "%(names)s uses it. Choose another payment method there first.",
        "%(names)s use it. Choose another payment method there first.",
        len(names),
        names=", ".join(names),
    )


def _label(method: PaymentMethod | MethodRow) -> str:
    return method_name(method) or _("The saved method")


def _choices(open_ones: list[Account]) -> list[tuple[str, str]]:
    """Return (customer_id, business name). The email address is added if the customer has several with one business."""
    names = [item.name for item in open_ones]
    return [(item.customer_id, item.name if names.count(item.name) == 1 else f"{item.name}, {item.email}") for item in open_ones]


def _actions(row: MethodRow, rows: list[MethodRow], url: str) -> list[dict[str, object]]:
    """Return the menu of one method with the actions that would change something."""
    if account(row.business_id, row.customer_id).archived_at:
        return []
    same = [entry for entry in rows if (entry.business_id, entry.customer_id) == (row.business_id, row.customer_id) and entry.id != row.id]
    items: list[dict[str, object]] = []
    if same and row.is_chargeable and row.id not in _default_ids(rows):
        items.append({"url": f"{url}/default", "label": _("Make default"), "post": True})
    if row.is_chargeable and any(item.pays_for for item in same):
        items.append({"url": f"{url}/everything", "label": _("Use for everything"), "post": True})
    items.append({"url": f"{url}/removal", "label": _("Remove"), "line": bool(items)})
    return items
