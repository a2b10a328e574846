""""Wants to appear here": a business the person never paid. Its name is all that is shown until they answer."""

from __future__ import annotations

from flask import flash, g, redirect
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands.appearing import accept, decline
from core.errors import NotFound
from core.web import db, here
from portal.standing import Account
from unified import door

ENDPOINTS = frozenset({"unified.show_business", "unified.not_mine"})


@door.post("/appearances/<customer_id>/acceptance")
def show_business(customer_id: str) -> ResponseReturnValue:
    business = _asked(customer_id)
    accept(db(), customer_id)
    flash(_("%(name)s appears here from now on.", name=business.name), "good")
    return redirect(here("home"), 303)


@door.post("/appearances/<customer_id>/refusal")
def not_mine(customer_id: str) -> ResponseReturnValue:
    business = _asked(customer_id)
    decline(db(), customer_id)
    flash(_("%(name)s will not ask again, and nothing of it is shown.", name=business.name), "good")
    return redirect(here("home"), 303)


def _asked(customer_id: str) -> Account:
    found = next((one for one in g.planted if one.customer_id == customer_id), None)
    if found is None:
        raise NotFound()
    return found
