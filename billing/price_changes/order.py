"""Order a price change for the existing subscribers of a product, preview it, and stop it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, func, literal, select

from billing.model.catalogue import Product
from billing.model.customer_types import CustomerType
from billing.model.price_changes import PriceChange, SubscriptionPriceChange
from billing.model.subscriptions import Subscription
from billing.price_changes.selection import INCLUDED, Direction, group_of, is_subscriber
from billing.rights.places import place_of
from billing.rights.table import NoticeRule, notice_rule
from billing.subscriptions.notice_rules import term_of
from core import clock
from core.db import ScopedSession
from core.errors import N_, Conflict, Invalid, NotFound
from core.ids import new_id
from core.money import largest
from core.outbox import emit

FARTHEST = timedelta(days=366)


@dataclass(frozen=True)
class NewPrice:
    """A price change as a business orders it. `unit_minor`: the new price per unit and period, in minor units of the product's currency."""

    unit_minor: int
    effective_at: datetime
    direction: Direction = "raise"


@dataclass(frozen=True)
class PlaceGroup:
    """Subscribers of one place. `earliest_at`: from when the new price can be charged there, if it is ordered now."""

    place: str | None
    count: int
    needs_consent: bool
    latest: int
    earliest_at: datetime


@dataclass
class PriceChangePreview:
    """What a price change would do. The totals are of one period of all included subscriptions, before tax and discounts."""

    currency: str
    included: int = 0
    old_total_minor: int = 0
    total_minor: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    places: list[PlaceGroup] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """A price change with how many subscriptions are in each state, and how many answered."""

    change: PriceChange
    states: dict[str, int]
    accepted: int
    refused: int


def check(db: ScopedSession, product_id: str, wanted: NewPrice) -> Product:
    """Return the product. Raises NotFound, Invalid (fields amount, effective_at), Conflict NOT_RECURRING."""
    product = db.scalar(select(Product).where(Product.id == product_id))
    if product is None:
        raise NotFound(sentence=N_("There is no such product."))
    if product.price_type != "recurring_price" or product.interval is None:
        raise Conflict("NOT_RECURRING", N_("Only the price of a recurring product can change for its subscribers."))
    if not 0 <= wanted.unit_minor <= largest(product.currency):
        raise Invalid(fields={"amount": N_("This price is too high, or below zero.")})
    if wanted.effective_at > clock.now() + FARTHEST:
        raise Invalid(fields={"effective_at": N_("Choose a date within a year.")})
    return product


def preview(db: ScopedSession, product_id: str, wanted: NewPrice) -> PriceChangePreview:
    """Compute what `order` would do. Raises as `check`. Two statements, however many subscribers there are."""
    product = check(db, product_id, wanted)
    group = group_of(literal(wanted.unit_minor), literal(product.currency), literal(wanted.direction)).label("reason")
    units = func.sum(Subscription.quantity)
    old = func.sum(Subscription.quantity * Subscription.unit_minor)
    rows = db.execute(select(group, func.count(), units, old).where(is_subscriber(product.id)).group_by("reason"))
    found = PriceChangePreview(product.currency)
    for reason, count, quantity, old_minor in rows:
        if reason == INCLUDED:
            found.included, found.old_total_minor = count, int(old_minor)
            found.total_minor = int(quantity) * wanted.unit_minor
        else:
            found.left_out[reason] = count
    found.places = _places(db, product, wanted, group)
    return found


def order(db: ScopedSession, product_id: str, wanted: NewPrice) -> PriceChange:
    """Order the price change. The worker announces it to each subscriber in time. Raises as `check`, and Conflict NOTHING_TO_CHANGE."""
    product = check(db, product_id, wanted)
    group = group_of(literal(wanted.unit_minor), literal(product.currency), literal(wanted.direction))
    theirs = is_subscriber(product.id)
    if db.scalar(select(Subscription.id).where(theirs, group.in_((INCLUDED, "waiting"))).limit(1)) is None:
        raise Conflict("NOTHING_TO_CHANGE", N_("No subscriber’s price would change."))
    change = PriceChange(
        business_id=product.business_id,
        id=new_id("prc"),
        product_id=product.id,
        currency=product.currency,
        unit_minor=wanted.unit_minor,
        direction=wanted.direction,
        effective_at=wanted.effective_at,
        created_at=clock.now(),
    )
    db.add(change)
    _emit(db, change, "price_change.created")
    return change


