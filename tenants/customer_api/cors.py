"""Lets browsers call the customer API from listed origins. Tokens travel in a header; cookies are never sent or accepted."""

from __future__ import annotations

from flask import Response, request

from auth import api_origins
from auth.access_tokens import TokenAccess
from core.request_context import services

HEADERS = "authorization, content-type, cf-turnstile-response"
METHODS = "GET, POST, PATCH, DELETE"
REMEMBERED = 600  # seconds that a browser may keep the answer to a preflight


def preflight() -> Response:
    """Answer what a browser asks before a call. The token is not known yet, so an origin that any business lists may ask."""
    answer = Response(status=204)
    origin = request.headers.get("Origin", "")
    if origin and (_is_own(origin) or api_origins.is_listed(services().database, origin)):
        answer.headers["Access-Control-Allow-Methods"] = METHODS
        answer.headers["Access-Control-Allow-Headers"] = HEADERS
        answer.headers["Access-Control-Max-Age"] = str(REMEMBERED)
        answer.headers["Access-Control-Allow-Origin"] = origin
    answer.headers["Vary"] = "Origin"
    return answer


def allow(response: Response, bearer: TokenAccess | None) -> Response:
    """Let the browser read the answer if the origin belongs to the deployment, or to the business of the token."""
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin", "")
    if not origin or request.method == "OPTIONS":
        return response
    if _is_own(origin) or _is_of_business(origin, bearer):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
    return response


def _is_own(origin: str) -> bool:
    return origin in services().settings.api_origins


def _is_of_business(origin: str, bearer: TokenAccess | None) -> bool:
    """Without a token (a wrong one, or a sign-in), an origin that some business lists may read the refusal, which tells nothing."""
    if bearer is None:
        return api_origins.is_listed(services().database, origin)
    return bearer.business_id is not None and api_origins.is_listed(services().database, origin, bearer.business_id)
