"""Checks a key of a Stripe account: its mode, the account that it belongs to, and what it may do.

Reading is tried with lists of one object. Writing is tried on an object that does not exist: Stripe refuses a key without the permission
before it looks for the object, so nothing changes.
"""

from __future__ import annotations

from billing.charging.account_ports import AccountReport
from billing.charging.ports import AccountAccess
from core.errors import N_, Invalid, Unavailable
from core.stripe.http_client import API_VERSION
from gateways.stripe.api import AccessDenied, Refusal, StripeApi, StripeObject, Unanswered

_NOBODY = "portal_permission_check"


def check(api: StripeApi, access: AccountAccess) -> AccountReport:
    _check_mode(access)
    missing: list[str] = []
    account: StripeObject = {}
    try:
        account = api.call(api.v1.accounts.retrieve_current).object
    except AccessDenied as denied:
        if denied.status == 401:
            raise _bad_key(N_("Stripe does not accept this key.")) from denied
        missing.append("Account: Read")
    except Unanswered as silent:
        raise Unavailable(sentence=N_("The payment processor does not answer. Please try again later.")) from silent
    try:
        missing += [words for words, is_allowed in _probes(api) if not is_allowed]
        currencies = _currencies(api, account)
    except Unanswered as silent:
        raise Unavailable(sentence=N_("The payment processor does not answer. Please try again later.")) from silent
    return AccountReport(account.get("id", ""), access.live, currencies, missing, API_VERSION)


def _check_mode(access: AccountAccess) -> None:
    """Only restricted keys are taken: a secret key could do everything, also move the account's balance."""
    key = access.secret_key
    if key.startswith(("sk_", "pk_", "rk_")) and ("_live_" if access.live else "_test_") not in key[:8]:
        if access.live:
            raise _bad_key(N_("This is a key of Stripe's test mode. Enter a restricted key of live mode, which begins with rk_live_."))
        raise _bad_key(N_("This is a key of Stripe's live mode. Enter a restricted key of test mode, which begins with rk_test_."))
    if not key.startswith("rk_"):
        raise _bad_key(N_("Enter a restricted key, which begins with rk_. Secret and publishable keys are not accepted."))


def _bad_key(sentence: str) -> Invalid:
    return Invalid(fields={"secret_key": sentence})


def _probes(api: StripeApi) -> list[tuple[str, bool]]:
    """Return each permission in Stripe's words, and whether the key has it."""
    v1, one = api.v1, {"limit": 1}
    return [
        ("Customers: Write", _may(api, v1.customers.update, f"cus_{_NOBODY}", {})),
        ("Customers: Read", _may(api, v1.customers.list, one)),
        ("PaymentMethods: Write", _may(api, v1.payment_methods.detach, f"pm_{_NOBODY}")),
        ("PaymentMethods: Read", _may(api, v1.payment_methods.retrieve, f"pm_{_NOBODY}")),
        ("PaymentIntents: Write", _may(api, v1.payment_intents.cancel, f"pi_{_NOBODY}")),
        ("PaymentIntents: Read", _may(api, v1.payment_intents.list, one)),
        ("SetupIntents: Read", _may(api, v1.setup_intents.list, one)),
        ("Checkout Sessions: Write", _may(api, v1.checkout.sessions.expire, f"cs_{_NOBODY}")),
        ("Checkout Sessions: Read", _may(api, v1.checkout.sessions.list, one)),
        ("Charges and Refunds: Write", _may(api, v1.refunds.update, f"re_{_NOBODY}", {})),
        ("Charges and Refunds: Read", _may(api, v1.refunds.list, one)),
        ("Disputes: Read", _may(api, v1.disputes.list, one)),
        ("Events: Read", _may(api, v1.events.list, one)),
    ]


def _may(api: StripeApi, method: object, *values: object) -> bool:
    try:
        api.call(method, *values)  # type: ignore[arg-type]
    except AccessDenied:
        return False
    except Refusal:  # there is no such object
        return True
    return True


def _currencies(api: StripeApi, account: StripeObject) -> list[str]:
    """Return what the account can charge in: the list of its country, or its own currency if the key may not read that."""
    own = [str(account["default_currency"]).upper()] if account.get("default_currency") else []
    try:
        country = api.call(api.v1.country_specs.retrieve, account["country"]).object if account.get("country") else {}
    except (AccessDenied, Refusal):
        return own
    return sorted({*own, *(item.upper() for item in country.get("supported_payment_currencies", []))})
