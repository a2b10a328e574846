"""The customer's door to everything: dashboard, search and every page of `portal`, over all businesses."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from flask import Blueprint, g, redirect, request
from flask.typing import ResponseReturnValue

import portal
from auth import sessions
from core.scope import person
from core.web import Door, enter, greet, house, open_for_request
from portal.standing import account_of, settle
from portal.visitor import Reader

if TYPE_CHECKING:
    from flask import Flask

    from core.web import House

door = Blueprint("unified", __name__)

from unified import addresses, apps, dashboard, merging, own_data, passkeys, planted, providers  # noqa: E402, F401 - their pages hang themselves on `door`

door.register_blueprint(portal.bp)  # at import: a second application must not nest it again


@door.before_request
def open_the_door() -> ResponseReturnValue | None:
    """Only a person comes in here; a merchant's link never does. A planted business stays outside of the scope altogether,
    so that no list, sum or search can show anything of it; only the page that answers it sees its row. What is "not mine" is
    outside too, and the business that was told so does not ask again through another row."""
    enter(Door(kind="unified", title=house().settings.name))
    visit = sessions.current()
    if visit is None or not visit.is_person:
        return redirect(_sign_in(), 303)
    scope = sessions.scope_for_unified(visit)
    everyone = [account_of(row) for row in visit.customers]
    shown = [one for one in everyone if not one.is_planted]
    g.declined = [account_of(row) for row in visit.declined]
    told = {one.business_id for one in g.declined}
    g.planted = [one for one in everyone if one.is_planted and one.business_id not in told]
    g.unconfirmed = [one for one in shown if one.is_new]
    visible = [*everyone, *g.declined] if request.endpoint in planted.ENDPOINTS else shown
    scope = person(scope.identity_id or "", [(one.business_id, one.customer_id) for one in visible])
    settle(shown)
    zones = Counter(one.zone for one in shown).most_common(1)
    greet(Reader(visit.name, visit.email, visit.locale, visit.zone or (zones[0][0] if zones else None)))
    open_for_request(scope)
    return None


def _sign_in() -> str:
    from urllib.parse import urlencode

    if request.method != "GET" or request.path == "/":
        return "/login"
    return "/login?" + urlencode({"next": request.full_path.rstrip("?")})


def register(app: Flask, house: House) -> None:
    app.register_blueprint(door)
