"""Import every module that defines tables. A module missing here would be missing from the schema; a test checks that."""

from __future__ import annotations

import auth.account_merge  # noqa: F401
import auth.domains.models  # noqa: F401
import auth.models  # noqa: F401
import auth.oidc_client.models  # noqa: F401
import auth.oidc_server.models  # noqa: F401
import auth.passkeys  # noqa: F401
import auth.personal_export  # noqa: F401
import auth.recovery  # noqa: F401
import billing.charging.reconciliation_exceptions  # noqa: F401
import billing.model.catalogue  # noqa: F401
import billing.model.corrections  # noqa: F401
import billing.model.customer_search  # noqa: F401
import billing.model.delegated_actions  # noqa: F401
import billing.model.discounts  # noqa: F401
import billing.model.gateway_notifications  # noqa: F401
import billing.model.imported_records  # noqa: F401
import billing.model.invoices  # noqa: F401
import billing.model.licenses  # noqa: F401
import billing.model.parties  # noqa: F401
import billing.model.payment_accounts  # noqa: F401
import billing.model.payments  # noqa: F401
import billing.model.pictures  # noqa: F401
import billing.model.quotes  # noqa: F401
import billing.model.sent_notices  # noqa: F401
import billing.model.subscriptions  # noqa: F401
import core.email_log  # noqa: F401
import core.job_runs  # noqa: F401
import core.leases  # noqa: F401
import core.mail_server  # noqa: F401
import core.mailbox  # noqa: F401
import core.migration_steps  # noqa: F401
import core.operations.audit  # noqa: F401
import core.outbox  # noqa: F401
import core.recurring_jobs  # noqa: F401
import core.schema  # noqa: F401
import core.shared_clock  # noqa: F401
import core.worker  # noqa: F401
import tenants.api_keys  # noqa: F401
import tenants.exports  # noqa: F401
import tenants.external.account  # noqa: F401
import tenants.idempotency_store  # noqa: F401
import tenants.impersonation  # noqa: F401
import tenants.team  # noqa: F401
import tenants.webhooks.models  # noqa: F401
from core.models import Base

metadata = Base.metadata
