"""Calls of Stripe's API through the official SDK, over the portal's outgoing HTTP client. Answers are plain dictionaries.

Every call ends in one of five ways:

* an `Answer`;
* `Refusal`: Stripe answered that it did not do this, and why;
* `KeyReused`: the idempotency key was used with other parameters;
* `Unanswered`: it is not known whether Stripe did it;
* `AccessDenied`, an `Unanswered`: the account's key is not accepted. Nothing was done, but a person can mend it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import stripe

from billing.charging.ports import AccountAccess
from core.outgoing import Outgoing
from core.stripe.http_client import API_VERSION, OutgoingHTTPClient

TIMEOUT = 7.0
"""Seconds per call. A charge makes up to three, and the API answers within 25 seconds."""
PAGE = 100
LONGEST_WAIT = 2.0
"""Seconds that one call waits in total because of rate limits, or because a call with the same key is still running."""
StripeObject = dict[str, Any]


class Refusal(Exception):
    """Stripe refused. `intent`: the PaymentIntent inside the error of a declined charge."""

    def __init__(self, error: Mapping[str, Any], status: int):
        self.status = status
        self.code: str = error.get("code") or ""
        self.decline_code: str = error.get("decline_code") or ""
        self.param: str = error.get("param") or ""
        self.intent: StripeObject | None = error.get("payment_intent")
        super().__init__(error.get("message") or self.code)


class KeyReused(Exception):
    """The idempotency key belongs to a call with other parameters."""


class Unanswered(Exception):
    """`server_error`: Stripe answered 5xx. `stored`: this answer is a stored one, which Stripe repeats for as long as it knows the key."""

    def __init__(self, message: str, *, server_error: bool = False, stored: bool = False):
        self.server_error, self.stored = server_error, stored
        super().__init__(message)


class AccessDenied(Unanswered):
    """Stripe does not accept the account's key (`status` 401), or the key lacks the permission for this call (403)."""

    def __init__(self, message: str, status: int):
        self.status = status
        super().__init__(message)


@dataclass(frozen=True)
class Answer:
    """`repeated`: Stripe returned its stored answer to an earlier call with this key. The object may be in another state by now."""

    object: StripeObject
    repeated: bool = False


class StripeApi:
    """The API of one account."""

    def __init__(self, access: AccountAccess, outgoing: Outgoing, api_base: str | None = None, timeout: float | None = None):
        self._client = stripe.StripeClient(
            access.secret_key or "no_key",
            stripe_version=API_VERSION,  # that of this package, whatever the account was connected with
            base_addresses={"api": api_base} if api_base else {},
            http_client=OutgoingHTTPClient(outgoing, timeout=timeout or TIMEOUT),
            max_network_retries=0,
        )
        self.v1: Any = self._client.v1

    def call(self, method: Callable[..., Any], *values: Any, key: str | None = None) -> Answer:
        """Call a method of the SDK's `v1` services. The last value is the dictionary of its parameters, if it has any."""
        waited, pause = 0.0, 0.1
        while True:
            try:
                return _answer(method(*values, options={"idempotency_key": key} if key else {}))
            except stripe.StripeError as error:
                hint = _retry_after(error)
                pause = hint if hint is not None else pause * 2
                if not _is_too_early(error) or waited + pause > LONGEST_WAIT:
                    raise _failure(error) from error
            time.sleep(pause)
            waited += pause

    def every(self, method: Callable[..., Any], parameters: StripeObject) -> Iterator[StripeObject]:
        """Yield the objects of a list, newest first, page by page."""
        more: StripeObject = {}
        while True:
            page = self.call(method, {**parameters, "limit": PAGE, **more}).object
            yield from page["data"]
            if not page["has_more"] or not page["data"]:
                return
            more = {"starting_after": page["data"][-1]["id"]}


def _answer(found: Any) -> Answer:
    response = found.last_response
    return Answer(response.data, _is_repeated(response.headers))


def _is_repeated(headers: Mapping[str, str] | None) -> bool:
    return bool(headers) and dict(headers or {}).get("idempotent-replayed", "") == "true"


def _is_too_early(error: stripe.StripeError) -> bool:
    """Return whether the same call can be sent again at once: Stripe did not start it."""
    return error.http_status in (409, 429)


def _retry_after(error: stripe.StripeError) -> float | None:
    try:
        return max(float(dict(error.headers or {}).get("retry-after", "")), 0.05)
    except ValueError:
        return None


def _failure(error: stripe.StripeError) -> Exception:
    message, status = error.user_message or type(error).__name__, error.http_status or 0
    if isinstance(error, stripe.IdempotencyError):
        return KeyReused(message)
    if status in (401, 403):
        return AccessDenied(message, status)
    if status in (400, 402, 404) and isinstance(error, stripe.CardError | stripe.InvalidRequestError):
        body: Any = error.json_body or {}
        return Refusal(body.get("error", {}), status)
    return Unanswered(message, server_error=status >= 500, stored=_is_repeated(error.headers))
