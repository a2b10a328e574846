"""Names that tables had when the first revisions created them. Those revisions look up the kind of a table by its name."""

from __future__ import annotations

from core import models

RENAMED_IN_0031 = {
    "api_repeats": "idempotency_records",
    "budgets": "rate_limit_counts",
    "customer_views": "impersonation_sessions",
    "customer_words": "customer_search_words",
    "elsewhere_accounts": "external_accounts",
    "elsewhere_hooks": "external_webhooks",
    "forwarded_acts": "delegated_actions",
    "never_again": "email_opt_outs",
    "parked_money": "reconciliation_exceptions",
    "reminders": "sent_notices",
    "turned_clock": "shared_clock",
}
"""Old name → new name. No other table has a foreign key to one of them."""


def tables_by_kind() -> dict[str, type | None | str]:
    """Return `core.models.tables_by_kind()` with the former names as well."""
    kinds = models.tables_by_kind()
    return kinds | {old: kinds[new] for old, new in RENAMED_IN_0031.items()}
