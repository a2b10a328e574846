"""Where buyers may be: public and cacheable."""

from __future__ import annotations

from functools import lru_cache

from babel import Locale
from flask import jsonify
from flask.typing import ResponseReturnValue

from tenants.api.door import bp, without_key
from tenants.api.saying import says

_NOT_SERVED = frozenset({"AQ", "BV", "CU", "HM", "IR", "KP", "RU", "SY", "TF", "UM"})


@lru_cache(maxsize=1)
def countries() -> tuple[str, ...]:
    """ISO 3166-1 alpha-2 codes that a billing address may have."""
    known = Locale("en").territories
    made_up = {"EU", "EZ", "UN", "XA", "XB", "XK", "ZZ", "QO", "AC", "CP", "CQ", "DG", "EA", "IC", "TA"}
    return tuple(sorted(code for code in known if len(code) == 2 and code.isalpha() and code not in made_up | _NOT_SERVED))


@bp.get("/checkout/supported_countries", endpoint="supported_countries")
@without_key
@says(form="codes")
def supported_countries() -> ResponseReturnValue:
    answer = jsonify(list(countries()))
    answer.headers["Cache-Control"] = "public, max-age=86400"
    return answer
