"""Reading an account and keeping what it says: pages of things, or one thing anew, with whatever they refer to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import select

from billing.catalogue import Product
from billing.commands.loading import Counts, load
from billing.forwarding import heard_late
from billing.loaded import KINDS, Record
from core import clock
from core.db import Database, ScopedSession
from core.errors import Invalid
from core.scope import Actor, system
from core.settings import Settings
from tenants.elsewhere.account import ElsewhereAccount
from tenants.elsewhere.client import patiently
from tenants.elsewhere.resources import ONE, Json, Resource, plain
from tenants.loading.known import MODELS, key_of, of_others
from tenants.loading.shapes import record

log = structlog.get_logger()
SOURCE = "dodo"
AT_ONCE = 4  # questions under way


@dataclass
class Reader:
    """One account, one business. `skipped` counts what could not be read; each is logged with its reason."""

    database: Database
    settings: Settings
    api: Any
    business_id: str
    skipped: int = 0
    wait: Callable[[Callable[[], Any]], Any] = patiently
    _gone: set[str] = field(default_factory=set)

    def told(self, resource: Resource, items: Sequence[Any]) -> list[Record]:
        """A page of a list as records, each asked for by itself where the list leaves something out."""
        listed = [plain(one) for one in items]
        short = self._short(resource, listed)
        if short:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                whole = dict(zip(short, pool.map(lambda one: self._ask(resource.kind, one), short), strict=True))
            listed = [whole.get(one[resource.id]) or one for one in listed if whole.get(one[resource.id], one) is not None]
        if resource.archived:
            listed = [{**one, "archived_at": one.get("updated_at") or clock.wall().isoformat()} for one in listed]
        found = [self._record(resource.kind, one) for one in listed]
        return [one for one in found if one is not None]

    def one(self, kind: str, id: str) -> Record | None:
        """One thing as the account says it is now; None where it knows none."""
        said = self._ask(kind, id)
        return self._record(kind, said) if said is not None else None

    def keep(
        self, records: Sequence[Record], also: Callable[[ScopedSession], None] = lambda db: None, actor: Actor | None = None
    ) -> Counts:
        """Write them with all that they refer to, in one transaction, `also` in the same."""
        whole = self._complete(list(records))
        places = [(one.kind, one.id, n) for n, one in enumerate(whole)]
        clashes = {n for n, _why in of_others(self.database, self.business_id, places)}
        if clashes:
            self._skip("another business of this deployment has this id", [whole[n].source_id for n in sorted(clashes)])
        kept = [one for n, one in enumerate(whole) if n not in clashes]
        with self.database.open(system(self.business_id), write=True) as db:
            counts = load(db, SOURCE, kept, renew=True, test_mode=self.settings.is_test, actor=actor)
            heard_late(db, kept)
            account = db.scalar(select(ElsewhereAccount).where(ElsewhereAccount.id == SOURCE))
            if account is not None:
                account.heard_at = clock.wall()
            also(db)
        return counts

    def _short(self, resource: Resource, listed: list[Json]) -> list[str]:
        if resource.whole:
            return [one[resource.id] for one in listed]
        if resource.kind != "subscription":
            return []
        with self.database.open(system(self.business_id)) as db:
            ids = sorted({one["product_id"] for one in listed})
            price = {row[0]: row[1] for row in db.execute(select(Product.id, Product.price_minor).where(Product.id.in_(ids)))}
        # a list says the sum, and not the add-ons that are in it: a sum that the price explains has none
        return [one["subscription_id"] for one in listed
                if price.get(one["product_id"], 0) * one.get("quantity", 1) != one.get("recurring_pre_tax_amount")]

    def _complete(self, records: list[Record]) -> list[Record]:
        """What the records name and is neither here nor among them is asked for first; what names nothing is left out."""
        for _depth in range(4):  # an activation names a key, which names a payment, which names a customer
            missing = self._missing(records)
            if not missing:
                break
            with ThreadPoolExecutor(AT_ONCE) as pool:
                found = list(pool.map(lambda one: self.one(*one), sorted(missing)))
            self._gone |= {f"{kind}/{id}" for (kind, id), one in zip(sorted(missing), found, strict=True) if one is None}
            records = [one for one in found if one is not None] + records
        good = [one for one in records if not any(f"{ref.kind}/{ref.id}" in self._gone for ref in one.references)]
        if len(good) < len(records):
            self._skip("it names something that the account does not have", [one.source_id for one in records if one not in good])
        return good

    def _missing(self, records: list[Record]) -> set[tuple[str, str]]:
        here = {(one.kind, one.id) for one in records}
        named = {(ref.kind, ref.id) for one in records for ref in one.references} - here
        named = {one for one in named if one[0] in ONE and f"{one[0]}/{one[1]}" not in self._gone}
        with self.database.open(system(self.business_id)) as db:
            for kind in KINDS:
                ids = sorted(id for one, id in named if one == kind)
                if ids and kind in MODELS:
                    named -= {(kind, id) for id in db.scalars(select(key_of(kind)).where(key_of(kind).in_(ids)))}
        return named

    def _ask(self, kind: str, id: str) -> Json | None:
        from dodopayments import NotFoundError

        try:
            return plain(self.wait(lambda: ONE[kind](self.api, id)))
        except NotFoundError:
            return None

    def _record(self, kind: str, said: Json) -> Record | None:
        try:
            return record(kind, said)
        except Invalid as odd:
            why = "; ".join(f"{name}: {why}" for name, why in odd.fields.items())
            self._skip(why, [f"{kind}/{said.get(f'{kind}_id') or said.get('id')}"])
            return None

    def _skip(self, why: str, which: list[str]) -> None:
        self.skipped += len(which)
        log.warning("left out", why=why[:300], which=which[:10], count=len(which))
