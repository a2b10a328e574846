"""Serves the logo of a business without cookies. Its URL changes with the image, so it can be cached forever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, request
from flask.typing import ResponseReturnValue

from billing.catalogue.pictures import picture_of
from core.errors import NotFound
from core.request_context import services
from core.scope import system

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services

_YEAR = 365 * 24 * 3600


def logo(business_id: str, logo_id: str) -> ResponseReturnValue:
    """Return the re-encoded PNG (core/logo.py). Images of products have another URL."""
    if not logo_id.startswith("logo-"):
        raise NotFound()
    with services().database.open(system(business_id), replica=True) as db:
        answer = Response(picture_of(db, logo_id), mimetype="image/png")
    answer.headers["Cache-Control"] = f"public, max-age={_YEAR}, immutable"
    answer.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer.set_etag(logo_id)
    return answer.make_conditional(request)


def register(app: Flask, services: Services) -> None:
    app.add_url_rule("/logos/<business_id>/<logo_id>.png", "logo", logo)
