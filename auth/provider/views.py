"""The endpoints of being the provider. Those for programs never look at a cookie; the two pages are forms like any other."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidRequestError
from authlib.oidc.core.errors import LoginRequiredError
from flask import Blueprint, Response, current_app, jsonify, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from auth import cookies, doors, sessions, signing
from auth.faces import public_face
from auth.provider import asking, consents, keys, saying, who
from auth.provider.asking import Asked
from auth.provider.clients import SCOPES
from auth.provider.server import METHODS, Issuer, Server
from auth.provider.who import Who
from core.security import allow_form_to, csrf_exempt, token_page
from core.web import house

bp = Blueprint("oidc", __name__)


@bp.get("/.well-known/openid-configuration")
@bp.get("/.well-known/oauth-authorization-server")
def metadata() -> ResponseReturnValue:
    """OpenID Connect Discovery 1.0, RFC 8414."""
    base = house().settings.base_url
    answer = jsonify({
        "issuer": base, "authorization_endpoint": f"{base}/oauth/authorize", "token_endpoint": f"{base}/oauth/token",
        "userinfo_endpoint": f"{base}/oauth/userinfo", "jwks_uri": f"{base}/oauth/jwks", "end_session_endpoint": f"{base}/oauth/logout",
        "introspection_endpoint": f"{base}/oauth/introspection", "revocation_endpoint": f"{base}/oauth/revocation",
        "introspection_endpoint_auth_methods_supported": METHODS[:2], "revocation_endpoint_auth_methods_supported": METHODS,
        "token_endpoint_auth_methods_supported": METHODS, "scopes_supported": list(SCOPES), "response_types_supported": ["code"],
        "response_modes_supported": ["query"], "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["pairwise"], "id_token_signing_alg_values_supported": [keys.ALGORITHM],
        "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": True,
        "claims_supported": ["sub", "iss", "aud", "auth_time", "sid", "name", "email", "email_verified"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"], "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True, "request_parameter_supported": False, "request_uri_parameter_supported": False,
        "claims_parameter_supported": False,
    })
    answer.headers["Cache-Control"] = "public, max-age=3600"
    return answer


@bp.get("/oauth/jwks")
def jwks() -> ResponseReturnValue:
    answer = jsonify(keys.ring(house().database, house().settings).public)
    answer.headers["Cache-Control"] = "public, max-age=1200"  # a third of keys.KNOWN_AHEAD
    return answer


@bp.get("/oauth/authorize")
def authorize() -> ResponseReturnValue:
    """Answers at once where everything is settled, else shows the page that is missing. A code by GET is what OpenID Connect
    asks for (Core §3.1.2.1): it opens nothing without the app's own verifier."""
    token_page()
    try:
        asked = asking.read(_server(), house().settings)
    except OAuth2Error as wrong:
        return _wrong(wrong)
    visit = sessions.current()
    one = who.of_visit(house().database, visit, asked.client.business_id)
    allowed = one is not None and consents.covers(house().database, asked.client, one, asked.scope)
    step = asking.step(asked, one, who.is_somebody(visit, asked.client.business_id), allowed)
    if step == "go" and one is not None:
        return _answer(asked, one)
    if "none" in asked.prompts or step == "other":
        return _refuse(asked, LoginRequiredError())
    if step == "sign_in":
        return redirect(_sign_in(asked), 303)
    return _page(asked, one, visit.email if visit else "")


@bp.post("/oauth/authorize")
@csrf_exempt
def authorize_posted() -> ResponseReturnValue:
    """An app may send its request as a form (Core §3.1.2.1); it changes nothing, so it needs no token of ours."""
    return redirect("/oauth/authorize?" + urlencode(list(request.values.items(multi=True))), 303)


@bp.post("/oauth/consent")
def consent() -> ResponseReturnValue:
    token_page()
    try:
        asked = asking.read(_server(), house().settings)
    except OAuth2Error as wrong:
        return _wrong(wrong)
    visit = sessions.current()
    one = who.of_visit(house().database, visit, asked.client.business_id)
    if request.form.get("decision") != "allow":
        return _refuse(asked, AccessDeniedError("The person said no."))
    if one is None or asking.step(asked, one, True, True) in ("sign_in", "other"):
        return redirect(request.full_path.replace("/oauth/consent", "/oauth/authorize", 1), 303)
    consents.give(house().database, asked.client, one, asked.scope)
    return _answer(asked, one)


@bp.post("/oauth/token")
@csrf_exempt
def token() -> ResponseReturnValue:
    try:
        asking.plain()
    except OAuth2Error as wrong:
        return _server().handle_error_response(None, wrong)
    return _server().create_token_response()


