"""Search across everything of the reader's: products and businesses by words, invoices by number, keys by their beginning."""

from __future__ import annotations

from dataclasses import dataclass

from flask import render_template, request
from flask.typing import ResponseReturnValue

from billing.queries import held_keys, history, purchases, subscriptions
from billing.queries.history import Filter, Words
from core.web import db
from portal import bp
from portal.drawing import drawn
from portal.keys import masked
from portal.lines import lines
from portal.standing import businesses, is_several

LONGEST = 100


@bp.get("/search")
def search() -> ResponseReturnValue:
    asked = " ".join(request.args.get("q", "").split())[:LONGEST]
    found = Found.of(asked) if asked else None
    numbered = history.entries(db(), Filter(words=Words(number=asked)), limit=10) if asked else []
    keys = held_keys.keys(db(), prefix=asked, limit=10) if len(asked) >= 4 else []
    return render_template(
        "portal/search.html",
        q=asked,
        lines=drawn(found.subscriptions, lines)[0] if found else [],
        purchases=found.purchases if found else [],
        found_businesses=found.businesses if found else [],
        entries=numbered,
        keys=keys,
        masked=masked,
        businesses=businesses(),
        several=is_several(),
    )


@dataclass(frozen=True)
class Found:
    """What carries all the words in its own name or its business's. The reader's own rows are few, so we compare them here
    instead of asking a database for a pattern in the middle of a text, which no index can answer."""

    subscriptions: list[subscriptions.SubscriptionRow]
    purchases: list[purchases.PurchaseRow]
    businesses: list[tuple[str, str]]

    @classmethod
    def of(cls, asked: str) -> Found:
        names = businesses()
        parts = asked.casefold().split()

        def has(*texts: str | None) -> bool:
            whole = " ".join(text for text in texts if text).casefold()
            return all(part in whole for part in parts)

        session = db()
        running = [*subscriptions.live(session), *subscriptions.past(session, limit=200)]
        bought = purchases.purchases(session, limit=200)
        return cls(
            [one for one in running if has(one.name, names[one.business_id].name)],
            [one for one in bought if has(one.name, names[one.business_id].name)],
            [(one.business_id, one.name) for one in names.values() if has(one.name)],
        )

    def words(self, asked: str) -> Words:
        return Words(
            asked, [one for one, _name in self.businesses], [one.id for one in self.subscriptions], [one.id for one in self.purchases]
        )
