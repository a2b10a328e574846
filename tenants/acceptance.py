"""The approval page of a business that the person has not confirmed. Nothing of the business is shown before (safety 3.2).

Someone who signed in with a portal link is not asked: the link may be in anybody's hands, so an answer would prove nothing.
"""

from __future__ import annotations

from flask import g, redirect, render_template, request
from flask.typing import ResponseReturnValue

from auth.sessions import Visit, current_visit
from billing.customers.accept_or_decline import accept, decline
from core.errors import NotFound
from core.request_context import Door, db, enter, services
from core.request_limits import SAFE_METHODS
from core.security import safe_next
from portal.request_accounts import accounts

ANSWERS = frozenset({"business.show_it", "business.not_theirs"})


def is_pending(visit: Visit) -> bool:
    """Return whether a signed-in person has accepted none of this business's customer rows."""
    return visit.link is None and not any(row.accepted for row in visit.customers)


def ask_for_approval(business_id: str, everything_url: str) -> ResponseReturnValue | None:
    """Return the approval page in place of the requested page; None for the requests that answer it."""
    if request.endpoint in ANSWERS:
        return None
    home = f"/business/{business_id}/"
    enter(Door(kind="business", title=services().settings.name, home_url=home, business_id=business_id, everything_url=everything_url))
    if request.method not in SAFE_METHODS:
        return redirect(home, 303)
    wanted = request.full_path.rstrip("?")
    return render_template("tenants/acceptance.html", name=accounts()[0].name, base=f"{home}approval/", next_url=wanted)


def show_it() -> ResponseReturnValue:
    for customer_id in _pending_customer_ids():
        accept(db(), customer_id)
    home, wanted = f"/business/{g.business_id}/", safe_next(request.form.get("next"))
    return redirect(wanted if wanted.startswith(home) else home, 303)


def not_theirs() -> ResponseReturnValue:
    for customer_id in _pending_customer_ids():
        decline(db(), customer_id)
    return redirect(g.everything_url, 303)


def _pending_customer_ids() -> list[str]:
    """Return the customers awaiting an answer; none if it was answered before, for example in another tab."""
    visit = current_visit()
    if visit is None or visit.link is not None:
        raise NotFound()
    return [account.customer_id for account in accounts()] if g.is_pending else []
