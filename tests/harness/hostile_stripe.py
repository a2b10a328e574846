"""A hostile Stripe account: it answers every request with objects of the right shape, foreign ids, and hostile values."""

from __future__ import annotations

import re
from typing import Any

from tests.harness.hostile_account import HOSTILE, HostileAccount

SCALARS: list[Any] = [
    *HOSTILE,
    1_767_225_600,
    "usd",
    "eur",
    "JPY",
    "xau",
    -5,
    10**17,
    {"id": "us"},
    {"data": [7]},
    {"deleted": True},
    "pi_1",
]
ALWAYS = {
    "collected_by": "us", "held_by": "us", "reference": "card_of_ours", "account_id": None, "gateway": "sandbox", "is_open": True,
    "is_default": True, "credit_minor": 99_999, "business_id": "bus_of_somebody", "portal_payment_id": "pay_of_somebody",
}  # fmt: skip
TIMES = (0, 1_700_000_000, 1_790_000_000, 1_796_000_000, 4_102_444_800)


class HostileStripe(HostileAccount):
    """Serve it with `hostile_account`. Values differ from honest ones in one of five places, or not at all while it is plausible."""

    def __init__(self, seed: int, ids: list[str], emails: list[str]) -> None:
        super().__init__(seed, ids, emails)
        self.size, self.pages = 10, 1

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        kind = next((kind for pattern, kind in LISTS if path == pattern), None)
        if path == "/v1/account":
            return {"id": "acct_hostile", "object": "account"}
        if kind is not None:
            turn = int((query.get("starting_after") or ["0_0"])[0].rpartition("_")[2] or 0) if "starting_after" in query else 0
            items = [self._object(kind) for _ in range(self.size if turn < self.pages else 0)]
            items += ["no object", None, 7, {}] if items and not self.is_plausible else []
            items += [{**self._object(kind), "id": f"page_{turn + 1}"}] if items else []
            return {"object": "list", "data": items, "has_more": bool(items), "url": path}
        one = next(((kind, found[1]) for pattern, kind in ONES if (found := re.fullmatch(pattern, path))), None)
        if one is None or self.random.random() < 0.02:
            return None
        honest = {"id": one[1]} if self.random.random() < 0.95 else {}
        return self._object(one[0]) | honest

    def _object(self, kind: str) -> dict[str, Any]:
        with self._lock:
            rate = 0.0 if self.is_plausible else self.random.choice((0.0, 0.01, 0.03, 0.2))
            made = {name: self._spoiled(value, rate) for name, value in getattr(self, f"_{kind}")().items()}
        return made | ALWAYS

    def _spoiled(self, value: Any, rate: float) -> Any:
        if self.random.random() < rate:
            return self.random.choice(SCALARS)
        if isinstance(value, dict):
            return {name: self._spoiled(item, rate) for name, item in value.items()}
        return [self._spoiled(item, rate) for item in value] if isinstance(value, list) else value

    def _id(self, prefix: str) -> str:
        return self.random.choice(self.ids) if self.ids and self.random.random() < 0.3 else f"{prefix}_{self.random.randrange(20)}"

    def _pick(self, *values: Any) -> Any:
        return self.random.choice(values)

    def _price(self) -> dict[str, Any]:
        recurring = {"interval": self._pick("day", "month", "year"), "interval_count": self._pick(1, 12), "usage_type": "licensed"}
        return {
            "id": self._id("price"), "object": "price", "active": self._pick(True, False), "currency": self._pick("eur", "jpy", "kwd"),
            "billing_scheme": self._pick("per_unit", "tiered"), "recurring": self._pick(recurring, recurring, None),
            "unit_amount": self._pick(0, 2900, 5880, None), "unit_amount_decimal": self._pick("12.5", "0.001"), "created": self._time(),
            "product": {"id": "prod_1", "object": "product", "name": self._pick("Lies Ltd", "<b>Max</b>", "株式会社"), "active": True,
                        "description": "D", "metadata": {"k": "v"}, "updated": self._time()},
        }  # fmt: skip

    def _customer(self) -> dict[str, Any]:
        numbers = [{"id": self._id("txi"), "type": self._pick("eu_vat", "gb_vat"), "value": self._pick("DE136695976", "<b>", "X" * 9000),
                    "country": self._pick("DE", None), "created": self._time()}]  # fmt: skip
        return {
            "id": self._id("cus"), "object": "customer", "email": self._pick(*self.emails), "name": self._pick("Liar", None), "phone": "1",
            "preferred_locales": ["de"], "metadata": {}, "created": self._time(),
            "address": {"country": "GB", "line1": "1 Road"}, "tax_ids": {"data": numbers},
            "business_name": self._pick(None, "Lies Ltd", "L" * 9000), "individual_name": "Liar",
            "invoice_settings": {"default_payment_method": self._method()},
        }  # fmt: skip

    def _method(self) -> dict[str, Any]:
        card = {"brand": "visa", "last4": "6666", "exp_month": 12, "exp_year": 2031, "country": "US"}
        return {"id": self._id("pm"), "object": "payment_method", "type": "card", "card": card, "customer": self._id("cus"),
                "billing_details": {"name": "Liar"}, "created": self._time()}  # fmt: skip

    def _subscription(self) -> dict[str, Any]:
        ends = self._time()
        items = [{"id": f"si_{n}", "price": self._price(), "quantity": self._pick(1, 2, 0), "created": n, "current_period_start": ends,
                  "current_period_end": ends} for n in range(self._pick(1, 1, 2, 3))]  # fmt: skip
        id, buyer, unpaid = self._id("sub"), self._customer(), self._invoice()
        unpaid |= {"customer": buyer["id"], "parent": {"subscription_details": {"subscription": id}}}
        return {
            "id": id, "object": "subscription", "customer": buyer, "items": {"data": items}, "currency": "eur",
            "status": self._pick("active", "trialing", "past_due", "unpaid", "paused", "canceled", "incomplete"), "metadata": {},
            "cancel_at": self._pick(None, ends), "cancel_at_period_end": False, "canceled_at": ends, "start_date": self._time(),
            "trial_end": self._pick(None, ends), "default_payment_method": self._pick(None, self._method()),
            "pause_collection": self._pick(None, {"behavior": "void"}), "latest_invoice": self._pick("in_1", unpaid),
        }  # fmt: skip

    def _invoice_payment(self) -> dict[str, Any]:
        lines = [{"amount": 2900, "quantity": 1, "period": {"start": self._time(), "end": self._time()},
                  "pricing": {"price_details": {"price": self._id("price")}}}]  # fmt: skip
        invoice = {
            "id": "in_1", "customer": self._id("cus"), "number": f"ACO-{self.random.randrange(20):04d}", "total": self._pick(2900, 0, 100),
            "total_taxes": [{"amount": self._pick(0, 483, 5000)}], "billing_reason": "subscription_cycle", "lines": {"data": lines},
            "customer_address": {"country": "GB"}, "metadata": {},
            "parent": {"subscription_details": {"subscription": self._id("sub")}},
        }  # fmt: skip
        intent = {"id": self._id("pi"), "status": self._pick("succeeded", "requires_action"), "latest_charge": self._charge()}
        return {
            "id": self._id("inpay"), "object": "invoice_payment", "amount_paid": self._pick(2900, 0), "amount_requested": 2900,
            "currency": "eur", "status": self._pick("paid", "paid", "open", "canceled"), "created": self._time(), "invoice": invoice,
            "payment": {"type": "payment_intent", "payment_intent": intent},
        }  # fmt: skip

    def _invoice(self) -> dict[str, Any]:
        """An unpaid invoice, or the preview of one."""
        taxes = [{"amount": 483, "tax_behavior": "inclusive"}]
        lines = [{"amount": self._pick(2900, -2900), "quantity": 1, "period": {"start": self._time(), "end": self._time()},
                  "pricing": {"price_details": {"price": self._id("price")}}, "taxes": taxes}]  # fmt: skip
        return {
            "id": self._id("in"), "object": "invoice", "customer": self._id("cus"), "number": f"ACO-{self.random.randrange(20):04d}",
            "status": self._pick("open", "open", "open", "paid", "void", "uncollectible", "draft"), "currency": "eur",
            "total": self._pick(2900, 0, -100), "amount_remaining": self._pick(2900, 0, 99_999), "amount_due": self._pick(2900, 0),
            "starting_balance": self._pick(0, -100, 100), "total_taxes": [{"amount": self._pick(0, 483, 5000)}],
            "lines": {"data": lines}, "created": self._time(), "billing_reason": "subscription_cycle",
            "hosted_invoice_url": self._pick("https://pay.example/1", "javascript:alert(1)", "https://a b"),
            "parent": {"subscription_details": {"subscription": self._id("sub")}}, "customer_address": {"country": "GB"},
        }  # fmt: skip

    def _charge(self) -> dict[str, Any]:
        return {
            "id": self._id("ch"), "object": "charge", "customer": self._id("cus"), "amount": self._pick(0, 100, 2900), "currency": "eur",
            "status": self._pick("succeeded", "pending", "failed"), "captured": True, "payment_intent": self._pick(None, self._id("pi")),
            "payment_method_details": {"type": "card", "card": {"brand": "visa", "last4": "4242", "exp_month": 1, "exp_year": 2031}},
            "billing_details": {"name": "L", "address": {"country": "GB"}}, "created": self._time(), "metadata": {},
        }  # fmt: skip

    def _refund(self) -> dict[str, Any]:
        return {"id": self._id("re"), "object": "refund", "charge": self._id("ch"), "payment_intent": self._pick(None, self._id("pi")),
                "amount": self._pick(1, 100, 99_999), "currency": "eur", "status": self._pick("succeeded", "pending", "failed"),
                "created": self._time(), "metadata": {}}  # fmt: skip

    def _event(self) -> dict[str, Any]:
        kind = self._pick("customer.updated", "customer.subscription.updated", "charge.refunded", "refund.created", "price.updated")
        about = {"object": {"id": self._id("x")}}
        return {"id": self._id("evt"), "object": "event", "type": kind, "created": self._time(), "data": about}

    def _time(self) -> int:
        return self.random.choice(TIMES)


LISTS = (
    ("/v1/prices", "price"), ("/v1/customers", "customer"), ("/v1/subscriptions", "subscription"),
    ("/v1/invoice_payments", "invoice_payment"), ("/v1/invoices", "invoice"),
    ("/v1/charges", "charge"), ("/v1/refunds", "refund"), ("/v1/events", "event"),
)  # fmt: skip
ONES = (
    (r"/v1/prices/([^/]+)", "price"), (r"/v1/customers/([^/]+)", "customer"), (r"/v1/subscriptions/([^/]+)", "subscription"),
    (r"/v1/charges/([^/]+)", "charge"), (r"/v1/refunds/([^/]+)", "refund"), (r"/v1/payment_methods/([^/]+)", "method"),
    (r"/v1/invoices/([^/]+)", "invoice"),
)  # fmt: skip
