"""The right to withdraw as lists and pages show it, from the columns that they read anyway."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from auth.visit_rows import Account
from billing.history.overview import SubscriptionSummary
from billing.model.consents import Consent
from billing.model.customer_types import CustomerType
from billing.model.payments import Payment
from billing.rights.right import Right, right
from billing.rights.table import Labels, withdraw_labels
from billing.statements.matching import WITHDRAWABLE
from billing.subscriptions.subscription_row import SubscriptionRow
from core import i18n
from core.links import exists_here, here
from core.template_context import formatter
from portal.request_accounts import account
from portal.statements.sentences import right_words

LISTED = 10


@dataclass(frozen=True)
class Withdrawable:
    """A contract from which the customer can withdraw now. `url`: of the page where they do."""

    name: str
    account: Account
    url: str
    right: Right

    @property
    def label(self) -> Labels:
        """The words of the link: those of the customer's country if its law prescribes some, otherwise in the language of the page."""
        return withdraw_labels(i18n.locale(), self.right.country)[-1]


def of_subscription(row: SubscriptionRow, theirs: Account) -> Right:
    return right(
        row.billing, _party(row.customer_type, theirs), row.concluded_at or row.created_at, zone=theirs.zone, is_delivered=row.is_delivered
    )


def of_purchase(payment: Payment, concluded_at: datetime, theirs: Account, consents: Iterable[Consent]) -> Right:
    """`consents`: about the purchase."""
    agreed = any(item.kind == "digital_content" and item.recorded_at <= concluded_at for item in consents)
    return right(payment.billing, _party(payment.customer_type, theirs), concluded_at, zone=theirs.zone, is_delivered=agreed)


def notice(its_right: Right, name: str, theirs: Account, url: str, *, may_withdraw: bool) -> tuple[str, Withdrawable | None] | None:
    """Return (sentence, link) for the page of a contract; None where there is nothing to say."""
    if its_right.state == "open" and may_withdraw and exists_here("withdrawal"):
        return right_words(its_right, formatter().locale), Withdrawable(name, theirs, f"{url}/withdrawal", its_right)
    return (right_words(its_right, formatter().locale), None) if its_right.state == "delivered" and may_withdraw else None


def withdrawable(rows: Iterable[SubscriptionRow], purchases: Iterable[SubscriptionSummary] = ()) -> list[Withdrawable]:
    """Return the contracts that can be withdrawn from now, at most ten, those with the earliest last day first."""
    found: list[Withdrawable] = []
    if not exists_here("withdrawal"):
        return found
    for row in rows:
        theirs = account(row.business_id, row.customer_id)
        its_right = of_subscription(row, theirs)
        if its_right.is_open and row.status in WITHDRAWABLE and not row.is_withdrawn:
            found.append(Withdrawable(row.name, theirs, f"{here('subscriptions')}/{row.id}/withdrawal", its_right))
    for item in purchases:
        theirs = account(item.business_id, item.customer_id)
        address: dict[str, Any] = {"country": item.country, "state": item.state}
        party, at = _party(item.customer_type, theirs), item.concluded_at or item.at
        its_right = right(address, party, at, zone=theirs.zone, is_delivered=bool(item.is_delivered))
        is_left = item.status == "succeeded" and (item.refunded_minor or 0) < (item.minor or 0)
        if its_right.is_open and is_left:
            found.append(Withdrawable(item.name, theirs, f"{here('purchases')}/{item.id}/withdrawal", its_right))
    return sorted(found, key=lambda entry: str(entry.right.last_day))[:LISTED]


def _party(stored: str | None, theirs: Account) -> CustomerType:
    if stored:
        return "business" if stored == "business" else "consumer"
    return theirs.customer_type
