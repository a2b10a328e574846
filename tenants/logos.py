"""A business's logo for everybody: no cookie is looked at, and the address changes with the picture, so that it is kept for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, request
from flask.typing import ResponseReturnValue

from billing.commands.pictures import picture_of
from core.errors import NotFound
from core.scope import system
from core.web import house

if TYPE_CHECKING:
    from flask import Flask

    from core.web import House

_YEAR = 365 * 24 * 3600


def logo(business_id: str, logo_id: str) -> ResponseReturnValue:
    """PNG of our own making (core/logo.py). Pictures of products have another address."""
    if not logo_id.startswith("logo-"):
        raise NotFound()
    with house().database.open(system(business_id), replica=True) as db:
        answer = Response(picture_of(db, logo_id), mimetype="image/png")
    answer.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer.set_etag(logo_id)
    return answer.make_conditional(request)


def register(app: Flask, house: House) -> None:
    app.add_url_rule("/logos/<business_id>/<logo_id>.png", "logo", logo)
