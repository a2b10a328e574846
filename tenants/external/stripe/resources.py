"""The lists of an account at Stripe: their paths, and what is expanded in their objects."""

from __future__ import annotations

from dataclasses import dataclass

from tenants.external.system import Resource


@dataclass(frozen=True)
class StripeList(Resource):
    """`expand`: paths inside one object, at most three levels, because a list adds one and Stripe allows four."""

    path: str = ""
    expand: tuple[str, ...] = ()
    filters: tuple[tuple[str, str], ...] = ()

    @property
    def parameters(self) -> dict[str, object]:
        return {**dict(self.filters), **({"expand": [f"data.{path}" for path in self.expand]} if self.expand else {})}


PRICE = ("product",)
CUSTOMER = ("invoice_settings.default_payment_method", "tax_ids")
SUBSCRIPTION = (
    "default_payment_method", "customer", "customer.invoice_settings.default_payment_method", "customer.tax_ids", "latest_invoice",
    "discounts", "items.data.discounts",
)  # fmt: skip
INVOICE_PAYMENT = ("invoice", "payment.payment_intent.latest_charge")
OPEN_INVOICES = StripeList("unpaid invoices", "invoice", dated=True, path="/v1/invoices", filters=(("status", "open"),))

RESOURCES = (
    StripeList("prices", "product", dated=True, path="/v1/prices", expand=PRICE),
    StripeList("customers", "customer", dated=True, path="/v1/customers", expand=CUSTOMER),
    StripeList("subscriptions", "subscription", dated=True, path="/v1/subscriptions", expand=SUBSCRIPTION, filters=(("status", "all"),)),
    OPEN_INVOICES,
    StripeList("invoice payments", "payment", dated=True, path="/v1/invoice_payments", expand=INVOICE_PAYMENT),
    StripeList("charges", "payment", dated=True, path="/v1/charges"),
    StripeList("refunds", "refund", dated=True, path="/v1/refunds"),
)
"""In the order in which they are read: each refers only to resources before it. A charge of an invoice came with its invoice."""

ONE: dict[str, tuple[str, tuple[str, ...]]] = {
    "product": ("/v1/prices/{}", PRICE), "addon": ("/v1/prices/{}", PRICE), "customer": ("/v1/customers/{}", CUSTOMER),
    "subscription": ("/v1/subscriptions/{}", SUBSCRIPTION), "payment_method": ("/v1/payment_methods/{}", ()),
    "refund": ("/v1/refunds/{}", ()), "invoice": ("/v1/invoices/{}", ()), "coupon": ("/v1/coupons/{}", ("applies_to",)),
    "promotion_code": ("/v1/promotion_codes/{}", ()),
}  # fmt: skip
READABLE = frozenset({*ONE, "payment"} - {"coupon", "promotion_code"})
"""The kinds that can be read one by one: `ONE`: path and what is expanded. A payment has no path of its own."""
