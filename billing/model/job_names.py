"""Names of the jobs whose failing rows are stored (core/recurring_jobs.py). Rows keep a name, so a value must not change."""

from __future__ import annotations

RENEWALS = "renewals"
RETRIES = "retry"
GRACE_ENDS = "end_grace"
RECONCILIATION = "reconcile"
NOTICE_PLANS = "plan_notice"
RENEWAL_NOTICES = "remind_renewal"
EXPIRY_NOTICES = "remind_expiry"
PRICE_CHANGE_PLANS = "plan_price_change"
PRICE_CHANGE_NOTICES = "announce_price_change"
PRICE_CHANGE_STOPS = "stop_price_change"
DUNNING = "dun"
DUNNING_ENDS = "recover"
TAX_ESTIMATES = "estimate_tax"
TAX_REPORTS = "report_tax"
PLANNED_STATEMENTS = "planned_statement"
OVERDUE_REQUESTS = "overdue_request"

ALL = (
    RENEWALS,
    RETRIES,
    GRACE_ENDS,
    RECONCILIATION,
    NOTICE_PLANS,
    RENEWAL_NOTICES,
    EXPIRY_NOTICES,
    PRICE_CHANGE_PLANS,
    PRICE_CHANGE_NOTICES,
    PRICE_CHANGE_STOPS,
    DUNNING,
    DUNNING_ENDS,
    TAX_ESTIMATES,
    TAX_REPORTS,
    PLANNED_STATEMENTS,
    OVERDUE_REQUESTS,
)
