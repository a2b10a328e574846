"""The error tree. Every class has a status, a code (contract §1.5) and a sentence for people.

    PortalError
    ├── Invalid 422          bad input; `fields` maps a field name to its sentence
    ├── BadRequest 400
    ├── Unauthorized 401
    ├── Forbidden 403        the row is yours, the role is not enough
    │   └── BusinessArchived
    ├── NotFound 404         no such row, or somebody else's: the same thing
    ├── Conflict 409         the row's state does not allow it
    ├── Gone 410
    ├── Misdirected 421      unknown Host
    ├── TooMany 429
    └── Unavailable 503
    ScopeError               a programming error: a query without a scope, or outside of it
"""

from __future__ import annotations

from collections.abc import Mapping


class PortalError(Exception):
    status = 500
    code = "INTERNAL_SERVER_ERROR"
    sentence = "Something went wrong on our side."

    def __init__(self, code: str | None = None, sentence: str | None = None, *, fields: Mapping[str, str] | None = None):
        self.code = code or type(self).code
        self.sentence = sentence or type(self).sentence
        self.fields: dict[str, str] = dict(fields or {})
        super().__init__(f"{self.code}: {self.sentence}")


class Invalid(PortalError):
    status, code, sentence = 422, "INVALID_REQUEST_BODY", "Some of what was sent cannot be used."


class BadRequest(PortalError):
    status, code, sentence = 400, "INVALID_REQUEST_PARAMETERS", "This request cannot be read."


class Unauthorized(PortalError):
    status, code, sentence = 401, "UNAUTHORIZED", "Please sign in first."


class Forbidden(PortalError):
    status, code, sentence = 403, "FORBIDDEN", "This is not allowed."


class BusinessArchived(Forbidden):
    code, sentence = "BUSINESS_ARCHIVED", "This business is archived"


class NotFound(PortalError):
    status, code, sentence = 404, "NOT_FOUND", "There is no such thing here."


class Conflict(PortalError):
    status, code, sentence = 409, "CONFLICT", "The state of this does not allow it."


class Gone(PortalError):
    status, code, sentence = 410, "GONE", "This is no longer here."


class Misdirected(PortalError):
    status, code, sentence = 421, "MISDIRECTED_REQUEST", "This address is not served here."


class TooMany(PortalError):
    status, code, sentence = 429, "TOO_MANY_REQUESTS", "Too many requests. Please wait a little."


class Unavailable(PortalError):
    status, code, sentence = 503, "UNAVAILABLE", "This cannot be reached at the moment."


class ScopeError(RuntimeError):
    """A statement without a scope, or one that reaches past it. Never shown to anybody: it is a bug."""
