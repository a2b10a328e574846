"""Checks the key of an account at Stripe, and has its webhooks sent here."""

from __future__ import annotations

from typing import Any

from core.errors import N_, Invalid
from tenants.external.stripe.webhooks import EVENTS
from tenants.external.system import CallFailed, ObjectMissing

API_KEY = "api_key"
_NOBODY = "portal_permission_check"
_READ = {
    "Products": f"/v1/products/prod_{_NOBODY}",
    "Prices": "/v1/prices",
    "Customers": "/v1/customers",
    "PaymentMethods": f"/v1/payment_methods/pm_{_NOBODY}",
    "Subscriptions": "/v1/subscriptions",
    "Invoices": "/v1/invoice_payments",
    "Charges and Refunds": "/v1/charges",
    "Events": "/v1/events",
}
"""Permissions in Stripe's words, and a request that tries each."""


def check(api: Any, key: str, mode: str) -> str:
    """Return the account's id. Raises Invalid for a key that cannot be used, CallFailed."""
    if key.startswith(("sk_", "pk_", "rk_")) and f"_{mode}_" not in key[:8]:
        if mode == "live":
            raise _bad(N_("This is a key of Stripe's test mode. Enter a restricted key of live mode, which begins with rk_live_."))
        raise _bad(N_("This is a key of Stripe's live mode. Enter a restricted key of test mode, which begins with rk_test_."))
    if not key.startswith("rk_"):
        raise _bad(N_("Enter a restricted key, which begins with rk_. Secret and publishable keys are not accepted."))
    missing, account = [], ""
    try:
        account = str(api.get("/v1/account").get("id") or "")
    except CallFailed as failed:
        if failed.status == 401:
            raise _bad(N_("Stripe does not accept this key.")) from None
        if failed.status != 403:
            raise
        missing.append("Account: Read")
    for name, path in _READ.items():
        try:
            api.get(path, **({} if path.endswith(_NOBODY) else {"limit": 1}))
        except ObjectMissing:  # the key may look for it
            continue
        except CallFailed as failed:
            if failed.status not in (401, 403):
                raise
            missing.append(f"{name}: Read")
    if missing:
        raise _bad(f"This key needs more permissions: {', '.join(missing)}.")
    return account


def _bad(sentence: str) -> Invalid:
    return Invalid(fields={API_KEY: sentence})


def subscribe(api: Any, url: str) -> str:
    """Create the webhook endpoint and return its secret. Stripe shows it only then, so an existing endpoint is replaced."""
    listed = api.get("/v1/webhook_endpoints", limit=100).get("data")
    known = [item["id"] for item in listed or () if isinstance(item, dict) and item.get("url") == url]
    from core.stripe.http_client import API_VERSION

    made = api.post("/v1/webhook_endpoints", url=url, enabled_events=EVENTS, api_version=API_VERSION, description="Customer portal")
    for old in known:
        api.delete(f"/v1/webhook_endpoints/{old}")
    return str(made["secret"])
