"""Names of the jobs whose failing rows are stored (core/recurring_jobs.py). Rows keep a name, so a value must not change."""

from __future__ import annotations

RENEWALS = "renewals"
RETRIES = "retry"
GRACE_ENDS = "end_grace"
RECONCILIATION = "reconcile"
RENEWAL_NOTICES = "remind_renewal"
EXPIRY_NOTICES = "remind_expiry"
DUNNING = "dun"
DUNNING_ENDS = "recover"
TAX_ESTIMATES = "estimate_tax"
TAX_REPORTS = "report_tax"
PLANNED_STATEMENTS = "planned_statement"

ALL = (
    RENEWALS,
    RETRIES,
    GRACE_ENDS,
    RECONCILIATION,
    RENEWAL_NOTICES,
    EXPIRY_NOTICES,
    DUNNING,
    DUNNING_ENDS,
    TAX_ESTIMATES,
    TAX_REPORTS,
    PLANNED_STATEMENTS,
)
