"""Price changes for the existing subscribers of a product: what one would do, and how far one is."""

from __future__ import annotations

from typing import Literal

from billing.price_changes.order import PriceChangePreview, Progress
from tenants.api.shapes import Shape, Stamp


class PriceChangePlace(Shape):
    """Subscribers of one place: country or country and region, `null` if it is not known."""

    place: str | None
    subscriptions: int
    needs_consent: bool
    notice_days: int
    earliest_at: Stamp


class PriceChangePreviewShape(Shape):
    currency: str
    subscriptions: int
    old_total: int
    new_total: int
    left_out: dict[str, int]
    places: list[PriceChangePlace]

    @classmethod
    def of(cls, seen: PriceChangePreview) -> PriceChangePreviewShape:
        places = [
            PriceChangePlace(
                place=item.place, subscriptions=item.count, needs_consent=item.needs_consent, notice_days=item.latest,
                earliest_at=item.earliest_at,
            )
            for item in seen.places
        ]  # fmt: skip
        return cls(
            currency=seen.currency, subscriptions=seen.included, old_total=seen.old_total_minor, new_total=seen.total_minor,
            left_out=dict(sorted(seen.left_out.items())), places=places,
        )  # fmt: skip


class PriceChangeShape(Shape):
    """`subscriptions`: how many are planned, announced, applied, kept, stopped or superseded."""

    price_change_id: str
    product_id: str
    currency: str
    price: int
    direction: Literal["raise", "lower"]
    effective_at: Stamp
    created_at: Stamp
    stopped_at: Stamp | None
    subscriptions: dict[str, int]
    accepted: int
    refused: int

    @classmethod
    def of(cls, seen: Progress) -> PriceChangeShape:
        change = seen.change
        return cls(
            price_change_id=change.id, product_id=change.product_id, currency=change.currency, price=change.unit_minor,
            direction="lower" if change.direction == "lower" else "raise", effective_at=change.effective_at, created_at=change.created_at,
            stopped_at=change.stopped_at, subscriptions=dict(sorted(seen.states.items())), accepted=seen.accepted, refused=seen.refused,
        )  # fmt: skip