def stop(db: ScopedSession, change_id: str) -> PriceChange:
    """Stop the change for everybody whose price has not changed yet. The worker tells those who were told of it. Idempotent.

    Raises NotFound.
    """
    change = db.scalar(select(PriceChange).where(PriceChange.id == change_id).with_for_update())
    if change is None:
        raise NotFound(sentence=N_("There is no such price change."))
    if change.stopped_at is None:
        change.stopped_at = clock.now()
        _emit(db, change, "price_change.stopped")
    return change


def progress(db: ScopedSession, product_id: str, limit: int = 20) -> list[Progress]:
    """The latest price changes of a product with their progress, newest first."""
    latest = select(PriceChange).where(PriceChange.product_id == product_id)
    return _with_counts(db, list(db.scalars(latest.order_by(PriceChange.created_at.desc(), PriceChange.id.desc()).limit(limit))))


def progress_of(db: ScopedSession, change_id: str) -> Progress:
    """The progress of one price change. Raises NotFound."""
    change = db.scalar(select(PriceChange).where(PriceChange.id == change_id))
    if change is None:
        raise NotFound(sentence=N_("There is no such price change."))
    return _with_counts(db, [change])[0]


def _with_counts(db: ScopedSession, changes: list[PriceChange]) -> list[Progress]:
    row = SubscriptionPriceChange
    counts = db.execute(
        select(row.price_change_id, row.status, row.answer, func.count())
        .where(row.price_change_id.in_([change.id for change in changes]))
        .group_by(row.price_change_id, row.status, row.answer)
    ).all()
    out = []
    for change in changes:
        states: Counter[str] = Counter()
        answers: Counter[str | None] = Counter()
        for change_id, status, answer, count in counts:
            if change_id == change.id:
                states[status] += count
                answers[answer] += count
        out.append(Progress(change, dict(states), answers["accepted"], answers["refused"]))
    return out


def _places(db: ScopedSession, product: Product, wanted: NewPrice, group: ColumnElement[str]) -> list[PlaceGroup]:
    """Group the included subscribers by the place of their billing address, most first."""
    country = Subscription.billing["country"].as_string().label("country")
    state = Subscription.billing["state"].as_string().label("state")
    kind = Subscription.customer_type.label("kind")
    included = select(country, state, kind, func.count()).where(is_subscriber(product.id), group == INCLUDED).group_by(country, state, kind)
    counts: Counter[tuple[str | None, NoticeRule]] = Counter()
    term = term_of(product.interval or "Month", product.interval_count)
    for country_code, region, customer_type, count in db.execute(included):
        party: CustomerType = "business" if customer_type == "business" else "consumer"
        place = place_of({"country": country_code, "state": region})
        counts[place, notice_rule(place, party, "price_change", term)] += count
    is_raise, at = wanted.direction == "raise", clock.now()
    return [
        PlaceGroup(
            place=place,
            count=count,
            needs_consent=rule.consent and is_raise,
            latest=rule.latest,
            earliest_at=max(wanted.effective_at, at + timedelta(days=rule.latest if is_raise else 0)),
        )
        for (place, rule), count in counts.most_common()
    ]


def _emit(db: ScopedSession, change: PriceChange, type: str) -> None:
    data = {"price_change_id": change.id, "amount": change.unit_minor, "currency": change.currency, "direction": change.direction,
            "effective_at": change.effective_at.isoformat()}  # fmt: skip
    emit(db, type, business_id=change.business_id, noun=change.product_id, data=data)
