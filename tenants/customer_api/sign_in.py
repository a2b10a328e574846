"""What a front end shows before anybody has signed in, and the request for the sign-in email (contract 3.1)."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from flask import current_app, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from auth import api_origins, bot_check, challenges
from auth.challenges import ChallengeRequest
from auth.devices import device_words
from auth.sign_in_context import source
from billing.model.business_profile import BusinessProfile, public_profile
from billing.model.email_address import clean_address
from core import i18n, ids
from core.errors import BusinessArchived, NotFound
from core.links import external
from core.request_context import services
from tenants.api.request_parsing import Id, body, query
from tenants.api.route_spec import route_spec
from tenants.customer_api.authentication import bp, for_anybody
from tenants.customer_api.requests import LooseBody, LooseQuery

CAPTCHA = "cf-turnstile-response"
HAND_OVER = "/front-end"


class BusinessSignIn(LooseBody):
    email: Annotated[str, StringConstraints(max_length=320)]
    business_id: Id


class PersonSignIn(LooseBody):
    email: Annotated[str, StringConstraints(max_length=320)]


class SendEmail(LooseQuery):
    """The contract's front end always sends `send_email=false` and expects the email nevertheless."""

    send_email: bool | None = None


@bp.get("/checkout/businesses/<business_id>", endpoint="public_business")
@for_anybody
@route_spec(form="any")
def public_business(business_id: str) -> ResponseReturnValue:
    """Return the name and picture of a business, for its sign-in page."""
    profile = _profile(business_id)
    answer = jsonify(name=profile.name, image=external(profile.logo_url) if profile.logo_url else None)
    answer.headers["Cache-Control"] = "public, max-age=300"
    return answer


@bp.post("/customer-portal-login", endpoint="sign_in_at_business")
@for_anybody
@route_spec(form="any", body=BusinessSignIn, query=SendEmail)
def at_business() -> ResponseReturnValue:
    """Email a sign-in link for one business. The answer does not tell whether the address is known."""
    query(SendEmail)
    sent = body(BusinessSignIn)
    profile = _profile(sent.business_id)
    if profile.archived_at is not None:
        raise BusinessArchived(sentence="This business is archived")
    return _request(sent.email, profile.business_id)


@bp.post("/unified-customer-portal-login", endpoint="sign_in")
@for_anybody
@route_spec(form="any", body=PersonSignIn)
def everywhere() -> ResponseReturnValue:
    """Email a sign-in link for everything a person bought. The answer does not tell whether the address is known."""
    return _request(body(PersonSignIn).email, None)


def _request(typed: str, business_id: str | None) -> ResponseReturnValue:
    """Request the email as the sign-in page does: same limits, same check for bots, same answer for every address."""
    email, key = clean_address(typed)
    settings, database = services().settings, services().database
    form = {CAPTCHA: request.headers.get(CAPTCHA, "")}
    if bot_check.may_request(current_app.extensions["bot_check"], database, settings, form, source()):
        challenges.request_challenge(
            database,
            settings,
            ChallengeRequest(
                email=email, address_key=key, browser=ids.secret_token(), source=source(), device=device_words(request.user_agent.string),
                locale=i18n.locale(), business_id=business_id, next=_hand_over(business_id),
            ),
        )  # fmt: skip
    return jsonify(message="If there are purchases under this address, we have emailed a sign-in link.")


def _hand_over(business_id: str | None) -> str:
    """Return the page that hands a token over to the front end that asked, if its origin is listed; else nothing."""
    origin = request.headers.get("Origin", "")
    if not origin:
        return ""
    if not api_origins.may_receive(services().database, services().settings, origin, business_id):
        return ""
    return f"{HAND_OVER}?" + urlencode({"origin": origin, **({"business_id": business_id} if business_id else {})})


def _profile(business_id: str) -> BusinessProfile:
    found = public_profile(services().database, business_id)
    if found is None:
        raise NotFound(sentence="There is no such business.")
    return found
