"""The list of subscriptions from hand-written SQL with the bare driver, without ORM, guard and scope, in the same template.

`with by_hand(bench):` replaces the functions with which the page reads rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from unittest import mock

import auth.sessions
import portal.subscriptions
from auth import tokens
from auth.sessions import Account, Visit, VisitGrant
from bench.world import Bench
from billing.model.business_profile import BusinessProfile
from billing.model.lifecycle import ENDED
from billing.subscriptions.queries import SHOWN
from billing.subscriptions.running import SubscriptionPage
from billing.subscriptions.subscription_row import SubscriptionRow

SESSION = """
SELECT s.id, s.created_at, s.proved_at, i.identity_id, i.locale, i.zone, i.name, e.email, e.email_key, e.is_primary,
       g.id, g.door, g.business_id, g.customer_id, g.sign_in_method, g.address_key, g.link_id, g.return_url, g.proved_at, g.expires_at
FROM browser_sessions s JOIN identities i ON i.identity_id = s.identity_id JOIN identity_emails e ON e.identity_id = i.identity_id
JOIN session_grants g ON g.session_id = s.id AND g.revoked_at IS NULL
WHERE s.secret_hash = ? AND s.revoked_at IS NULL"""
CUSTOMERS = """
SELECT c.business_id, c.customer_id, c.name, c.email, c.phone, c.locale, c.recognized_key, c.first_paid_at, b.name, b.legal_name,
       b.support_email, b.locale, b.zone, b.brand, b.address, b.archived_at, b.currency, b.settings, b.tax_rates,
       b.tax_setup
FROM customers c JOIN businesses b ON b.business_id = c.business_id
WHERE c.email_key = ? AND (c.declined_key IS NULL OR c.declined_key <> c.email_key) ORDER BY b.name, c.business_id, c.created_at"""
SUBSCRIPTIONS = """
SELECT s.business_id, s.customer_id, s.id, s.status, s.quantity, s.currency, s.unit_minor, s.tax_inclusive, s.addons, s.discounts,
       s.interval, s.interval_count, s.zone, s.anchor_at, s.period_n, s.previous_billing_at, s.next_billing_at, s.trial_ends_at,
       s.expires_at, s.cancel_at_period_end, s.cancelled_at, s.paused_at, s.on_hold_at, s.billing, s.tax_id, s.business_name,
       s.collected_by, s.credit_minor, s.created_at, s.product_id, p.name, m.id, m.brand, m.last4, m.kind, m.expiry_month,
       m.expiry_year, i.id, i.number, i.due_minor, y.id, y.status, y.unknown, y.working_days, y.amount_minor, y.created_at, y.sent_at,
       y.hosted_url, y.charge_type, q.product_id, n.name, q.quantity, q.unit_minor, q.addons, n.tax_inclusive, n.interval,
       n.interval_count, q.discounts, p.tax_category, n.tax_category,
       EXISTS (SELECT 1 FROM products other
               JOIN collection_items theirs ON theirs.business_id = s.business_id AND theirs.product_id = other.id AND theirs.enabled
               JOIN collection_items ours ON ours.business_id = s.business_id AND ours.collection_id = theirs.collection_id
               JOIN collection_groups g ON g.business_id = s.business_id AND g.id = theirs.group_id AND g.enabled
               JOIN collections t ON t.business_id = s.business_id AND t.id = ours.collection_id AND t.archived_at IS NULL
               WHERE other.business_id = s.business_id AND ours.product_id = s.product_id AND other.id <> s.product_id
               AND other.archived_at IS NULL AND other.price_type <> 'one_time_price' AND other.currency = s.currency),
       p.addons, p.price_type, s.charge_from, z.id, z.unit_minor, z.old_unit_minor, z.applies_at, z.needs_consent, z.answer,
       z.total_minor, w.stopped_at,
       EXISTS (SELECT 1 FROM payment_accounts a
               WHERE a.business_id = s.business_id AND a.state = 'open' AND a.kind IN ('sandbox', 'stripe')),
       m.removed_at IS NULL AND m.held_by = 'us' AND EXISTS (SELECT 1 FROM payment_accounts a
         WHERE a.business_id = m.business_id AND a.id = m.payment_account_id AND a.state = 'open')
FROM subscriptions s JOIN customers c ON c.business_id = s.business_id AND c.customer_id = s.customer_id
JOIN products p ON p.business_id = s.business_id AND p.id = s.product_id
LEFT JOIN payment_methods m ON m.business_id = s.business_id AND m.id = s.payment_method_id
LEFT JOIN invoices i ON i.business_id = s.business_id AND i.subscription_id = s.id AND i.status = 'open'
LEFT JOIN payments y ON y.business_id = s.business_id AND y.subscription_id = s.id AND y.is_open
LEFT JOIN scheduled_changes q ON q.business_id = s.business_id AND q.subscription_id = s.id AND q.cancelled_at IS NULL
  AND q.applied_at IS NULL
