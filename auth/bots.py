"""Is it a person who asks for a letter? A port with two kinds of answer: a proof of work that the browser does by itself
(self-hosted, the default), or a hosted captcha by setting. Neither is needed to sign in: an ask that proves nothing goes
by a budget that the whole deployment shares, so that pages work without JavaScript and a flood of asks does not.
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

from auth import budgets, tokens
from auth.budgets import HOUR, Limit
from core import clock
from core.db import Database
from core.ids import derive
from core.json_input import read_json
from core.outgoing import Outgoing, Refused, Unreachable
from core.settings import Settings

log = structlog.get_logger()
LIFE = timedelta(minutes=20)
UNPROVEN_AN_HOUR = 120
"""Asks without a proof, over the whole deployment."""
UNPROVEN_OF_A_SOURCE = 20
"""Of these from one source, so that one client cannot use them up."""


class BotCheck(Protocol):
    """`widget()` is what the form shows: {"kind": …, …}; `origins`: what the page's policy must let in."""

    @property
    def origins(self) -> tuple[str, ...]: ...

    def widget(self) -> dict[str, Any]: ...

    def passes(self, form: Mapping[str, str], source: str | None) -> bool: ...


@dataclass(frozen=True)
class ProofOfWork:
    """ALTCHA's scheme: find the number whose salted SHA-256 is the challenge. Signed, short-lived, good for one ask."""

    settings: Settings
    database: Database
    hardest: int = 50_000  # hashes: a moment for a phone, an expense for a million asks
    origins: tuple[str, ...] = ()

    def widget(self) -> dict[str, Any]:
        made = altcha.create_challenge_v1(altcha.ChallengeOptionsV1(
            algorithm="SHA-256", max_number=self.hardest, hmac_key=self._key(), expires=clock.wall() + LIFE))
        return {"kind": "work", "challenge": json.dumps({"challenge": made.challenge, "salt": made.salt, "signature": made.signature,
                                                         "algorithm": made.algorithm, "maxnumber": self.hardest})}

    def passes(self, form: Mapping[str, str], source: str | None) -> bool:
        payload = form.get("work", "")
        if not payload or len(payload) > 2000:
            return False
        try:
            said = read_json(base64.b64decode(payload))
            good, _why = altcha.verify_solution_v1(said, self._key(), check_expires=True)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return False
        if not good:
            return False
        # by the challenge, which is ours: the payload around it can be written in any number of ways
        return budgets.spend(self.database, [Limit("work:" + tokens.hashed(self.settings, "work", str(said["challenge"]))[:40], 1, LIFE)])

    def _key(self) -> str:
        return derive(self.settings.secret_keys, f"proof of work, {self.settings.mode}", "").hex()


@dataclass(frozen=True)
class HostedCaptcha:
    """Turnstile or hCaptcha: the same form field and the same question to their server."""

    kind: str
    site_key: str
    secret: str
    outgoing: Outgoing

    @property
    def origins(self) -> tuple[str, ...]:
        origins: tuple[str, ...] = _HOSTED[self.kind]["origins"]
        return origins

    def widget(self) -> dict[str, Any]:
        one = _HOSTED[self.kind]
        return {"kind": "hosted", "script": one["script"], "css_class": one["css_class"], "site_key": self.site_key}

    def passes(self, form: Mapping[str, str], source: str | None) -> bool:
        one = _HOSTED[self.kind]
        said = form.get(one["field"], "")
        if not said or len(said) > 10_000:
            return False
        asked = urlencode({"secret": self.secret, "response": said, **({"remoteip": source} if source else {})}).encode()
        try:
            answer = self.outgoing.request("POST", one["verify"], content=asked, timeout=5.0,
                                           headers={"Content-Type": "application/x-www-form-urlencoded"})
            return read_json(answer.body).get("success") is True
        except (Refused, Unreachable, ValueError, AttributeError) as problem:
            log.warning("captcha not verified", why=str(problem)[:200])
            return False


_HOSTED: dict[str, dict[str, Any]] = {
    "turnstile": {"script": "https://challenges.cloudflare.com/turnstile/v0/api.js", "css_class": "cf-turnstile",
                  "field": "cf-turnstile-response", "verify": "https://challenges.cloudflare.com/turnstile/v0/siteverify",
                  "origins": ("https://challenges.cloudflare.com",)},
    "hcaptcha": {"script": "https://js.hcaptcha.com/1/api.js", "css_class": "h-captcha", "field": "h-captcha-response",
                 "verify": "https://api.hcaptcha.com/siteverify", "origins": ("https://hcaptcha.com", "https://*.hcaptcha.com")},
}


def chosen(settings: Settings, database: Database, outgoing: Outgoing) -> BotCheck | None:
    """By the setting PORTAL_BOT_CHECK: work, turnstile, hcaptcha or none."""
    if settings.bot_check == "none":
        return None
    if settings.bot_check == "work":
        return ProofOfWork(settings, database)
    return HostedCaptcha(settings.bot_check, settings.bot_site_key, settings.bot_secret, outgoing)


def may_ask(check: BotCheck | None, database: Database, settings: Settings, form: Mapping[str, str], source: str | None) -> bool:
    """Whether this ask gets a letter, as far as it is up to bots. The page answers the same either way."""
    if check is None or check.passes(form, source):
        return True
    if budgets.is_ourselves(settings, source):  # a test deployment asked from its own machine
        return True
    mine = Limit(f"asks:unproven:{budgets.source_key(settings, source)}", UNPROVEN_OF_A_SOURCE, HOUR)
    return budgets.spend(database, [mine, Limit("asks:unproven", UNPROVEN_AN_HOUR, HOUR)])
