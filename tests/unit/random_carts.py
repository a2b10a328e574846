"""Random carts in twelve currencies, and the invoice of a cart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from billing.documents.issuing import snapshot
from billing.model.catalogue import Product
from billing.model.invoices import Invoice
from billing.model.parties import Business, Customer
from billing.pricing.prices import PriceLine, for_cart

CURRENCIES = ("JPY", "KRW", "CLP", "ISK", "EUR", "USD", "GBP", "SEK", "BRL", "KWD", "BHD", "TND")
RATES = (0, 500, 550, 700, 825, 1000, 1900, 2000, 2100, 2500, 2700)
AT = datetime(2027, 1, 31, 12, tzinfo=UTC)


def held(code: str, kind: str, amount: int) -> dict[str, Any]:
    return {"code": code, "type": kind, "amount": amount, "most": None, "least": 0, "restricted_to": [], "cycles": None, "since": 1}


items = st.tuples(st.integers(1, 1000), st.one_of(st.integers(0, 3000), st.integers(0, 2_000_000)), st.sampled_from(RATES), st.booleans())
discounts = st.lists(st.one_of(
    st.builds(lambda bps: held("SHARE", "percentage", bps), st.integers(1, 10_000)),
    st.builds(lambda minor: held("FLAT", "flat", minor), st.integers(1, 5_000)),
), max_size=2)  # fmt: skip
carts = st.tuples(st.sampled_from(CURRENCIES), st.lists(items, min_size=1, max_size=8), discounts)


def lines_of_cart(rows: list[tuple[int, int, int, bool]], codes: list[dict[str, Any]]) -> list[PriceLine]:
    """Return lines with the rate of each item's tax category."""
    site = Business(tax_rates={"GB": {"bps": 0, "categories": {f"rate_{rate}": rate for rate in RATES}}})
    goods = [
        (Product(id=f"pdt_{n}", name=f"Item {n}", price_minor=unit, tax_inclusive=inclusive, tax_category=f"rate_{rate}"), quantity)
        for n, (quantity, unit, rate, inclusive) in enumerate(rows)
    ]
    return for_cart(site, goods, {"country": "GB"}, codes)


def paper_of(lines: list[PriceLine], currency: str, **more: Any) -> dict[str, Any]:
    """Return the snapshot of the invoice with these lines."""
    subtotal, tax = sum(line.net_minor for line in lines), sum(line.tax_minor for line in lines)
    invoice = Invoice(
        number="INV-0001",
        currency=currency,
        issued_at=AT,
        subtotal_minor=subtotal,
        tax_minor=tax,
        total_minor=subtotal + tax,
        due_minor=subtotal + tax,
    )
    site = Business(business_id="bus_acorn", name="Acorn", address={"country": "GB"}, brand={}, zone="UTC", locale="en", settings={})
    buyer = Customer(name="Ada Marlow", email="ada@marlow.example", billing={"country": "GB"})
    return {**snapshot(site, buyer, invoice, lines, billing=None, tax_id=None, business_name=None, test_mode=False), **more}
