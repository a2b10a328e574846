"""The exceptions of the portal. Each has an HTTP status, a code (contract §1.5) and a default message.

PortalError
├── Invalid 422          bad input; `fields` maps a field name to its sentence
├── BadRequest 400
├── Unauthorized 401
├── Forbidden 403        the row is visible, but the role does not allow the action
│   └── BusinessArchived
├── NotFound 404         no such row, or a row of another owner
├── Conflict 409         the row's state does not allow it
├── Gone 410
├── Misdirected 421      unknown Host
├── TooMany 429
└── Unavailable 503
ScopeError               a programming error: a query without a scope or outside it
"""

from __future__ import annotations

from collections.abc import Mapping


def N_(sentence: str) -> str:
    """Mark a sentence for the catalogs. It is raised in English; pages and forms translate it when they show it."""
    return sentence


class PortalError(Exception):
    status = 500
    code = "INTERNAL_SERVER_ERROR"
    sentence = "Something went wrong on our side."

    def __init__(self, code: str | None = None, sentence: str | None = None, *, fields: Mapping[str, str] | None = None):
        self.code = code or type(self).code
        self.sentence = sentence or type(self).sentence
        self.has_own_sentence = bool(sentence)
        self.fields: dict[str, str] = dict(fields or {})
        super().__init__(f"{self.code}: {self.sentence}")


class Invalid(PortalError):
    status, code, sentence = 422, "INVALID_REQUEST_BODY", "Some of the values you sent are invalid."


class BadRequest(PortalError):
    status, code, sentence = 400, "INVALID_REQUEST_PARAMETERS", "This request cannot be read."


class Unauthorized(PortalError):
    status, code, sentence = 401, "UNAUTHORIZED", "Please sign in first."


class Forbidden(PortalError):
    status, code, sentence = 403, "FORBIDDEN", "This is not allowed."


class BusinessArchived(Forbidden):
    code, sentence = "BUSINESS_ARCHIVED", "This business is archived"


class NotFound(PortalError):
    status, code, sentence = 404, "NOT_FOUND", "Not found."


class Conflict(PortalError):
    status, code, sentence = 409, "CONFLICT", N_("This is not possible in its current state.")


class Gone(PortalError):
    status, code, sentence = 410, "GONE", "This is no longer available."


class Misdirected(PortalError):
    status, code, sentence = 421, "MISDIRECTED_REQUEST", "This address is not served here."


class TooMany(PortalError):
    status, code, sentence = 429, "TOO_MANY_REQUESTS", "Too many requests. Please try again later."


class Unavailable(PortalError):
    status, code, sentence = 503, "UNAVAILABLE", "This is unavailable at the moment. Please try again later."


class ScopeError(RuntimeError):
    """A statement without a scope, or outside it. A programming error, never shown to users."""
