"""The portal of one business, in its brand, at /business/<business_id>/. Views never receive the business ID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Blueprint, g, redirect, render_template, request
from flask.typing import ResponseReturnValue

import portal
from auth import sessions
from billing.model.business_profile import public_profile
from billing.subscriptions import archived_business
from core.errors import BusinessArchived, NotFound
from core.links import here
from core.request_context import Door, db, enter, open_for_request, services, set_visitor
from core.request_limits import SAFE_METHODS
from portal import overview
from portal.reader import Reader
from portal.request_accounts import accounts, set_accounts
from portal.subscription_rows import SORTS
from tenants import acceptance, logos

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services

door = Blueprint("business", __name__, url_prefix="/business/<business_id>")
door.add_url_rule("/approval/acceptance", "show_it", acceptance.show_it, methods=["POST"])
door.add_url_rule("/approval/refusal", "not_theirs", acceptance.not_theirs, methods=["POST"])
door.register_blueprint(portal.bp)  # at import, because a second application must not nest it again


@door.url_value_preprocessor
def take_business(endpoint: str | None, values: dict[str, Any] | None) -> None:
    """Remove business_id from the view's arguments, so that no view can ignore it or trust another one."""
    g.business_id = (values or {}).pop("business_id", None)


@door.url_defaults
def put_business(endpoint: str, values: dict[str, Any]) -> None:
    if g.get("business_id"):
        values.setdefault("business_id", g.business_id)


@door.before_request
def enter_business() -> ResponseReturnValue | None:
    business_id = str(g.business_id)
    home = f"/business/{business_id}/"
    visit = sessions.current_visit()
    if visit is None:
        profile = public_profile(services().database, business_id)
        if profile is None:
            raise NotFound()
        wanted = {"next": request.full_path.rstrip("?")} if request.method == "GET" else {}
        return redirect(f"/login/{business_id}" + (f"?{urlencode(wanted)}" if wanted else ""), 303)
    scope = sessions.scope_for_business(visit, business_id)
    if scope is None:
        raise NotFound()
    theirs = visit.customers[0]
    profile = theirs.business
    enter(Door.of_business("business", profile, home, everything_url=_everything_url(visit)))
    set_accounts(visit.customers)
    g.return_url = (visit.link.return_url if visit.link else None) or theirs.settings.get("portal_return_url")
    set_visitor(
        Reader(visit.name, visit.email, theirs.locale or visit.locale, visit.zone if not visit.link and visit.zone else profile.zone)
    )
    open_for_request(scope)
    g.is_pending, g.everything_url = acceptance.is_pending(visit), _everything_url(visit)
    if g.is_pending and (page := acceptance.ask_for_approval(business_id, g.everything_url)) is not None:
        g.return_url = None
        return page
    answers = g.is_pending or (request.endpoint or "").startswith("business.portal.session")
    if profile.archived_at and request.method not in SAFE_METHODS and not answers:
        raise BusinessArchived(sentence=f"{profile.name} has closed. You can no longer make changes.")
    return None


@door.context_processor
def template_values() -> dict[str, Any]:
    return {"return_url": g.get("return_url")}


@door.get("/")
def home() -> ResponseReturnValue:
    theirs = accounts()[0]
    if theirs.archived_at:
        records = archived_business.load_archived_terms(db(replica=True))
        return render_template("tenants/archived.html", account=theirs, records=records, overview_url=_everything())
    wanted = request.args.get("sort", "date")
    parts = overview.parts(wanted if wanted in SORTS else "date")
    return render_template("tenants/overview.html", account=theirs, **parts)


def _everything() -> str:
    visit = sessions.current_visit()
    return "/" if visit is not None and visit.is_person and not visit.link else here("billing_history")


def _everything_url(visit: sessions.Visit) -> str:
    """Return the address of the overview of all businesses. From a business's own domain it is on another host."""
    if visit.at_domain is not None:
        return services().settings.base_url + "/"
    return "/" if visit.is_person and not visit.link else "/login"


def register(app: Flask, services: Services) -> None:
    app.register_blueprint(door)
    logos.register(app, services)
