"""The countries that customers can buy from. Public and cacheable."""

from __future__ import annotations

from functools import lru_cache

from babel import Locale
from flask import jsonify
from flask.typing import ResponseReturnValue

from tenants.api.authentication import bp, without_key
from tenants.api.route_spec import route_spec

_UNSUPPORTED = frozenset({"AQ", "BV", "CU", "HM", "IR", "KP", "RU", "SY", "TF", "UM"})


@lru_cache(maxsize=1)
def countries() -> tuple[str, ...]:
    """Return the ISO 3166-1 alpha-2 codes that a billing address may have."""
    territories: list[str] = [str(code) for code in Locale("en").territories]
    not_iso = {"EU", "EZ", "UN", "XA", "XB", "XK", "ZZ", "QO", "AC", "CP", "CQ", "DG", "EA", "IC", "TA"}
    return tuple(sorted(code for code in territories if len(code) == 2 and code.isalpha() and code not in not_iso | _UNSUPPORTED))


@bp.get("/checkout/supported_countries", endpoint="supported_countries")
@without_key
@route_spec(form="codes")
def supported_countries() -> ResponseReturnValue:
    """List the ISO 3166-1 alpha-2 codes of the countries that customers can buy from. No API key is needed."""
    answer = jsonify(list(countries()))
    answer.headers["Cache-Control"] = "public, max-age=86400"
    return answer
