"""Helpers shared by the sign-in pages: the business context, cookies, and where to go after sign-in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from math import ceil
from typing import Any

from flask import request, session
from werkzeug.wrappers import Response

from auth import cookies, session_lifecycle
from auth.sessions import Visit
from billing.model.business_profile import BusinessProfile, public_profile
from core import clock
from core.errors import NotFound
from core.request_context import Door, enter, services
from core.security import safe_next

ASKED = "asked"  # key in the signed cookie: the typed address, so that the response needs no lookup


def profile_or_404(business_id: str) -> BusinessProfile:
    profile = public_profile(services().database, business_id)
    if profile is None:
        raise NotFound()
    return profile


def require_sign_in_context(profile: BusinessProfile | None) -> None:
    """Enter the sign-in context, with the brand of the business if there is one."""
    name = services().settings.name
    if profile is None:
        enter(Door(kind="auth", title=name, home_url="/login"))
        return
    enter(Door.of_business("auth", profile, f"/login/{profile.business_id}", everything_url="/login"))


def enter_requested_context() -> dict[str, Any]:
    """Enter the context of this browser's last sign-in request. Returns {email, business_id, next, of}, or {} without one."""
    sign_in_request = session.get(ASKED) or {}
    profile = public_profile(services().database, sign_in_request["business_id"]) if sign_in_request.get("business_id") else None
    require_sign_in_context(profile)
    return dict(sign_in_request)


def home(business_id: str | None) -> str:
    return f"/business/{business_id}/" if business_id else "/"


def landing(next_: str | None, business_id: str | None) -> str:
    """Return where to go after sign-in: a local path, otherwise the home page. Never a sign-in page."""
    goal = safe_next(next_, default=home(business_id))
    return home(business_id) if goal.split("?")[0].startswith(("/login", "/logout", "/session/")) else goal


def welcome(answer: Response, secret: str, address_keys: Iterable[str]) -> Response:
    """Set the cookies of a new session and remember that these addresses signed in with this browser."""
    settings = services().settings
    session.clear()  # the form token is rotated with the session
    cookies.keep_signed_in(settings, answer, secret)
    for key in address_keys:
        cookies.keep_known(settings, answer, key)
    return answer


def seconds_until(moment: datetime | str | None) -> int:
    """Return the seconds until `moment` (or its ISO form), rounded up to a multiple of five. 0 if it is past or None."""
    if moment is None:
        return 0
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return max(0, ceil((at - clock.wall()).total_seconds() / 5) * 5)


def opens_more(answer: Response, visit: Visit | None) -> Response:
    """Give the session a new secret, because it has gained access. Returns the response with the new cookie."""
    if visit is not None:
        settings = services().settings
        cookies.keep_signed_in(settings, answer, session_lifecycle.renew_reference(services().database, settings, visit))
    return answer


def source() -> str | None:
    return request.remote_addr
