"""One-time purchases with their products, downloads, license keys and invoices."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from billing.history import documents
from billing.history import purchases as query
from billing.history.disputes import disputes_of
from billing.licenses import queries as license_queries
from core.links import here
from core.request_context import db
from portal import bp, cursor
from portal.license_keys import mask_when_impersonated
from portal.markdown import safe_html, safe_link
from portal.phrases import card_of
from portal.request_accounts import account, businesses, is_several

PAGE = 25


@bp.get("/purchases")
def purchases() -> ResponseReturnValue:
    rows = query.purchases(db(replica=True), before=cursor.read(request.args.get("before")), limit=PAGE + 1)
    older = cursor.write(rows[PAGE - 1].at, rows[PAGE - 1].id) if len(rows) > PAGE else None
    return render_template("portal/purchases.html", rows=rows[:PAGE], older=older, businesses=businesses(), several=is_several())


@bp.get("/purchases/<payment_id>")
def purchase(payment_id: str) -> ResponseReturnValue:
    found = documents.purchase(db(), payment_id)
    counts = {item.get("product_id"): item.get("quantity", 1) for item in found.payment.cart}
    paid = found.payment
    disputed = disputes_of(db(), payment_id)
    back = paid.refunded_minor + sum(row.taken_minor for row in disputed)
    # a purchase whose money went back in full is no longer delivered
    is_delivered = paid.status == "succeeded" and (back < paid.amount_minor or not paid.amount_minor)
    downloads = [
        (product.name, safe_html((product.download or {}).get("instructions")), safe_link((product.download or {}).get("external_url")))
        for product in found.products
        if product.download and is_delivered
    ]
    return render_template(
        "portal/purchase.html",
        found=found,
        payment=paid,
        account=account(paid.business_id, paid.customer_id),
        counts=counts,
        descriptions={product.id: safe_html(product.description) for product in found.products},
        downloads=downloads,
        keys=mask_when_impersonated(license_queries.keys(db(), payment_id=payment_id)),
        card=card_of(paid.method),
        invoices=here("invoices"),
        disputes=disputed,
        returned_refunds=documents.returned_refunds(db(), paid),
    )
