"""A hostile external account: it answers every SDK call with random and hostile values, generated from the SDK's models."""

from __future__ import annotations

import io
import json
import random
import re
import threading
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from urllib.parse import parse_qs, urlsplit

import pypdf

HOSTILE: list[Any] = [
    None,
    "",
    "\0",
    "\ud800",
    "a\udfffb",
    10**30,
    -1,
    0,
    1.5,
    True,
    [],
    {},
    "us",
    "../customers/x?y",
    "<script>alert(1)</script>",
    "x" * 50_000,
    "XXX",
    "XTS",
    "XAU",
    "9999-12-15T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "\u202eevil",
    [[[[[[[[[[[["deep"]]]]]]]]]]]],
    {"us": {"us": "\0"}},
    2**63,
    "2026-11-29",
    "999999999999-01-01T00:00:00Z",
    ["us"] * 3000,
]
DATES = ["2024-02-29T12:00:00Z", "2026-01-31T10:00:00+14:00", "2026-11-01T00:00:00Z", "2027-06-30T23:59:59-12:00", "2100-01-01T00:00:00Z"]
ALWAYS = {
    "collected_by": "us",
    "held_by": "us",
    "reference": "card_of_ours",
    "account_id": None,
    "gateway": "dodo",
    "is_open": True,
    "is_default": True,
    "credit_minor": 99_999,
    "check_at": "2020-01-01T00:00:00Z",
    "business_id": "bus_of_somebody",
}
"""Fields that the API does not have, and that would be columns here."""


class HostileAccount:
    """`ids` are real ids of rows at the portal; `emails` real addresses. `pages`: how many pages each list has."""

    def __init__(self, seed: int, ids: list[str], emails: list[str]) -> None:
        self.random, self.ids, self.emails = random.Random(seed), ids, emails
        self.own = [f"own_{n}" for n in range(40)]
        self.size, self.pages, self.url = 24, 2, ""
        self.is_plausible = False  # values of the right shape with foreign ids; else also hostile values
        self.paths: Counter[str] = Counter()
        self._lock = threading.Lock()

    def thing(self, name: str, **fixed: Any) -> dict[str, Any]:
        import dodopayments.types as sdk

        with self._lock:
            rate = 0.0 if self.is_plausible else self.random.choice((0.0, 0.0, 0.01, 0.03, 0.2))
            made: dict[str, Any] = self._model(getattr(sdk, name), rate)
        return made | fixed | ALWAYS

    def _model(self, model: Any, rate: float) -> dict[str, Any]:
        out = {}
        for name, field in model.model_fields.items():
            key = field.alias or name
            if not field.is_required() and self.random.random() < 0.3:
                continue
            out[key] = self.random.choice(HOSTILE) if self.random.random() < rate else self._value(field.annotation, key, rate)
        return out

    def _value(self, kind: Any, name: str, rate: float) -> Any:  # noqa: PLR0911 - one line per type
        origin, given = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self._value(given[0], name, rate)
        if origin in (Union, types.UnionType):
            return self._value(self.random.choice(given), name, rate)
        if origin is Literal:
            return "EUR" if "EUR" in given and self.random.random() < 0.7 else self.random.choice(given)
        if origin in (list, tuple):
            return [self._value(given[0], name, rate) for _ in range(self.random.choice((0, 0, 0, 1, 2)))]
        if origin is dict:
            return {f"k{n}": self._value(given[1], name, rate) for n in range(self.random.choice((0, 1, 3)))}
        if kind is type(None):
            return None
        if isinstance(kind, type) and hasattr(kind, "model_fields"):
            return self._model(kind, rate)
        if kind is datetime:
            return self.random.choice(DATES)
        if kind is bool:
            return self.random.random() < 0.5
        if kind in (int, float) or "exp_month" in name or "exp_year" in name:
            if "year" in name or "month" in name:
                return self.random.choice((2, 11, 12)) if "month" in name else self.random.choice((2026, 2031, 2200))
            if "trial" in name:
                return self.random.choice((0, 0, 14))
            if "_count" in name or "quantity" in name:
                return self.random.choice((1, 1, 1, 2, 12))
            return self.random.choice((0, 1, 1, 2, 3, 12, 100, 2900, 5880, 99_900))
        return self._text(name)

    def _text(self, name: str) -> str:
        if name.endswith("_id") or name == "id":
            return self.random.choice(self.ids if self.random.random() < 0.5 else self.own)
        if "email" in name:
            return self.random.choice(self.emails)
        known = {
            "key": f"KEY-{self.random.randrange(300)}",
            "card_last_four": "4242",
            "last4_digits": "4242",
            "country": "GB",
            "phone_number": "+441234",
            "invoice_id": f"ACO-{self.random.randrange(20):04d}",
            "preferred_locale": "de",
        }
        return known.get(name, self.random.choice(("Lies Ltd", "ÄÖÜ ß 株式会社", "a", "Ada & <b>Sons</b>", "succeeded", "credit")))

    def answer(self, path: str, query: dict[str, list[str]]) -> Any:
        """Return the JSON of one GET, the bytes of a document, or None for 404."""
        for pattern, model, _key in LISTS:
            if path == pattern:
                page = int(query.get("page_number", ["0"])[0])
                items = [self.thing(model) for _ in range(self.size if page < self.pages else 0)]
                return {"items": [*items, "no object", None, 7, {}] if items else []}
        if re.fullmatch(r"/customers/[^/]+/payment-methods", path):
            return {
                "items": [
                    {
                        "payment_method_id": self.random.choice(self.ids),
                        "payment_method": "card",
                        "card": {"last4_digits": "6666"},
                        **ALWAYS,
                    }
                ]
            }
        if re.fullmatch(r"/invoices/(payments|refunds)/[^/]+", path):
            return a_document()
        for pattern, model, key in ONES:
            if found := re.fullmatch(pattern + r"/([^/]+)", path):
                with self._lock:
                    honest, missing = self.random.random() < 0.95, self.random.random() < 0.02
                return None if missing else self.thing(model, **({key: found.group(1)} if honest else {}))
        return None


