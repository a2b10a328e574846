"""Validate an authorization request and decide the next step.

`prompt=none` never shows a page. Its error is the same whatever is missing (signed out, no customer, no consent, old proof), so
that it reveals nothing about the visitor.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749.errors import InvalidRequestError
from flask import request

from auth import tokens
from auth.oidc_server.clients import Client
from auth.oidc_server.subject import DisclosedCustomer
from core import clock
from core.settings import Settings

Step = Literal["go", "sign_in", "other", "stranger", "consent"]
AGAIN = "signed_in_after"
"""Our own query parameter after sign-in: when sign-in was requested, signed for this request.

It prevents an endless loop with `prompt=login`, and ensures that a proof for one request does not satisfy another.
"""
_PLAIN = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")
_NAMED_IN_ERRORS = ("client_id", "redirect_uri", "response_type", "grant_type", "scope", "prompt", "max_age", "response_mode")
_PROMPTS = frozenset({"none", "login", "consent", "select_account"})
LONGEST = 1500
"""Maximum length of the query, because it passes through the sign-in pages and an email."""


class RequestNotSupported(OAuth2Error):  # type: ignore[misc]
    error = "request_not_supported"


class RequestUriNotSupported(OAuth2Error):  # type: ignore[misc]
    error = "request_uri_not_supported"


@dataclass(frozen=True)
class AuthorizationRequest:
    """A valid request. `grant` is Authlib's; `again`: when a new proof was requested (Unix seconds), or None."""

    client: Client
    grant: Any
    redirect_uri: str
    scope: str
    prompts: frozenset[str]
    max_age: int | None
    hint: str | None  # the subject of the id_token_hint
    again: int | None


def check_parameters() -> None:
    """Check that parameters repeated in errors have allowed characters (RFC 6749 §4.1.2.1) and occur once.

    Raises InvalidRequestError.
    """
    for name in _NAMED_IN_ERRORS:
        values = [*request.args.getlist(name), *(request.form.getlist(name) if request.method == "POST" else ())]
        if len(values) > 1 or not all(_PLAIN.fullmatch(value) for value in values):
            raise InvalidRequestError(f"The parameter {name} cannot be read.")
    if len(request.query_string) > LONGEST + 300:
        raise InvalidRequestError(f"The request is longer than {LONGEST} characters.")


def read(server: Any, settings: Settings) -> AuthorizationRequest:
    """Read the request from the URL. Raises OAuth2Error, with `redirect_uri` set if the error may be sent to the app."""
    check_parameters()
    grant = server.get_consent_grant()
    try:
        args = request.args
        prompts = frozenset(args.get("prompt", "").split())
        if not prompts <= _PROMPTS or ("none" in prompts and len(prompts) > 1):
            raise InvalidRequestError("This prompt is not supported.")
        if "request" in args:
            raise RequestNotSupported()
        if "request_uri" in args:
            raise RequestUriNotSupported()
        if args.get("response_mode", "query") != "query":
            raise InvalidRequestError("Only the response_mode query is supported.")
        age = args.get("max_age", "")
        if age and not re.fullmatch(r"\d{1,9}", age):
            raise InvalidRequestError("max_age must be a number of seconds.")
        hint = server.subject_of(args["id_token_hint"], grant.client) if "id_token_hint" in args else None
        again = tokens.unsign(settings, _again_purpose(), args.get(AGAIN), max_age=3600)
        return AuthorizationRequest(
            grant.client,
            grant,
            grant.redirect_uri,
            grant.request.scope,
            prompts,
            int(age) if age else None,
            hint,
            again if isinstance(again, int) else None,
        )
    except OAuth2Error as wrong:
        wrong.redirect_uri, wrong.state = grant.redirect_uri, request.args.get("state")
        raise


def next_step(auth_request: AuthorizationRequest, customer: DisclosedCustomer | None, is_somebody: bool, is_allowed: bool) -> Step:
    """Return the next step. `is_somebody`: signed in at all; `customer`: the customer of the app's business."""
    if not is_somebody:
        return "sign_in"
    if customer is None:
        return "stranger"
    if auth_request.again is not None and auth_request.hint not in (
        None,
        customer.subject,
    ):  # the person signed in again, but is not the one in the hint
        return "other"
    if not _is_fresh(auth_request, customer):
        return "sign_in"
    return "go" if is_allowed and "consent" not in auth_request.prompts else "consent"


def sign_again_parameter(settings: Settings) -> str:
    return tokens.sign(settings, _again_purpose(), int(clock.wall().timestamp()))


def _again_purpose() -> str:
    parameters = sorted((name, value) for name, value in request.args.items(multi=True) if name != AGAIN)
    return "authorize-again, " + hashlib.sha256(urlencode(parameters).encode()).hexdigest()


def _is_fresh(auth_request: AuthorizationRequest, customer: DisclosedCustomer) -> bool:
    at = int(customer.auth_time.timestamp())
    if auth_request.again is not None:
        return at >= auth_request.again
    if auth_request.prompts & {"login", "select_account"} or (auth_request.hint is not None and auth_request.hint != customer.subject):
        return False
    return auth_request.max_age is None or at >= int(clock.wall().timestamp()) - auth_request.max_age
