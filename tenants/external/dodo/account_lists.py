"""Reads lists of an account at Dodo Payments as records. What a list leaves out is read one by one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import select

from billing.imports import Counts
from billing.model.catalogue import Product
from billing.model.imported_records import Record, SourceId, source_key
from billing.model.lifecycle import LIVE
from billing.model.payments import PaymentMethod
from billing.model.subscriptions import Subscription
from core import clock
from core.scope import system
from tenants.external.account import reference
from tenants.external.dodo.client import call
from tenants.external.dodo.resources import DodoList, plain
from tenants.external.read_limits import ReadLimit
from tenants.external.reader import AT_ONCE, REQUESTS, SECONDS, UNREADABLE, AccountReader
from tenants.external.system import SIZE, Json, ObjectMissing, Progress, reference_of


def records(reader: AccountReader, resource: DodoList, items: Sequence[Any]) -> list[Record]:
    listed = _listed(reader, resource, items)
    incomplete = _incomplete(reader, resource, listed)
    if incomplete:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            whole = dict(zip(incomplete, pool.map(lambda item: reader.fetch(resource.kind, item), incomplete), strict=True))
        listed = [whole.get(item[resource.id]) or item for item in listed if whole.get(item[resource.id], item) is not None]
    if resource.archived:
        listed = [{**item, "archived_at": item.get("updated_at") or clock.wall().isoformat()} for item in listed]
    return [record for item in listed for record in reader.read(resource.kind, item)]


def _listed(reader: AccountReader, resource: DodoList, items: Sequence[Any]) -> list[Json]:
    """Return the objects of a page, each once. Objects without an id, and those beyond the page size, are skipped."""
    found: dict[str, Json] = {}
    for item in items[:SIZE]:
        try:
            entry = plain(item)
        except ValueError:
            entry = {}
        id = reference_of(resource.id, entry)
        if id is None:
            reader.skip("it has no valid id", [resource.name])
        else:
            found[id] = entry
    return list(found.values())


def _incomplete(reader: AccountReader, resource: DodoList, listed: list[Json]) -> list[str]:
    if resource.whole:
        return [item[resource.id] for item in listed]
    if resource.kind != "subscription":
        return []
    account_id = reader.origin.account_id
    names = {source_key(account_id, "product", product) for item in listed if (product := reference_of("product_id", item))}
    with reader.database.open(system(reader.business_id)) as db:
        rows = db.execute(
            select(SourceId.reference, Product.price_minor)
            .join(Product, Product.id == SourceId.row_id)
            .where(SourceId.id.in_(sorted(names)), Product.business_id == SourceId.business_id)
        )
        price = dict(rows.tuples().all())
    # lists contain the amount, but not add-ons and discounts: an amount that differs from the price means that there are some
    return [
        item["subscription_id"]
        for item in listed
        if item.get("discounts")
        or item.get("discount_id")
        or not isinstance(item.get("quantity", 1), int)
        or price.get(reference_of("product_id", item) or "", 0) * item.get("quantity", 1) != item.get("recurring_pre_tax_amount")
    ]


def methods(reader: AccountReader, report: Progress) -> Counts:
    """Read the payment methods of active subscriptions whose last four digits are unknown."""
    counts, after, seen = Counts(), "", 0
    while True:
        with reader.database.open(system(reader.business_id)) as db:
            rows = db.execute(
                select(PaymentMethod.customer_id).distinct()
                .join(Subscription, (Subscription.business_id == PaymentMethod.business_id)
                      & (Subscription.payment_method_id == PaymentMethod.id))
                .where(PaymentMethod.account_id == reader.origin.account_id, PaymentMethod.last4.is_(None), Subscription.status.in_(LIVE),
                       PaymentMethod.customer_id > after).order_by(PaymentMethod.customer_id).limit(SIZE)
            ).scalars().all()  # fmt: skip
        if not rows:
            return counts
        for customer_id in rows:
            reader.budget = ReadLimit(REQUESTS, SECONDS)
            counts += methods_of(reader, customer_id)
        after, seen = rows[-1], seen + len(rows)
        report("payment methods", seen)


def methods_of(reader: AccountReader, customer_id: str) -> Counts:
    """Read the saved payment methods of one customer: brand, last four digits, expiry. Does nothing if the account has no such customer."""
    external_id = reference(reader.database, reader.business_id, reader.origin, "customer", customer_id)
    if external_id is None:
        return Counts()
    try:
        answer = reader.wait(lambda: call(lambda: reader.api.customers.retrieve_payment_methods(external_id)))
        listed = [plain(item) for item in list(answer.items)[:SIZE]]
    except ObjectMissing:
        reader.skip("the account no longer has this customer", [external_id])
        return Counts()
    except UNREADABLE as error:
        reader.skip(f"unreadable payment methods: {type(error).__name__}", [external_id])
        return Counts()
    found = [record for item in listed for record in reader.read("payment_method", {**item, "customer_id": external_id})]
    return reader.keep(found)
