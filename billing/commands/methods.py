"""Saved ways to pay: choosing, adding and removing them. A method belongs to one customer row of one business, always."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select

from billing.authors import author_of
from billing.catalogue import Product
from billing.commands.paying import back_to, business_of, pay_dues, send
from billing.lifecycle import SUBSCRIPTION, may
from billing.method_use import PAYING, lock_all, usable, use_for, wanted_by
from billing.parties import Business, Customer
from billing.payments import Payment, PaymentMethod
from billing.subscriptions import Subscription
from billing.till import Till
from core import clock
from core.db import ScopedSession
from core.errors import Conflict, NotFound
from core.ids import new_id
from core.outbox import emit
from core.scope import Scope, system

FIRST_CHECK = timedelta(minutes=2)


@dataclass(frozen=True)
class Changed:
    """`link`: the hosted page to go to, None when it is done. For a subscription on hold `status`, `payment_id` and
    `error_code` are those of the payment of its dues (`paying.Paid`); otherwise status is `changed` or `requires_payment_method`."""

    link: str | None = None
    status: str = "changed"
    payment_id: str | None = None
    error_code: str | None = None


def methods_of(db: ScopedSession, customer_id: str) -> list[PaymentMethod]:
    """The saved methods of one customer row, the default first, then the newest."""
    mine = select(PaymentMethod).where(PaymentMethod.customer_id == customer_id, PaymentMethod.held_by == "us",
                                       PaymentMethod.removed_at.is_(None))
    return list(db.scalars(mine.order_by(PaymentMethod.is_default.desc(), PaymentMethod.created_at.desc(), PaymentMethod.id)))


def change_method(
    till: Till, scope: Scope, subscription_id: str, *, payment_method_id: str | None = None, return_url: str | None = None,
    also: Sequence[str] = (), locale: str = "en",
) -> Changed:
    """Pay with another saved method from now on, or with one that is entered on a hosted page (None). On hold: pays what is due.

    `also`: further subscriptions of the same customer that shall pay with it. Opens its own sessions. Raises NotFound, Conflict
    (SUBSCRIPTION_INACTIVE, UNSUPPORTED_ACTION; and as `pay_dues`).
    """
    business_id = business_of(till, scope, subscription_id)
    if payment_method_id is None:
        _settle_pages(till, business_id, subscription_id=subscription_id)
    with till.database.open(system(business_id, scope.actor), write=True) as db:
        first = db.scalar(select(Subscription).where(Subscription.id == subscription_id))
        assert first is not None
        rows = {one.id: one for one in lock_all(db, first.customer_id, [subscription_id, *also])}
        if len(rows) != len({subscription_id, *also}):
            raise NotFound(sentence="There is no such subscription.")
        held = rows[subscription_id].status == "on_hold"
        payment_id = None
        if not held:
            for one in rows.values():
                _may_change(one)
            if payment_method_id is None:
                payment_id = _page(till, db, first.customer_id, first.currency, f"method:{first.id}", sorted(rows), return_url)
            else:
                method = usable(db, first.customer_id, payment_method_id)
                for one in rows.values():
                    use_for(db, one, method)
    if held:
        paid = pay_dues(till, scope, subscription_id, payment_method_id=payment_method_id, return_url=return_url, locale=locale, also=also)
        return Changed(paid.link, paid.status, paid.payment_id, paid.error_code)
    return _go(till, business_id, payment_id, locale) if payment_id else Changed()


def add_method(till: Till, scope: Scope, customer_id: str, return_url: str | None = None, *, locale: str = "en") -> Changed:
    """A hosted page that saves a method, for no subscription in particular. Opens its own sessions. Raises NotFound."""
    with till.database.open(scope) as db:
        business_id = db.scalar(select(Customer.business_id).where(Customer.customer_id == customer_id))
    if business_id is None:
        raise NotFound(sentence="There is no such customer.")
    _settle_pages(till, business_id, customer_id=customer_id)
    with till.database.open(system(business_id, scope.actor), write=True) as db:
        db.scalar(select(Customer).where(Customer.customer_id == customer_id).with_for_update())  # two tabs take two numbers
        payment_id = _page(till, db, customer_id, _currency(db, customer_id), f"method:{customer_id}", [], return_url)
    return _go(till, business_id, payment_id, locale)


def set_default(db: ScopedSession, method_id: str) -> PaymentMethod:
    """The one that is offered first. Saying it twice changes nothing more. Raises NotFound."""
    method = _load(db, method_id)
    if not method.is_default or any(one.is_default for one in methods_of(db, method.customer_id) if one.id != method.id):
        for one in methods_of(db, method.customer_id):
            one.is_default = one.id == method.id
        _note(db, method, "payment_method.default_changed")
    return method


def remove_method(db: ScopedSession, method_id: str) -> PaymentMethod:
    """Never used again. Raises NotFound, Conflict PAYMENT_METHOD_IN_USE (a live subscription, or a payment under way, needs it)."""
    method = _load(db, method_id)
    users = db.execute(
        select(Product.name).join(Subscription, (Subscription.business_id == Product.business_id) & (Subscription.product_id == Product.id))
        .where(Subscription.payment_method_id == method.id, Subscription.status.in_(PAYING)).order_by(Product.name)
    ).scalars().all()
    if users:
        names = " and ".join([", ".join(users[:-1]), users[-1]] if len(users) > 1 else users)
        verb = "are" if len(users) > 1 else "is"
        raise Conflict("PAYMENT_METHOD_IN_USE", f"{names} {verb} paid with it. Choose another way to pay there first.")
    if db.scalar(select(Payment.id).where(Payment.payment_method_id == method.id, Payment.is_open).limit(1)):
        raise Conflict("PAYMENT_METHOD_IN_USE", "A payment with it is under way. Please wait until it is settled.")
    was, method.removed_at, method.is_default = method.is_default, clock.now(), False
    _note(db, method, "payment_method.removed")
    left = [one for one in methods_of(db, method.customer_id) if one.id != method.id]
    if was and left:
        left[0].is_default = True
        _note(db, left[0], "payment_method.default_changed")
    return method


def move_all(db: ScopedSession, customer_id: str, from_id: str, to_id: str) -> list[str]:
    """What was paid with one method is paid with another from now on. Returns the subscriptions' ids. Raises NotFound."""
    target = usable(db, customer_id, to_id)
    mine = select(Subscription).where(Subscription.customer_id == customer_id, Subscription.payment_method_id == from_id,
                                      Subscription.status.in_(PAYING), Subscription.collected_by == "us")
    return [one.id for one in db.scalars(mine.order_by(Subscription.id).with_for_update()) if use_for(db, one, target)]


