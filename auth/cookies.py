"""Sign-in cookies. HttpOnly, SameSite=Lax, Secure and `__Host-` over https; each name includes the mode.

signed-in  random reference of the browser's session row
browser    random; binds a challenge to the browser that requested it
known      signed; the addresses (hashed) that signed in here before
"""

from __future__ import annotations

import re

from flask import request
from werkzeug.wrappers import Response

from auth import tokens
from core import ids
from core.security import cookie_name
from core.settings import Settings

_YEAR = 365 * 24 * 3600
_MONTH = 30 * 24 * 3600
_MOST_KNOWN = 8


def read(settings: Settings, name: str) -> str | None:
    return request.cookies.get(cookie_name(settings, name))


def put(settings: Settings, answer: Response, name: str, value: str, max_age: int) -> None:
    answer.set_cookie(
        cookie_name(settings, name), value, max_age=max_age, path="/", httponly=True, samesite="Lax", secure=settings.is_https
    )


def drop(settings: Settings, answer: Response, name: str) -> None:
    answer.delete_cookie(cookie_name(settings, name), path="/", httponly=True, samesite="Lax", secure=settings.is_https)


def browser(settings: Settings) -> str:
    """Return this browser's secret, or a new one if it has none (store it with `keep_browser`)."""
    found = read(settings, "browser")
    return found if found and re.fullmatch(r"[\w-]{43}", found) else ids.secret_token()


def keep_browser(settings: Settings, answer: Response, secret: str) -> None:
    put(settings, answer, "browser", secret, _MONTH)


def keep_signed_in(settings: Settings, answer: Response, secret: str) -> None:
    put(settings, answer, "signed-in", secret, _MONTH)


def knows(settings: Settings, address_key: str) -> str | None:
    """Return this browser's rate-limit id if the address signed in here before, else None."""
    number, addresses = _known(settings)
    return number if tokens.hashed(settings, "known-address", address_key)[:16] in addresses else None


def keep_known(settings: Settings, answer: Response, address_key: str) -> None:
    number, addresses = _known(settings)
    item = tokens.hashed(settings, "known-address", address_key)[:16]
    addresses = [item, *(a for a in addresses if a != item)][:_MOST_KNOWN]
    put(settings, answer, "known", tokens.sign(settings, "known", [number, addresses]), _YEAR)


def _known(settings: Settings) -> tuple[str, list[str]]:
    value = tokens.unsign(settings, "known", read(settings, "known"), max_age=_YEAR)
    if isinstance(value, list) and len(value) == 2:
        return str(value[0]), [str(item) for item in value[1]]
    return ids.secret_token(9), []
