"""The select statement of subscription rows, with the columns in the order of `subscription_row.SubscriptionRow`."""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import aliased

from billing.model.catalogue import Collection, CollectionGroup, CollectionItem, Product
from billing.model.consents import Consent
from billing.model.invoices import Invoice
from billing.model.payment_accounts import is_chargeable, takes_charges_of
from billing.model.payments import Payment, PaymentMethod
from billing.model.price_changes import PriceChange, SubscriptionPriceChange
from billing.model.quotes import ScheduledChange
from billing.model.subscriptions import Subscription
from billing.model.withdrawals import Withdrawal
from core.db import ScopedSession

_Planned = aliased(Product)
_Other, _Place, _OtherPlace = aliased(Product), aliased(CollectionItem), aliased(CollectionItem)


def _has_other_plans() -> Any:
    """Whether the subscription may change to another plan, by the rules of `plan_changes.eligibility.options_for`."""
    same = Subscription.business_id
    return (
        select(_Other.id)
        .join(_OtherPlace, and_(_OtherPlace.business_id == same, _OtherPlace.product_id == _Other.id, _OtherPlace.enabled))
        .join(_Place, and_(_Place.business_id == same, _Place.collection_id == _OtherPlace.collection_id))
        .join(
            CollectionGroup, and_(CollectionGroup.business_id == same, CollectionGroup.id == _OtherPlace.group_id, CollectionGroup.enabled)
        )
        .join(Collection, and_(Collection.business_id == same, Collection.id == _Place.collection_id, Collection.archived_at.is_(None)))
        .where(
            _Other.business_id == same,
            _Place.product_id == Subscription.product_id,
            _Other.id != Subscription.product_id,
            _Other.archived_at.is_(None),
            _Other.price_type != "one_time_price",
            _Other.currency == Subscription.currency,
        )
        .correlate(Subscription)
        .exists()
    )


_COLUMNS = (
    Subscription.business_id,
    Subscription.customer_id,
    Subscription.id,
    Subscription.status,
    Subscription.quantity,
    Subscription.currency,
    Subscription.unit_minor,
    Subscription.tax_inclusive,
    Subscription.addons,
    Subscription.discounts,
    Subscription.interval,
    Subscription.interval_count,
    Subscription.zone,
    Subscription.anchor_at,
    Subscription.period_n,
    Subscription.previous_billing_at,
    Subscription.next_billing_at,
    Subscription.trial_ends_at,
    Subscription.expires_at,
    Subscription.cancel_at_period_end,
    Subscription.cancelled_at,
    Subscription.paused_at,
    Subscription.on_hold_at,
    Subscription.billing,
    Subscription.tax_id,
    Subscription.business_name,
    Subscription.collected_by,
    Subscription.credit_minor,
    Subscription.created_at,
    Subscription.product_id,
    Product.name,
    PaymentMethod.id,
    PaymentMethod.brand,
    PaymentMethod.last4,
    PaymentMethod.kind,
    PaymentMethod.expiry_month,
    PaymentMethod.expiry_year,
    Invoice.id,
    Invoice.number,
    Invoice.due_minor,
    Payment.id,
    Payment.status,
    Payment.unknown,
    Payment.working_days,
    Payment.amount_minor,
    Payment.created_at,
    Payment.sent_at,
    Payment.hosted_url,
    Payment.charge_type,
    ScheduledChange.product_id,
    _Planned.name,
    ScheduledChange.quantity,
    ScheduledChange.unit_minor,
    ScheduledChange.addons,
    _Planned.tax_inclusive,
    _Planned.interval,
    _Planned.interval_count,
    ScheduledChange.discounts,
    Product.tax_category,
    _Planned.tax_category,
    _has_other_plans(),
    Product.addons,
    Product.price_type,
    Subscription.charge_from,
    SubscriptionPriceChange.id,
    SubscriptionPriceChange.unit_minor,
    SubscriptionPriceChange.old_unit_minor,
    SubscriptionPriceChange.applies_at,
    SubscriptionPriceChange.needs_consent,
    SubscriptionPriceChange.answer,
    SubscriptionPriceChange.total_minor,
    PriceChange.stopped_at,
)


def _is_delivered() -> Any:
    """Whether the customer agreed to the delivery of digital content before the contract, which ends the right to withdraw."""
    before = func.coalesce(Subscription.concluded_at, Subscription.created_at)
    return (
        select(Consent.id)
        .where(
            Consent.business_id == Subscription.business_id,
            Consent.subscription_id == Subscription.id,
            Consent.kind == "digital_content",
            Consent.recorded_at <= before,
        )
        .correlate(Subscription)
        .exists()
    )


def _is_withdrawn() -> Any:
    its = (Withdrawal.business_id == Subscription.business_id, Withdrawal.subscription_id == Subscription.id)
    return select(Withdrawal.id).where(*its).correlate(Subscription).exists()


def select_rows(db: ScopedSession) -> Select[Any]:
    """Select the columns of `SubscriptionRow`. Several open invoices repeat their subscription; see `queries.unique_rows`."""
    return _select_rows(tuple(db.settings.processor_kinds))


@functools.cache
def _select_rows(kinds: tuple[str, ...]) -> Select[Any]:
    """Build the statement once for the kinds of payment processors of this deployment: most pages use it."""
    same = Subscription.business_id
    return (
        select(
            *_COLUMNS,
            takes_charges_of(kinds, Subscription),
            is_chargeable(),
            Subscription.concluded_at,
            Subscription.customer_type,
            _is_delivered(),
            _is_withdrawn(),
        )
        .join(Product, and_(Product.business_id == same, Product.id == Subscription.product_id))
        .outerjoin(PaymentMethod, and_(PaymentMethod.business_id == same, PaymentMethod.id == Subscription.payment_method_id))
        .outerjoin(Invoice, and_(Invoice.business_id == same, Invoice.subscription_id == Subscription.id, Invoice.status == "open"))
        .outerjoin(
            Payment,
            and_(
                Payment.business_id == same,
                Payment.customer_id == Subscription.customer_id,
                Payment.subscription_id == Subscription.id,
                Payment.is_open.is_(True),
            ),
        )
        .outerjoin(
            ScheduledChange,
            and_(
                ScheduledChange.business_id == same,
                ScheduledChange.subscription_id == Subscription.id,
                ScheduledChange.cancelled_at.is_(None),
                ScheduledChange.applied_at.is_(None),
            ),
        )
        .outerjoin(_Planned, and_(_Planned.business_id == same, _Planned.id == ScheduledChange.product_id))
        .outerjoin(
            SubscriptionPriceChange,
            and_(
                SubscriptionPriceChange.business_id == same,
                SubscriptionPriceChange.subscription_id == Subscription.id,
                SubscriptionPriceChange.status == "announced",
            ),
        )
        .outerjoin(PriceChange, and_(PriceChange.business_id == same, PriceChange.id == SubscriptionPriceChange.price_change_id))
    )
