"""A business's own door: the same pages in its brand, at /business/<business_id>/. Pages never see the id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Blueprint, g, redirect, render_template, request
from flask.typing import ResponseReturnValue

import portal
from auth import sessions
from auth.faces import public_face
from billing.queries import keep
from core.errors import BusinessArchived, NotFound
from core.web import SAFE_METHODS, Door, db, enter, greet, here, house, open_for_request
from portal import overview
from portal.lines import SORTS
from portal.standing import account_of, accounts, settle
from portal.visitor import Reader
from tenants import appearing, logos

if TYPE_CHECKING:
    from flask import Flask

    from core.web import House

door = Blueprint("business", __name__, url_prefix="/business/<business_id>")
door.add_url_rule("/appearance/acceptance", "show_it", appearing.show_it, methods=["POST"])
door.add_url_rule("/appearance/refusal", "not_theirs", appearing.not_theirs, methods=["POST"])
door.register_blueprint(portal.bp)  # at import: a second application must not nest it again


@door.url_value_preprocessor
def take_business(endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Out of the view's arguments: no page has a business_id to forget or to trust."""
    g.business_id = (values or {}).pop("business_id", None)


@door.url_defaults
def put_business(endpoint: str, values: dict[str, Any]) -> None:
    if g.get("business_id"):
        values.setdefault("business_id", g.business_id)


@door.before_request
def open_the_door() -> ResponseReturnValue | None:
    business_id = str(g.business_id)
    home = f"/business/{business_id}/"
    visit = sessions.current()
    if visit is None:
        face = public_face(house().database, business_id)
        if face is None:
            raise NotFound()
        wanted = {"next": request.full_path.rstrip("?")} if request.method == "GET" else {}
        return redirect(f"/login/{business_id}" + (f"?{urlencode(wanted)}" if wanted else ""), 303)
    scope = sessions.scope_for_business(visit, business_id)
    if scope is None:
        raise NotFound()
    theirs = visit.customers[0]
    face = theirs.business
    enter(Door(
        kind="business", title=face.name, home_url=home, brand=face.brand, business=face, business_id=business_id,
        seller=face.seller, support_email=face.support_email, everything_url=_elsewhere(visit),
    ))
    settle([account_of(row) for row in visit.customers])
    g.return_url = (visit.link.return_url if visit.link else None) or theirs.settings.get("portal_return_url")
    greet(Reader(visit.name, visit.email, theirs.locale or visit.locale, visit.zone if not visit.link and visit.zone else face.zone))
    open_for_request(scope)
    g.stands_apart, g.elsewhere = appearing.stands_apart(visit), _elsewhere(visit)
    if g.stands_apart and (asked := appearing.asks(business_id, g.elsewhere)) is not None:
        g.return_url = None
        return asked
    answers = g.stands_apart or (request.endpoint or "").startswith("business.portal.session")
    if face.archived_at and request.method not in SAFE_METHODS and not answers:
        raise BusinessArchived(sentence=f"{face.name} has closed its shop here; nothing can be changed any more.")
    return None


@door.context_processor
def words_of_the_door() -> dict[str, Any]:
    return {"return_url": g.get("return_url")}


@door.get("/")
def home() -> ResponseReturnValue:
    theirs = accounts()[0]
    if theirs.archived_at:
        return render_template("tenants/archived.html", account=theirs, kept=keep.kept(db(replica=True)), overview_url=_everything())
    wanted = request.args.get("sort", "date")
    parts = overview.parts(wanted if wanted in SORTS else "date")
    return render_template("tenants/overview.html", account=theirs, **parts)


def _everything() -> str:
    visit = sessions.current()
    return "/" if visit is not None and visit.is_person and not visit.link else here("billing_history")


def _elsewhere(visit: sessions.Visit) -> str:
    """Where one sees every business: at a business's own domain that is another host."""
    if visit.at_domain is not None:
        return house().settings.base_url + "/"
    return "/" if visit.is_person and not visit.link else "/login"


def register(app: Flask, house: House) -> None:
    app.register_blueprint(door)
    logos.register(app, house)
