"""Lists the fields that a mirrored account may set, per kind. No other field of its answers reaches a row.

Never allowed: the collecting system (`collected_by`, `held_by`), our gateway's `reference` of a payment method, keys, open payments,
credit, and any date or amount by which this deployment would charge.
"""

from __future__ import annotations

from dataclasses import replace

from billing.model.imported_records import Record

_MADE = ("created_at",)
_TIMES = ("archived_at", "created_at", "updated_at")

VALUES: dict[str, tuple[str, ...]] = {
    "addon": ("name", "price_minor", "currency", "description", "tax_category", *_TIMES),
    "product": (
        "name",
        "description",
        "price_type",
        "currency",
        "price_minor",
        "tax_inclusive",
        "tax_category",
        "interval",
        "interval_count",
        "term_interval",
        "term_count",
        "trial_days",
        "meters",
        "addons",
        "license_key_enabled",
        "license_key_limit",
        "license_key_duration",
        "license_key_message",
        "download",
        "meta",
        *_TIMES,
    ),
    "collection": (
        "name",
        "description",
        "effective_on_upgrade",
        "effective_on_downgrade",
        "proration_on_upgrade",
        "proration_on_downgrade",
        "on_payment_failure",
        *_TIMES,
    ),
    "customer": ("email", "email_key", "name", "phone", "locale", "customer_type", "meta", "blocked_at", *_MADE),
    "payment_method": ("kind", "brand", "last4", "expiry_month", "expiry_year", "holder", "country", "recurring", "last_used_at", *_MADE),
    "subscription": (
        "product_id",
        "status",
        "quantity",
        "currency",
        "tax_inclusive",
        "meters",
        "discounts",
        "interval",
        "interval_count",
        "term_interval",
        "term_count",
        "previous_billing_at",
        "next_billing_at",
        "expires_at",
        "trial_days",
        "cancel_at_period_end",
        "cancelled_at",
        "cancelled_by",
        "cancellation_feedback",
        "cancellation_comment",
        "paused_at",
        "billing",
        "tax_id",
        "business_name",
        "payment_method_id",
        "meta",
        *_MADE,
    ),
    "invoice": ("subscription_id", "number", "status", "currency", "total_minor", "tax_minor", "due_minor", "kind", "billing", *_MADE),
    "payment": (
        "subscription_id",
        "amount_minor",
        "tax_minor",
        "currency",
        "status",
        "charge_type",
        "method",
        "billing",
        "error_code",
        "error_message",
        "meta",
        "created_at",
        "updated_at",
    ),
    "refund": ("payment_id", "amount_minor", "currency", "status", "reason", "is_partial", "meta", *_MADE),
    "license_key": (
        "product_id",
        "key",
        "status",
        "source",
        "activations_limit",
        "instances_count",
        "expires_at",
        "payment_id",
        "subscription_id",
        *_MADE,
    ),
    "license_key_instance": ("license_key_id", "name", *_MADE),
}
MORE: dict[str, tuple[str, ...]] = {
    "collection": ("groups",),
    "subscription": ("amount", "addons", "planned"),
    "invoice": ("cart", "starts_at", "ends_at"),
    "payment": ("cart", "invoice_id", "method_id", "starts_at", "ends_at"),
}
"""Fields from which related rows are made."""


def picked(record: Record) -> Record:
    """Return the record with only its allowed fields."""
    return replace(
        record,
        values={name: record.values[name] for name in VALUES[record.kind] if name in record.values},
        more={name: record.more[name] for name in MORE.get(record.kind, ()) if name in record.more},
    )
