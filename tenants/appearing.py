"""At the door of a business that only claims to know the reader: nothing of it is shown before they say so (safety 3.2).

Who comes by the business's own link was let in by the business, and says nothing here: that link could be in anybody's hands.
"""

from __future__ import annotations

from flask import g, redirect, render_template, request
from flask.typing import ResponseReturnValue

from auth.sessions import Visit, current
from billing.commands.appearing import accept, decline
from core.errors import NotFound
from core.security import safe_next
from core.web import SAFE_METHODS, Door, db, enter, house
from portal.standing import accounts

ANSWERS = frozenset({"business.show_it", "business.not_theirs"})


def stands_apart(visit: Visit) -> bool:
    """Whether a person came whom this business knows by none of its rows."""
    return visit.link is None and not any(row.accepted for row in visit.customers)


def asks(business_id: str, elsewhere: str) -> ResponseReturnValue | None:
    """The page instead of the one they wanted; None where they are just answering."""
    if request.endpoint in ANSWERS:
        return None
    home = f"/business/{business_id}/"
    enter(Door(kind="business", title=house().settings.name, home_url=home, business_id=business_id, everything_url=elsewhere))
    if request.method not in SAFE_METHODS:
        return redirect(home, 303)
    wanted = request.full_path.rstrip("?")
    return render_template("tenants/appearing.html", name=accounts()[0].name, base=f"{home}appearance/", wanted=wanted)


def show_it() -> ResponseReturnValue:
    for customer_id in _asked():
        accept(db(), customer_id)
    home, wanted = f"/business/{g.business_id}/", safe_next(request.form.get("next"))
    return redirect(wanted if wanted.startswith(home) else home, 303)


def not_theirs() -> ResponseReturnValue:
    for customer_id in _asked():
        decline(db(), customer_id)
    return redirect(g.elsewhere, 303)


def _asked() -> list[str]:
    """Nobody's any more where it was answered before: by a second click, or in another tab."""
    visit = current()
    if visit is None or visit.link is not None:
        raise NotFound()
    return [one.customer_id for one in accounts()] if g.stands_apart else []
