"""Requests to custom domains: only the business's portal and the sign-in handoff. No console, API, unified portal or sign-in form.

/login… there  →  /domains/<id>/arrival here (signed in, or signs in)  →  /come-in there, with a code  →  a session there
"""

from __future__ import annotations

import hmac
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, current_app, g, redirect, render_template, request
from flask.typing import ResponseReturnValue

from auth import cookies, sessions, sign_in_context
from auth.domains import session_handoff
from auth.domains.models import Domain
from auth.domains.verification import Binding
from core import ids
from core.errors import NotFound
from core.request_context import services
from core.security import allow_form_to, safe_next, token_page

bp = Blueprint("domains", __name__)
_ANYWHERE = ("static", "language", "logo", "healthz", "readyz")
_PICTURES = "api.image"  # product pictures: public; the URL names the business
_TEN_MINUTES, _MONTH = 600, 30 * 24 * 3600


def gate() -> ResponseReturnValue | None:
    """Run before every request. At a custom domain, set the visit there (`g.visit`) and allow only portal paths."""
    domain: Domain | None = g.get("domain")
    if domain is None:
        if request.endpoint == "domains.come_in":
            raise NotFound()
        return None
    settings, endpoint = services().settings, request.endpoint or ""
    home = f"/business/{domain.business_id}/"
    g.visit = session_handoff.visit_at(services().database, settings, domain, cookies.read(settings, "signed-in"))
    allow_form_to(settings.base_url)  # hosted pages and renewed sign-in are there
    if request.path == "/" and request.method == "GET":
        return redirect(home, 303)
    if endpoint in ("auth.sign_in", "auth.business_sign_in") and request.method == "GET":
        return _start_handoff(domain, safe_next(request.args.get("next"), default=home))
    inside = endpoint.startswith("business.") and (request.view_args or {}).get("business_id", g.get("business_id")) == domain.business_id
    of = (request.view_args or {}).get("business_id", domain.business_id)
    inside = inside or (endpoint.startswith(("statements.", "legal.")) and of == domain.business_id)
    if not (inside or endpoint in ("domains.come_in", "auth.logout") or endpoint.split(".")[0] in _ANYWHERE or _is_own_picture(domain)):
        raise NotFound()
    return None


def _is_own_picture(domain: Domain) -> bool:
    return request.endpoint == _PICTURES and (request.view_args or {}).get("business_id") == domain.business_id


def _start_handoff(domain: Domain, next_: str) -> ResponseReturnValue:
    settings = services().settings
    secret = ids.secret_token()
    goal = next_ if next_.startswith(f"/business/{domain.business_id}/") else f"/business/{domain.business_id}/"
    query = {"state": session_handoff.state_of(settings, secret), "next": goal, **({"again": "1"} if "again" in request.args else {})}
    answer = redirect(f"{settings.base_url}/domains/{domain.id}/arrival?{urlencode(query)}", 303)
    cookies.put(settings, answer, "domain-state", secret, _TEN_MINUTES)
    return answer


@bp.get("/domains/<domain_id>/arrival")
def arrival(domain_id: str) -> ResponseReturnValue:
    """At the portal's host: send a signed-in visitor back with a code, others to sign-in first.

    Issuing a code by GET is safe: it opens only that business, and only in the browser with the matching state cookie.
    """
    token_page()
    domain = _binding().by_id(domain_id)
    if domain is None:
        raise NotFound()
    state, next_ = request.args.get("state", "")[:100], safe_next(request.args.get("next"))
    visit = sessions.current_visit()
    has_access = visit is not None and sessions.scope_for_business(visit, domain.business_id) is not None
    wants_proof = "again" in request.args and not (visit and sessions.proved_within(visit))
    # any domain owner can send browsers here: an unaccepted business learns the address only after a click
    is_known = visit is not None and (visit.link is not None or any(row.accepted for row in visit.customers))
    code = None
    if visit is not None and has_access and not wants_proof:
        life = session_handoff.CODE_LIFE if is_known else session_handoff.READ_LIFE
        code = session_handoff.issue_code(services().database, services().settings, domain, visit, state, next_, life=life)
    if code is None:
        back = f"/domains/{domain.id}/arrival?" + urlencode({"state": state, "next": next_, "signed_in": "1"})
        return redirect(f"/login/{domain.business_id}?" + urlencode({"again": 1, "next": back}), 303)
    assert visit is not None
    url = f"{_origin(domain)}/come-in?{urlencode({'code': code, 'state': state})}"
    if is_known and "signed_in" not in request.args:
        return redirect(url, 303)
    sign_in_context.require_sign_in_context(
        sign_in_context.profile_or_404(domain.business_id)
    )  # through a page, because browsers restrict the sign-in form to this origin
    return render_template(
        "auth/provider/onward.html", url=url, name=domain.host, disclosed_address="" if is_known else visit.customers[0].email
    )


@bp.get("/come-in")
def come_in() -> ResponseReturnValue:
    """At the custom domain: exchange the code for a session."""
    token_page()
    settings, domain = services().settings, g.domain
    secret, state = cookies.read(settings, "domain-state"), request.args.get("state", "")
    done = None
    if secret and hmac.compare_digest(session_handoff.state_of(settings, secret).encode(), state.encode()):
        done = session_handoff.exchange(services().database, settings, domain, request.args.get("code", ""), state)
    if done is None:
        sign_in_context.require_sign_in_context(sign_in_context.profile_or_404(domain.business_id))
        return render_template("auth/domains/not_in.html", home=f"/business/{domain.business_id}/"), 400
    answer = redirect(done[1], 303)
    cookies.drop(settings, answer, "domain-state")
    cookies.put(settings, answer, "signed-in", done[0], _MONTH)
    return answer


def _binding() -> Binding:
    found: Binding = current_app.extensions["domains"]
    return found


def _origin(domain: Domain) -> str:
    """Return the domain's origin, with the port of the portal's base URL."""
    parts = urlsplit(services().settings.base_url)
    return f"{parts.scheme}://{domain.host}" + (f":{parts.port}" if parts.port else "")
