"""Subscribing and buying: the attempt is written and committed, then the gateway is asked, then the outcome recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from billing import plans, policy, pricing
from billing.authors import author_of
from billing.buyer_details import kept_when_paid
from billing.cart import cart_of
from billing.catalogue import Addon, Product
from billing.commands.blocking import refuse_blocked
from billing.commands.businesses import ORDER, check_amount
from billing.commands.products import PRICE_TYPES
from billing.commands.purchase_details import details_for_purchase
from billing.lifecycle import LIVE
from billing.methods import method_of
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod
from billing.redeeming import held_for, use
from billing.subscriptions import Subscription
from billing.till import Till
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, Invalid, NotFound
from core.ids import new_id
from core.outbox import emit
from core.scope import Scope, customer_of

_FIRST, _PAGE = timedelta(seconds=30), timedelta(minutes=2)
"""When the reconciler first asks about a charge, or a hosted page, that we did not hear of again."""


@dataclass(frozen=True)
class Started:
    """What began. `link` is the hosted page, None when a saved method was charged at once."""

    payment_id: str
    total_minor: int
    currency: str
    subscription_id: str | None = None
    invoice_id: str | None = None
    link: str | None = None
    status: str = "processing"
    recurring_pre_tax_minor: int = 0


def subscribe(
    till: Till, scope: Scope, *, customer_id: str, product_id: str, quantity: int = 1, billing: dict[str, Any] | None = None,
    payment_method_id: str | None = None, return_url: str | None = None, trial_days: int | None = None,
    addons: Sequence[dict[str, Any]] = (), metadata: dict[str, Any] | None = None, tax_id: str | None = None,
    business_name: str | None = None, locale: str = "en", discount_codes: Sequence[str] = (), currency: str | None = None,
) -> Started:
    """A pending subscription and its first payment. Opens its own sessions under the asking business's scope.

    Raises NotFound (customer, product, method), Invalid (INVALID_TAX_ID: by the rules of the address's country), Conflict.
    """
    if quantity < 1:
        raise Invalid("INVALID_QUANTITY", "The quantity is 1 or more.", fields={"quantity": "1 or more."})
    with _writing(till, scope, customer_id) as db:
        business, customer = parties(db, customer_id)
        product = _product(db, product_id)
        if not product.is_recurring:
            raise Invalid(sentence="This product is bought once; it has no subscription.", fields={"product_id": "Not recurring."})
        if not policy.setting(business, "multiple_subscriptions") and db.scalar(
            select(Subscription.id).where(Subscription.customer_id == customer_id, Subscription.status.in_(LIVE)).limit(1)
        ):
            raise Conflict("CUSTOMER_HAS_EXISTING_SUBSCRIPTION", "This customer has a subscription already.")
        details = details_for_purchase(customer, billing, business_name, tax_id)
        address, number = details.address, details.tax_id
        _in_its_currency(currency, product)
        held = held_for(db, business, customer, discount_codes, currency=product.currency, product_ids=[product.id])
        subscription = Subscription(
            business_id=business.business_id, customer_id=customer_id, id=new_id("sub"), product_id=product.id, brand_id=product.brand_id,
            status="pending", quantity=quantity, currency=product.currency, unit_minor=product.price_minor,
            tax_inclusive=product.tax_inclusive, addons=_addons(db, product, addons), meters=list(product.meters), discounts=held,
            interval=product.interval, interval_count=product.interval_count, term_interval=product.term_interval or "Year",
            term_count=product.term_count, zone=business.zone, period_n=0, next_billing_at=clock.now(), previous_billing_at=clock.now(),
            trial_days=product.trial_days if trial_days is None else trial_days, billing=address, tax_id=details.tax_id,
            business_name=details.business_name, collected_by="us", credit_minor=0, cancel_at_period_end=False, meta=metadata or {},
            created_at=clock.now(),
        )
        db.add(subscription)
        db.flush()
        lines = pricing.for_period(business, subscription, product, clock.now(), clock.now())
        amount = 0 if subscription.trial_days else pricing.total(lines)
        check_amount(pricing.total(lines), product.currency, "quantity", ORDER)
        payment = _payment(till, db, customer, operation=f"new:{subscription.id}", amount=amount, currency=product.currency,
                           cart=[] if subscription.trial_days else cart_of(lines), tax=sum(one.tax_minor for one in lines) if amount else 0,
                           billing=address, method_id=payment_method_id, return_url=return_url, metadata=metadata,
                           subscription_id=subscription.id, brand_id=product.brand_id, held=held,
                           intent=kept_when_paid(billing, business_name, details.tax_id if tax_id else None))
        use(db, customer, held, payment.id, subscription.id)
        emit(db, "subscription.created", business_id=business.business_id, customer_id=customer_id, noun=subscription.id,
             data={"product": product.name})
        recurring = sum(one.net_minor for one in pricing.for_plan(
            business, address, product, quantity, subscription.unit_minor, subscription.addons, subscription.tax_inclusive, tax_id=number))
        started = Started(payment.id, amount, product.currency, subscription.id, recurring_pre_tax_minor=recurring)
    return _go(till, business.business_id, started, payment_method_id, locale)


def buy(
    till: Till, scope: Scope, *, customer_id: str, cart: Sequence[tuple[str, int]], billing: dict[str, Any] | None = None,
    payment_method_id: str | None = None, return_url: str | None = None, metadata: dict[str, Any] | None = None, locale: str = "en",
    discount_codes: Sequence[str] = (), tax_id: str | None = None, business_name: str | None = None,
    currency: str | None = None,
) -> Started:
    """A one-time purchase of 1 to 100 products of one currency. Raises as `subscribe`."""
    if not 1 <= len(cart) <= 100 or any(quantity < 1 for _, quantity in cart):
        raise Invalid("INVALID_QUANTITY", "A cart has 1 to 100 products, each once or more.", fields={"product_cart": "1 to 100."})
    with _writing(till, scope, customer_id) as db:
        business, customer = parties(db, customer_id)
        items = [(_product(db, product_id), quantity) for product_id, quantity in cart]
        currencies = {product.currency for product, _ in items}
        if len(currencies) > 1 or any(product.is_recurring for product, _ in items):
            raise Invalid(sentence="A cart holds one-time products of one currency.", fields={"product_cart": "Not together."})
        details = details_for_purchase(customer, billing, business_name, tax_id)
        address = details.address
        held = held_for(db, business, customer, discount_codes, currency=items[0][0].currency,
                        product_ids=[product.id for product, _ in items])
        _in_its_currency(currency, items[0][0])
        lines = pricing.for_cart(business, items, address.get("country"), held, details.tax_id)
        check_amount(pricing.total(lines), items[0][0].currency, "product_cart", ORDER)
        payment_id = new_id("pay")
        payment = _payment(till, db, customer, operation=f"purchase:{payment_id}", amount=pricing.total(lines), currency=currencies.pop(),
                           cart=cart_of(lines), tax=sum(one.tax_minor for one in lines), billing=details.stored(),
                           method_id=payment_method_id, return_url=return_url, metadata=metadata, payment_id=payment_id, held=held,
                           intent=kept_when_paid(billing, business_name, details.tax_id if tax_id else None))
        use(db, customer, held, payment.id, None)
        started = Started(payment.id, payment.amount_minor, payment.currency)
    return _go(till, business.business_id, started, payment_method_id, locale)


def _go(till: Till, business_id: str, started: Started, payment_method_id: str | None, locale: str) -> Started:
    if payment_method_id:
        return replace(started, status=till.start(business_id, started.payment_id))
    return replace(started, link=till.open_page(business_id, started.payment_id, locale), status="requires_payment_method")


def _writing(till: Till, scope: Scope, customer_id: str) -> Any:
    till.gateway  # noqa: B018 - raises in words when there is no provider, before anything is written
    if scope.kind == "person":
        scope = _narrowed(scope, customer_id)
    return till.database.open(scope, write=True)


def _narrowed(scope: Scope, customer_id: str) -> Scope:
    """A person buys as one of their own customers: that row and its business only. Raises NotFound for anybody else's."""
    for business_id, one in scope.pairs:
        if one == customer_id:
            return customer_of(business_id, one, scope.identity_id)
    raise NotFound(sentence="There is no such customer.")


def parties(db: ScopedSession, customer_id: str) -> tuple[Business, Customer]:
    business = db.scalar(select(Business))
    customer = db.scalar(select(Customer).where(Customer.customer_id == customer_id))
    if business is None or customer is None:
        raise NotFound(sentence="There is no such customer.")
    if business.archived_at:
        raise Conflict("BUSINESS_ARCHIVED", "This business is closed; nothing can be bought from it.")
    refuse_blocked(db, customer_id)
    return business, customer


def _product(db: ScopedSession, product_id: str) -> Product:
    product = db.scalar(select(Product).where(Product.id == product_id, Product.archived_at.is_(None)))
    if product is None:
        raise NotFound(sentence="There is no such product.")
    if product.price_type not in PRICE_TYPES:
        raise Invalid("UNSUPPORTED_ACTION", plans.BY_USE, fields={"product_id": plans.BY_USE})
    return product


def _in_its_currency(wanted: str | None, product: Product) -> None:
    if wanted not in (None, product.currency):
        words = f"This is sold in {product.currency}."
        raise Invalid("UNSUPPORTED_CURRENCY", f"billing_currency: {words}", fields={"billing_currency": words})


def _addons(db: ScopedSession, product: Product, wanted: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = [one["addon_id"] for one in wanted]
    if len(set(ids)) != len(ids):
        raise Invalid("DUPLICATE_ADDON_IDS_IN_REQUEST", "An add-on is named twice.", fields={"addons": "Named twice."})
    rows = {addon.id: addon for addon in db.scalars(select(Addon).where(Addon.id.in_(ids)))} if ids else {}
    if any(one.get("quantity", 1) < 1 for one in wanted):
        raise Invalid("INVALID_QUANTITY", "The quantity is 1 or more.", fields={"addons": "1 or more of each."})
    for one in ids:
        if one in rows and rows[one].currency != product.currency:
            raise Invalid(sentence="An add-on costs in the currency of its product.", fields={"addons": "Another currency."})
        if one not in rows or (product.addons and one not in product.addons):
            raise NotFound("MISSING_ADDON_IDS", f"There is no add-on {one[:40]} for this product.")
    return [{"addon_id": one["addon_id"], "name": rows[one["addon_id"]].name, "quantity": one.get("quantity", 1),
             "unit_minor": rows[one["addon_id"]].price_minor} for one in wanted]


def _payment(
    till: Till, db: ScopedSession, customer: Customer, *, operation: str, amount: int, currency: str, cart: list[dict[str, Any]], tax: int,
    billing: dict[str, Any], method_id: str | None, return_url: str | None, metadata: dict[str, Any] | None,
    subscription_id: str | None = None, payment_id: str | None = None, brand_id: str | None = None,
    held: Sequence[dict[str, Any]] = (), intent: dict[str, Any] | None = None,
) -> Payment:
    method = None
    if method_id:
        method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == method_id, PaymentMethod.removed_at.is_(None),
                                                       PaymentMethod.held_by == "us",
                                                       PaymentMethod.customer_id == customer.customer_id))
        if method is None:
            raise NotFound(sentence="There is no such payment method.")
    at = clock.now()
    payment = Payment(
        business_id=customer.business_id, customer_id=customer.customer_id, id=payment_id or new_id("pay"), subscription_id=subscription_id,
        brand_id=brand_id or customer.business_id, charge_type="new", amount_minor=amount, tax_minor=tax, currency=currency,
        status="processing" if method else "requires_payment_method", is_open=True, unknown=False,
        key=till.key(customer.business_id, operation, 1), attempt=1, off_session=False, payment_method_id=method.id if method else None,
        method=method_of(method) if method else {}, gateway=till.gateway.name, return_url=return_url, cart=cart,
        discounts=list(held), billing=billing, intent=intent or {},
        meta=metadata or {}, refunded_minor=0, fence=0, author=author_of(db), check_at=clock.wall() + (_FIRST if method else _PAGE),
        created_at=at, updated_at=at,
    )
    db.add(payment)
    return payment
