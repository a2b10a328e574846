"""Tests an account of the sandbox: a payment is opened and cancelled in one transaction, and its notification is sent."""

from __future__ import annotations

import sqlite3

from billing.charging.account_ports import TestPayment
from billing.charging.ports import ChargeRequest
from core.money import Money, exponent
from gateways.sandbox import operations


def run(c: sqlite3.Connection, key: str, currency: str, account: str) -> TestPayment:
    amount = Money(10 ** exponent(currency), currency)
    request = ChargeRequest(key, "", "", "", amount, "Test of the payment account. Nothing is charged.", off_session=False)
    operations.arrive(c, request, "requires_action", account)
    closed = operations.cancel(c, key, account)
    return TestPayment(closed["reference"], amount)
