"""Subscriptions as pages show them: with product, card, the invoice that is open and the payment under way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, select
from sqlalchemy.orm import aliased

from billing.catalogue import Collection, CollectionGroup, CollectionItem, Product
from billing.invoices import Invoice
from billing.lifecycle import LIVE
from billing.payments import Payment, PaymentMethod
from billing.provenance import made_here_first
from billing.quotes import ScheduledChange
from billing.subscriptions import Subscription
from core.db import ScopedSession
from core.errors import NotFound

SHOWN = (*LIVE, "pending")
PAST = ("cancelled", "expired", "failed")


@dataclass(slots=True)
class SubscriptionRow:
    """Amounts in minor units of `currency`. `due_minor`: what the open invoice still asks for."""

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
    payment_minor: int | None
    payment_at: datetime | None
    payment_sent_at: datetime | None
    payment_url: str | None  # the provider's or the bank's page of the open payment
    payment_kind: str | None
    planned_product_id: str | None = None  # the change that waits for the next billing date, if there is one
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
    has_other_plans: bool = False  # a plan that may be chosen instead, by the rules of `plans.options_for`
    offered_addons: list[str] | None = None
    price_type: str = ""

    @property
    def is_trial(self) -> bool:
        return self.status == "active" and self.trial_ends_at is not None and self.period_n == 0

    @property
    def is_ending(self) -> bool:
        return self.cancel_at_period_end and self.status in LIVE

    @property
    def is_checking(self) -> bool:
        """An open payment whose outcome nobody knows: no other may be offered."""
        return bool(self.payment_unknown)

    @property
    def is_confirming(self) -> bool:
        """The bank was answered a moment ago, and its word is on the way."""
        return self.payment_status == "processing" and not self.payment_unknown and self.payment_url is not None

    @property
    def may_replace(self) -> bool:
        """A renewal waits for the bank's confirmation: it may also be paid with another method."""
        return self.needs_confirming and self.payment_kind == "renewal" and self.collected_by == "us"

    @property
    def in_flight(self) -> bool:
        return self.payment_id is not None and self.payment_status != "requires_payment_method"

    @property
    def needs_confirming(self) -> bool:
        return self.payment_status == "requires_customer_action" and not self.payment_unknown

    @property
    def is_unfinished(self) -> bool:
        """A first payment or a plan change waits on the provider's page: no card was entered, or the bank's confirmation is open there."""
        return (self.payment_status == "requires_payment_method" and self.payment_kind in ("new", "plan_change")
                and self.payment_url is not None)

    @property
    def price_minor(self) -> int:
        """The price agreed for one period, add-ons included; tax comes on top unless `tax_inclusive`."""
        return self.unit_minor * self.quantity + sum(one.get("unit_minor", 0) * one.get("quantity", 1) for one in self.addons)

    @property
    def dues_minor(self) -> int:
        """What is to be paid now, before anything else happens. Zero while a payment is under way."""
        if self.status not in ("on_hold", "past_due") or self.in_flight:
            return 0
        return self.due_minor or 0

    def coming(self) -> SubscriptionRow:
        """As it will be at its next billing date: with the change that waits for it made."""
        if self.planned_product_id is None:
            return self
        return replace(
            self, product_id=self.planned_product_id, name=self.planned_name or self.name, quantity=self.planned_quantity or 1,
            unit_minor=self.planned_unit_minor or 0, addons=self.planned_addons or [],
            discounts=self.planned_discounts or [], tax_inclusive=bool(self.planned_tax_inclusive),
            interval=self.planned_interval or self.interval, interval_count=self.planned_interval_count or 1,
            tax_category=self.planned_tax_category, planned_product_id=None)


_Planned = aliased(Product)
_Other, _Place, _OtherPlace = aliased(Product), aliased(CollectionItem), aliased(CollectionItem)


def _other_plans() -> Any:
    same = Subscription.business_id
    return (
        select(_Other.id)
        .join(_OtherPlace, and_(_OtherPlace.business_id == same, _OtherPlace.product_id == _Other.id, _OtherPlace.enabled))
        .join(_Place, and_(_Place.business_id == same, _Place.collection_id == _OtherPlace.collection_id))
        .join(CollectionGroup, and_(CollectionGroup.business_id == same, CollectionGroup.id == _OtherPlace.group_id,
                                    CollectionGroup.enabled))
        .join(Collection, and_(Collection.business_id == same, Collection.id == _Place.collection_id, Collection.archived_at.is_(None)))
        .where(_Other.business_id == same, _Place.product_id == Subscription.product_id, _Other.id != Subscription.product_id,
               _Other.archived_at.is_(None), _Other.price_type != "one_time_price", _Other.currency == Subscription.currency)
        .correlate(Subscription).exists()
    )


