"""Every module that defines tables. A table missing here would be missing from the schema; a guard test compares."""

from __future__ import annotations

import auth.models
import billing.catalogue
import billing.corrections
import billing.invoices
import billing.licences
import billing.notifications
import billing.parties
import billing.payments
import billing.reminders
import billing.quotes
import billing.subscriptions
import core.mailbox
import core.outbox
import core.schema
import core.worker
import tenants.keys
import tenants.repeats  # noqa: F401
from core.models import Base

metadata = Base.metadata
