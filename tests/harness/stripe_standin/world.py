"""The state of the stand-in: accounts with their objects, stored answers and events."""

from __future__ import annotations

import secrets
import time
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]

PREFIX = {
    "customer": "cus", "payment_method": "pm", "payment_intent": "pi", "setup_intent": "seti", "checkout.session": "cs_test",
    "charge": "ch",
    "refund": "re", "dispute": "du", "event": "evt", "mandate": "mandate", "setup_attempt": "setatt",
    "product": "prod", "price": "price", "subscription": "sub", "subscription_item": "si", "invoice": "in", "invoice_payment": "inpay",
    "line_item": "il", "billing_portal.session": "bps", "webhook_endpoint": "we",
    "tax_id": "txi", "discount": "di", "coupon": "coupon", "promotion_code": "promo", "credit_note": "cn",
    "tax.calculation": "taxcalc", "tax.transaction": "tax",
}  # fmt: skip
DAY = 24 * 3600


class Problem(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error", **more: Any):
        self.status = status
        self.error = {"type": kind, "message": message, **{name: value for name, value in more.items() if value is not None}}
        super().__init__(message)


@dataclass
class Stored:
    """An answer under an idempotency key. `status` 0: the call is still running."""

    fingerprint: str
    path: str
    at: float
    status: int = 0
    body: Object = field(default_factory=dict)


@dataclass
class Account:
    """`permissions`: of a restricted key, such as `/v1/refunds POST`; None allows everything."""

    key: str
    webhook_secret: str
    base_url: str
    id: str = field(default_factory=lambda: f"acct_{secrets.token_hex(8)}")
    country: str = "GB"
    currency: str = "gbp"
    refused: set[str] = field(default_factory=set)
    tax_active: bool = True
    objects: dict[str, Object] = field(default_factory=dict)
    private: dict[str, dict[str, Any]] = field(default_factory=dict)
    stored: dict[str, Stored] = field(default_factory=dict)
    invoices: int = 0
    events: list[Object] = field(default_factory=list)
    movements: list[tuple[str, str, int, str]] = field(default_factory=list)
    """(kind, portal_key, amount, currency) of every movement of money, oldest first."""

    @property
    def live(self) -> bool:
        return "_live_" in self.key

    def make(self, kind: str, **fields: Any) -> Object:
        identifier = f"{PREFIX[kind]}_{self.token()}"
        made = {"id": identifier, "object": kind, "created": int(time.time()), "livemode": self.live, **fields}
        if kind in ("charge", "payment_intent", "setup_intent", "refund"):
            made.setdefault("metadata", {})
        if kind == "refund":
            del made["livemode"]
        self.objects[identifier] = made
        self.private[identifier] = {"number": len(self.objects)}
        return made

    @staticmethod
    def token() -> str:
        return secrets.token_urlsafe(12).replace("-", "x").replace("_", "y")

    def get(self, identifier: str, kind: str, param: str = "") -> Object:
        found = self.objects.get(identifier)
        if found is None or found["object"] != kind:
            raise Problem(404 if not param else 400, f"No such {kind}: '{identifier}'", code="resource_missing", param=param or "id")
        return found

    def every(self, kind: str, **equal: Any) -> list[Object]:
        """Return the objects of a kind, newest first."""
        wanted = {name: value for name, value in equal.items() if value is not None}
        found = [item for item in self.objects.values() if item["object"] == kind and all(item.get(n) == v for n, v in wanted.items())]
        return sorted(found, key=lambda item: self.private[item["id"]]["number"], reverse=True)

    def move(self, kind: str, about: Object, amount: int, currency: str) -> None:
        self.movements.append((kind, (about.get("metadata") or {}).get("portal_key", ""), amount, currency))

    def emit(self, kind: str, about: Object) -> None:
        event = self.make("event", type=kind, data={"object": deepcopy(about)}, api_version=None, pending_webhooks=1, request=None)
        self.events.append(event)

    def forget_old_keys(self) -> None:
        """Stripe may remove keys that are older than 24 hours."""
        for key in [key for key, stored in self.stored.items() if time.time() - stored.at > DAY]:
            del self.stored[key]
