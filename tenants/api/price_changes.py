"""Price changes for the existing subscribers of a product: preview, order, list and stop. An addition to the contract."""

from __future__ import annotations

from typing import Literal

from flask.typing import ResponseReturnValue

from billing.history import api_lists as read
from billing.price_changes import order as command
from billing.price_changes.order import NewPrice
from core.request_context import db
from tenants.api.authentication import bp
from tenants.api.request_parsing import Amount, Body, Instant, body
from tenants.api.route_spec import route_spec
from tenants.api.shapes import items, json_response
from tenants.api.shapes.price_changes import PriceChangePreviewShape, PriceChangeShape


class PriceChangeOrder(Body):
    """`price`: per unit and period, in minor units. It counts from the first renewal on or after `effective_at`, if it can be announced."""

    price: Amount
    effective_at: Instant
    direction: Literal["raise", "lower"] | None = None

    def wanted(self) -> NewPrice:
        return NewPrice(self.price, self.effective_at, self.direction or "raise")


@bp.post("/products/<product_id>/price-changes/preview", endpoint="preview_price_change")
@route_spec(PriceChangePreviewShape, body=PriceChangeOrder)
def preview(product_id: str) -> ResponseReturnValue:
    """Return how many subscriptions a price change is for, which are left out and why, and from when it can count in each place.

    The totals are of one period, before tax and discounts. Nothing changes.
    """
    read.product(db(), product_id)
    return json_response(PriceChangePreviewShape.of(command.preview(db(), product_id, body(PriceChangeOrder).wanted())))


@bp.post("/products/<product_id>/price-changes", endpoint="order_price_change")
@route_spec(PriceChangeShape, body=PriceChangeOrder)
def order(product_id: str) -> ResponseReturnValue:
    """Order a new price for the existing subscribers of a product.

    Each is told by email as early as the law of their country asks. Where consent is needed, the new price counts only for those who agree.
    """
    read.product(db(), product_id)
    change = command.order(db(), product_id, body(PriceChangeOrder).wanted())
    db().flush()
    return json_response(PriceChangeShape.of(command.progress_of(db(), change.id)))


@bp.get("/products/<product_id>/price-changes", endpoint="list_price_changes")
@route_spec(PriceChangeShape, form="items")
def list_changes(product_id: str) -> ResponseReturnValue:
    """Return the latest price changes of a product, newest first, with the number of subscriptions in each state."""
    read.product(db(), product_id)
    return items(PriceChangeShape.of(item) for item in command.progress(db(), product_id))


@bp.post("/price-changes/<price_change_id>/stop", endpoint="stop_price_change")
@route_spec(PriceChangeShape)
def stop(price_change_id: str) -> ResponseReturnValue:
    """Stop a price change for everybody whose price has not changed yet. Those who were told of it are told that their price stays."""
    command.stop(db(), price_change_id)
    db().flush()
    return json_response(PriceChangeShape.of(command.progress_of(db(), price_change_id)))
