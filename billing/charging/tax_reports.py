"""Tells the hosted tax calculator which sales were paid, and which were refunded, for its tax reports.

The events of payments and refunds add rows, and a recurring job of the worker sends them. Each row is sent under a derived key and
with a reference that the calculator takes only once, so nothing is recorded twice. A row that fails backs off (core/recurring_jobs.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import aliased

from billing.charging.gateway_operations import GatewayOperations
from billing.charging.hosted_tax import NO_ACCOUNT, calculation_of
from billing.model import job_names
from billing.model.invoices import Invoice
from billing.model.payments import Refund
from billing.model.tax_calculations import RESTORATION, REVERSAL, SALE, TaxCalculation, TaxReport
from billing.pricing.tax_port import HostedTax, RecordedSale, ReversedItem
from core import clock, recurring_jobs
from core.db import ScopedSession
from core.errors import Unavailable
from core.handlers import Handlers
from core.outbox_claims import Work
from core.scope import everything, system

BATCH = 20


def register(handlers: Handlers, processor: GatewayOperations) -> None:
    """Register what follows from payments and refunds."""
    handlers.on("invoice.paid", lambda work: _queue(processor, work, SALE), "tax.report_sale")
    handlers.on("refund.succeeded", lambda work: _queue(processor, work, REVERSAL), "tax.report_refund")
    handlers.on("refund.failed", lambda work: _queue(processor, work, RESTORATION), "tax.report_failed_refund")


def _queue(processor: GatewayOperations, work: Work, kind: str) -> None:
    """Add the report of a sale or refund whose tax was calculated. Idempotent."""
    if kind == RESTORATION and not work.data.get("was_made"):
        return
    business_id, noun_id = str(work.business_id), str(work.noun_id)
    with processor.database.open(system(business_id), write=True) as db:
        invoice_id = noun_id if kind == SALE else db.scalar(select(Refund.invoice_id).where(Refund.id == noun_id))
        operation = db.scalar(select(Invoice.operation).where(Invoice.id == invoice_id)) if invoice_id else None
        found = calculation_of(db, business_id, operation) if operation else None
        report_id = f"{kind}:{noun_id}"
        if found is None or db.scalar(select(TaxReport.id).where(TaxReport.id == report_id)) is not None:
            return
        db.add(
            TaxReport(
                business_id=business_id, id=report_id, kind=kind, calculation_id=found.id, noun_id=noun_id, created_at=clock.wall(),
            )
        )  # fmt: skip


def run_due(processor: GatewayOperations, limit: int = BATCH) -> int:
    """Send the reports that wait, businesses in turn. Returns how many were tried."""
    with processor.database.open(everything("tax reports to send")) as db:
        before = aliased(TaxReport)
        is_next = (
            select(before.id)
            .where(
                before.business_id == TaxReport.business_id,
                before.calculation_id == TaxReport.calculation_id,
                before.reported_at.is_not(None),
                or_(
                    and_(TaxReport.kind == REVERSAL, before.kind == SALE),
                    and_(TaxReport.kind == RESTORATION, before.kind == REVERSAL, before.noun_id == TaxReport.noun_id),
                ),
            )
            .exists()
        )
        query = select(TaxReport.business_id, TaxReport.id).where(
            TaxReport.reported_at.is_(None),
            or_(TaxReport.kind == SALE, is_next),
            recurring_jobs.rested(job_names.TAX_REPORTS, TaxReport.business_id, TaxReport.id),
        )
        due = db.execute(recurring_jobs.in_turns(query, TaxReport.business_id, TaxReport.created_at, TaxReport.id, limit=limit)).all()
    rows = [(row.business_id, row.id) for row in due]
    return recurring_jobs.run(processor.database, job_names.TAX_REPORTS, rows, lambda *row: send(processor, *row))


@dataclass(frozen=True)
class _Message:
    """The values of one report. `recorded`: the calculator's id of the record that is reversed."""

    kind: str
    account_id: str
    calculation: str
    reference: str
    currency: str
    recorded: str = ""
    amount_minor: int = 0
    items: Sequence[ReversedItem] = ()

    def send(self, service: HostedTax, key: str) -> RecordedSale:
        if self.kind == SALE:
            return service.record_sale(key, self.calculation, self.reference)
        if self.kind == RESTORATION:
            return service.reverse_in_full(key, self.recorded, self.reference)
        return service.record_refund(
            key, self.recorded, self.reference, currency=self.currency, amount_minor=self.amount_minor, items=self.items
        )


