"""What is whose: "wants to appear here" (a business the person never paid: its name is all that is shown until they answer), "new
here" (paid under their address, nobody can tell by whom), and what they said is not theirs, which they may take back."""

from __future__ import annotations

from flask import flash, g, redirect, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands.appearing import accept, decline
from core.errors import NotFound
from core.web import db, here
from portal.standing import Account, accounts
from unified import door

ENDPOINTS = frozenset({"unified.show_business", "unified.not_mine", "unified.all_mine"})


@door.post("/appearances/<customer_id>/acceptance")
def show_business(customer_id: str) -> ResponseReturnValue:
    """To whoever asks to appear, to what is new here, and to what was "not mine" by mistake. Said twice, it is said once."""
    business = _asked(customer_id, [*g.planted, *g.declined, *accounts()])
    accept(db(), customer_id)
    flash(_("%(name)s appears here from now on.", name=business.name), "good")
    return redirect(here("home"), 303)


@door.post("/appearances/<customer_id>/refusal")
def not_mine(customer_id: str) -> ResponseReturnValue:
    business = _asked(customer_id, [*g.planted, *g.unconfirmed, *g.declined])
    decline(db(), customer_id)
    flash(_("%(name)s will not ask again, and nothing of it is shown. Your profile takes it back.", name=business.name), "good")
    return redirect(here("home"), 303)


@door.post("/appearances/acceptance")
def all_mine() -> ResponseReturnValue:
    """Those that the page named, and no other that came meanwhile; what was answered in another tab stays as it was answered."""
    for customer_id in dict.fromkeys(request.form.getlist("customer_id")):
        if _asked(customer_id, [*g.declined, *accounts()]) in g.unconfirmed:
            accept(db(), customer_id)
    flash(_("Saved."), "good")
    return redirect(here("home"), 303)


def _asked(customer_id: str, among: list[Account]) -> Account:
    found = next((one for one in among if one.customer_id == customer_id), None)
    if found is None:
        raise NotFound()
    return found
