"""The reasons of disputes in words, for pages and emails."""

from __future__ import annotations

from typing import Any

from flask_babel import lazy_gettext as _l

REASONS: dict[str, Any] = {
    "fraudulent": _l("The customer says they did not make this payment"),
    "unrecognized": _l("The customer does not recognize this payment"),
    "duplicate": _l("The customer says they paid twice"),
    "subscription_canceled": _l("The customer says the subscription was cancelled"),
    "product_not_received": _l("The customer says they did not receive what they bought"),
    "product_unacceptable": _l("The customer says it was not as described"),
    "credit_not_processed": _l("The customer says a refund is missing"),
    "debit_returned": _l("The customer’s bank returned the direct debit"),
    "general": _l("No particular reason"),
}


def reason(code: str | None) -> str:
    return str(REASONS.get(code or "general", REASONS["general"]))
