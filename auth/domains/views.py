"""A custom domain serves its business's tree and the way in, and nothing else: no console, API, unified door or sign-in form.

    /login… there  →  /domains/<id>/arrival here (signed in, or signs in)  →  /come-in there, with a code  →  a session there
"""

from __future__ import annotations

import hmac
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, current_app, g, redirect, render_template, request
from flask.typing import ResponseReturnValue

from auth import cookies, doors, sessions
from auth.domains import visiting
from auth.domains.binding import Binding
from auth.domains.models import Domain
from core import ids
from core.errors import NotFound
from core.security import allow_form_to, safe_next, token_page
from core.web import house

bp = Blueprint("domains", __name__)
_ANYWHERE = ("static", "language", "logo", "healthz", "readyz")
_PICTURES = "api.image"  # pictures of products: public, by an address that names its business
_TEN_MINUTES, _MONTH = 600, 30 * 24 * 3600


def gate() -> ResponseReturnValue | None:
    """Before every request. At the portal's own host it does nothing; at a domain it says who this is there (`g.visit`)."""
    domain: Domain | None = g.get("domain")
    if domain is None:
        if request.endpoint == "domains.come_in":
            raise NotFound()
        return None
    settings, endpoint = house().settings, request.endpoint or ""
    home = f"/business/{domain.business_id}/"
    g.visit = visiting.visit_at(house().database, settings, domain, cookies.read(settings, "signed-in"))
    allow_form_to(settings.base_url)  # hosted pages, and proving it once more, are there
    if request.path == "/" and request.method == "GET":
        return redirect(home, 303)
    if endpoint in ("auth.ask", "auth.ask_business") and request.method == "GET":
        return _set_out(domain, safe_next(request.args.get("next"), default=home))
    inside = endpoint.startswith("business.") and (request.view_args or {}).get("business_id", g.get("business_id")) == domain.business_id
    if not (inside or endpoint in ("domains.come_in", "auth.logout") or endpoint.split(".")[0] in _ANYWHERE or _is_own_picture(domain)):
        raise NotFound()
    return None


def _is_own_picture(domain: Domain) -> bool:
    return request.endpoint == _PICTURES and (request.view_args or {}).get("business_id") == domain.business_id


def _set_out(domain: Domain, next_: str) -> ResponseReturnValue:
    settings = house().settings
    secret = ids.secret_token()
    goal = next_ if next_.startswith(f"/business/{domain.business_id}/") else f"/business/{domain.business_id}/"
    asked = {"state": visiting.state_of(settings, secret), "next": goal, **({"again": "1"} if "again" in request.args else {})}
    answer = redirect(f"{settings.base_url}/domains/{domain.id}/arrival?{urlencode(asked)}", 303)
    cookies.put(settings, answer, "domain-state", secret, _TEN_MINUTES)
    return answer


@bp.get("/domains/<domain_id>/arrival")
def arrival(domain_id: str) -> ResponseReturnValue:
    """Here, at the portal's own host: who is signed in goes straight back with a code, who is not signs in first. A code by
    GET opens nothing but that business, in the one browser whose cookie the state is of."""
    token_page()
    domain = _binding().by_id(domain_id)
    if domain is None:
        raise NotFound()
    state, next_ = request.args.get("state", "")[:100], safe_next(request.args.get("next"))
    visit = sessions.current()
    seen = visit is not None and sessions.scope_for_business(visit, domain.business_id) is not None
    wants_proof = "again" in request.args and not (visit and sessions.proved_within(visit))
    # whoever owns a domain may send any browser here: one that only claims to know the reader learns by a click of theirs that it does
    is_known = visit is not None and (visit.link is not None or any(row.accepted for row in visit.customers))
    code = None
    if visit is not None and seen and not wants_proof:
        life = visiting.CODE_LIFE if is_known else visiting.READ_LIFE
        code = visiting.give_code(house().database, house().settings, domain, visit, state, next_, life)
    if code is None:
        back = f"/domains/{domain.id}/arrival?" + urlencode({"state": state, "next": next_, "signed_in": "1"})
        return redirect(f"/login/{domain.business_id}?" + urlencode({"again": 1, "next": back}), 303)
    assert visit is not None
    there = f"{_origin(domain)}/come-in?{urlencode({'code': code, 'state': state})}"
    if is_known and "signed_in" not in request.args:
        return redirect(there, 303)
    doors.stand_at(doors.face_or_404(domain.business_id))  # by a page: browsers hold the sign-in form to this origin
    return render_template("auth/provider/onward.html", there=there, name=domain.host, asks="" if is_known else visit.customers[0].email)


@bp.get("/come-in")
def come_in() -> ResponseReturnValue:
    """There, at the domain."""
    token_page()
    settings, domain = house().settings, g.domain
    secret, state = cookies.read(settings, "domain-state"), request.args.get("state", "")
    done = None
    if secret and hmac.compare_digest(visiting.state_of(settings, secret).encode(), state.encode()):
        done = visiting.exchange(house().database, settings, domain, request.args.get("code", ""), state)
    if done is None:
        doors.stand_at(doors.face_or_404(domain.business_id))
        return render_template("auth/domains/not_in.html", home=f"/business/{domain.business_id}/"), 400
    answer = redirect(done[1], 303)
    cookies.drop(settings, answer, "domain-state")
    cookies.put(settings, answer, "signed-in", done[0], _MONTH)
    return answer


def _binding() -> Binding:
    found: Binding = current_app.extensions["domains"]
    return found


def _origin(domain: Domain) -> str:
    """Of the domain, at the port the portal itself is reached by."""
    parts = urlsplit(house().settings.base_url)
    return f"{parts.scheme}://{domain.host}" + (f":{parts.port}" if parts.port else "")
