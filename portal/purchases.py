"""What was bought once: what it is, its keys, how to get it, its invoice."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from billing.queries import documents, held_keys
from billing.queries import purchases as query
from core.web import db, here
from portal import bp, cursor
from portal.keys import veiled
from portal.markdown import safe_html, safe_link
from portal.standing import account, businesses, is_several
from portal.words import card_of

PAGE = 25


@bp.get("/purchases")
def purchases() -> ResponseReturnValue:
    rows = query.purchases(db(replica=True), before=cursor.read(request.args.get("before")), limit=PAGE + 1)
    older = cursor.write(rows[PAGE - 1].at, rows[PAGE - 1].id) if len(rows) > PAGE else None
    return render_template("portal/purchases.html", rows=rows[:PAGE], older=older, businesses=businesses(), several=is_several())


@bp.get("/purchases/<payment_id>")
def purchase(payment_id: str) -> ResponseReturnValue:
    found = documents.purchase(db(), payment_id)
    counts = {one.get("product_id"): one.get("quantity", 1) for one in found.payment.cart}
    paid = found.payment  # what was paid back in full is not delivered any more
    is_theirs = paid.status == "succeeded" and (paid.refunded_minor < paid.amount_minor or not paid.amount_minor)
    downloads = [
        (product.name, safe_html((product.download or {}).get("instructions")), safe_link((product.download or {}).get("external_url")))
        for product in found.products if product.download and is_theirs
    ]
    return render_template(
        "portal/purchase.html", found=found, payment=paid, account=account(paid.business_id, paid.customer_id),
        counts=counts, descriptions={product.id: safe_html(product.description) for product in found.products}, downloads=downloads,
        keys=veiled(held_keys.keys(db(), payment_id=payment_id)), card=card_of(paid.method), invoices=here("invoices"))
