"""Payments, refunds, what a payment was for, and the address on its invoice (contract 3.6)."""

from __future__ import annotations

from typing import Annotated, Any

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from billing.history import api_lists, customer_counts
from billing.history import customer_lists as read
from billing.history.disputes import disputes_of, is_delivered
from billing.model.catalogue import Product
from billing.model.payments import Payment
from billing.statements.withdrawal_queries import withdrawn_products
from billing.subscriptions import billing_details as command
from core.errors import BadRequest, NotFound
from core.request_context import db
from portal.billing_details import values_of_invoice
from tenants.api.request_parsing import ShortText, body, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Json, stamp
from tenants.api.shapes.payments import RefundItem
from tenants.api.shapes.products import image_url
from tenants.customer_api.authentication import bp, for_customer
from tenants.customer_api.requests import LooseBody, OfSubscription, page_of
from tenants.customer_api.shapes import payment_item

ZIPCODE_DECIDES = ("US", "CA")


class InvoiceAddress(LooseBody):
    """The parts to change. null clears a part; the country stays, because it decides the tax."""

    street: ShortText | None = None
    city: ShortText | None = None
    state: ShortText | None = None
    zipcode: Annotated[str, StringConstraints(max_length=30)] | None = None


@bp.get("/customer-portal/payments", endpoint="payments")
@for_customer
@route_spec(form="any", query=OfSubscription)
def index() -> ResponseReturnValue:
    """List the payments, newest first."""
    paging = query(OfSubscription)
    rows = api_lists.payments(db(), paging.page, subscription_id=paging.subscription_id)
    return page_of(rows, customer_counts.payments(db(), paging.subscription_id), paging, payment_item)


@bp.get("/customer-portal/refunds", endpoint="refunds")
@for_customer
@route_spec(form="any", query=OfSubscription)
def refunds() -> ResponseReturnValue:
    """List the refunds, newest first."""
    paging = query(OfSubscription)
    rows = api_lists.refunds(db(), paging.page, subscription_id=paging.subscription_id)
    return page_of(rows, customer_counts.refunds(db(), paging.subscription_id), paging, lambda row: RefundItem.of(row).json())


@bp.get("/customer-portal/payments/<payment_id>/product-cart", endpoint="product_cart")
@for_customer
@route_spec(form="any")
def cart(payment_id: str) -> ResponseReturnValue:
    """List what a payment was for, with the license keys that it delivered."""
    payment = api_lists.payment(db(), payment_id).payment
    lines = [line for line in api_lists.lines_of(db(), payment_id) if line.product_id]
    products = read.products_of(db(), payment.business_id, [str(line.product_id) for line in lines])
    delivered, keys = _delivered(payment, products), read.keys_of_payment(db(), payment)
    items = []
    for line in lines:
        product = products[str(line.product_id)]
        own = [key for key in keys if key.product_id == product.id]
        items.append({
            "product_id": product.id, "product_name": product.name, "product_description": product.description or None,
            "product_image": image_url(product.image), "quantity": line.quantity, "price": line.net_minor + line.tax_minor,
            "currency": payment.currency, "is_subscription": product.is_recurring,
            "digital_product_deliverable": delivered.get(product.id),
            "license_keys": [
                {
                    "id": key.id, "key": key.key, "status": key.state, "activations_limit": key.activations_limit,
                    "expires_at": stamp(key.expires_at) if key.expires_at else None, "instances_count": key.instances_count,
                }
                for key in own
            ],
        })  # fmt: skip
    return jsonify(items=items)


@bp.get("/customer-portal/payments/<payment_id>/digital-product-deliverables", endpoint="deliverables")
@for_customer
@route_spec(form="any")
def deliverables(payment_id: str) -> ResponseReturnValue:
    """List the downloads and instructions of what a payment was for. Empty unless it was paid, as on the page."""
    payment = api_lists.payment(db(), payment_id).payment
    ids = [str(line.product_id) for line in api_lists.lines_of(db(), payment_id) if line.product_id]
    products = read.products_of(db(), payment.business_id, ids)
    delivered = _delivered(payment, products)
    return jsonify(items=[
        {"product_id": product.id, "name": product.name, "description": product.description or None, "deliverable": delivered[product.id]}
        for product in products.values()
        if product.id in delivered
    ])  # fmt: skip


@bp.patch("/customer-portal/payments/<payment_id>/invoices", endpoint="invoice_address")
@for_customer
@route_spec(form="any", body=InvoiceAddress)
def correct(payment_id: str) -> ResponseReturnValue:
    """Issue a corrected invoice with another address. Amounts, tax and date stay."""
    payment = api_lists.payment(db(), payment_id).payment
    sent = body(InvoiceAddress)
    if payment.invoice_id is None:
        raise NotFound(sentence="This payment has no invoice yet.")
    values: dict[str, Any] = values_of_invoice(payment.invoice_id)
    changes = {name: value for name, value in sent.model_dump().items() if name in sent.model_fields_set}
    if "zipcode" in changes and not changes["zipcode"] and values.get("country") in ZIPCODE_DECIDES:
        raise BadRequest("INVALID_REQUEST_PARAMETERS", "The tax depends on the postal code. It cannot be removed.")
    made = command.correct_invoice(db(), payment.invoice_id, {**values, **changes})
    return jsonify(invoice_number=made.number)


def _delivered(payment: Payment, products: dict[str, Product]) -> dict[str, Json]:
    """Return {product_id: download}. Unpaid, refunded and withdrawn products are left out, as on the page of a purchase."""
    if not is_delivered(payment, disputes_of(db(), payment.id)):
        return {}
    withdrawn = withdrawn_products(db(), payment.id)
    return {
        row.id: {"files": [], "external_url": row.download.get("external_url"), "instructions": row.download.get("instructions")}
        for row in products.values()
        if row.download and row.id not in withdrawn
    }
