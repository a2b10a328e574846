"""The unified portal: the customer pages over all businesses a person buys from."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from flask import Blueprint, g, redirect, request
from flask.typing import ResponseReturnValue

import portal
from auth import sessions
from core.request_context import Door, enter, open_for_request, services, set_visitor
from core.scope import person
from portal.reader import Reader
from portal.request_accounts import set_accounts

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services

door = Blueprint("unified", __name__)

from unified import acceptance, account_merge, addresses, api_tokens, apps, dashboard, own_data, passkeys, providers  # noqa: E402, F401 - their pages register with `door`

door.register_blueprint(portal.bp)  # at import, because a second application must not register it again


@door.before_request
def open_the_door() -> ResponseReturnValue | None:
    """Open the database scope of the signed-in person. Portal links of a business are redirected to the sign-in page.

    Unapproved and declined businesses are outside the scope, so that no list, total or search shows them.
    Only the acceptance endpoints see their rows. A declined business cannot ask again through another row.
    """
    enter(Door(kind="unified", title=services().settings.name))
    visit = sessions.current_visit()
    if visit is None or not visit.is_person:
        return redirect(_sign_in(), 303)
    scope = sessions.scope_for_unified(visit)
    all_accounts = visit.customers
    shown = [account for account in all_accounts if not account.is_pending_acceptance]
    g.declined = visit.declined
    declined_businesses = {account.business_id for account in g.declined}
    g.pending_acceptance = [
        account for account in all_accounts if account.is_pending_acceptance and account.business_id not in declined_businesses
    ]
    g.unconfirmed = [account for account in shown if account.is_new]
    visible = [*all_accounts, *g.declined] if request.endpoint in acceptance.ENDPOINTS else shown
    scope = person(scope.identity_id or "", [(account.business_id, account.customer_id) for account in visible])
    set_accounts(shown)
    zones = Counter(account.zone for account in shown).most_common(1)
    set_visitor(Reader(visit.name, visit.email, visit.locale, visit.zone or (zones[0][0] if zones else None)))
    open_for_request(scope)
    return None


def _sign_in() -> str:
    from urllib.parse import urlencode

    if request.method != "GET" or request.path == "/":
        return "/login"
    return "/login?" + urlencode({"next": request.full_path.rstrip("?")})


def register(app: Flask, services: Services) -> None:
    app.register_blueprint(door)
