"""Mandates of bank debits: their reference and date, which the rules of SEPA require to be shown to the customer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import structlog

from billing.charging.ports import MethodDetails
from gateways.stripe.api import Refusal, StripeApi, Unanswered

log = structlog.get_logger()

WITH_REFERENCE = ("sepa_debit", "bacs_debit")


def with_mandate(api: StripeApi, details: MethodDetails) -> MethodDetails:
    """Return the details with the mandate's reference and date. Without an answer they stay away: the charge is what matters."""
    if details.mandate is None or details.kind not in WITH_REFERENCE:
        return details
    try:
        found = api.call(api.v1.mandates.retrieve, details.mandate).object
    except (Refusal, Unanswered) as problem:
        log.warning("mandate not read", mandate=details.mandate, problem=type(problem).__name__)
        return details
    accepted = (found.get("customer_acceptance") or {}).get("accepted_at")
    facts = (found.get("payment_method_details") or {}).get(details.kind) or {}
    at = datetime.fromtimestamp(accepted, UTC) if accepted else None
    return replace(details, mandate_reference=facts.get("reference"), mandate_at=at)
