"""Customer and PaymentMethod (reference §2.2)."""

from __future__ import annotations

from billing.model.customer_types import CustomerType, customer_type_of
from billing.model.parties import Customer
from billing.model.payments import PaymentMethod
from tenants.api.shapes import Json, Shape, Stamp


class CustomerShape(Shape):
    """A customer. `business_name`, `tax_id` and `customer_type` are extensions of the contract.

    `customer_type`: what counts for new purchases, consumer or business.
    """

    business_id: str
    created_at: Stamp
    customer_id: str
    email: str
    name: str
    blocked_at: Stamp | None
    blocklist_entry_id: str | None = None
    metadata: Json
    phone_number: str | None
    preferred_locale: str | None
    business_name: str | None
    tax_id: str | None
    customer_type: CustomerType

    @classmethod
    def of(cls, row: Customer) -> CustomerShape:
        return cls(
            business_id=row.business_id, created_at=row.created_at, customer_id=row.customer_id, email=row.email, name=row.name,
            blocked_at=row.blocked_at, metadata=row.meta or {}, phone_number=row.phone, preferred_locale=row.locale,
            business_name=row.business_name, tax_id=row.tax_id, customer_type=customer_type_of(row),
        )  # fmt: skip


class PaymentMethodShape(Shape):
    payment_method: str
    payment_method_id: str
    card: Json | None
    last_used_at: Stamp | None
    payment_method_type: str | None
    recurring_enabled: bool

    @classmethod
    def of(cls, row: PaymentMethod) -> PaymentMethodShape:
        card = {
            "card_holder_name": row.holder, "card_issuing_country": row.country, "card_network": row.brand, "card_type": None,
            "expiry_month": f"{row.expiry_month:02}" if row.expiry_month else None,
            "expiry_year": str(row.expiry_year) if row.expiry_year else None, "last4_digits": row.last4,
        }  # fmt: skip
        return cls(
            payment_method=row.kind, payment_method_id=row.id, card=card if row.kind == "card" else None, last_used_at=row.last_used_at,
            payment_method_type=None, recurring_enabled=row.recurring,
        )  # fmt: skip
