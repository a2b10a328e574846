"""Defines the port to another billing system that collects subscriptions.

Implementations are in `tenants/external/` and are passed in by `wsgi.py`. Rules:

* `send` under the same key has one effect, as far as the other system guarantees it, so callers look up before they send again;
* a request that timed out does not raise, it returns "unknown";
* `learn` reads the current state from the other system and stores it before it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from billing.model.imported_records import Record
from core.scope import Actor

Noun = Literal["payments", "invoices", "refunds"]
"""The rows that have documents. The document of a paid invoice is found by its payment."""

VERBS: dict[str, frozenset[str]] = {
    "dodo": frozenset({"cancel", "keep", "end", "pause", "resume", "change_plan", "keep_plan", "change_method", "edit_billing"}),
    "stripe": frozenset({"cancel", "keep", "end", "pause", "resume", "change_method", "change_plan", "edit_billing", "pay_invoice"}),
}
"""System → the actions it supports. Subscriptions of any other system were imported from a file and support no actions."""


FREE_ADDONS = frozenset({"stripe"})
"""Systems in which an add-on belongs to the subscription, not to its plan. A change of the plan leaves it as it is."""

NO_USAGE_PLANS = frozenset({"us", "stripe"})
"""Systems at which a subscription cannot change to a plan that is billed by usage."""

NO_CODES = frozenset({"stripe"})
"""Systems that take no discount codes with a plan change."""

DETAILS_OF_CUSTOMERS = frozenset({"stripe"})
"""Systems that have one set of billing details for each customer, which all subscriptions of the customer share."""

UNDECIDED = "undecided"
"""`collected_by` of an imported subscription that an earlier version also collected here.

It is not charged until the business decides (billing/subscriptions/decide_collection.py).
"""


def can(collected_by: str, verb: str) -> bool:
    """Return whether `verb` is possible for a subscription, here or in the system that collects it. Used by buttons and commands."""
    return collected_by == "us" or verb in VERBS.get(collected_by, ())


def pays_there(collected_by: str) -> bool:
    """Return whether open invoices of a subscription are paid on a page of the system that collects it."""
    return collected_by != "us" and can(collected_by, "pay_invoice")


@dataclass(frozen=True)
class DelegatedCall:
    """A request to the other system. `parameters` of the verb (JSON). `by_customer`: requested by the customer, not the business."""

    business_id: str
    subscription_id: str
    verb: str
    parameters: Mapping[str, Any]
    key: str
    customer_id: str
    by_customer: bool = True


@dataclass(frozen=True)
class ExternalAnswer:
    """An answer. `done`: accepted; `learn` shows whether it is in force. `refused`: `message` says why. `unknown`: no answer."""

    state: Literal["done", "refused", "unknown"]
    message: str | None = None
    link: str | None = None


class ExternalBilling(Protocol):
    name: str

    def send(self, act: DelegatedCall) -> ExternalAnswer: ...

    def learn(self, act: DelegatedCall, actor: Actor | None = None) -> Record | None:
        """Read the subscription of an action from the other system and store it, with what else the action may have changed.

        Returns None if it is unknown there. Raises core.errors.Unavailable.
        """
        ...

    def preview(self, business_id: str, subscription_id: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the cost of a plan change there (contract §2.3 Preview).

        Raises core.errors.Unavailable, Conflict with the message of the other system.
        """
        ...

    def document_pdf(self, business_id: str, noun: Noun, id: str, keep: Callable[[bytes], bytes]) -> bytes | None:
        """Fetch the PDF of a payment's invoice, of an unpaid invoice or of a refund and pass it to `keep`. Returns the result of `keep`.

        None: the other system issues no such document, so it is typeset here.

        Raises core.errors.Unavailable, with DOCUMENT_BEING_FETCHED if the PDF is still being fetched in the background.
        """
        ...
