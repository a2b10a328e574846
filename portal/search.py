"""Search the customer's products and businesses by words, invoices by number, and license keys by prefix."""

from __future__ import annotations

from dataclasses import dataclass

from flask import render_template, request
from flask.typing import ResponseReturnValue

from billing.history import billing_history, purchases
from billing.history.billing_history import Filter, SearchTerms
from billing.licenses import queries as license_queries
from billing.subscriptions import queries as subscription_queries
from billing.subscriptions.subscription_row import SubscriptionRow
from core.request_context import db
from portal import bp
from portal.license_keys import mask_key
from portal.request_accounts import businesses, is_several
from portal.safe_rows import safe_rows
from portal.subscription_rows import lines

LONGEST = 100


@bp.get("/search")
def search() -> ResponseReturnValue:
    search_text = " ".join(request.args.get("q", "").split())[:LONGEST]
    found = SearchResults.of(search_text) if search_text else None
    numbered = billing_history.entries(db(), Filter(search=SearchTerms(number=search_text)), limit=10) if search_text else []
    keys = license_queries.keys(db(), prefix=search_text, limit=10) if len(search_text) >= 4 else []
    return render_template(
        "portal/search.html",
        q=search_text,
        lines=safe_rows(found.subscriptions, lines)[0] if found else [],
        purchases=found.purchases if found else [],
        found_businesses=found.businesses if found else [],
        entries=numbered,
        keys=keys,
        masked=mask_key,
        businesses=businesses(),
        several=is_several(),
    )


@dataclass(frozen=True)
class SearchResults:
    """Rows whose name or business name contains all words.

    A customer has few rows, so they are compared here. No database index supports a pattern in the middle of a text.
    """

    subscriptions: list[SubscriptionRow]
    purchases: list[purchases.PurchaseRow]
    businesses: list[tuple[str, str]]

    @classmethod
    def of(cls, search_text: str) -> SearchResults:
        names = businesses()
        parts = search_text.casefold().split()

        def has(*texts: str | None) -> bool:
            whole = " ".join(text for text in texts if text).casefold()
            return all(part in whole for part in parts)

        session = db()
        running = [*subscription_queries.live(session), *subscription_queries.past(session, limit=200)]
        bought = purchases.purchases(session, limit=200)
        return cls(
            [item for item in running if has(item.name, names[item.business_id].name)],
            [item for item in bought if has(item.name, names[item.business_id].name)],
            [(item.business_id, item.name) for item in names.values() if has(item.name)],
        )

    def terms(self, search_text: str) -> SearchTerms:
        return SearchTerms(
            search_text,
            [item for item, _name in self.businesses],
            [subscription.id for subscription in self.subscriptions],
            [purchase.id for purchase in self.purchases],
        )