def a_document() -> bytes:
    """A PDF of one empty page."""
    out, written = io.BytesIO(), pypdf.PdfWriter()
    written.add_blank_page(width=200, height=200)
    written.write(out)
    return out.getvalue()


LISTS = (
    ("/addons", "AddonResponse", "id"),
    ("/products", "ProductListResponse", "product_id"),
    ("/product-collections", "ProductCollectionListResponse", "id"),
    ("/customers", "Customer", "customer_id"),
    ("/subscriptions", "SubscriptionListResponse", "subscription_id"),
    ("/payments", "PaymentListResponse", "payment_id"),
    ("/refunds", "RefundListItem", "refund_id"),
    ("/license_keys", "LicenseKey", "id"),
    ("/license_key_instances", "LicenseKeyInstance", "id"),
)
ONES = (
    ("/addons", "AddonResponse", "id"),
    ("/products", "Product", "product_id"),
    ("/product-collections", "ProductCollection", "id"),
    ("/customers", "Customer", "customer_id"),
    ("/subscriptions", "Subscription", "subscription_id"),
    ("/payments", "Payment", "payment_id"),
    ("/refunds", "Refund", "refund_id"),
    ("/license_keys", "LicenseKey", "id"),
)


@contextmanager
def hostile_account(liar: HostileAccount) -> Iterator[HostileAccount]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            with liar._lock:
                liar.paths[asked.path] += 1
            said = liar.answer(asked.path, parse_qs(asked.query))
            body = said if isinstance(said, bytes) else json.dumps(said if said is not None else {"message": "There is none."}).encode()
            self.send_response(404 if said is None else 200)
            self.send_header("Content-Type", "application/pdf" if isinstance(said, bytes) else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    liar.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield liar
    finally:
        server.shutdown()
        server.server_close()