def send(processor: GatewayOperations, business_id: str, report_id: str) -> None:
    """Send one report, outside of transactions, and store the calculator's id. Raises Unavailable or Conflict: it is tried again."""
    with processor.database.open(system(business_id)) as db:
        report = db.scalar(select(TaxReport).where(TaxReport.id == report_id))
        if report is None or report.reported_at is not None:
            return
        message = _message(db, report)
    service = processor.accounts.taxes(business_id, message.account_id)
    if service is None:
        raise Unavailable("TAX_NOT_RECORDED", NO_ACCOUNT)
    recorded = message.send(service, f"{processor.settings.mode}/{business_id}/tax/{report_id}")
    with processor.database.open(system(business_id), write=True) as db:
        row = db.scalar(select(TaxReport).where(TaxReport.id == report_id).with_for_update())
        assert row is not None
        row.reference, row.line_references, row.reported_at = recorded.reference, list(recorded.lines), clock.wall()
        row.amount_minor, row.tax_minor = message.amount_minor, sum(item.tax_minor for item in message.items)


def _message(db: ScopedSession, report: TaxReport) -> _Message:
    calculation = db.scalar(select(TaxCalculation).where(TaxCalculation.id == report.calculation_id))
    assert calculation is not None
    account, about = calculation.payment_account_id, (calculation.reference, report.noun_id, calculation.currency)
    if report.kind == SALE:
        return _Message(SALE, account, *about)
    before = {row.id: row for row in db.scalars(select(TaxReport).where(TaxReport.calculation_id == calculation.id))}
    if report.kind == RESTORATION:
        reference, reversal = f"{report.noun_id}:failed", before[f"{REVERSAL}:{report.noun_id}"]
        return _Message(RESTORATION, account, calculation.reference, reference, calculation.currency, reversal.reference or "")
    refund = db.scalar(select(Refund).where(Refund.id == report.noun_id))
    sale = next(row for row in before.values() if row.kind == SALE)
    assert refund is not None
    undone = {row.noun_id for row in before.values() if row.kind == RESTORATION and row.reported_at}
    earlier = [row for row in before.values() if row.kind == REVERSAL and row.reported_at and row.noun_id not in undone]
    items = _reversed_items(calculation, sale, refund, earlier)
    return _Message(REVERSAL, account, *about, sale.reference or "", refund.amount_minor, items)


def _reversed_items(calculation: TaxCalculation, sale: TaxReport, refund: Refund, earlier: Sequence[TaxReport]) -> list[ReversedItem]:
    """Return the refunded part with the tax of its document. Empty where the sale has several items: then the amount is distributed.

    The last refund takes the rest, so that the sums are those of the sale.
    """
    if len(calculation.lines) != 1 or len(sale.line_references) != 1:
        return []
    line = calculation.lines[0]
    whole = line["amount_minor"] + (0 if line["inclusive"] else line["tax_minor"])
    tax_left = line["tax_minor"] - sum(row.tax_minor for row in earlier)
    amount_left = whole - sum(row.amount_minor for row in earlier)
    tax = min(sum(row["tax_minor"] for row in (refund.snapshot or {}).get("tax", ())), tax_left)
    if refund.amount_minor >= amount_left:
        tax = tax_left
    amount = min(refund.amount_minor, amount_left)
    return [ReversedItem(sale.line_references[0], amount if line["inclusive"] else amount - tax, tax)]
