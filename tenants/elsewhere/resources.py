"""What an account at Dodo Payments lists, and how one of each is asked for, by the official SDK."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SIZE = 100  # rows of a page: the most there is
REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
"""An id there, as it may become part of a path."""

Json = dict[str, Any]
Ask = Callable[..., Any]


@dataclass(frozen=True)
class Resource:
    """`dated`: its list can be narrowed by creation. `whole`: what a list leaves out is asked for, one by one."""

    name: str
    kind: str
    page: Ask  # (client, **query) → a page with .items
    id: str = "id"
    dated: bool = False
    whole: bool = False
    archived: bool = False


RESOURCES = (
    Resource("addons", "addon", lambda api, **q: api.addons.list(**q)),
    Resource("archived addons", "addon", lambda api, **q: api.addons.list(archived=True, **q), archived=True),
    Resource("products", "product", lambda api, **q: api.products.list(**q), "product_id", whole=True),
    Resource("archived products", "product", lambda api, **q: api.products.list(archived=True, **q), "product_id", whole=True,
             archived=True),
    Resource("collections", "collection", lambda api, **q: api.product_collections.list(**q), whole=True),
    Resource("customers", "customer", lambda api, **q: api.customers.list(**q), "customer_id", dated=True),
    Resource("subscriptions", "subscription", lambda api, **q: api.subscriptions.list(**q), "subscription_id", dated=True),
    Resource("payments", "payment", lambda api, **q: api.payments.list(**q), "payment_id", dated=True, whole=True),
    Resource("refunds", "refund", lambda api, **q: api.refunds.list(**q), "refund_id", dated=True),
    Resource("licence keys", "license_key", lambda api, **q: api.license_keys.list(**q), dated=True),
    Resource("activations", "license_key_instance", lambda api, **q: api.license_key_instances.list(**q)),
)
"""In the order in which they are read: each names only what stands before it."""

ONE: dict[str, Ask] = {
    "addon": lambda api, id: api.addons.retrieve(id), "product": lambda api, id: api.products.retrieve(id),
    "collection": lambda api, id: api.product_collections.retrieve(id), "customer": lambda api, id: api.customers.retrieve(id),
    "subscription": lambda api, id: api.subscriptions.retrieve(id), "payment": lambda api, id: api.payments.retrieve(id),
    "refund": lambda api, id: api.refunds.retrieve(id), "license_key": lambda api, id: api.license_keys.retrieve(id),
}  # fmt: skip


def plain(told: Any) -> Json:
    """What the SDK read, as the JSON it came from. It checks nothing: an account may answer with anything. Raises ValueError for what
    is no object."""
    found = told.to_dict(mode="json", warnings=False) if hasattr(told, "to_dict") else told
    if not isinstance(found, dict):
        raise ValueError("the account answered with something that is no object")
    return found


def reference_of(resource_id: str, told: Json) -> str | None:
    """The id that a listed thing has there; None where it is none."""
    found = told.get(resource_id)
    return found if isinstance(found, str) and REFERENCE.fullmatch(found) else None
