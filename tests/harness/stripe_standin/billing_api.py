"""The operations of Stripe Billing: lists by page, subscriptions that are changed, invoices, hosted pages and webhook endpoints."""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any

from tests.harness.stripe_standin import plan_changes
from tests.harness.stripe_standin.world import Account, Object, Problem

Operation = Callable[..., Object]
FILTERS: dict[str, tuple[str, ...]] = {
    "price": ("product", "active"), "customer": ("email",), "subscription": ("customer",), "charge": ("customer", "payment_intent"),
    "invoice_payment": ("invoice",), "refund": ("payment_intent", "charge"),
    "invoice": ("customer", "subscription", "status"), "event": ("type",), "webhook_endpoint": (),
}  # fmt: skip


def _listed(kind: str, path: str) -> Operation:
    def run(account: Account, values: dict[str, Any]) -> Object:
        wanted = {name: values[name] for name in FILTERS[kind] if values.get(name) is not None}
        intent = (values.get("payment") or {}).get("payment_intent")
        found, limit = [], values.get("limit", 10)
        for item in _older_than(account, kind, values):
            if any(item.get(name) != value for name, value in wanted.items()):
                continue
            if intent and item["payment"].get("payment_intent") != intent:
                continue
            if kind == "subscription" and values.get("status", "") != "all" and item["status"] == "canceled":
                continue
            found.append(item)
            if len(found) > limit:
                break
        return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": path}

    return run


def _older_than(account: Account, kind: str, values: dict[str, Any]) -> list[Object]:
    """Return the objects inside the limits of `created`, newest first, after the one of `starting_after`."""
    ordered = _ordered(account, kind)
    times = [-item["created"] for item in ordered]
    created = values.get("created") or {}
    begins = bisect_left(times, -created["lte"]) if "lte" in created else 0
    ends = bisect_right(times, -created["gte"]) if "gte" in created else len(ordered)
    if after := values.get("starting_after"):
        number = account.private[after]["number"]
        place = bisect_right([(-item["created"], -account.private[item["id"]]["number"]) for item in ordered],
                             (-account.objects[after]["created"], -number))  # fmt: skip
        begins = max(begins, place)
    return ordered[begins:ends]


def _ordered(account: Account, kind: str) -> list[Object]:
    """Return the objects of a kind, newest first. Sorting a large account again for each page would take most of the time."""
    kept: dict[str, Any] = account.__dict__.setdefault("ordered", {})
    if kept.get("size") != len(account.objects):
        kept.clear()
        kept["size"] = len(account.objects)
    if kind not in kept:
        found = [item for item in account.objects.values() if item["object"] == kind and not item.get("deleted")]
        kept[kind] = sorted(found, key=lambda item: (-item["created"], -account.private[item["id"]]["number"]))
    return kept[kind]  # type: ignore[no-any-return]


def _one(kind: str) -> Operation:
    return lambda account, values, identifier: account.get(identifier, kind)


def _customer(account: Account, values: dict[str, Any], identifier: str) -> Object:
    found = account.get(identifier, "customer")
    return {"id": identifier, "object": "customer", "deleted": True} if found.get("deleted") else found


def _running(account: Account, identifier: str) -> Object:
    found = account.get(identifier, "subscription")
    if found["status"] == "canceled":
        raise Problem(400, "A canceled subscription can only update its cancellation_details and metadata.")
    return found


def _update(account: Account, values: dict[str, Any], identifier: str) -> Object:
    found = _running(account, identifier)
    item = found["items"]["data"][0]
    if "cancel_at_period_end" in values:
        at_the_end = values["cancel_at_period_end"]
        found |= {"cancel_at_period_end": at_the_end, "cancel_at": item["current_period_end"] if at_the_end else None,
                  "canceled_at": int(time.time()) if at_the_end else None}  # fmt: skip
    if values.get("cancel_at") == "":
        found |= {"cancel_at": None, "canceled_at": None}
    if "pause_collection" in values:
        found["pause_collection"] = {"resumes_at": None, **values["pause_collection"]} if values["pause_collection"] else None
    if "items" in values:
        plan_changes.change(account, values, found)
    if "cancellation_details" in values:
        found["cancellation_details"] = _details(values)
    account.emit("customer.subscription.updated", found)
    return found


def _end(account: Account, values: dict[str, Any], identifier: str) -> Object:
    found, now = _running(account, identifier), int(time.time())
    found |= {"status": "canceled", "canceled_at": now, "ended_at": now, "cancellation_details": _details(values)}
    account.emit("customer.subscription.deleted", found)
    return found


def _details(values: dict[str, Any]) -> Object:
    return {"comment": None, "feedback": None, "reason": "cancellation_requested", **values.get("cancellation_details", {})}


def _resume(account: Account, values: dict[str, Any], identifier: str) -> Object:
    found = account.get(identifier, "subscription")
    if found["status"] != "paused":
        raise Problem(400, "The subscription is not paused.")
    found["status"] = "active"
    account.emit("customer.subscription.updated", found)
    return found


def _portal(account: Account, values: dict[str, Any]) -> Object:
    made = account.make("billing_portal.session", configuration="bpc_1", customer=values["customer"], return_url=values["return_url"],
                        flow=None, locale=None, on_behalf_of=None, url="")  # fmt: skip
    made["url"] = f"{account.base_url}/p/session/{made['id']}"
    return made


def _endpoint(account: Account, values: dict[str, Any]) -> Object:
    made = account.make("webhook_endpoint", url=values["url"], enabled_events=values["enabled_events"], status="enabled", metadata={},
                        api_version=values.get("api_version"), description=values.get("description"), application=None)  # fmt: skip
    return {**made, "secret": account.webhook_secret}


def _forget(account: Account, values: dict[str, Any], identifier: str) -> Object:
    account.get(identifier, "webhook_endpoint")
    del account.objects[identifier]
    return {"id": identifier, "object": "webhook_endpoint", "deleted": True}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/v1/prices"): _listed("price", "/v1/prices"),
    ("GET", "/v1/prices/{price}"): _one("price"),
    ("GET", "/v1/products/{id}"): _one("product"),
    ("GET", "/v1/customers"): _listed("customer", "/v1/customers"),
    ("GET", "/v1/customers/{customer}"): _customer,
    ("GET", "/v1/subscriptions"): _listed("subscription", "/v1/subscriptions"),
    ("GET", "/v1/subscriptions/{subscription_exposed_id}"): _one("subscription"),
    ("POST", "/v1/subscriptions/{subscription_exposed_id}"): _update,
    ("DELETE", "/v1/subscriptions/{subscription_exposed_id}"): _end,
    ("POST", "/v1/subscriptions/{subscription}/resume"): _resume,
    ("POST", "/v1/invoices/create_preview"): plan_changes.preview,
    ("GET", "/v1/invoices"): _listed("invoice", "/v1/invoices"),
    ("GET", "/v1/invoices/{invoice}"): _one("invoice"),
    ("GET", "/v1/invoice_payments"): _listed("invoice_payment", "/v1/invoice_payments"),
    ("GET", "/v1/charges"): _listed("charge", "/v1/charges"),
    ("GET", "/v1/refunds"): _listed("refund", "/v1/refunds"),
    ("GET", "/v1/events"): _listed("event", "/v1/events"),
    ("POST", "/v1/billing_portal/sessions"): _portal,
    ("GET", "/v1/webhook_endpoints"): _listed("webhook_endpoint", "/v1/webhook_endpoints"),
    ("POST", "/v1/webhook_endpoints"): _endpoint,
    ("DELETE", "/v1/webhook_endpoints/{webhook_endpoint}"): _forget,
}
