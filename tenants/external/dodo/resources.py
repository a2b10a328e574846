"""The lists of an account at Dodo Payments, and the SDK calls that read a page or one object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenants.external.system import Json, Resource

Call = Callable[..., Any]


@dataclass(frozen=True)
class DodoList(Resource):
    """`whole`: the list is incomplete, so every object is read on its own."""

    page: Call = lambda api, **query: None  # (client, **query) → a page with .items
    id: str = "id"
    whole: bool = False
    archived: bool = False


RESOURCES = (
    DodoList("addons", "addon", page=lambda api, **q: api.addons.list(**q)),
    DodoList("archived addons", "addon", page=lambda api, **q: api.addons.list(archived=True, **q), archived=True),
    DodoList("products", "product", page=lambda api, **q: api.products.list(**q), id="product_id", whole=True),
    DodoList(
        "archived products",
        "product",
        page=lambda api, **q: api.products.list(archived=True, **q),
        id="product_id",
        whole=True,
        archived=True,
    ),
    DodoList("collections", "collection", page=lambda api, **q: api.product_collections.list(**q), whole=True),
    DodoList("customers", "customer", page=lambda api, **q: api.customers.list(**q), id="customer_id", dated=True),
    DodoList("subscriptions", "subscription", page=lambda api, **q: api.subscriptions.list(**q), id="subscription_id", dated=True),
    DodoList("payments", "payment", page=lambda api, **q: api.payments.list(**q), id="payment_id", dated=True, whole=True),
    DodoList("refunds", "refund", page=lambda api, **q: api.refunds.list(**q), id="refund_id", dated=True),
    DodoList("license keys", "license_key", page=lambda api, **q: api.license_keys.list(**q), dated=True),
    DodoList("activations", "license_key_instance", page=lambda api, **q: api.license_key_instances.list(**q)),
)
"""In the order in which they are read: each refers only to resources before it."""

FETCH: dict[str, Call] = {
    "addon": lambda api, id: api.addons.retrieve(id), "product": lambda api, id: api.products.retrieve(id),
    "collection": lambda api, id: api.product_collections.retrieve(id), "customer": lambda api, id: api.customers.retrieve(id),
    "subscription": lambda api, id: api.subscriptions.retrieve(id), "payment": lambda api, id: api.payments.retrieve(id),
    "refund": lambda api, id: api.refunds.retrieve(id), "license_key": lambda api, id: api.license_keys.retrieve(id),
}  # fmt: skip


def plain(answer: Any) -> Json:
    """Return an SDK answer as JSON. The SDK does not validate it. Raises ValueError if it is not an object."""
    found = answer.to_dict(mode="json", warnings=False) if hasattr(answer, "to_dict") else answer
    if not isinstance(found, dict):
        raise ValueError("the answer of the account is not an object")
    return found
