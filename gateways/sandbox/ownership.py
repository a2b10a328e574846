"""Which payment account has which operations and cards of the sandbox.

Operations of an earlier version, and cards that a test saved directly, name no account: the first account of their business has the
operations, and every account has the cards. A gateway without an account (`SandboxGateway` itself) has everything.
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3

from billing.model.payment_accounts import sandbox_account_id


def account_of(operation: sqlite3.Row) -> str:
    """Return the account of an operation, an empty string if there is none."""
    return operation["account"] or (sandbox_account_id(operation["business_id"]) if operation["business_id"] else "")


def has(account: str, operation: sqlite3.Row) -> bool:
    return not account or account_of(operation) in ("", account)


def has_card(account: str, card: sqlite3.Row) -> bool:
    return not account or card["account"] in ("", account)


def signing_secret(secret: str, account: str) -> str:
    """Return the secret that signs the notifications of an account."""
    return hmac.new(secret.encode(), f"notifications of {account}".encode(), hashlib.sha256).hexdigest()
