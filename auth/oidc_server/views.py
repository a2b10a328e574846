"""Endpoints of the OpenID Connect provider. Those for programs ignore cookies; the two pages are normal forms."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidRequestError
from authlib.oidc.core.errors import LoginRequiredError
from flask import Blueprint, Response, current_app, jsonify, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

from auth import cookies, session_lifecycle, sessions, sign_in_context
from auth.oidc_server import authorization_request, consents, id_tokens, subject
from auth.oidc_server.authorization_request import AuthorizationRequest
from auth.oidc_server.server import Issuer, Server
from auth.oidc_server.subject import DisclosedCustomer
from billing.model.business_profile import public_profile
from core.request_context import services
from core.security import allow_form_to, csrf_exempt, token_page

bp = Blueprint("oidc", __name__)


@bp.get("/oauth/authorize")
def authorize() -> ResponseReturnValue:
    """Respond with a code if sign-in and consent exist, otherwise show the missing page.

    OpenID Connect requires a code by GET (Core §3.1.2.1). It is useless without the app's own verifier.
    """
    token_page()
    try:
        auth_request = authorization_request.read(_server(), services().settings)
    except OAuth2Error as wrong:
        return _handle_error(wrong)
    visit = sessions.current_visit()
    customer = subject.of_visit(services().database, visit, auth_request.client.business_id)
    allowed = customer is not None and consents.covers(services().database, auth_request.client, customer, auth_request.scope)
    step = authorization_request.next_step(auth_request, customer, subject.is_somebody(visit, auth_request.client.business_id), allowed)
    if step == "go" and customer is not None:
        return _respond_with_code(auth_request, customer)
    if "none" in auth_request.prompts or step == "other":
        return _refuse(auth_request, LoginRequiredError())
    if step == "sign_in":
        return redirect(_sign_in_url(auth_request), 303)
    return _page(auth_request, customer, visit.email if visit else "")


@bp.post("/oauth/authorize")
@csrf_exempt
def authorize_posted() -> ResponseReturnValue:
    """Accept the request as a form post (Core §3.1.2.1). It changes nothing, so it needs no CSRF token."""
    return redirect("/oauth/authorize?" + urlencode(list(request.values.items(multi=True))), 303)


@bp.post("/oauth/consent")
def consent() -> ResponseReturnValue:
    token_page()
    try:
        auth_request = authorization_request.read(_server(), services().settings)
    except OAuth2Error as wrong:
        return _handle_error(wrong)
    visit = sessions.current_visit()
    customer = subject.of_visit(services().database, visit, auth_request.client.business_id)
    if request.form.get("decision") != "allow":
        return _refuse(auth_request, AccessDeniedError("The user denied access."))
    if customer is None or authorization_request.next_step(auth_request, customer, True, True) in ("sign_in", "other"):
        return redirect(request.full_path.replace("/oauth/consent", "/oauth/authorize", 1), 303)
    consents.give(services().database, auth_request.client, customer, auth_request.scope)
    return _respond_with_code(auth_request, customer)


def _answer(made: Any) -> ResponseReturnValue:
    """Authlib is not typed: its answers are Flask responses."""
    response: ResponseReturnValue = made
    return response


@bp.post("/oauth/token")
@csrf_exempt
def token() -> ResponseReturnValue:
    try:
        authorization_request.check_parameters()
    except OAuth2Error as wrong:
        return _answer(_server().handle_error_response(None, wrong))
    return _answer(_server().create_token_response())


@bp.post("/oauth/introspection")
@csrf_exempt
def introspection() -> ResponseReturnValue:
    return _answer(_server().create_endpoint_response("introspection"))


@bp.post("/oauth/revocation")
@csrf_exempt
def revocation() -> ResponseReturnValue:
    return _answer(_server().create_endpoint_response("revocation"))


@bp.route("/oauth/userinfo", methods=["GET", "POST"])
@csrf_exempt
def userinfo() -> ResponseReturnValue:
    """Return userinfo. The token is accepted only in the header, never in a URL (RFC 9700 §4.3.2)."""
    token_page()
    server = _server()
    try:
        found = server.bearer.validate_request(["openid"], server.create_oauth2_request(None))
    except OAuth2Error as wrong:
        return _answer(server.handle_error_response(None, wrong))
    return jsonify(id_tokens.userinfo(found))


@bp.get("/oauth/logout")
def leave() -> ResponseReturnValue:
    """Always ask for confirmation, because any page can link here (RP-Initiated Logout 1.0 §6)."""
    token_page()
    try:
        ending = _server().validate_endpoint_request("end_session")
    except OAuth2Error as wrong:
        return _handle_error(wrong)
    visit = sessions.current_visit()
    profile = public_profile(services().database, ending.client.business_id) if ending.client else None
    sign_in_context.require_sign_in_context(profile)
    if visit is None and ending.redirect_uri and ending.id_token_claims:
        return redirect(ending.redirect_uri, 303)
    if ending.redirect_uri:
        allow_form_to(_origin(ending.redirect_uri))
    return render_template(
        "auth/provider/leave.html",
        visit=visit,
        app=ending.client.app if ending.client else None,
        back=ending.redirect_uri,
        query=request.query_string.decode(),
    )


@bp.post("/oauth/logout")
@csrf_exempt
def leave_posted() -> ResponseReturnValue:
    return redirect("/oauth/logout?" + urlencode(list(request.values.items(multi=True))), 303)


@bp.post("/oauth/logout/confirmation")
def left() -> ResponseReturnValue:
    """Sign this browser out completely. Every app it signed in to is notified."""
    token_page()
    try:
        ending = _server().validate_endpoint_request("end_session")
    except OAuth2Error as wrong:
        return _handle_error(wrong)
    visit = sessions.current_visit()
    answer = redirect(ending.redirect_uri or "/login", 303)
    if visit is not None:
        session_lifecycle.sign_out(services().database, visit)
        cookies.drop(services().settings, answer, "signed-in")
        session.clear()
    return answer


def _server() -> Server:
    found: Server = current_app.extensions["oidc_server"]
    return found


def _respond_with_code(auth_request: AuthorizationRequest, customer: DisclosedCustomer) -> Response:
    """Redirect to the app with a code."""
    return _redirect(auth_request, _server().create_authorization_response(grant_user=customer, grant=auth_request.grant))


def _redirect(auth_request: AuthorizationRequest, answer: Response) -> Response:
    """Redirect through a page after sign-in, because the browser restricts the sign-in form to this origin."""
    if auth_request.again is not None and request.method == "GET" and answer.location:
        return Response(render_template("auth/provider/onward.html", url=answer.location, name=auth_request.client.app.name))
    return answer


def _refuse(auth_request: AuthorizationRequest, error: OAuth2Error) -> Response:
    error.redirect_uri, error.state = auth_request.redirect_uri, request.args.get("state")
    return _redirect(auth_request, _error_response(error))


def _error_response(error: OAuth2Error) -> Response:
    answer: Response = _server().handle_error_response(None, error)
    Issuer().add_issuer_parameter(_server(), answer)
    return answer


def _handle_error(error: OAuth2Error) -> ResponseReturnValue:
    """Send the error to the app if its redirect URI is valid. Otherwise show an error page without a redirect."""
    if error.redirect_uri:
        return _error_response(error)
    sign_in_context.require_sign_in_context(None)
    detail = error.description if isinstance(error, InvalidRequestError) else ""
    return render_template("auth/provider/wrong.html", code=error.error, detail=detail), 400


def _sign_in_url(auth_request: AuthorizationRequest) -> str:
    query = [(name, value) for name, value in request.args.items(multi=True) if name != authorization_request.AGAIN]
    back = "/oauth/authorize?" + urlencode(
        [*query, (authorization_request.AGAIN, authorization_request.sign_again_parameter(services().settings))]
    )
    return f"/login/{auth_request.client.business_id}?" + urlencode({"again": 1, "next": back})


def _page(auth_request: AuthorizationRequest, customer: DisclosedCustomer | None, signed_in_as: str) -> ResponseReturnValue:
    profile = sign_in_context.profile_or_404(auth_request.client.business_id)
    sign_in_context.require_sign_in_context(profile)
    allow_form_to(_origin(auth_request.redirect_uri))
    values: dict[str, Any] = {
        "business": profile,
        "app": auth_request.client.app,
        "host": urlsplit(auth_request.redirect_uri).netloc,
        "other": _sign_in_url(auth_request),
        "query": request.query_string.decode(),
        "address": signed_in_as,
    }
    if customer is None:
        return render_template("auth/provider/stranger.html", **values), 403
    return render_template("auth/provider/consent.html", subject=customer, scopes=auth_request.scope.split(), **values)


def _origin(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"
