"""Reading an account and keeping what it says: pages of things, or one thing anew, with whatever they refer to.

What the account says is input from outside. What cannot be read, or cannot be written, is left out, logged with its reason and
counted; the rest of its page is kept, and the reading goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from billing.catalogue import Product
from billing.commands.loading import Counts, load, ours
from billing.forwarding import heard_late
from billing.loaded import Record, SourceId, source_key
from billing.provenance import Origin
from core import clock
from core.db import Database, ScopedSession
from core.errors import Invalid, ScopeError
from core.scope import Actor, system
from core.settings import Settings
from tenants.elsewhere.account import ElsewhereAccount
from tenants.elsewhere.budget import Budget, Spent
from tenants.elsewhere.client import patiently
from tenants.elsewhere.resources import ONE, REFERENCE, SIZE, Json, Resource, plain, reference_of
from tenants.loading.shapes import record

log = structlog.get_logger()
SOURCE = "dodo"
AT_ONCE = 4  # questions under way
ASKS, SECONDS = 1500, 3600.0  # for one page: each thing by itself, with what it refers to
DEPTH = 4  # an activation names a key, which names a payment, which names a customer
UNREADABLE = (RecursionError, ValueError, TypeError, AttributeError, OverflowError, KeyError)
"""What an answer in another shape than the API's may raise, in the SDK or here."""
UNWRITABLE = (SQLAlchemyError, Invalid, ScopeError, ValueError, OverflowError, TypeError, KeyError)
"""What writing a record that lies may raise; a record with good values raises none of them."""



def _plainly(odd: BaseException) -> str:
    """Why, without the values of the row: a statement's error repeats them."""
    if isinstance(odd, Invalid):
        return "; ".join(f"{name}: {why}" for name, why in odd.fields.items()) or odd.sentence
    return f"{type(odd).__name__}: {getattr(odd, 'orig', odd)}"


