"""Disputes. Stripe also reports a bank debit that came back after it had succeeded as a dispute, which is lost at once."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from billing.charging.processor_reports import DisputeReport, DisputeStage, DisputeStatus
from gateways.stripe import metadata
from gateways.stripe.amounts import from_stripe
from gateways.stripe.api import Refusal, StripeApi, StripeObject

log = structlog.get_logger()

_STATES: dict[str, DisputeStatus] = {
    "warning_needs_response": "dispute_opened",
    "warning_under_review": "dispute_challenged",
    "warning_closed": "dispute_cancelled",
    "needs_response": "dispute_opened",
    "under_review": "dispute_challenged",
    "prevented": "dispute_cancelled",
    "won": "dispute_won",
    "lost": "dispute_lost",
}
_REASONS = {
    "fraudulent": "fraudulent",
    "unrecognized": "unrecognized",
    "duplicate": "duplicate",
    "subscription_canceled": "subscription_canceled",
    "product_not_received": "product_not_received",
    "product_unacceptable": "product_unacceptable",
    "credit_not_processed": "credit_not_processed",
    "incorrect_account_details": "debit_returned",
    "insufficient_funds": "debit_returned",
    "bank_cannot_process": "debit_returned",
    "debit_not_authorized": "debit_returned",
    "customer_initiated": "debit_returned",
}
_DEBITS = ("sepa_debit", "us_bank_account", "bacs_debit", "au_becs_debit", "acss_debit", "nz_bank_account")


def look_up(api: StripeApi, reference: str, *, live: bool) -> DisputeReport | None:
    try:
        found = api.call(api.v1.disputes.retrieve, reference, {"expand": ["payment_intent", "charge"]}).object
    except Refusal as refused:
        if refused.status == 404:
            return None
        raise
    intent, charge = found.get("payment_intent") or {}, found.get("charge") or {}
    due = (found.get("evidence_details") or {}).get("due_by")
    status = _STATES.get(found["status"])
    if status is None:  # newer than this adapter: it must not reopen a dispute that is decided
        log.warning("unknown state of a dispute", dispute=found["id"], status=found["status"])
    is_returned = _is_debit(charge) and status == "dispute_lost"
    return DisputeReport(
        reference=found["id"],
        status=status,
        amount=from_stripe(found["amount"], found["currency"]),
        stage=_stage(found["status"]),
        charge_key=metadata.read(intent),
        charge_reference=intent.get("id"),
        reason=_REASONS.get(found["reason"], "general"),
        is_debit_return=is_returned,
        answer_by=datetime.fromtimestamp(due, UTC) if due and not is_returned else None,
        url=f"https://dashboard.stripe.com/{'' if live else 'test/'}disputes/{found['id']}",
    )


def _stage(status: str) -> DisputeStage:
    """Return the stage. For an inquiry (`warning_…`) Stripe withholds nothing. Stripe does not report arbitration."""
    return "pre_dispute" if status.startswith("warning_") else "dispute"


def _is_debit(charge: StripeObject) -> bool:
    return (charge.get("payment_method_details") or {}).get("type") in _DEBITS
