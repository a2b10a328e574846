"""Translates the ids of an import source to ids of this portal. A source id is unique per business, account and kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from sqlalchemy import select

from billing.model.catalogue import Addon, Collection, Product
from billing.model.imported_records import Record, SourceId, source_key
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseInstance, LicenseKey
from billing.model.parties import Customer
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.model.provenance import Origin
from billing.model.subscriptions import Subscription
from core import clock
from core.db import ScopedSession
from core.errors import Invalid
from core.ids import new_id

MODELS: dict[str, Any] = {
    "addon": Addon, "product": Product, "collection": Collection, "customer": Customer, "payment_method": PaymentMethod,
    "subscription": Subscription, "invoice": Invoice, "payment": Payment, "refund": Refund, "license_key": LicenseKey,
    "license_key_instance": LicenseInstance,
}  # fmt: skip
PREFIXES = {
    "addon": "adn",
    "product": "pdt",
    "collection": "pdc",
    "customer": "cus",
    "payment_method": "pm",
    "subscription": "sub",
    "invoice": "inv",
    "payment": "pay",
    "refund": "ref",
    "license_key": "lic",
    "license_key_instance": "lki",
    "scheduled_change": "spc",
    "collection_group": "grp",
}
BATCH = 500  # ids per statement

Name = tuple[str, str]
"""(kind, reference)"""


def key_of(kind: str) -> Any:
    model = MODELS[kind]
    return model.customer_id if kind == "customer" else model.id


class Names:
    """The id translations of one batch. A file may also refer to rows of its business by their ids here; an account may not."""

    def __init__(self, db: ScopedSession, origin: Origin, business_id: str, records: Sequence[Record]) -> None:
        self.db, self.origin, self.business_id = db, origin, business_id
        wanted = {name for record in records for name in _named(record)}
        self._rows: dict[Name, SourceId] = {}
        for part in _parts({source_key(origin.account_id, *name) for name in wanted}):
            self._rows |= {(row.kind, row.reference): row for row in db.scalars(select(SourceId).where(SourceId.id.in_(part)))}
        self._local_names = set() if origin.is_mirror else self._find_local(wanted - set(self._rows))

    def seen(self, record: Record) -> SourceId | None:
        return self._rows.get((record.kind, record.id))

    def is_local(self, record: Record) -> bool:
        """Return whether a file refers to a row of this business that was not imported from it. Such a row is not changed."""
        return (record.kind, record.id) in self._local_names

    def get(self, kind: str, reference: str) -> str | None:
        row = self._rows.get((kind, reference))
        return row.row_id if row is not None else reference if (kind, reference) in self._local_names else None

    def known(self, kind: str, reference: str, field: str) -> str:
        """Return the id here. Raises Invalid (`field`) if neither the account nor, for a file, the business has such a row."""
        found = self.get(kind, reference)
        if found is None:
            raise Invalid(fields={field: f"there is no {kind.replace('_', ' ')} {reference}."})
        return found

    def named(self, kind: str, reference: str) -> str:
        """Return the id here, or a new one for a record that is mentioned for the first time."""
        found = self.get(kind, reference)
        if found is None:
            found = new_id(PREFIXES[kind])
            row = SourceId(
                business_id=self.business_id,
                id=source_key(self.origin.account_id, kind, reference),
                reference=reference,
                account_id=self.origin.account_id,
                kind=kind,
                row_id=found,
                digest="",
                loaded_at=clock.wall(),
            )
            self._rows[kind, reference] = row
            self.db.add(row)
        return found

    def reference_of(self, kind: str, row_id: str) -> str:
        """Return the source's id of a row of this batch."""
        return next((row.reference for (found, _), row in self._rows.items() if found == kind and row.row_id == row_id), row_id)

    def translated(self, record: Record, is_new: bool = True) -> Record:
        """Return the record with ids of this portal instead of the source's. Raises Invalid for an unknown reference.

        `is_new` False: assign no new id; raises Invalid for a record that was not imported.
        """
        translate = _TRANSLATORS.get(record.kind)
        own = self.named(record.kind, record.id) if is_new else self.known(record.kind, record.id, "id")
        customer_id = record.customer_id and (
            own if record.kind == "customer" else self.known("customer", record.customer_id, "customer_id")
        )
        if translate is None:
            return replace(record, id=own, customer_id=customer_id, references=())
        values, more = dict(record.values), dict(record.more)
        translate(self, record, values, more)
        return replace(record, id=own, customer_id=customer_id, references=(), values=values, more=more)

    def _find_local(self, wanted: set[Name]) -> set[Name]:
        found: set[Name] = set()
        for kind in sorted({kind for kind, _reference in wanted if kind in MODELS}):
            for part in _parts(reference for item, reference in wanted if item == kind):
                found |= {(kind, id) for id in self.db.scalars(select(key_of(kind)).where(key_of(kind).in_(part)))}
        return found


