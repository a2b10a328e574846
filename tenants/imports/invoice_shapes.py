"""The shape of an invoice that an account has issued and that is not paid yet. Paid ones come with their payments."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from billing.model.imported_records import Record, Reference
from tenants.imports.fields import Address, Currency, CustomerRef, DocumentNumber, Id, ImportedRecord, Json, Minor, Words, within
from tenants.imports.payment_shapes import CartItemRecord, ServicePeriod


class InvoiceRecord(ImportedRecord):
    """`due`: what is still to be paid. `status` void: it can no longer be paid."""

    invoice_id: Id
    number: DocumentNumber
    customer: CustomerRef
    subscription_id: Id
    status: Literal["open", "paid", "void"]
    currency: Currency
    total: Minor
    tax: Minor = 0
    due: Minor
    kind: Words = "new"
    product_cart: Annotated[list[CartItemRecord], Field(max_length=100)] = []
    billing: Address = Address()
    service_periods: Annotated[list[ServicePeriod], BeforeValidator(lambda value: value or []), Field(max_length=1)] = []

    @model_validator(mode="after")
    def _fits(self) -> InvoiceRecord:
        within(self.total, self.currency)
        within(self.due, self.currency)
        if self.tax > self.total:
            raise ValueError("tax must not be more than total")
        return self


def invoice(data: Json) -> Record:
    row = InvoiceRecord.model_validate(data)
    refs = [Reference("customer.customer_id", "customer", row.customer.customer_id)]
    refs.append(Reference("subscription_id", "subscription", row.subscription_id, True))
    refs += [Reference(f"product_cart.{n}.product_id", "product", item.product_id) for n, item in enumerate(row.product_cart)]
    span = row.service_periods[0] if row.service_periods else ServicePeriod()
    kind = row.kind if row.kind in ("renewal", "plan_change") else "new"
    return Record("invoice", row.invoice_id, {
        "subscription_id": row.subscription_id, "number": row.number, "status": row.status, "currency": row.currency,
        "total_minor": row.total, "tax_minor": row.tax, "due_minor": row.due, "kind": kind, "billing": row.billing.stored(),
        "created_at": row.created_at,
    }, tuple(refs), row.customer.customer_id, {
        "cart": [item.model_dump() for item in row.product_cart], "starts_at": span.starts_at, "ends_at": span.ends_at,
    })  # fmt: skip
