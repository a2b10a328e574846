"""Start subscriptions and one-time purchases.

The attempt is committed before the gateway is called; the outcome is recorded afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from billing.charging.discount_redemption import discounts_for_codes, redeem
from billing.charging.hosted_payments import open_page
from billing.charging.hosted_tax import store_calculation
from billing.charging.payment_processor import PaymentProcessor
from billing.model import policy
from billing.model.buyer_details import kept_when_paid
from billing.model.catalogue import Product
from billing.model.lifecycle import LIVE
from billing.model.parties import Business
from billing.model.subscriptions import Subscription
from billing.pricing import prices
from billing.pricing.calculated_tax import Calculated, KnownAnswers
from billing.pricing.limits import ORDER, check_amount
from billing.pricing.line_items import cart_of
from billing.subscriptions.consents import Agreed, record
from billing.subscriptions.first_payment import PaymentTerms, create_payment
from billing.subscriptions.new_subscription import new_subscription
from billing.subscriptions.purchase_checks import check_billing_currency, chosen_addons, load_parties, load_product
from billing.subscriptions.purchase_details import checked_details, customer_type_for, details_for_purchase
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit
from core.scope import Scope, customer_of


@dataclass(frozen=True)
class StartedPurchase:
    """A purchase that was started. `link`: the hosted page, None when a saved method was charged at once."""

    payment_id: str
    total_minor: int
    currency: str
    subscription_id: str | None = None
    invoice_id: str | None = None
    link: str | None = None
    status: str = "processing"
    recurring_pre_tax_minor: int = 0


def subscribe(
    processor: PaymentProcessor,
    scope: Scope,
    *,
    customer_id: str,
    product_id: str,
    quantity: int = 1,
    billing: dict[str, Any] | None = None,
    payment_method_id: str | None = None,
    return_url: str | None = None,
    trial_days: int | None = None,
    addons: Sequence[dict[str, Any]] = (),
    metadata: dict[str, Any] | None = None,
    tax_id: str | None = None,
    business_name: str | None = None,
    locale: str = "en",
    discount_codes: Sequence[str] = (),
    currency: str | None = None,
    consents: Sequence[Agreed] = (),
) -> StartedPurchase:
    """Create a pending subscription and start its first payment. Opens its own sessions, narrowed to the customer's business.

    Raises NotFound (customer, product, method), Invalid (INVALID_TAX_ID: by the rules of the address's country), Conflict.
    """
    if quantity < 1:
        raise Invalid("INVALID_QUANTITY", N_("The quantity must be 1 or more."), fields={"quantity": N_("1 or more.")})

    def order(known: KnownAnswers) -> tuple[str, StartedPurchase]:
        with _open_session(processor, scope, customer_id) as db:
            business, customer = load_parties(db, customer_id)
            processor.accounts.for_new(db, business.business_id)
            product = load_product(db, product_id)
            _check_subscribable(db, business, customer_id, product)
            details = checked_details(db, customer, details_for_purchase(customer, billing, business_name, tax_id))
            check_billing_currency(currency, product)
            discounts = discounts_for_codes(db, business, customer, discount_codes, currency=product.currency, product_ids=[product.id])
            subscription = new_subscription(
                business, product, customer_id, quantity, trial_days, discounts=discounts, metadata=metadata,
                details=details, customer_type=customer_type_for(customer, details), addons=chosen_addons(db, product, addons),
            )  # fmt: skip
            taxed = _first_period(known, business, subscription, product)
            db.add(subscription)
            db.flush()
            check_amount(prices.total(taxed.lines), product.currency, "quantity", ORDER)
            charged = [] if subscription.trial_days else taxed.lines  # a trial takes nothing now
            intent = kept_when_paid(billing, business_name, details.tax_id if tax_id else None)
            payment = create_payment(
                processor, db, customer, PaymentTerms(payment_method_id, return_url, metadata, discounts, intent),
                operation=f"new:{subscription.id}", amount=prices.total(charged), currency=product.currency, cart=cart_of(charged),
                tax=_tax_due(charged), billing=details.address, subscription_id=subscription.id, brand_id=product.brand_id,
            )  # fmt: skip
            if charged:
                store_calculation(db, customer_id, f"new:{subscription.id}", taxed)
            redeem(db, customer, discounts, payment.id, subscription.id)
            record(db, consents, business_id=business.business_id, customer_id=customer_id, subscription_id=subscription.id)
            _emit_created(db, subscription, product)
            started = StartedPurchase(payment.id, payment.amount_minor, product.currency, subscription.id)
            return business.business_id, replace(started, recurring_pre_tax_minor=_recurring_net(business, subscription, product))

    return _start_payment(processor, *processor.taxes.with_answers(order), payment_method_id, locale)


def buy(
    processor: PaymentProcessor,
    scope: Scope,
    *,
    customer_id: str,
    cart: Sequence[tuple[str, int]],
    billing: dict[str, Any] | None = None,
    payment_method_id: str | None = None,
    return_url: str | None = None,
    metadata: dict[str, Any] | None = None,
    locale: str = "en",
    discount_codes: Sequence[str] = (),
    tax_id: str | None = None,
    business_name: str | None = None,
    currency: str | None = None,
    consents: Sequence[Agreed] = (),
) -> StartedPurchase:
    """Start a one-time purchase of 1 to 100 products of one currency. Raises as `subscribe`."""
    if not 1 <= len(cart) <= 100 or any(quantity < 1 for _, quantity in cart):
        problem = "A cart must have 1 to 100 products, each with a quantity of 1 or more."
        raise Invalid("INVALID_QUANTITY", problem, fields={"product_cart": N_("1 to 100.")})

    def order(known: KnownAnswers) -> tuple[str, StartedPurchase]:
        with _open_session(processor, scope, customer_id) as db:
            business, customer = load_parties(db, customer_id)
            processor.accounts.for_new(db, business.business_id)
            items = [(load_product(db, product_id), quantity) for product_id, quantity in cart]
            first = _check_cart([product for product, _ in items])
            details = checked_details(db, customer, details_for_purchase(customer, billing, business_name, tax_id))
            product_ids = [product.id for product, _ in items]
            discounts = discounts_for_codes(db, business, customer, discount_codes, currency=first.currency, product_ids=product_ids)
            check_billing_currency(currency, first)
            lines = prices.for_cart(business, items, details.address, discounts, details.tax_id)
            taxed = known.apply(
                business, lines, [product.tax_category for product, _ in items], details.address,
                business_id=business.business_id, currency=first.currency, tax_id=details.tax_id,
            )  # fmt: skip
            check_amount(prices.total(taxed.lines), first.currency, "product_cart", ORDER)
            payment_id = new_id("pay")
            intent = kept_when_paid(billing, business_name, details.tax_id if tax_id else None)
            payment = create_payment(
                processor, db, customer, PaymentTerms(payment_method_id, return_url, metadata, discounts, intent),
                operation=f"purchase:{payment_id}", amount=prices.total(taxed.lines), currency=first.currency, cart=cart_of(taxed.lines),
                tax=sum(line.tax_minor for line in taxed.lines), billing=details.stored(), payment_id=payment_id,
                customer_type=customer_type_for(customer, details),
            )  # fmt: skip
            store_calculation(db, customer_id, f"purchase:{payment_id}", taxed)
            redeem(db, customer, discounts, payment.id, None)
            record(db, consents, business_id=business.business_id, customer_id=customer_id, payment_id=payment.id)
            return business.business_id, StartedPurchase(payment.id, payment.amount_minor, payment.currency)

    return _start_payment(processor, *processor.taxes.with_answers(order), payment_method_id, locale)


def _check_cart(products: Sequence[Product]) -> Product:
    """Return the first product. Raises Invalid unless all are one-time products in one currency."""
    if len({product.currency for product in products}) > 1 or any(product.is_recurring for product in products):
        problem = "A cart must contain only one-time products in one currency."
        raise Invalid(sentence=problem, fields={"product_cart": N_("These products cannot be bought together.")})
    return products[0]


def _first_period(known: KnownAnswers, business: Business, subscription: Subscription, product: Product) -> Calculated:
    """Return the lines of the first period with their tax, and note the rate on the subscription for what pages show."""
    lines = prices.for_period(business, subscription, product, clock.now(), clock.now())
    taxed = known.apply(
        business, lines, [product.tax_category] * len(lines), subscription.billing,
        business_id=business.business_id, currency=subscription.currency, tax_id=subscription.tax_id,
    )  # fmt: skip
    taxed.note_on(subscription)
    return taxed


def _check_subscribable(db: ScopedSession, business: Business, customer_id: str, product: Product) -> None:
    if not product.is_recurring:
        raise Invalid(sentence=N_("This is a one-time product. It has no subscription."), fields={"product_id": N_("Not recurring.")})
    if not policy.setting(business, "multiple_subscriptions") and db.scalar(
        select(Subscription.id).where(Subscription.customer_id == customer_id, Subscription.status.in_(LIVE)).limit(1)
    ):
        raise Conflict("CUSTOMER_HAS_EXISTING_SUBSCRIPTION", N_("This customer already has a subscription."))


def _tax_due(lines: Sequence[prices.PriceLine]) -> int:
    """The tax within what is charged, in minor units; 0 where nothing is charged."""
    return sum(line.tax_minor for line in lines) if prices.total(lines) else 0


def _recurring_net(business: Business, subscription: Subscription, product: Product) -> int:
    """A full period before tax and without discounts, in minor units."""
    return sum(line.net_minor for line in prices.at_agreed_price(business, subscription, product))


def _emit_created(db: ScopedSession, subscription: Subscription, product: Product) -> None:
    emit(
        db,
        "subscription.created",
        business_id=subscription.business_id,
        customer_id=subscription.customer_id,
        noun=subscription.id,
        data={"product": product.name},
    )


def _start_payment(
    processor: PaymentProcessor, business_id: str, started: StartedPurchase, payment_method_id: str | None, locale: str
) -> StartedPurchase:
    if payment_method_id:
        return replace(started, status=processor.start(business_id, started.payment_id))
    return replace(started, link=open_page(processor, business_id, started.payment_id, locale), status="requires_payment_method")


def _open_session(processor: PaymentProcessor, scope: Scope, customer_id: str) -> Any:
    if scope.kind == "person":
        scope = _narrow(scope, customer_id)
    return processor.database.open(scope, write=True)


def _narrow(scope: Scope, customer_id: str) -> Scope:
    """A person's scope, reduced to one of their customer rows. Raises NotFound for any other row."""
    for business_id, item in scope.pairs:
        if item == customer_id:
            return customer_of(business_id, item, scope.identity_id)
    raise NotFound(sentence=N_("There is no such customer."))