def _parts(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(sorted(ids))
    while part := list(islice(rest, BATCH)):
        yield part


def _named(record: Record) -> Iterator[Name]:
    yield record.kind, record.id
    yield from ((ref.kind, ref.id) for ref in record.references)
    if record.customer_id:
        yield "customer", record.customer_id
    if method := record.values.get("payment_method_id") or record.more.get("method_id"):
        yield "payment_method", method
    if planned := record.more.get("planned"):
        yield "scheduled_change", planned["id"]
        yield from (("addon", addon["addon_id"]) for addon in planned["addons"])
    yield from (("collection_group", f"{record.id}/{group['id']}") for group in record.more.get("groups") or ())


def _addons(names: Names, addons: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**addon, "addon_id": names.known("addon", addon["addon_id"], f"addons.{n}.addon_id")} for n, addon in enumerate(addons)]


def _product(names: Names, record: Record, values: dict[str, Any], more: dict[str, Any]) -> None:
    values["addons"] = [names.known("addon", addon, f"addons.{n}") for n, addon in enumerate(values["addons"])]


def _collection(names: Names, record: Record, values: dict[str, Any], more: dict[str, Any]) -> None:
    groups: dict[str, dict[str, Any]] = {}
    for n, group in enumerate(more["groups"]):
        products = [(names.known("product", product, f"groups.{n}.products"), is_on) for product, is_on in group["products"]]
        own = names.named("collection_group", f"{record.id}/{group['id']}")
        if own in groups:  # a repeated group is merged
            groups[own]["products"] += products
        else:
            groups[own] = {**group, "id": own, "products": products}
    more["groups"] = list(groups.values())


def _subscription(names: Names, record: Record, values: dict[str, Any], more: dict[str, Any]) -> None:
    plan = values["product_id"]
    values["product_id"] = names.known("product", plan, "product_id")
    if values["payment_method_id"]:
        values["payment_method_id"] = names.named("payment_method", values["payment_method_id"])
    values["discounts"] = [_discount(names, discount, plan) for discount in values.get("discounts") or ()]
    more["addons"] = _addons(names, more["addons"])
    if planned := more["planned"]:
        more["planned"] = {
            **planned,
            "id": names.named("scheduled_change", planned["id"]),
            "product_id": names.known("product", planned["product_id"], "scheduled_change.product_id"),
            "addons": [{**addon, "addon_id": found} for addon in planned["addons"] if (found := names.get("addon", addon["addon_id"]))],
        }


def _discount(names: Names, discount: dict[str, Any], plan: str) -> dict[str, Any]:
    """`items` are the plan of the subscription, and add-ons."""
    products = [names.get("product", product) or product for product in discount["restricted_to"]]
    items = [names.get("product" if item == plan else "addon", item) or item for item in discount.get("items") or ()]
    return {**discount, "restricted_to": products, **({"items": items} if items else {})}


def _invoice(names: Names, record: Record, values: dict[str, Any], more: dict[str, Any]) -> None:
    values["subscription_id"] = names.known("subscription", values["subscription_id"], "subscription_id")
    more["cart"] = _cart(names, more["cart"])


def _payment(names: Names, record: Record, values: dict[str, Any], more: dict[str, Any]) -> None:
    if values["subscription_id"]:
        values["subscription_id"] = names.known("subscription", values["subscription_id"], "subscription_id")
    if more["method_id"]:
        more["method_id"] = names.named("payment_method", more["method_id"])
    more["cart"] = _cart(names, more["cart"])


def _cart(names: Names, cart: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = [names.known("product", item["product_id"], f"product_cart.{n}.product_id") for n, item in enumerate(cart)]
    return [{**item, "product_id": product_id} for item, product_id in zip(cart, ids, strict=True)]


def _refund(names: Names, record: Record, values: dict[str, Any], more: dict[str, Any]) -> None:
    values["payment_id"] = names.known("payment", values["payment_id"], "payment_id")


def _license_key(names: Names, record: Record, values: dict[str, Any], more: dict[str, Any]) -> None:
    for field in ("product_id", "subscription_id", "payment_id"):
        if values[field]:
            values[field] = names.known(field.removesuffix("_id"), values[field], field)


def _instance(names: Names, record: Record, values: dict[str, Any], more: dict[str, Any]) -> None:
    values["license_key_id"] = names.known("license_key", values["license_key_id"], "license_key_id")


_TRANSLATORS: dict[str, Callable[[Names, Record, dict[str, Any], dict[str, Any]], None]] = {
    "product": _product,
    "collection": _collection,
    "subscription": _subscription,
    "invoice": _invoice,
    "payment": _payment,
    "refund": _refund,
    "license_key": _license_key,
    "license_key_instance": _instance,
}
