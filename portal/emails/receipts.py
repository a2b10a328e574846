"""The receipt that the email about an action contains and attaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog

from billing.documents import Unprintable
from billing.receipts import queries as query
from billing.receipts.document import received_words, render_receipt
from core.mail import Attachment
from core.outbox_claims import Work
from core.scope import system
from core.services import Services

log = structlog.get_logger()


@dataclass(frozen=True)
class EmailReceipt:
    """What the email prints of a receipt. `received`: when, to the second. `is_attached`: the PDF could be made."""

    content: dict[str, Any]
    received: str
    is_attached: bool


def receipt_of(services: Services, work: Work) -> tuple[EmailReceipt | None, tuple[Attachment, ...]]:
    """Return the receipt that the event of the work names, and its PDF. A retry makes the same PDF."""
    receipt_id = work.data.get("receipt_id")
    if not receipt_id or not work.business_id:
        return None, ()
    with services.database.open(system(work.business_id)) as db:
        receipt = query.get_receipt(db, str(receipt_id))
    files: tuple[Attachment, ...] = ()
    try:
        pdf = render_receipt(receipt, is_test=services.settings.is_test)
        files = (Attachment(f"{receipt.number}.pdf", "application/pdf", pdf),)
    except Unprintable as problem:
        log.warning("email sent without receipt", receipt=receipt.id, error=str(problem))
    return EmailReceipt(receipt.content, received_words(receipt.content), bool(files)), files