LEFT JOIN products n ON n.business_id = s.business_id AND n.id = q.product_id
LEFT JOIN subscription_price_changes z ON z.business_id = s.business_id AND z.subscription_id = s.id AND z.status = 'announced'
LEFT JOIN price_changes w ON w.business_id = s.business_id AND w.id = z.price_change_id
WHERE c.email_key = ? AND s.status IN (%s)"""
_DATES = (13, 15, 16, 17, 18, 20, 21, 22, 28, 45, 46, 63, 67, 71)
_JSON = (8, 9, 23, 53, 57, 61)
_BOOLEANS = (7, 19, 42, 54, 60, 68, 72, 73)


@contextmanager
def by_hand(bench: Bench) -> Iterator[None]:
    rows = _HandWritten(bench)
    with (
        mock.patch.object(auth.sessions, "load", rows.visit),
        mock.patch.object(auth.sessions, "load_customers", rows.customers),
        mock.patch.object(portal.subscriptions.running, "page", rows.page),
        mock.patch.object(portal.subscriptions.query, "past", rows.past),
        mock.patch.object(portal.subscriptions, "db", lambda **_: None),
    ):
        yield
    bench.raw.rollback()


class _HandWritten:
    def __init__(self, bench: Bench) -> None:
        self.raw, self.lite, self.address = bench.raw, bench.is_sqlite, ""

    def all(self, sql: str, *values: Any) -> list[Any]:
        return self.raw.execute(sql if self.lite else sql.replace("?", "%s"), values).fetchall()

    def at(self, value: Any) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value) if self.lite else value.astimezone(UTC)

    def json(self, value: Any) -> Any:
        return json.loads(value) if self.lite and value is not None else value

    def visit(self, _database: Any, settings: Any, secret: str) -> Visit | None:
        found = self.all(SESSION, next(iter(tokens.hashes(settings, "session", secret))))
        if not found:
            return None
        first = found[0]
        self.address = first[8]
        grants = tuple(VisitGrant(*row[10:18], self.at(row[18]), self.at(row[19])) for row in found)  # type: ignore[arg-type]
        return Visit(
            session_id=first[0],
            identity_id=first[3],
            created_at=self.at(first[1]),
            proved_at=self.at(first[2]),  # type: ignore[arg-type]
            addresses=(first[8],),
            grants=grants,
            locale=first[4],
            zone=first[5],
            person_name=first[6] or "",
            primary_email=first[7],
            emails=tuple((row[7], row[8], bool(row[9])) for row in found),
        )

    def customers(self, _scope: Any, _business_id: str | None = None) -> list[Account]:
        out = []
        for row in self.all(CUSTOMERS, self.address):
            town = str((self.json(row[14]) or {}).get("city") or "")
            profile = BusinessProfile(
                business_id=row[0],
                name=row[8],
                legal_name=row[9],
                support_email=row[10],
                locale=row[11],
                zone=row[12],
                brand=self.json(row[13]) or {},
                town=town,
                archived_at=self.at(row[15]),
            )
            out.append(
                Account(
                    business=profile,
                    customer_id=row[1],
                    customer_name=row[2],
                    email=row[3],
                    phone=row[4],
                    locale=row[5],
                    accepted=row[6] == self.address,
                    confirmed=True,
                    declined=False,
                    first_paid_at=self.at(row[7]),
                    currency=row[16],
                    settings=self.json(row[17]) or {},
                    tax_rates=self.json(row[18]) or {},
                    tax_setup=self.json(row[19]),
                )
            )
        return out

    def page(self, _db: Any, _after: Any, _limit: int) -> SubscriptionPage:
        marks = ", ".join("?" * len(SHOWN))
        sql = SUBSCRIPTIONS % marks + " ORDER BY s.next_billing_at, s.id LIMIT 500"
        return SubscriptionPage([self._one(row) for row in self.all(sql, self.address, *SHOWN)], next=None)

    def past(self, _db: Any, before: Any = None, limit: int = 25) -> list[SubscriptionRow]:
        marks = ", ".join("?" * len(ENDED))
        sql = SUBSCRIPTIONS % marks + " ORDER BY s.created_at DESC, s.id DESC LIMIT 26"
        return [self._one(row) for row in self.all(sql, self.address, *ENDED)]

    def _one(self, row: Any) -> SubscriptionRow:
        values = list(row)
        for n in _DATES:
            values[n] = self.at(values[n])
        if self.lite:
            for n in _JSON:
                values[n] = self.json(values[n])
            for n in _BOOLEANS:
                values[n] = None if values[n] is None else bool(values[n])
        return SubscriptionRow(*values)
