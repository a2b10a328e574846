"""An authorization request, checked, and what has to happen before it is answered.

`prompt=none` never shows a page, and says the same whatever is missing (signed out, no customer, nothing allowed, a proof
too old): so that nobody learns by it who is who.
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
from auth.provider.clients import Client
from auth.provider.who import Who
from core import clock
from core.settings import Settings

Step = Literal["go", "sign_in", "other", "stranger", "consent"]
AGAIN = "signed_in_after"
"""Our own parameter on the way back from signing in: when it was asked for, signed for this very request. It keeps `prompt=login` from
asking for ever, and what was proved for one request answers no other."""
_PLAIN = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]*")
_NAMED_IN_ERRORS = ("client_id", "redirect_uri", "response_type", "grant_type", "scope", "prompt", "max_age", "response_mode")
_PROMPTS = frozenset({"none", "login", "consent", "select_account"})
LONGEST = 1500
"""Of the query: it has to travel through the sign-in pages and a letter."""


class RequestNotSupported(OAuth2Error):
    error = "request_not_supported"


class RequestUriNotSupported(OAuth2Error):
    error = "request_uri_not_supported"


@dataclass(frozen=True)
class Asked:
    """A valid request. `grant` is Authlib's; `again`: when a new proof was asked for (Unix seconds), if that was so."""

    client: Client
    grant: Any
    redirect_uri: str
    scope: str
    prompts: frozenset[str]
    max_age: int | None
    hint: str | None  # the subject that an id_token_hint names
    again: int | None


def plain() -> None:
    """What an error would repeat must be what an error may hold (RFC 6749 §4.1.2.1), and not be said twice. Raises."""
    for name in _NAMED_IN_ERRORS:
        said = [*request.args.getlist(name), *(request.form.getlist(name) if request.method == "POST" else ())]
        if len(said) > 1 or not all(_PLAIN.fullmatch(one) for one in said):
            raise InvalidRequestError(f"The parameter {name} cannot be read.")
    if len(request.query_string) > LONGEST + 300:
        raise InvalidRequestError(f"The request is longer than {LONGEST} characters.")


def read(server: Any, settings: Settings) -> Asked:
    """The request in this URL. Raises OAuth2Error; with `redirect_uri` set where the app may be told."""
    plain()
    grant = server.get_consent_grant()
    try:
        said = request.args
        prompts = frozenset(said.get("prompt", "").split())
        if not prompts <= _PROMPTS or ("none" in prompts and len(prompts) > 1):
            raise InvalidRequestError("This prompt is not understood.")
        if "request" in said:
            raise RequestNotSupported()
        if "request_uri" in said:
            raise RequestUriNotSupported()
        if said.get("response_mode", "query") != "query":
            raise InvalidRequestError("Answers go into the query of the redirect URI.")
        age = said.get("max_age", "")
        if age and not re.fullmatch(r"\d{1,9}", age):
            raise InvalidRequestError("max_age is a number of seconds.")
        hint = server.subject_of(said["id_token_hint"], grant.client) if "id_token_hint" in said else None
        again = tokens.unsign(settings, _for_this(), said.get(AGAIN), max_age=3600)
        return Asked(grant.client, grant, grant.redirect_uri, grant.request.scope, prompts, int(age) if age else None, hint,
                     again if isinstance(again, int) else None)
    except OAuth2Error as wrong:
        wrong.redirect_uri, wrong.state = grant.redirect_uri, request.args.get("state")
        raise


def step(asked: Asked, who: Who | None, is_somebody: bool, is_allowed: bool) -> Step:
    """What comes next. `is_somebody`: signed in at all; `who`: a customer of the app's business."""
    if not is_somebody:
        return "sign_in"
    if who is None:
        return "stranger"
    if asked.again is not None and asked.hint not in (None, who.subject):  # asked who it is, and it is not whom the app means
        return "other"
    if not _is_fresh(asked, who):
        return "sign_in"
    return "go" if is_allowed and "consent" not in asked.prompts else "consent"


def again_mark(settings: Settings) -> str:
    return tokens.sign(settings, _for_this(), int(clock.wall().timestamp()))


def _for_this() -> str:
    said = sorted((name, value) for name, value in request.args.items(multi=True) if name != AGAIN)
    return "authorize-again, " + hashlib.sha256(urlencode(said).encode()).hexdigest()


def _is_fresh(asked: Asked, who: Who) -> bool:
    at = int(who.auth_time.timestamp())
    if asked.again is not None:
        return at >= asked.again
    if asked.prompts & {"login", "select_account"} or (asked.hint is not None and asked.hint != who.subject):
        return False
    return asked.max_age is None or at >= int(clock.wall().timestamp()) - asked.max_age