@dataclass
class Reader:
    """One account, one business. `skipped` counts what could not be read; each is logged with its reason."""

    database: Database
    settings: Settings
    api: Any
    business_id: str
    origin: Origin
    skipped: int = 0
    wait: Callable[[Callable[[], Any]], Any] = patiently
    budget: Budget = field(default_factory=lambda: Budget(ASKS, SECONDS))
    _gone: set[str] = field(default_factory=set)

    def told(self, resource: Resource, items: Sequence[Any]) -> list[Record]:
        """A page of a list as records, each asked for by itself where the list leaves something out."""
        listed = self._listed(resource, items)
        short = self._short(resource, listed)
        if short:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                whole = dict(zip(short, pool.map(lambda one: self._ask(resource.kind, one), short), strict=True))
            listed = [whole.get(one[resource.id]) or one for one in listed if whole.get(one[resource.id], one) is not None]
        if resource.archived:
            listed = [{**one, "archived_at": one.get("updated_at") or clock.wall().isoformat()} for one in listed]
        found = [self.read(resource.kind, one) for one in listed]
        return [one for one in found if one is not None]

    def one(self, kind: str, id: str) -> Record | None:
        """One thing as the account says it is now; None where it knows none, or says it of something else."""
        said = self._ask(kind, id)
        found = self.read(kind, said) if said is not None else None
        if found is not None and (found.kind, found.id) != (kind, id):
            self.left_out("it answered with something else than was asked for", [f"{kind}/{id}"])
            return None
        return found

    def keep(
        self, records: Sequence[Record], also: Callable[[ScopedSession], None] = lambda db: None, actor: Actor | None = None
    ) -> Counts:
        """Write them with all that they refer to, in one transaction, `also` in the same. Where that cannot be done, one by one."""
        whole = self._complete(list(records))
        try:
            return self._write(whole, also, actor)
        except UNWRITABLE as odd:
            log.warning("a page cannot be written at once", why=_plainly(odd), count=len(whole))
        counts = Counts()
        for one in whole:
            try:
                counts += self._write([one], lambda db: None, actor)
            except UNWRITABLE as odd:
                self.left_out(_plainly(odd), [one.source_id])
        return counts.__iadd__(self._write([], also, actor))

    def _write(self, records: list[Record], also: Callable[[ScopedSession], None], actor: Actor | None) -> Counts:
        with self.database.open(system(self.business_id), write=True) as db:
            counts = load(db, self.origin, records, renew=True, test_mode=self.settings.is_test, actor=actor)
            heard_late(db, self._here(db, [one for one in records if one.kind == "subscription"]))
            account = db.scalar(select(ElsewhereAccount).where(ElsewhereAccount.id == SOURCE))
            if account is not None:
                account.heard_at = clock.wall()
            also(db)
        return counts

    def here(self, one: Record) -> Record | None:
        """A record that was kept, with our ids in place of theirs; None where it could not be kept."""
        with self.database.open(system(self.business_id)) as db:
            found = self._here(db, [one])
        return found[0] if found else None

    def _here(self, db: ScopedSession, records: list[Record]) -> list[Record]:
        try:
            return ours(db, self.origin, self.business_id, records)
        except Invalid:
            return []

    def _listed(self, resource: Resource, items: Sequence[Any]) -> list[Json]:
        """What a page lists, once each; what has no id, and what is more than was asked for, is left out."""
        found: dict[str, Json] = {}
        for item in items[:SIZE]:
            try:
                one = plain(item)
            except ValueError:
                one = {}
            id = reference_of(resource.id, one)
            if id is None:
                self.left_out("it has no id that can be used", [resource.name])
            else:
                found[id] = one
        return list(found.values())

    def _short(self, resource: Resource, listed: list[Json]) -> list[str]:
        if resource.whole:
            return [one[resource.id] for one in listed]
        if resource.kind != "subscription":
            return []
        names = {source_key(self.origin.account_id, "product", product) for one in listed if (product := reference_of("product_id", one))}
        with self.database.open(system(self.business_id)) as db:
            rows = db.execute(select(SourceId.reference, Product.price_minor).join(Product, Product.id == SourceId.row_id)
                              .where(SourceId.id.in_(sorted(names)), Product.business_id == SourceId.business_id))
            price = dict(rows.tuples().all())
        # a list says the sum, and not the add-ons that are in it: a sum that the price explains has none. Nor does it say what a
        # discount takes off
        return [one["subscription_id"] for one in listed
                if one.get("discounts") or one.get("discount_id") or not isinstance(one.get("quantity", 1), int)
                or price.get(reference_of("product_id", one) or "", 0) * one.get("quantity", 1) != one.get("recurring_pre_tax_amount")]

    def _complete(self, records: list[Record]) -> list[Record]:
        """What the records name and is neither here nor among them is asked for first; what names nothing is left out."""
        for _depth in range(DEPTH):
            missing = sorted(self._missing(records))
            if not missing:
                break
            with ThreadPoolExecutor(AT_ONCE) as pool:
                found = list(pool.map(lambda one: self.one(*one), missing))
            self._gone |= {f"{kind}/{id}" for (kind, id), one in zip(missing, found, strict=True) if one is None}
            records = [one for one in found if one is not None] + records
        else:
            self._gone |= {f"{kind}/{id}" for kind, id in self._missing(records)}
        good, dropped = records, True
        while dropped:  # what names something that was left out is left out too
            kept = [one for one in good if not any(f"{ref.kind}/{ref.id}" in self._gone for ref in one.references)]
            dropped = len(kept) < len(good)
            self._gone |= {one.source_id for one in good if one not in kept and not self._is_here(one)}
            good = kept
        if len(good) < len(records):
            self.left_out("it names something that the account does not have", [one.source_id for one in records if one not in good])
        return good

    def _missing(self, records: list[Record]) -> set[tuple[str, str]]:
        here = {(one.kind, one.id) for one in records}
        named = {(ref.kind, ref.id) for one in records for ref in one.references} - here
        named = {one for one in named if one[0] in ONE and f"{one[0]}/{one[1]}" not in self._gone}
        keys = sorted(source_key(self.origin.account_id, *one) for one in named)
        with self.database.open(system(self.business_id)) as db:
            for start in range(0, len(keys), 500):
                known = select(SourceId.kind, SourceId.reference).where(SourceId.id.in_(keys[start : start + 500]), SourceId.digest != "")
                named -= set(db.execute(known).tuples())
        return named

    def _is_here(self, one: Record) -> bool:
        with self.database.open(system(self.business_id)) as db:
            key = source_key(self.origin.account_id, one.kind, one.id)
            return db.scalar(select(SourceId.id).where(SourceId.id == key, SourceId.digest != "")) is not None

    def _ask(self, kind: str, id: str) -> Json | None:
        from dodopayments import NotFoundError

        if not REFERENCE.fullmatch(id):
            return None
        try:
            self.budget.take()
            return plain(self.wait(lambda: ONE[kind](self.api, id)))
        except NotFoundError:
            return None
        except Spent:
            self.left_out("more would have to be asked for than one reading may", [f"{kind}/{id}"])
            return None
        except UNREADABLE as odd:
            self.left_out(f"{type(odd).__name__}: {odd}", [f"{kind}/{id}"])
            return None

    def read(self, kind: str, said: Json) -> Record | None:
        """What the account says of one thing, checked; None where it cannot be used."""
        try:
            return record(kind, said)
        except Invalid as odd:
            why = "; ".join(f"{name}: {why}" for name, why in odd.fields.items())
        except UNREADABLE as odd:
            why = type(odd).__name__
        self.left_out(why, [f"{kind}/{said.get(f'{kind}_id') or said.get('id')}"[:200]])
        return None

    def left_out(self, why: str, which: list[str]) -> None:
        self.skipped += len(which)
        log.warning("left out", why=why[:300], which=which[:10], count=len(which))
