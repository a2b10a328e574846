"""Reads an account at Stripe: pages of its lists, single objects, and what a webhook was about, as records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import select

from billing.imports import Counts
from billing.imports.removals import remove
from billing.model.imported_records import Record, SourceId
from billing.model.invoices import Invoice
from core import clock
from core.scope import system
from tenants.external.read_limits import ReadLimit
from tenants.external.reader import REQUESTS, SECONDS, UNREADABLE, AccountReader
from tenants.external.stripe import catalogue, customers, invoices, payments, subscriptions
from tenants.external.stripe.discounts import discounts_of
from tenants.external.stripe.resources import INVOICE_PAYMENT, ONE, OPEN_INVOICES, PRICE, SUBSCRIPTION
from tenants.external.stripe.values import child, id_of
from tenants.external.system import MAX_PAGES, REFERENCE, SIZE, AccountPage, Created, Json, ObjectMissing, Resource, reference_of

RECENT = timedelta(days=1)
"""A charge may be listed before the payment of its invoice was read, so recent charges are looked up one by one."""


def records(reader: AccountReader, resource: Resource, items: Sequence[Any]) -> list[Record]:
    listed = _listed(reader, resource, items)
    if resource.name == "charges":
        listed = _without_invoice(reader, listed)
    if resource.name == "subscriptions":
        listed = _without_paid_invoices(reader, listed)
    if resource.name == "prices":
        held = reader.known("addon", [item["id"] for item in listed])
        found = [record for item in listed if item["id"] in held for record in reader.read("addon", item)]
        return found + [record for item in listed for record in reader.read("product", item)]
    if resource.name == "refunds":
        known = reader.known("payment", [name for item in listed for name in _names(item)])
        listed = [{**item, _PAID: _paid(reader, item, known)} for item in listed]
    return [record for item in listed for record in reader.read(resource.kind, item)]


_PAID = "portal_payment_id"


def translate(reader: AccountReader, kind: str, data: Json) -> list[Record]:
    """Return an object as records, the object itself last. Raises Invalid, or an error of UNREADABLE."""
    if kind == "payment":
        return payments.invoice_payment(data) if data.get("object") == "invoice_payment" else payments.charge(data)
    if kind == "refund":
        return payments.refund(data, data.get(_PAID) or _paid(reader, data, reader.known("payment", _names(data))))
    if kind == "subscription":
        found = subscriptions.subscription(data, discounts_of(reader, data))
    else:
        found = _TRANSLATORS[kind](data)
    latest = data.get("latest_invoice") if kind == "subscription" else None
    if isinstance(latest, dict) and (_is_open(latest) or reader.known("invoice", [str(latest.get("id"))])):
        found = [*reader.read("invoice", latest), *found]
    return found


def _is_open(invoice: Any) -> bool:
    return bool(child(invoice, "status") == "open")


def _without_paid_invoices(reader: AccountReader, listed: list[Json]) -> list[Json]:
    """Leave out the latest invoices that were never open here, with one query for a page."""
    known = reader.known("invoice", [name for item in listed if (name := id_of(item.get("latest_invoice")))])
    is_kept = [_is_open(latest := item.get("latest_invoice")) or id_of(latest) in known for item in listed]
    return [item if kept else {**item, "latest_invoice": None} for item, kept in zip(listed, is_kept, strict=True)]


_TRANSLATORS: dict[str, Callable[[Json], list[Record]]] = {
    "product": lambda data: [catalogue.product(data)],
    "addon": lambda data: [catalogue.addon(data)],
    "customer": customers.customer,
    "payment_method": customers.payment_method,
    "invoice": invoices.invoice,
}


def fetch(api: Any, kind: str, id: str) -> Json:
    """Read one object. A payment is a PaymentIntent of an invoice, or a charge. Raises CallFailed."""
    if kind != "payment":
        path, expand = ONE[kind]
        return api.get(path.format(id), **({"expand": list(expand)} if expand else {}))  # type: ignore[no-any-return]
    intent = id
    if not id.startswith("pi_"):
        found = api.get(f"/v1/charges/{id}")
        intent = id_of(found.get("payment_intent")) or ""
        if not (intent and (of_invoice := _of_invoice(api, intent))):
            return found  # type: ignore[no-any-return]
        return of_invoice
    of_invoice = _of_invoice(api, intent)
    if of_invoice is None:
        raise ObjectMissing(404, "no invoice has this payment")
    return of_invoice


def _of_invoice(api: Any, intent: str) -> Json | None:
    """Return the payment of an invoice by a PaymentIntent; None if it belongs to no invoice."""
    expand = [f"data.{path}" for path in INVOICE_PAYMENT]
    listed = api.get("/v1/invoice_payments", payment={"type": "payment_intent", "payment_intent": intent}, limit=1, expand=expand)
    found = listed.get("data")
    return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else None


def learn(reader: AccountReader, kind: str, noun: str) -> None:
    """Read and store the object of an event, with what may have changed with it."""
    found: list[Record] = []
    if kind == "payment_method" and not reader.known(kind, [noun]):
        return  # the default of a customer comes with the customer; other saved payment methods are not shown
    if kind == "invoice":
        found += reader.read_records(kind, noun)
        listed = reader.wait(lambda: reader.api.get("/v1/invoice_payments", invoice=noun, limit=SIZE, expand=_in_list(INVOICE_PAYMENT)))
        for item in _objects(listed):
            found += reader.read("payment", item)
    elif kind == "sold_product":
        listed = reader.wait(lambda: reader.api.get("/v1/prices", product=noun, limit=SIZE, expand=_in_list(PRICE)))
        for item in _objects(listed):
            found += _price(reader, item)
    elif (data := reader.fetch(kind, noun, must_answer=True)) is None or data.get("deleted"):
        _remove(reader, kind, noun)
    elif kind == "payment_method" and id_of(data.get("customer")) is None:
        _remove(reader, kind, noun)
    elif kind == "product":
        found = _price(reader, data)
    else:
        found = reader.read(kind, data)
        if kind == "customer" and found:
            found += _subscriptions_of(reader, noun)
    reader.keep(found)


def close_invoices(reader: AccountReader) -> Counts:
    """Read the invoices that are open here and no longer open at the account, such as those that were voided meanwhile.

    Those that are open there are left out by their list, a page at a time, because reading each takes one request per invoice.
    """
    counts = Counts()
    with reader.database.open(system(reader.business_id)) as db:
        is_open = select(Invoice.id).where(Invoice.status == "open", Invoice.account_id == reader.origin.account_id)
        here = set(db.scalars(select(SourceId.reference).where(SourceId.kind == "invoice", SourceId.row_id.in_(is_open))))
    names = sorted(_not_listed(reader, OPEN_INVOICES, here))
    for start in range(0, len(names), SIZE):
        reader.budget = ReadLimit(REQUESTS, SECONDS)
        counts += reader.keep([record for name in names[start : start + SIZE] for record in reader.read_records("invoice", name)])
    return counts


def _not_listed(reader: AccountReader, resource: Resource, names: set[str]) -> set[str]:
    """Return the names that the list of a resource does not contain. After a page that cannot be read, all names not yet found."""
    missing, cursor, pages = set(names), None, 0
    while missing and pages < MAX_PAGES:
        reader.budget = ReadLimit(REQUESTS, SECONDS)
        try:
            page: AccountPage = reader.wait(partial(reader.system.page, reader.api, resource, cursor, Created()))
        except UNREADABLE as error:
            reader.skip(f"unreadable page: {type(error).__name__}", [resource.name])
            break
        missing -= {id_of(item) or "" for item in page.items}
        cursor, pages = page.next, pages + 1
        if cursor is None:
            break
    return missing


def _price(reader: AccountReader, data: Json) -> list[Record]:
    is_held = reader.known("addon", [str(data.get("id"))])
    return [*(reader.read("addon", data) if is_held else []), *reader.read("product", data)]


def _subscriptions_of(reader: AccountReader, customer: str) -> list[Record]:
    """Return the running subscriptions of a customer, whose address or default payment method may have changed."""
    listed = reader.wait(lambda: reader.api.get("/v1/subscriptions", customer=customer, limit=SIZE, expand=_in_list(SUBSCRIPTION)))
    return [record for item in _objects(listed) for record in reader.read("subscription", item)]


def _remove(reader: AccountReader, kind: str, noun: str) -> None:
    with reader.database.open(system(reader.business_id), write=True) as db:
        remove(db, reader.origin, kind, noun)


def _in_list(expand: tuple[str, ...]) -> list[str]:
    return [f"data.{path}" for path in expand]


def _objects(listed: Json) -> list[Json]:
    found = listed.get("data")
    return [item for item in found[:SIZE] if isinstance(item, dict)] if isinstance(found, list) else []


def _listed(reader: AccountReader, resource: Resource, items: Sequence[Any]) -> list[Json]:
    """Return the objects of a page, each once. Objects without an id, and those beyond the page size, are skipped."""
    found: dict[str, Json] = {}
    for item in items[:SIZE]:
        id = reference_of("id", item) if isinstance(item, dict) else None
        if id is None:
            reader.skip("it has no valid id", [resource.name])
        else:
            found[id] = item
    return list(found.values())


def _without_invoice(reader: AccountReader, listed: list[Json]) -> list[Json]:
    """Leave out the charges of invoices, which came with the payments of invoices."""
    known = reader.known("payment", [intent for item in listed if (intent := id_of(item.get("payment_intent")))])
    since, out = (clock.wall() - RECENT).timestamp(), []
    for item in listed:
        intent, created = id_of(item.get("payment_intent")), item.get("created")
        if intent in known:
            continue
        is_recent = isinstance(created, int) and created > since
        out.append((reader.fetch("payment", item["id"]) or item) if is_recent and intent else item)
    return out


def _names(data: Json) -> list[str]:
    """Return the ids that the payment of a refund may have."""
    found = id_of(data.get("payment_intent")), id_of(data.get("charge"))
    return [name for name in found if name]


def _paid(reader: AccountReader, data: Json, known: set[str]) -> str:
    """Return the id of the payment of a refund: its PaymentIntent if an invoice has it, else its charge."""
    names = _names(data)
    if found := next((name for name in names if name in known), None):
        return found
    intent, charge = id_of(data.get("payment_intent")), id_of(data.get("charge"))
    if intent and REFERENCE.fullmatch(intent) and _has_invoice(reader, intent):
        return intent
    return charge or intent or ""


def _has_invoice(reader: AccountReader, intent: str) -> bool:
    try:
        return reader.wait(lambda: _of_invoice(reader.api, intent)) is not None
    except (ObjectMissing, *UNREADABLE):
        return False
