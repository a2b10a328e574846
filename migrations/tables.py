"""Every module that defines tables. A table missing here would be missing from the schema; a guard test compares."""

from __future__ import annotations

import auth.domains.models  # noqa: F401
import auth.exports  # noqa: F401
import auth.merging  # noqa: F401
import auth.models  # noqa: F401
import auth.passkeys  # noqa: F401
import auth.provider.models  # noqa: F401
import auth.providers.models  # noqa: F401
import auth.recovery  # noqa: F401
import billing.catalogue  # noqa: F401
import billing.corrections  # noqa: F401
import billing.discounts  # noqa: F401
import billing.finding  # noqa: F401
import billing.forwarded  # noqa: F401
import billing.invoices  # noqa: F401
import billing.licences  # noqa: F401
import billing.loaded  # noqa: F401
import billing.notifications  # noqa: F401
import billing.parked  # noqa: F401
import billing.parties  # noqa: F401
import billing.payments  # noqa: F401
import billing.pictures  # noqa: F401
import billing.quotes  # noqa: F401
import billing.reminders  # noqa: F401
import billing.subscriptions  # noqa: F401
import core.leases  # noqa: F401
import core.mail_server  # noqa: F401
import core.mailbox  # noqa: F401
import core.outbox  # noqa: F401
import core.schema  # noqa: F401
import core.shared_clock  # noqa: F401
import core.turns  # noqa: F401
import core.worker  # noqa: F401
import tenants.elsewhere.account  # noqa: F401
import tenants.exports  # noqa: F401
import tenants.keys  # noqa: F401
import tenants.repeats  # noqa: F401
import tenants.team  # noqa: F401
import tenants.views  # noqa: F401
import tenants.webhooks.tables  # noqa: F401
from core.models import Base

metadata = Base.metadata
