"""What every sign-in page does first: which door it stands at, who asks, and where they go afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from math import ceil
from typing import Any

from flask import request, session
from werkzeug.wrappers import Response

from auth import cookies, signing
from auth.faces import Face, public_face
from auth.sessions import Visit
from core import clock
from core.errors import NotFound
from core.security import safe_next
from core.web import Door, enter, house

ASKED = "asked"  # in the signed cookie: what was typed, so that the answer needs no look-up


def face_or_404(business_id: str) -> Face:
    face = public_face(house().database, business_id)
    if face is None:
        raise NotFound()
    return face


def stand_at(face: Face | None) -> None:
    """Enter the sign-in door, in the business's brand where there is one."""
    name = house().settings.name
    if face is None:
        enter(Door(kind="auth", title=name, home_url="/login"))
        return
    enter(Door(
        kind="auth", title=face.name, home_url=f"/login/{face.business_id}", brand=face.brand, business=face, business_id=face.business_id,
        seller=face.seller, support_email=face.support_email, everything_url="/login",
    ))


def stand_where_asked() -> dict[str, Any]:
    """Enter the door of the last ask of this browser; returns {email, business_id, next, of} (empty without one)."""
    asked = session.get(ASKED) or {}
    face = public_face(house().database, asked["business_id"]) if asked.get("business_id") else None
    stand_at(face)
    return dict(asked)


def home(business_id: str | None) -> str:
    return f"/business/{business_id}/" if business_id else "/"


def landing(next_: str | None, business_id: str | None) -> str:
    """Where to go once signed in: a path of ours, else the door's first page. Never back to a sign-in page."""
    goal = safe_next(next_, default=home(business_id))
    return home(business_id) if goal.split("?")[0].startswith(("/login", "/logout", "/session/")) else goal


def welcome(answer: Response, secret: str, address_keys: Iterable[str]) -> Response:
    """The cookies of a session that has just begun; this browser is known to those addresses from here on."""
    settings = house().settings
    session.clear()  # the form token too: rotated with the session
    cookies.keep_signed_in(settings, answer, secret)
    for key in address_keys:
        cookies.keep_known(settings, answer, key)
    return answer


def seconds_until(moment: datetime | str | None) -> int:
    """Seconds to wait for `moment` (or its ISO form), rounded up to five; 0 when it is past, or None."""
    if moment is None:
        return 0
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return max(0, ceil((at - clock.wall()).total_seconds() / 5) * 5)


def opens_more(answer: Response, visit: Visit | None) -> Response:
    """The answer of a page by which this session opens more: the session gets a new reference."""
    if visit is not None:
        settings = house().settings
        cookies.keep_signed_in(settings, answer, signing.renew_reference(house().database, settings, visit))
    return answer


def source() -> str | None:
    return request.remote_addr
