"""Approve or decline businesses, and confirm purchases that used the person's email address.

A business the person never paid is shown with its name only until it is approved. A declined business can be approved later.
"""

from __future__ import annotations

from flask import flash, g, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from auth.visit_rows import Account
from billing.customers.accept_or_decline import accept, decline
from core.errors import NotFound
from core.links import here
from core.request_context import db
from portal.request_accounts import accounts
from unified import door

ENDPOINTS = frozenset({"unified.show_business", "unified.not_mine", "unified.all_mine"})


@door.post("/approvals/<customer_id>/acceptance")
def show_business(customer_id: str) -> ResponseReturnValue:
    """Approve a pending, unconfirmed or declined business. Idempotent: a second call changes nothing."""
    business = _find(customer_id, [*g.pending_acceptance, *g.declined, *accounts()])
    accept(db(), customer_id)
    flash(_("%(name)s is now shown here.", name=business.name), "good")
    return redirect(here("home"), 303)


@door.post("/approvals/<customer_id>/refusal")
def not_mine(customer_id: str) -> ResponseReturnValue:
    business = _find(customer_id, [*g.pending_acceptance, *g.unconfirmed, *g.declined])
    decline(db(), customer_id)
    flash(_("%(name)s is hidden and can’t ask again. You can undo this in your profile.", name=business.name), "good")
    return redirect(here("home"), 303)


@door.post("/approvals/acceptance")
def all_mine() -> ResponseReturnValue:
    """Confirm the purchases that the form names. Answers given in another tab meanwhile are kept."""
    for customer_id in dict.fromkeys(request.form.getlist("customer_id")):
        if _find(customer_id, [*g.declined, *accounts()]) in g.unconfirmed:
            accept(db(), customer_id)
    flash(_("Saved."), "good")
    return redirect(here("home"), 303)


def _find(customer_id: str, among: list[Account]) -> Account:
    found = next((item for item in among if item.customer_id == customer_id), None)
    if found is None:
        raise NotFound()
    return found
