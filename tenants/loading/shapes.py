"""The API's own shapes (reference §2), read instead of written: JSON of one thing → `Record`. Fields we do not know are ignored.

    record("customer", {"customer_id": "cus_1", "email": "ada@marlow.example", "name": "Ada Marlow"})   → Record
    raises Invalid; its `fields` say which ones and why
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError

from billing import bounds
from billing.addresses import clean_address
from billing.commands.customers import clean_company, clean_name
from billing.loaded import Record, Reference
from core.errors import Invalid
from tenants.loading import paid, sold
from tenants.loading.fields import Id, Instant, Json, Limit, Metadata, Told, Words


class Customer(Told):
    customer_id: Id
    email: Annotated[str, StringConstraints(max_length=320), AfterValidator(bounds.text)]
    name: Annotated[str, StringConstraints(max_length=400), AfterValidator(bounds.text)]
    phone_number: Annotated[str, StringConstraints(max_length=40), AfterValidator(bounds.text)] | None = None
    preferred_locale: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-]{1,12}$")] | None = None
    metadata: Metadata = {}
    blocked_at: Instant | None = None
    business_name: Annotated[str, StringConstraints(max_length=250), AfterValidator(bounds.text)] | None = None
    tax_id: Annotated[str, StringConstraints(max_length=50), AfterValidator(bounds.text)] | None = None


class Card(BaseModel):
    card_holder_name: Words | None = None
    card_issuing_country: Words | None = None
    card_network: Words | None = None
    last4_digits: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")] | None = None
    expiry_month: Annotated[int, Field(ge=1, le=12)] | None = None
    expiry_year: Annotated[int, Field(ge=1970, le=2200)] | None = None


class PaymentMethod(Told):
    """`reference`: what this deployment's own gateway knows it by, where it was moved there; without it, it is shown and never charged."""

    payment_method_id: Id
    customer_id: Id
    payment_method: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-]{1,40}$")] = "card"
    card: Card | None = None
    recurring_enabled: bool | None = True
    last_used_at: Instant | None = None
    reference: Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(bounds.text)] | None = None


class LicenseKey(Told):
    id: Id
    customer_id: Id
    product_id: Id
    key: Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(bounds.text)]
    status: Literal["active", "expired", "disabled"] = "active"
    source: Literal["auto", "import", "manual"] = "import"
    activations_limit: Limit | None = None
    instances_count: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    expires_at: Instant | None = None
    payment_id: Id | None = None
    subscription_id: Id | None = None


class LicenseInstance(Told):
    id: Id
    license_key_id: Id
    name: Annotated[str, StringConstraints(min_length=1, max_length=250), AfterValidator(bounds.text)]


def record(kind: str, data: Any) -> Record:
    """Raises Invalid (fields: the ones that cannot be used)."""
    reader = READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise Invalid(fields={"type": f"{str(kind)[:40]!r} is none of {', '.join(sorted(READERS))}."})
    if not isinstance(data, dict):
        raise Invalid(fields={"data": "This has to be an object."})
    try:
        return reader(data)
    except RecursionError:
        raise Invalid(fields={"data": "It is nested too deeply."}) from None
    except ValidationError as error:
        fields: dict[str, str] = {}
        for one in error.errors(include_url=False, include_context=False, include_input=False)[:5]:
            fields.setdefault(".".join(str(part) for part in one["loc"]) or "data", one["msg"])
        raise Invalid(fields=fields) from None


def _customer(data: Json) -> Record:
    told = Customer.model_validate(data)
    address, key = clean_address(told.email)
    company: Json = {}
    if told.model_fields_set & {"business_name", "tax_id"}:  # a source that knows nothing of companies takes none away
        company = dict(zip(("business_name", "tax_id"), clean_company(told.business_name, told.tax_id, None), strict=True))
    return Record("customer", told.customer_id, {
        "email": address, "email_key": key, "name": clean_name(told.name), "phone": told.phone_number, "locale": told.preferred_locale,
        "meta": told.metadata, "blocked_at": told.blocked_at, "created_at": told.created_at, **company,
    }, customer_id=told.customer_id)  # fmt: skip


def _method(data: Json) -> Record:
    told = PaymentMethod.model_validate(data)
    card = told.card or Card()
    return Record("payment_method", told.payment_method_id, {
        "kind": told.payment_method, "brand": card.card_network, "last4": card.last4_digits, "expiry_month": card.expiry_month,
        "expiry_year": card.expiry_year, "holder": card.card_holder_name, "country": card.card_issuing_country,
        "recurring": bool(told.recurring_enabled), "last_used_at": told.last_used_at, "created_at": told.created_at,
    }, (Reference("customer_id", "customer", told.customer_id),), told.customer_id, {"reference": told.reference})  # fmt: skip


def _license_key(data: Json) -> Record:
    told = LicenseKey.model_validate(data)
    refs = [Reference("customer_id", "customer", told.customer_id), Reference("product_id", "product", told.product_id)]
    refs += [Reference("subscription_id", "subscription", told.subscription_id, True)] if told.subscription_id else []
    refs += [Reference("payment_id", "payment", told.payment_id, True)] if told.payment_id else []
    return Record("license_key", told.id, told.model_dump(exclude={"id", "customer_id"}), tuple(refs), told.customer_id)


def _instance(data: Json) -> Record:
    told = LicenseInstance.model_validate(data)
    return Record("license_key_instance", told.id, told.model_dump(exclude={"id"}),
                  (Reference("license_key_id", "license_key", told.license_key_id),))  # fmt: skip


READERS: dict[str, Callable[[Json], Record]] = {
    "customer": _customer, "payment_method": _method, "license_key": _license_key, "license_key_instance": _instance,
    "addon": sold.addon, "product": sold.product, "collection": sold.collection, "product_collection": sold.collection,
    "subscription": paid.subscription, "payment": paid.payment, "refund": paid.refund,
}
