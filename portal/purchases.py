"""One-time purchases with their products, downloads, license keys and invoices."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from billing.history import documents
from billing.history import purchases as query
from billing.history.disputes import disputes_of, is_delivered
from billing.licenses import queries as license_queries
from billing.statements.withdrawal_queries import withdrawals_of, withdrawn_products
from billing.subscriptions.consents import consents_of
from core.links import here
from core.request_context import db
from portal import bp, cursor, withdrawal_rights
from portal.license_keys import mask_when_impersonated
from portal.markdown import safe_html, safe_link
from portal.phrases import card_of, consent_words
from portal.request_accounts import account, businesses, is_several
from portal.self_refunds import refund_offer
from portal.statements.views import pdf_url

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
    delivered = is_delivered(paid, disputed)
    withdrawals = withdrawals_of(db(), payment_id=payment_id)
    withdrawn = withdrawn_products(db(), payment_id) if withdrawals else set()
    consents, theirs = consents_of(db(), payment_id=payment_id), account(paid.business_id, paid.customer_id)
    concluded_at = found.invoice.issued_at if found.invoice else paid.created_at
    right = withdrawal_rights.of_purchase(paid, concluded_at, theirs, consents)
    name = found.invoice.description if found.invoice else ""
    downloads = [
        (product.name, safe_html((product.download or {}).get("instructions")), safe_link((product.download or {}).get("external_url")))
        for product in found.products
        if product.download and delivered and product.id not in withdrawn
    ]
    return render_template(
        "portal/purchase.html",
        found=found,
        payment=paid,
        account=theirs,
        counts=counts,
        descriptions={product.id: safe_html(product.description) for product in found.products},
        downloads=downloads,
        keys=mask_when_impersonated(license_queries.keys(db(), payment_id=payment_id)),
        card=card_of(paid.method),
        consents=consents,
        withdraw_notice=withdrawal_rights.notice(
            right, name, theirs, f"{here('purchases')}/{paid.id}", may_withdraw=delivered and paid.status == "succeeded"
        ),
        withdrawals=withdrawals,
        pdf_of=pdf_url,
        consent_words=consent_words(),
        invoices=here("invoices"),
        disputes=disputed,
        refund_offer=refund_offer(db(), paid),
        returned_refunds=documents.returned_refunds(db(), paid),
    )
