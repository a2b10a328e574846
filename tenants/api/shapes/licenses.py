"""License keys and their activations (reference §2.6)."""

from __future__ import annotations

from billing.model.licenses import LicenseInstance, LicenseKey
from tenants.api.shapes import Shape, Stamp


class LicenseKeyShape(Shape):
    id: str
    brand_id: str
    business_id: str
    created_at: Stamp
    customer_id: str
    instances_count: int
    key: str
    product_id: str
    source: str
    status: str
    activations_limit: int | None
    expires_at: Stamp | None
    payment_id: str | None
    subscription_id: str | None

    @classmethod
    def of(cls, row: LicenseKey) -> LicenseKeyShape:
        return cls.model_validate({name: getattr(row, name) for name in cls.model_fields} | {"status": row.state})


class LicenseInstanceShape(Shape):
    id: str
    business_id: str
    created_at: Stamp
    license_key_id: str
    name: str

    @classmethod
    def of(cls, row: LicenseInstance) -> LicenseInstanceShape:
        return cls.model_validate(row, from_attributes=True)
