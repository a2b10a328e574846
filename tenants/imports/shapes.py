"""Reads the shapes of the API (reference §2) for import: JSON of one object → `Record`. Unknown fields are ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError

from billing.customers.customers import clean_company, clean_name
from billing.model import bounds
from billing.model.customer_types import CustomerType
from billing.model.email_address import clean_address
from billing.model.imported_records import Record, Reference
from core.errors import Invalid
from tenants.imports import catalogue_shapes, invoice_shapes, payment_shapes, tax_shapes
from tenants.imports.fields import Id, ImportedRecord, Instant, Json, Limit, Metadata, Words


class CustomerRecord(ImportedRecord):
    customer_id: Id
    email: Annotated[str, StringConstraints(max_length=320), AfterValidator(bounds.text)]
    name: Annotated[str, StringConstraints(max_length=400), AfterValidator(bounds.text)]
    phone_number: Annotated[str, StringConstraints(max_length=40), AfterValidator(bounds.text)] | None = None
    preferred_locale: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-]{1,12}$")] | None = None
    metadata: Metadata = {}
    blocked_at: Instant | None = None
    business_name: Annotated[str, StringConstraints(max_length=250), AfterValidator(bounds.text)] | None = None
    tax_id: Annotated[str, StringConstraints(max_length=50), AfterValidator(bounds.text)] | None = None
    customer_type: CustomerType | None = None


class CardRecord(BaseModel):
    card_holder_name: Words | None = None
    card_issuing_country: Words | None = None
    card_network: Words | None = None
    last4_digits: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}$")] | None = None
    expiry_month: Annotated[int, Field(ge=1, le=12)] | None = None
    expiry_year: Annotated[int, Field(ge=1970, le=2200)] | None = None


class PaymentMethodRecord(ImportedRecord):
    """`reference`: the id at this deployment's own gateway. Without it the payment method is shown but never charged."""

    payment_method_id: Id
    customer_id: Id
    payment_method: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\-]{1,40}$")] = "card"
    card: CardRecord | None = None
    recurring_enabled: bool | None = True
    last_used_at: Instant | None = None
    reference: Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(bounds.text)] | None = None


class LicenseKeyRecord(ImportedRecord):
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


class ActivationRecord(ImportedRecord):
    id: Id
    license_key_id: Id
    name: Annotated[str, StringConstraints(min_length=1, max_length=250), AfterValidator(bounds.text)]


def record(kind: str, data: Any) -> Record:
    """Return the record of one object. Raises Invalid with the refused fields."""
    reader = READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise Invalid(fields={"type": f"{str(kind)[:40]!r} is not one of {', '.join(sorted(READERS))}."})
    return _validated(reader, data)


def mirrored_invoice(data: Any) -> Record:
    """Return the record of an invoice that is not paid. Only a mirrored account has such records, a file has none. Raises Invalid."""
    return _validated(invoice_shapes.invoice, data)


def _validated(reader: Callable[[Json], Record], data: Any) -> Record:
    if not isinstance(data, dict):
        raise Invalid(fields={"data": "This must be an object."})
    try:
        return reader(data)
    except RecursionError:
        raise Invalid(fields={"data": "This is nested too deeply."}) from None
    except ValidationError as error:
        fields: dict[str, str] = {}
        for item in error.errors(include_url=False, include_context=False, include_input=False)[:5]:
            fields.setdefault(".".join(str(part) for part in item["loc"]) or "data", item["msg"])
        raise Invalid(fields=fields) from None


def _customer(data: Json) -> Record:
    row = CustomerRecord.model_validate(data)
    address, key = clean_address(row.email)
    company: Json = {}
    if row.model_fields_set & {"business_name", "tax_id"}:  # a source without company fields must not clear the company
        company = dict(zip(("business_name", "tax_id"), clean_company(row.business_name, row.tax_id, None), strict=True))
    return Record("customer", row.customer_id, {
        "email": address, "email_key": key, "name": clean_name(row.name), "phone": row.phone_number, "locale": row.preferred_locale,
        "meta": row.metadata, "blocked_at": row.blocked_at, "created_at": row.created_at, **company,
        **({"customer_type": row.customer_type} if "customer_type" in row.model_fields_set else {}),
    }, customer_id=row.customer_id)  # fmt: skip


def _method(data: Json) -> Record:
    row = PaymentMethodRecord.model_validate(data)
    card = row.card or CardRecord()
    return Record("payment_method", row.payment_method_id, {
        "kind": row.payment_method, "brand": card.card_network, "last4": card.last4_digits, "expiry_month": card.expiry_month,
        "expiry_year": card.expiry_year, "holder": card.card_holder_name, "country": card.card_issuing_country,
        "recurring": bool(row.recurring_enabled), "last_used_at": row.last_used_at, "created_at": row.created_at,
    }, (Reference("customer_id", "customer", row.customer_id),), row.customer_id, {"reference": row.reference})  # fmt: skip


def _license_key(data: Json) -> Record:
    row = LicenseKeyRecord.model_validate(data)
    refs = [Reference("customer_id", "customer", row.customer_id), Reference("product_id", "product", row.product_id)]
    refs += [Reference("subscription_id", "subscription", row.subscription_id, True)] if row.subscription_id else []
    refs += [Reference("payment_id", "payment", row.payment_id, True)] if row.payment_id else []
    return Record("license_key", row.id, row.model_dump(exclude={"id", "customer_id"}), tuple(refs), row.customer_id)


def _instance(data: Json) -> Record:
    row = ActivationRecord.model_validate(data)
    return Record("license_key_instance", row.id, row.model_dump(exclude={"id"}),
                  (Reference("license_key_id", "license_key", row.license_key_id),))  # fmt: skip


READERS: dict[str, Callable[[Json], Record]] = {
    "customer": _customer,
    "payment_method": _method,
    "license_key": _license_key,
    "license_key_instance": _instance,
    "addon": catalogue_shapes.addon,
    "product": catalogue_shapes.product,
    "collection": catalogue_shapes.collection,
    "product_collection": catalogue_shapes.collection,
    "subscription": payment_shapes.subscription,
    "payment": payment_shapes.payment,
    "refund": payment_shapes.refund,
    tax_shapes.KIND: tax_shapes.tax_settings,
}
