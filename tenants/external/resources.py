"""The lists of an account at Dodo Payments, and the SDK calls that read a page or one object."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SIZE = 100  # rows per page, the maximum of the API
REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
"""An external id that is safe as a part of a path."""

Json = dict[str, Any]
Call = Callable[..., Any]


@dataclass(frozen=True)
class Resource:
    """`dated`: the list can be filtered by creation time. `whole`: the list is incomplete, so every object is read on its own."""

    name: str
    kind: str
    page: Call  # (client, **query) → a page with .items
    id: str = "id"
    dated: bool = False
    whole: bool = False
    archived: bool = False


RESOURCES = (
    Resource("addons", "addon", lambda api, **q: api.addons.list(**q)),
    Resource("archived addons", "addon", lambda api, **q: api.addons.list(archived=True, **q), archived=True),
    Resource("products", "product", lambda api, **q: api.products.list(**q), "product_id", whole=True),
    Resource(
        "archived products", "product", lambda api, **q: api.products.list(archived=True, **q), "product_id", whole=True, archived=True
    ),
    Resource("collections", "collection", lambda api, **q: api.product_collections.list(**q), whole=True),
    Resource("customers", "customer", lambda api, **q: api.customers.list(**q), "customer_id", dated=True),
    Resource("subscriptions", "subscription", lambda api, **q: api.subscriptions.list(**q), "subscription_id", dated=True),
    Resource("payments", "payment", lambda api, **q: api.payments.list(**q), "payment_id", dated=True, whole=True),
    Resource("refunds", "refund", lambda api, **q: api.refunds.list(**q), "refund_id", dated=True),
    Resource("license keys", "license_key", lambda api, **q: api.license_keys.list(**q), dated=True),
    Resource("activations", "license_key_instance", lambda api, **q: api.license_key_instances.list(**q)),
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


def reference_of(id_field: str, item: Json) -> str | None:
    """Return the external id of a listed object; None if it is not valid."""
    found = item.get(id_field)
    return found if isinstance(found, str) and REFERENCE.fullmatch(found) else None