def _may_change(subscription: Subscription) -> None:
    if subscription.collected_by != "us":
        raise Conflict("UNSUPPORTED_ACTION", "This is paid through another system; the way to pay is changed there.")
    if not may(SUBSCRIPTION, subscription.status, "change_method"):
        raise Conflict("SUBSCRIPTION_INACTIVE", "Nothing is paid for this in its present state.")


def _page(till: Till, db: ScopedSession, customer_id: str, currency: str, operation: str, use: list[str], return_url: str | None) -> str:
    """The row behind a page that saves a method. It moves no money and is in no subscription's way, so it names none as its own."""
    prefix = f"{till.settings.mode}/{db.scope.business}/{operation}:"
    asked = (Payment.customer_id == customer_id, Payment.charge_type == "method")
    for open_one in db.scalars(select(Payment).where(*asked, Payment.is_open)):
        if open_one.key.startswith(prefix) and wanted_by(open_one) == use and open_one.return_url == back_to(return_url, open_one.id):
            return open_one.id  # a double click, or the same page once more
    number = (db.scalar(select(func.count()).select_from(Payment).where(*asked)) or 0) + 1
    at = clock.now()
    payment = Payment(
        business_id=db.scope.business, customer_id=customer_id, id=new_id("pay"), brand_id=db.scope.business, charge_type="method",
        amount_minor=0, tax_minor=0, currency=currency, status="requires_payment_method", is_open=True, unknown=False,
        key=till.key(db.scope.business or "", f"{operation}:{number}", 1), attempt=1, off_session=False, method={},
        gateway=till.gateway.name, return_url=return_url, intent={"method_for": use}, cart=[], billing={}, meta={}, refunded_minor=0,
        fence=0, author=author_of(db), check_at=clock.wall() + FIRST_CHECK, created_at=at, updated_at=at,
    )
    payment.return_url = back_to(return_url, payment.id)
    db.add(payment)
    return payment.id


def _settle_pages(till: Till, business_id: str, *, customer_id: str | None = None, subscription_id: str | None = None) -> None:
    """A page that was filled in a moment ago, and of which we were not told yet, is not offered again."""
    with till.database.open(system(business_id)) as db:
        whose = customer_id or db.scalar(select(Subscription.customer_id).where(Subscription.id == subscription_id))
        ids = list(db.scalars(select(Payment.id).where(Payment.customer_id == whose, Payment.charge_type == "method", Payment.is_open)))
    for one in ids:
        till.check(business_id, one)


def _go(till: Till, business_id: str, payment_id: str, locale: str) -> Changed:
    paid = send(till, business_id, payment_id, locale)
    return Changed(paid.link, paid.status, paid.payment_id, paid.error_code)


def _currency(db: ScopedSession, customer_id: str) -> str:
    """Of nothing; a payment names one all the same: what the customer paid in last, else the business's own."""
    last = select(Payment.currency).where(Payment.customer_id == customer_id).order_by(Payment.created_at.desc()).limit(1)
    return db.scalar(last) or db.scalar(select(Business.currency)) or "EUR"


def _load(db: ScopedSession, method_id: str) -> PaymentMethod:
    method = db.scalar(select(PaymentMethod).where(PaymentMethod.id == method_id, PaymentMethod.held_by == "us",
                                                   PaymentMethod.removed_at.is_(None)).with_for_update())
    if method is None:
        raise NotFound(sentence="There is no such payment method.")
    return method


def _note(db: ScopedSession, method: PaymentMethod, type: str) -> None:
    emit(db, type, business_id=method.business_id, customer_id=method.customer_id, noun=method.id,
         data={"brand": method.brand, "last4": method.last4})