@bp.post("/oauth/introspection")
@csrf_exempt
def introspection() -> ResponseReturnValue:
    return _server().create_endpoint_response("introspection")


@bp.post("/oauth/revocation")
@csrf_exempt
def revocation() -> ResponseReturnValue:
    return _server().create_endpoint_response("revocation")


@bp.route("/oauth/userinfo", methods=["GET", "POST"])
@csrf_exempt
def userinfo() -> ResponseReturnValue:
    """The token in the header alone: never in a URL (RFC 9700 §4.3.2)."""
    token_page()
    server = _server()
    try:
        found = server.bearer.validate_request(["openid"], server.create_oauth2_request(None))
    except OAuth2Error as wrong:
        return server.handle_error_response(None, wrong)
    return jsonify(saying.userinfo(found))


@bp.get("/oauth/logout")
def leave() -> ResponseReturnValue:
    """Asks first, always: a link on any page can lead here (RP-Initiated Logout 1.0 §6)."""
    token_page()
    try:
        ending = _server().validate_endpoint_request("end_session")
    except OAuth2Error as wrong:
        return _wrong(wrong)
    visit = sessions.current()
    face = public_face(house().database, ending.client.business_id) if ending.client else None
    doors.stand_at(face)
    if visit is None and ending.redirect_uri and ending.id_token_claims:
        return redirect(ending.redirect_uri, 303)
    if ending.redirect_uri:
        allow_form_to(_origin(ending.redirect_uri))
    return render_template("auth/provider/leave.html", visit=visit, app=ending.client.app if ending.client else None,
                           back=ending.redirect_uri, query=request.query_string.decode())


@bp.post("/oauth/logout")
@csrf_exempt
def leave_posted() -> ResponseReturnValue:
    return redirect("/oauth/logout?" + urlencode(list(request.values.items(multi=True))), 303)


@bp.post("/oauth/logout/confirmation")
def left() -> ResponseReturnValue:
    """Signs this browser out of everything here; every app it signed in to is told."""
    token_page()
    try:
        ending = _server().validate_endpoint_request("end_session")
    except OAuth2Error as wrong:
        return _wrong(wrong)
    visit = sessions.current()
    answer = redirect(ending.redirect_uri or "/login", 303)
    if visit is not None:
        signing.sign_out(house().database, visit)
        cookies.drop(house().settings, answer, "signed-in")
        session.clear()
    return answer


def _server() -> Server:
    found: Server = current_app.extensions["oidc_server"]
    return found


def _answer(asked: Asked, one: Who) -> Response:
    """The code, on its way."""
    return _onward(asked, _server().create_authorization_response(grant_user=one, grant=asked.grant))


def _onward(asked: Asked, answer: Response) -> Response:
    """After signing in it goes by a page: the browser holds the sign-in form to this origin."""
    if asked.again is not None and request.method == "GET" and answer.location:
        return Response(render_template("auth/provider/onward.html", there=answer.location, name=asked.client.app.name))
    return answer


def _refuse(asked: Asked, error: OAuth2Error) -> Response:
    error.redirect_uri, error.state = asked.redirect_uri, request.args.get("state")
    return _onward(asked, _told(error))


def _told(error: OAuth2Error) -> Response:
    answer: Response = _server().handle_error_response(None, error)
    Issuer().add_issuer_parameter(_server(), answer)
    return answer


def _wrong(error: OAuth2Error) -> ResponseReturnValue:
    """The app is told where it may be; else the person reads that the app asked wrongly, and nobody is sent anywhere."""
    if error.redirect_uri:
        return _told(error)
    doors.stand_at(None)
    detail = error.description if isinstance(error, InvalidRequestError) else ""
    return render_template("auth/provider/wrong.html", code=error.error, detail=detail), 400


def _sign_in(asked: Asked) -> str:
    query = [(name, value) for name, value in request.args.items(multi=True) if name != asking.AGAIN]
    back = "/oauth/authorize?" + urlencode([*query, (asking.AGAIN, asking.again_mark(house().settings))])
    return f"/login/{asked.client.business_id}?" + urlencode({"again": 1, "next": back})


def _page(asked: Asked, one: Who | None, signed_in_as: str) -> ResponseReturnValue:
    face = doors.face_or_404(asked.client.business_id)
    doors.stand_at(face)
    allow_form_to(_origin(asked.redirect_uri))
    values: dict[str, Any] = {"business": face, "app": asked.client.app, "host": urlsplit(asked.redirect_uri).netloc,
                              "other": _sign_in(asked), "query": request.query_string.decode(), "address": signed_in_as}
    if one is None:
        return render_template("auth/provider/stranger.html", **values), 403
    return render_template("auth/provider/consent.html", who=one, scopes=asked.scope.split(), **values)


def _origin(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"
