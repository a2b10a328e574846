"""Columns that only templates read, with the template and the variable that holds the row.

A template has no types, so an attribute's name alone proves nothing: `one.created_at` may belong to any row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, nodes

READ = {  # column → (template, variable)
    "ApiKey.prefix": ("tenants/console/keys.html", "key"),
    "OperatorAction.action": ("operator/actions.html", "action"),
    "OperatorAction.reason": ("operator/actions.html", "action"),
    "Attempt.request": ("tenants/console/delivery.html", "attempt"),
    "Attempt.response": ("tenants/console/delivery.html", "attempt"),
    "Correction.created_at": ("portal/invoice.html", "correction"),
    "Customer.declined_at": ("tenants/console/customer.html", "customer"),
    "Dispute.url": ("tenants/console/dispute.html", "dispute"),
    "Dispute.is_debit_return": ("portal/_disputes.html", "dispute"),
    "Delivery.delivered_at": ("tenants/console/delivery.html", "row"),
    "ExternalAccount.failure": ("tenants/console/external_billing.html", "account"),
    "ExternalAccount.pulled_at": ("tenants/console/external_billing.html", "account"),
    "Endpoint.disabled_at": ("tenants/console/webhook.html", "row"),
    "MailboxEmail.subject": ("mailbox/email.html", "message"),
    "Passkey.is_backed_up": ("unified/passkeys.html", "passkey"),
    "Passkey.last_used_at": ("unified/passkeys.html", "passkey"),
    "ProviderLogin.last_used_at": ("unified/providers.html", "login"),
    "Restart.created_at": ("tenants/console/subscription.html", "newer"),
    "Statement.decided_at": ("tenants/console/statement.html", "row"),
    "SubscriptionPriceChange.answered_at": ("portal/price_change.html", "change"),
    "SourceId.loaded_at": ("tenants/console/customer.html", "loaded"),
}
_environment = Environment(extensions=["jinja2.ext.i18n", "jinja2.ext.do"], autoescape=True)


def attributes(text: str) -> Iterator[tuple[str, str]]:
    """Return (variable, attribute) of every `variable.attribute` that a template evaluates, without text and comments."""
    for node in _environment.parse(text).find_all(nodes.Getattr):
        if isinstance(node.node, nodes.Name):
            yield node.node.name, node.attr


def stale(folder: Path) -> set[str]:
    """Return columns whose template no longer reads them from that variable."""
    found = {name: set(attributes((folder / name).read_text(encoding="utf-8"))) for name in {name for name, _ in READ.values()}}
    return {column for column, (name, variable) in READ.items() if (variable, column.split(".")[1]) not in found[name]}