_COLUMNS = (
    Subscription.business_id, Subscription.customer_id, Subscription.id, Subscription.status, Subscription.quantity,
    Subscription.currency, Subscription.unit_minor, Subscription.tax_inclusive, Subscription.addons, Subscription.discounts,
    Subscription.interval, Subscription.interval_count, Subscription.zone, Subscription.anchor_at, Subscription.period_n,
    Subscription.previous_billing_at, Subscription.next_billing_at, Subscription.trial_ends_at, Subscription.expires_at,
    Subscription.cancel_at_period_end, Subscription.cancelled_at, Subscription.paused_at, Subscription.on_hold_at, Subscription.billing,
    Subscription.tax_id, Subscription.business_name, Subscription.collected_by, Subscription.credit_minor, Subscription.created_at,
    Subscription.product_id, Product.name, PaymentMethod.id, PaymentMethod.brand, PaymentMethod.last4, PaymentMethod.kind,
    PaymentMethod.expiry_month, PaymentMethod.expiry_year, Invoice.id, Invoice.number, Invoice.due_minor, Payment.id, Payment.status,
    Payment.unknown, Payment.amount_minor, Payment.created_at, Payment.sent_at, Payment.hosted_url, Payment.charge_type,
    ScheduledChange.product_id, _Planned.name,
    ScheduledChange.quantity, ScheduledChange.unit_minor, ScheduledChange.addons, _Planned.tax_inclusive, _Planned.interval,
    _Planned.interval_count, ScheduledChange.discounts, Product.tax_category, _Planned.tax_category, _other_plans(), Product.addons,
    Product.price_type,
)


def _query() -> Select[Any]:
    same = Subscription.business_id
    return (
        select(*_COLUMNS)
        .join(Product, and_(Product.business_id == same, Product.id == Subscription.product_id))
        .outerjoin(PaymentMethod, and_(PaymentMethod.business_id == same, PaymentMethod.id == Subscription.payment_method_id))
        .outerjoin(Invoice, and_(Invoice.business_id == same, Invoice.subscription_id == Subscription.id, Invoice.status == "open"))
        .outerjoin(Payment, and_(Payment.business_id == same, Payment.customer_id == Subscription.customer_id,
                                 Payment.subscription_id == Subscription.id, Payment.is_open.is_(True)))
        .outerjoin(ScheduledChange, and_(ScheduledChange.business_id == same, ScheduledChange.subscription_id == Subscription.id,
                                         ScheduledChange.cancelled_at.is_(None), ScheduledChange.applied_at.is_(None)))
        .outerjoin(_Planned, and_(_Planned.business_id == same, _Planned.id == ScheduledChange.product_id))
    )


def live(db: ScopedSession, limit: int = 500) -> list[SubscriptionRow]:
    """What is not over, the next date first. One statement, whatever the number of businesses."""
    query = _query().where(Subscription.status.in_(SHOWN)).order_by(Subscription.next_billing_at, Subscription.id).limit(limit)
    return _once(db.execute(query))


def past(db: ScopedSession, before: tuple[datetime, str] | None = None, limit: int = 25) -> list[SubscriptionRow]:
    """What is over, newest first; `before` is (created_at, id) of the last row seen."""
    query = _query().where(Subscription.status.in_(PAST)).order_by(Subscription.created_at.desc(), Subscription.id.desc()).limit(limit)
    if before:
        at, one = before
        query = query.where((Subscription.created_at < at) | ((Subscription.created_at == at) & (Subscription.id < one)))
    return _once(db.execute(query))


def one(db: ScopedSession, subscription_id: str) -> SubscriptionRow:
    """One subscription; NotFound when it is nobody's or somebody else's."""
    rows = _once(db.execute(_query().where(Subscription.id == subscription_id)
                            .order_by(made_here_first(Subscription), Subscription.business_id)))
    if not rows:
        raise NotFound()
    return rows[0]


def product_of(db: ScopedSession, business_id: str, product_id: str) -> Product:
    """What a subscription is for, with its picture and download. Raises NotFound."""
    found = db.scalar(select(Product).where(Product.business_id == business_id, Product.id == product_id))
    if found is None:
        raise NotFound()
    return found


def _once(rows: Any) -> list[SubscriptionRow]:
    """Several open invoices would repeat their subscription: the first one stands for it."""
    found: dict[tuple[str, str], SubscriptionRow] = {}
    for row in rows:
        one = SubscriptionRow(*row)
        found.setdefault((one.business_id, one.id), one)
    return list(found.values())
