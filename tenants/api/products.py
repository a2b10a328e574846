"""Create and read products of the calling business."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask.typing import ResponseReturnValue
from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from billing.catalogue.products import create_product
from billing.history import api_lists as read
from core.errors import Invalid
from core.request_context import db
from tenants.api.authentication import bp, caller
from tenants.api.request_parsing import Amount, Body, CurrencyCode, Id, Interval, Localized, Metadata, PageQuery, body, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import items, json_response
from tenants.api.shapes.products import ProductItem, ProductShape, TaxCategory

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Count = Annotated[int, Field(ge=1, le=1000)]
Description = Annotated[str, StringConstraints(max_length=5000)]
KeyMessage = Annotated[str, StringConstraints(max_length=2500)]
KeyLimit = Annotated[int, Field(ge=0, le=1_000_000)]  # 0: keys cannot be activated until they get a limit of their own
Addons = Annotated[list[Id], Field(max_length=50)]


class _Price(Body):
    """Amounts are in minor units. `discount` and `discount_bps` must be 0: create a discount code instead."""

    currency: CurrencyCode
    discount: Annotated[int, Field(ge=0, le=100)] | None = None
    discount_bps: Annotated[int, Field(ge=0, le=10_000)] | None = None
    tax_inclusive: bool | None = None


class OneTimePrice(_Price):
    type: Literal["one_time_price"]
    pay_what_you_want: bool | None = None
    price: Amount


class _Recurring(_Price):
    payment_frequency_count: Count
    payment_frequency_interval: Interval
    subscription_period_count: Count
    subscription_period_interval: Interval


class RecurringPrice(_Recurring):
    type: Literal["recurring_price"]
    price: Amount
    trial_amount: Amount | None = None
    trial_period_days: Annotated[int, Field(ge=0, le=10_000)] | None = None


class Duration(Body):
    count: Count
    interval: Interval


class DigitalDelivery(Body):
    external_url: Annotated[str, StringConstraints(pattern=r"^https://\S+$", max_length=2000)] | None = None
    instructions: Annotated[str, StringConstraints(max_length=5000)] | None = None


def _refuse_usage_price(value: Any) -> Any:
    """Raise a `not_offered` error for usage-based prices: usage is not metered, so it would never be billed."""
    if isinstance(value, dict) and (value.get("type") == "usage_based_price" or value.get("meters")):
        name = "usage_based_price" if value.get("type") == "usage_based_price" else "meters"
        raise PydanticCustomError("not_offered", "{name}: usage-based billing is not supported.", {"name": name})
    return value


Price = Annotated[Annotated[OneTimePrice | RecurringPrice, Field(discriminator="type")], BeforeValidator(_refuse_usage_price)]


class NewProduct(Body):
    """A new product. Its price is one-time or recurring."""

    name: Name
    price: Price
    tax_category: TaxCategory
    addons: Addons | None = None
    brand_id: Id | None = None
    description: Description | None = None
    digital_product_delivery: DigitalDelivery | None = None
    license_key_activation_message: KeyMessage | None = None
    license_key_activations_limit: KeyLimit | None = None
    license_key_duration: Duration | None = None
    license_key_enabled: bool | None = None
    metadata: Metadata | None = None
    successor_product_id: Id | None = None


class ProductQuery(PageQuery, Localized):
    archived: bool = False
    recurring: bool | None = None
    brand_id: str | None = None


def price_of(sent: Price) -> dict[str, Any]:
    """Return the price as the commands take it. Raises Invalid (UNSUPPORTED_ACTION) for price options that are not supported."""
    plain: dict[str, Any] = sent.model_dump(exclude_none=True)
    percent, basis_points = plain.pop("discount", 0), plain.pop("discount_bps", None)
    unsupported = {"discount": basis_points is None and percent, "discount_bps": basis_points,
             **{name: plain.pop(name, None) for name in ("pay_what_you_want", "trial_amount")}}  # fmt: skip
    for name, value in unsupported.items():
        if value:
            raise Invalid("UNSUPPORTED_ACTION", f"price.{name}: not supported.", fields={f"price.{name}": "Not supported."})
    return plain


@bp.post("/products", endpoint="create_product")
@route_spec(ProductShape, body=NewProduct)
def create() -> ResponseReturnValue:
    """Create a product with its price."""
    sent, business_id = body(NewProduct), caller().business_id
    if sent.brand_id not in (None, business_id):
        raise Invalid(sentence="brand_id: this brand does not exist.", fields={"brand_id": "This brand does not exist."})
    row = create_product(
        db(), business_id, name=sent.name, price=price_of(sent.price), tax_category=sent.tax_category, description=sent.description or "",
        addons=sent.addons or (), license_key_enabled=bool(sent.license_key_enabled),
        license_key_activations_limit=sent.license_key_activations_limit,
        license_key_duration=sent.license_key_duration.model_dump() if sent.license_key_duration else None,
        license_key_activation_message=sent.license_key_activation_message,
        download=sent.digital_product_delivery.model_dump() if sent.digital_product_delivery else None, metadata=sent.metadata,
        successor_id=sent.successor_product_id,
    )  # fmt: skip
    return json_response(ProductShape.of(row))


@bp.get("/products", endpoint="products")
@route_spec(ProductItem, form="items", query=ProductQuery)
def index() -> ResponseReturnValue:
    """List products, newest first."""
    params = query(ProductQuery)
    if params.brand_id not in (None, caller().business_id):
        return items([])
    return items(ProductItem.of(row) for row in read.products(db(), params.page, archived=params.archived, recurring=params.recurring))


@bp.get("/products/<product_id>", endpoint="product")
@route_spec(ProductShape, query=Localized)
def show(product_id: str) -> ResponseReturnValue:
    """Return a product."""
    query(Localized)
    return json_response(ProductShape.of(read.product(db(), product_id), read.collection_of(db(), product_id)))
