"""Receipts of what the customer, or a business on their behalf, did: a page and a PDF each, and the lines that lead to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import Response, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.documents import Unprintable
from billing.model.receipts import Receipt
from billing.receipts import document
from billing.receipts import queries as query
from billing.receipts.context import WORDS
from billing.subscriptions import queries as subscription_query
from core.errors import Unavailable
from core.links import exists_here, here
from core.request_context import db, services
from portal import bp
from portal.request_accounts import account
from portal.subscription_rows import line


@dataclass(frozen=True)
class ReceiptLine:
    at: datetime
    name: str
    number: str
    url: str


@bp.get("/receipts/<receipt_id>")
def receipt(receipt_id: str) -> ResponseReturnValue:
    found = query.get_receipt(db(), receipt_id)
    content, theirs = found.content, account(found.business_id, found.customer_id)
    summary = None
    if found.subscription_id:
        row = subscription_query.get_subscription(db(), found.subscription_id)
        summary = line(row, f"{here('subscriptions')}/{row.id}")
    return render_template(
        "portal/receipt.html",
        receipt=found,
        content=content,
        words=WORDS[content["language"]],
        received=document.received_words(content),
        seller_lines=document.seller_lines(content),
        account=theirs,
        summary=summary,
        keep_url=summary.keep_url if summary and found.kind == "cancellation" else None,
        pdf_url=f"{here('receipt', receipt_id=found.id)}.pdf",
    )


@bp.get("/receipts/<receipt_id>.pdf")
def receipt_pdf(receipt_id: str) -> ResponseReturnValue:
    found = query.get_receipt(db(), receipt_id)
    try:
        pdf = document.render_receipt(found, is_test=services().settings.is_test)
    except Unprintable:
        raise Unavailable() from None
    headers = {"Content-Disposition": f'attachment; filename="{found.number}.pdf"', "Cache-Control": "private, no-store"}
    return Response(pdf, content_type="application/pdf", headers=headers)


def receipt_lines(receipts: Iterable[Receipt]) -> list[ReceiptLine]:
    names = {
        "cancellation": _("Cancellation"),
        "cancellation_now": _("Cancellation"),
        "cancellation_undone": _("Cancellation undone"),
        "pause": _("Paused"),
        "resume": _("Resumed"),
        "plan_change": _("Plan change"),
        "plan_change_scheduled": _("Plan change scheduled"),
        "plan_change_undone": _("Plan change undone"),
        "refund": _("Refund"),
    }
    return [ReceiptLine(item.issued_at, names[item.kind], item.number, here("receipt", receipt_id=item.id)) for item in receipts]


def receipt_of(event_data: Mapping[str, Any]) -> tuple[str, str]:
    """Return the number and the address of the receipt that an event names; empty texts if it names none."""
    number, receipt_id = event_data.get("receipt"), event_data.get("receipt_id")
    if not isinstance(number, str) or not isinstance(receipt_id, str) or not exists_here("receipt"):
        return "", ""
    return number, here("receipt", receipt_id=receipt_id)
