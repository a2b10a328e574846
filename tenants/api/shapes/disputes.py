"""Dispute (reference §2.4), in full and as a list item. Amounts are strings of minor units, as in the contract."""

from __future__ import annotations

from billing.model.disputes import Dispute
from billing.model.parties import Customer
from tenants.api.shapes import CustomerLimited, Json, Shape, Stamp


class _DisputeFields(Shape):
    amount: str
    business_id: str
    created_at: Stamp
    currency: str
    dispute_id: str
    dispute_stage: str
    dispute_status: str
    payment_id: str
    is_resolved_by_rdr: bool | None = None
    remarks: str | None = None


class PaymentDispute(_DisputeFields):
    """A dispute inside its payment."""

    @classmethod
    def of(cls, row: Dispute) -> PaymentDispute:
        return cls.model_validate(_dispute(row))


class DisputeItem(_DisputeFields):
    payment_provider: str = "dodo"

    @classmethod
    def of(cls, row: Dispute) -> DisputeItem:
        return cls.model_validate(_dispute(row))


class DisputeShape(DisputeItem):
    brand_id: str
    customer: CustomerLimited
    reason: str | None

    @classmethod
    def of_customer(cls, row: Dispute, customer: Customer) -> DisputeShape:
        details = {"brand_id": row.brand_id, "customer": CustomerLimited.of(customer), "reason": row.reason}
        return cls.model_validate({**_dispute(row), **details})


def _dispute(row: Dispute) -> Json:
    return {
        "amount": str(row.amount_minor), "business_id": row.business_id, "created_at": row.created_at, "currency": row.currency,
        "dispute_id": row.id, "dispute_stage": row.stage, "dispute_status": row.status, "payment_id": row.payment_id,
    }  # fmt: skip
