"""The calling business's products."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask.typing import ResponseReturnValue
from pydantic import BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from billing.commands.products import create_product
from billing.queries import api as read
from core.errors import Invalid
from core.web import db
from tenants.api.door import bp, caller
from tenants.api.reading import Amount, Body, CurrencyCode, Id, Interval, Localized, Metadata, PageQuery, body, query
from tenants.api.saying import says
from tenants.api.shapes import items, one
from tenants.api.shapes.products import ProductItem, ProductShape, TaxCategory

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Count = Annotated[int, Field(ge=1, le=1000)]
Description = Annotated[str, StringConstraints(max_length=5000)]
KeyMessage = Annotated[str, StringConstraints(max_length=2500)]
KeyLimit = Annotated[int, Field(ge=0, le=1_000_000)]  # 0: its keys wait for a limit of their own
Addons = Annotated[list[Id], Field(max_length=50)]


class _Price(Body):
    """Discounts are codes here (`discounts`): a price that would be charged otherwise than it says is refused, not sold in full."""

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


class Delivery(Body):
    external_url: Annotated[str, StringConstraints(pattern=r"^https://\S+$", max_length=2000)] | None = None
    instructions: Annotated[str, StringConstraints(max_length=5000)] | None = None


def _counted_use(value: Any) -> Any:
    """Raises not_offered: use is not counted here, so a price for it would never be billed."""
    if isinstance(value, dict) and (value.get("type") == "usage_based_price" or value.get("meters")):
        name = "usage_based_price" if value.get("type") == "usage_based_price" else "meters"
        raise PydanticCustomError("not_offered", "{name}: use is not counted here, so it cannot be billed.", {"name": name})
    return value


Price = Annotated[Annotated[OneTimePrice | RecurringPrice, Field(discriminator="type")], BeforeValidator(_counted_use)]


class NewProduct(Body):
    name: Name
    price: Price
    tax_category: TaxCategory
    addons: Addons | None = None
    brand_id: Id | None = None
    description: Description | None = None
    digital_product_delivery: Delivery | None = None
    license_key_activation_message: KeyMessage | None = None
    license_key_activations_limit: KeyLimit | None = None
    license_key_duration: Duration | None = None
    license_key_enabled: bool | None = None
    metadata: Metadata | None = None


class ProductQuery(PageQuery, Localized):
    archived: bool = False
    recurring: bool | None = None
    brand_id: str | None = None


def price_of(sent: Price) -> dict[str, Any]:
    """What the commands take. Raises Invalid (UNSUPPORTED_ACTION) for what would be charged and is not."""
    plain: dict[str, Any] = sent.model_dump(exclude_none=True)
    off = plain.pop("discount", 0), plain.pop("discount_bps", None)
    asked = {"discount": off[1] is None and off[0], "discount_bps": off[1],
             **{name: plain.pop(name, None) for name in ("pay_what_you_want", "trial_amount")}}  # fmt: skip
    for name, value in asked.items():
        if value:
            raise Invalid("UNSUPPORTED_ACTION", f"price.{name}: not offered here.", fields={f"price.{name}": "Not offered here."})
    return plain


@bp.post("/products", endpoint="create_product")
@says(ProductShape, takes=NewProduct)
def create() -> ResponseReturnValue:
    sent, business_id = body(NewProduct), caller().business_id
    if sent.brand_id not in (None, business_id):
        raise Invalid(sentence="brand_id: there is no such brand.", fields={"brand_id": "There is no such brand."})
    row = create_product(
        db(), business_id, name=sent.name, price=price_of(sent.price), tax_category=sent.tax_category, description=sent.description or "",
        addons=sent.addons or (), license_key_enabled=bool(sent.license_key_enabled),
        license_key_activations_limit=sent.license_key_activations_limit,
        license_key_duration=sent.license_key_duration.model_dump() if sent.license_key_duration else None,
        license_key_activation_message=sent.license_key_activation_message,
        download=sent.digital_product_delivery.model_dump() if sent.digital_product_delivery else None, metadata=sent.metadata,
    )  # fmt: skip
    return one(ProductShape.of(row))


@bp.get("/products", endpoint="products")
@says(ProductItem, form="items", asks=ProductQuery)
def index() -> ResponseReturnValue:
    asked = query(ProductQuery)
    if asked.brand_id not in (None, caller().business_id):
        return items([])
    return items(ProductItem.of(row) for row in read.products(db(), asked.page, archived=asked.archived, recurring=asked.recurring))


@bp.get("/products/<product_id>", endpoint="product")
@says(ProductShape, asks=Localized)
def show(product_id: str) -> ResponseReturnValue:
    query(Localized)
    return one(ProductShape.of(read.product(db(), product_id), read.collection_of(db(), product_id)))
