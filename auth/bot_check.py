"""Bot checks for sign-in email requests: a proof of work in the browser (the default), or a hosted captcha by setting.

Neither is required. Requests without a proof share one rate limit of the whole deployment, so that pages work without JavaScript
and a flood of requests does not.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from urllib.parse import urlencode

import altcha
import structlog

from auth import rate_limits, tokens
from auth.rate_limits import HOUR, Limit
from core import clock
from core.db import Database
from core.ids import derive
from core.json_input import read_json
from core.metrics.instruments import SIGN_IN_FAILURES
from core.outgoing import HostUnreachable, Outgoing, RequestRefused
from core.settings import Settings

log = structlog.get_logger()
LIFE = timedelta(minutes=20)
UNPROVEN_AN_HOUR = 120
"""Requests without a proof, over the whole deployment."""
UNPROVEN_OF_A_SOURCE = 20
"""Maximum of these from one source, so that one client cannot use them up."""


class BotCheck(Protocol):
    """`widget()`: data for the form, {"kind": …, …}. `origins`: origins that the page's security policy must allow."""

    @property
    def origins(self) -> tuple[str, ...]: ...

    def widget(self) -> dict[str, Any]: ...

    def passes(self, form: Mapping[str, str], source: str | None) -> bool: ...


@dataclass(frozen=True)
class ProofOfWork:
    """ALTCHA: find the number whose salted SHA-256 is the challenge. Signed, short-lived, valid for one request."""

    settings: Settings
    database: Database
    hardest: int = 50_000  # hashes: quick for one phone, expensive for a million requests
    origins: tuple[str, ...] = ()

    def widget(self) -> dict[str, Any]:
        made = altcha.create_challenge_v1(  # type: ignore[attr-defined]
            altcha.ChallengeOptionsV1(algorithm="SHA-256", max_number=self.hardest, hmac_key=self._key(), expires=clock.wall() + LIFE)  # type: ignore[attr-defined]
        )
        return {
            "kind": "work",
            "challenge": json.dumps(
                {
                    "challenge": made.challenge,
                    "salt": made.salt,
                    "signature": made.signature,
                    "algorithm": made.algorithm,
                    "maxnumber": self.hardest,
                }
            ),
        }

    def passes(self, form: Mapping[str, str], source: str | None) -> bool:
        payload = form.get("work", "")
        if not payload or len(payload) > 2000:
            return False
        try:
            solution = read_json(base64.b64decode(payload))
            is_valid, _reason = altcha.verify_solution_v1(solution, self._key(), check_expires=True)  # type: ignore[attr-defined]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False
        if not is_valid:
            return False
        # key by the challenge, which we issued: the same payload can be encoded in many ways
        return rate_limits.spend(
            self.database, [Limit("work:" + tokens.hashed(self.settings, "work", str(solution["challenge"]))[:40], 1, LIFE)]
        )

    def _key(self) -> str:
        return derive(self.settings.secret_keys, f"proof of work, {self.settings.mode}", "").hex()


@dataclass(frozen=True)
class HostedCaptcha:
    """Turnstile or hCaptcha: both use a form field and a verification request to their server."""

    kind: str
    site_key: str
    secret: str
    outgoing: Outgoing

    @property
    def origins(self) -> tuple[str, ...]:
        origins: tuple[str, ...] = _HOSTED[self.kind]["origins"]
        return origins

    def widget(self) -> dict[str, Any]:
        item = _HOSTED[self.kind]
        return {"kind": "hosted", "script": item["script"], "css_class": item["css_class"], "site_key": self.site_key}

    def passes(self, form: Mapping[str, str], source: str | None) -> bool:
        item = _HOSTED[self.kind]
        response = form.get(item["field"], "")
        if not response or len(response) > 10_000:
            return False
        body = urlencode({"secret": self.secret, "response": response, **({"remoteip": source} if source else {})}).encode()
        try:
            answer = self.outgoing.request(
                "POST", item["verify"], content=body, timeout=5.0, headers={"Content-Type": "application/x-www-form-urlencoded"}
            )
            return read_json(answer.body).get("success") is True
        except (RequestRefused, HostUnreachable, ValueError, AttributeError) as problem:
            log.warning("captcha not verified", why=str(problem)[:200])
            return False


_HOSTED: dict[str, dict[str, Any]] = {
    "turnstile": {
        "script": "https://challenges.cloudflare.com/turnstile/v0/api.js",
        "css_class": "cf-turnstile",
        "field": "cf-turnstile-response",
        "verify": "https://challenges.cloudflare.com/turnstile/v0/siteverify",
        "origins": ("https://challenges.cloudflare.com",),
    },
    "hcaptcha": {
        "script": "https://js.hcaptcha.com/1/api.js",
        "css_class": "h-captcha",
        "field": "h-captcha-response",
        "verify": "https://api.hcaptcha.com/siteverify",
        "origins": ("https://hcaptcha.com", "https://*.hcaptcha.com"),
    },
}


def configured(settings: Settings, database: Database, outgoing: Outgoing) -> BotCheck | None:
    """Return the bot check of the setting PORTAL_BOT_CHECK: work, turnstile, hcaptcha or none."""
    if settings.bot_check == "none":
        return None
    if settings.bot_check == "work":
        return ProofOfWork(settings, database)
    return HostedCaptcha(settings.bot_check, settings.bot_site_key, settings.bot_secret, outgoing)


def may_request(check: BotCheck | None, database: Database, settings: Settings, form: Mapping[str, str], source: str | None) -> bool:
    """Return whether the bot check allows this request. The page shown is the same either way."""
    if check is None or check.passes(form, source):
        return True
    if rate_limits.is_ourselves(settings, source):  # a test deployment called from its own machine
        return True
    SIGN_IN_FAILURES.labels("bot_check").inc()
    per_source = Limit(f"unchecked:{rate_limits.source_key(settings, source)}", UNPROVEN_OF_A_SOURCE, HOUR)
    return rate_limits.spend(database, [per_source, Limit("unchecked:all", UNPROVEN_AN_HOUR, HOUR)])
