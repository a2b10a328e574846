"""A subscription as pages show it. `queries.py` reads it; `row_query.py` has its columns in the same order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from billing.model.lifecycle import LIVE, UNPAID_STATES
from billing.pricing.terms import ProductTerms


@dataclass(slots=True)
class SubscriptionRow:
    """A subscription. Amounts in minor units of `currency`. `due_minor`: the unpaid amount of the open invoice."""

    business_id: str
    customer_id: str
    id: str
    status: str
    quantity: int
    currency: str
    unit_minor: int
    tax_inclusive: bool
    addons: list[dict[str, Any]]
    discounts: list[dict[str, Any]]
    interval: str
    interval_count: int
    zone: str
    anchor_at: datetime | None
    period_n: int
    previous_billing_at: datetime | None
    next_billing_at: datetime | None
    trial_ends_at: datetime | None
    expires_at: datetime | None
    cancel_at_period_end: bool
    cancelled_at: datetime | None
    paused_at: datetime | None
    on_hold_at: datetime | None
    billing: dict[str, Any]
    tax_id: str | None
    business_name: str | None
    collected_by: str
    credit_minor: int
    created_at: datetime
    product_id: str
    name: str
    method_id: str | None
    brand: str | None
    last4: str | None
    kind: str | None
    expiry_month: int | None
    expiry_year: int | None
    invoice_id: str | None
    invoice_number: str | None
    due_minor: int | None
    payment_id: str | None
    payment_status: str | None
    payment_unknown: bool | None
    payment_days: int | None  # working days within which the bank confirms the open payment
    payment_minor: int | None
    payment_at: datetime | None
    payment_sent_at: datetime | None
    payment_url: str | None  # the provider's or the bank's page of the open payment
    payment_kind: str | None
    planned_product_id: str | None = None  # the change scheduled for the next billing date
    planned_name: str | None = None
    planned_quantity: int | None = None
    planned_unit_minor: int | None = None
    planned_addons: list[dict[str, Any]] | None = None
    planned_tax_inclusive: bool | None = None
    planned_interval: str | None = None
    planned_interval_count: int | None = None
    planned_discounts: list[dict[str, Any]] | None = None
    tax_category: str | None = None
    planned_tax_category: str | None = None
    has_other_plans: bool = False  # the subscription may change to another plan
    offered_addons: list[str] | None = None
    price_type: str = ""
    charge_from: datetime | None = None  # a renewal whose notice was late is not charged before
    price_change_id: str | None = None  # the announced price change
    changed_unit_minor: int | None = None
    unit_before_minor: int | None = None
    price_changes_at: datetime | None = None
    price_needs_consent: bool | None = None
    price_answer: str | None = None
    changed_total_minor: int | None = None  # of one period, tax and discounts included
    price_change_stopped_at: datetime | None = None
    has_payment_account: bool = True
    method_is_chargeable: bool | None = True
    concluded_at: datetime | None = None
    customer_type: str | None = None
    is_delivered: bool = False  # digital content, delivered with the customer's consent
    is_withdrawn: bool = False

    @property
    def product(self) -> ProductTerms:
        """The product as prices need it. Its name is the subscription's."""
        return ProductTerms(self.product_id, self.name, self.tax_category)

    @property
    def has_stale_method(self) -> bool:
        """Its method belongs to a payment account that takes no new charges, so that the customer has to add one again."""
        return bool(self.method_id) and self.collected_by == "us" and self.status in LIVE and not self.method_is_chargeable

    @property
    def is_trial(self) -> bool:
        return self.status == "active" and self.trial_ends_at is not None and self.period_n == 0

    @property
    def postponed_until(self) -> datetime | None:
        """When the next charge is made, if it waits for a notice that was late."""
        is_after = self.charge_from and self.next_billing_at and self.charge_from > self.next_billing_at
        return self.charge_from if is_after and self.status == "active" and not self.cancel_at_period_end else None

    @property
    def is_ending(self) -> bool:
        return self.cancel_at_period_end and self.status in LIVE

    @property
    def is_checking(self) -> bool:
        """The outcome of the open payment is unknown, so no other payment may be offered."""
        return bool(self.payment_unknown)

    @property
    def awaits_bank(self) -> bool:
        """The bank confirms the open payment within days. No other payment may be offered."""
        return bool(self.payment_days) and self.payment_status == "processing" and not self.payment_unknown

    @property
    def is_confirming(self) -> bool:
        """The customer has just answered the bank, and the bank's decision is pending."""
        return self.payment_status == "processing" and not self.payment_unknown and not self.payment_days and self.payment_url is not None

    @property
    def may_replace(self) -> bool:
        """A renewal waits for the bank's confirmation and may also be paid with another method."""
        return self.needs_confirming and self.payment_kind == "renewal" and self.collected_by == "us"

    @property
    def in_flight(self) -> bool:
        return self.payment_id is not None and self.payment_status != "requires_payment_method"

    @property
    def needs_confirming(self) -> bool:
        return self.payment_status == "requires_customer_action" and not self.payment_unknown

    @property
    def is_unfinished(self) -> bool:
        """A first payment or a plan change is open on the provider's page: no card entered yet, or the bank's confirmation is pending."""
        return (
            self.payment_status == "requires_payment_method"
            and self.payment_kind in ("new", "plan_change")
            and self.payment_url is not None
        )

    @property
    def price_minor(self) -> int:
        """The agreed price of one period with add-ons, before tax unless `tax_inclusive`."""
        addons = sum(int(addon.get("unit_minor", 0)) * int(addon.get("quantity", 1)) for addon in self.addons)
        return self.unit_minor * self.quantity + addons

    @property
    def dues_minor(self) -> int:
        """The amount to pay now. Zero while a payment is in progress.

        Another system may leave a subscription active while an invoice is open.
        """
        if self.collected_by != "us" and self.status in LIVE:
            return self.due_minor or 0
        if self.status not in UNPAID_STATES or self.in_flight:
            return 0
        return self.due_minor or 0

    @property
    def has_price_change(self) -> bool:
        """An announced price change is open: not stopped by the business, and no other price was agreed since."""
        is_open = self.price_change_id is not None and self.price_change_stopped_at is None and not self.is_ending
        return is_open and self.status in LIVE and self.unit_minor == self.unit_before_minor and self.planned_product_id is None

    def coming(self) -> SubscriptionRow:
        """The row as it will be at its next billing date, with the scheduled plan change or the announced price applied."""
        if self.planned_product_id is None:
            counts = self.has_price_change and (self.price_answer == "accepted" or not self.price_needs_consent)
            is_next = self.price_changes_at and self.next_billing_at and self.next_billing_at >= self.price_changes_at
            return replace(self, unit_minor=self.changed_unit_minor or 0, price_change_id=None) if counts and is_next else self
        return replace(
            self,
            product_id=self.planned_product_id,
            name=self.planned_name or self.name,
            quantity=self.planned_quantity or 1,
            unit_minor=self.planned_unit_minor or 0,
            addons=self.planned_addons or [],
            discounts=self.planned_discounts or [],
            tax_inclusive=bool(self.planned_tax_inclusive),
            interval=self.planned_interval or self.interval,
            interval_count=self.planned_interval_count or 1,
            tax_category=self.planned_tax_category,
            planned_product_id=None,
        )
