"""Acts for other systems, in three steps like a charge: written and committed, sent, recorded. Nothing is sent in a transaction.

An answer that did not come leaves the act pending: before it is sent again the subscription is read there, for the first
send may have arrived. What stays unanswered for a day is asked about no more, and said to be unknown; whenever the
subscription is read there again and it turns out to have been done, that is what is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import select

from billing import lifecycle
from billing.commands.forwarding import LEASE
from billing.elsewhere import Act, Elsewhere, Said
from billing.forwarded import ForwardedAct
from billing.lifecycle import FORWARDED, LIVE
from billing.loaded import Record
from core import clock
from core.db import Database, ScopedSession
from core.errors import PortalError
from core.outbox import emit
from core.scope import Actor, system

log = structlog.get_logger()

AGAIN = [2, 5, 15, 60, 300, 900, 3600]  # seconds
GIVEN_UP = timedelta(hours=24)
LATER = timedelta(minutes=2)  # after a customer was sent to a page there: what came of it


class Forwarder:
    def __init__(self, database: Database, systems: Mapping[str, Elsewhere]) -> None:
        self.database, self.systems = database, systems

    def run(self, business_id: str, act_id: str) -> str:
        """Send it, or ask about it, and record what came of that. Returns its status. Safe to call at any time."""
        claimed = self._claim(business_id, act_id)
        if claimed is None:
            return self._status(business_id, act_id)
        act, sent_before, who, fence = claimed
        there = self.systems.get(act["system"])
        if there is None:
            return self._record(business_id, act_id, fence, Said("refused", "This system is not connected here."), None, who)
        asked = Act(business_id, act["subscription_id"], act["verb"], act["wish"], act["key"], by_customer=who.type == "customer")
        said = Said("unknown")
        found = self._learn(there, asked, who) if sent_before else None
        if not sent_before or (found is not None and not is_in_force(found, asked)):
            said = there.send(asked)
            # also after a refusal: what stood in its way may be news here, or it may be in force already
            found = self._learn(there, asked, who) if said.state != "unknown" else None
        return self._record(business_id, act_id, fence, said, found, who)

    def _claim(self, business_id: str, act_id: str) -> tuple[dict[str, Any], bool, Actor, int] | None:
        """(the act, whether it may have arrived before, who asked, fence), or None where there is nothing to do."""
        with self.database.open(system(business_id), write=True) as db:
            row = db.scalar(select(ForwardedAct).where(ForwardedAct.id == act_id).with_for_update())
            at = clock.wall()
            if row is None or row.status not in ("pending", "opened") or (row.fence and row.check_at and row.check_at > at):
                return None
            act = {name: getattr(row, name) for name in ("system", "subscription_id", "verb", "wish", "key")}
            before = row.sent_at is not None
            row.sent_at, row.check_at, row.fence = row.sent_at or at, at + LEASE, row.fence + 1
            return act, before, Actor(row.actor_type, row.actor_id), row.fence  # type: ignore[arg-type]

    def _learn(self, there: Elsewhere, act: Act, who: Actor) -> Record | None:
        try:
            return there.learn(act.business_id, act.subscription_id, who)
        except PortalError as away:
            log.info("not heard from", act=act.key, why=away.code)
            return None

    def _record(self, business_id: str, act_id: str, fence: int, said: Said, found: Record | None, who: Actor) -> str:
        with self.database.open(system(business_id, who), write=True) as db:
            row = db.scalar(select(ForwardedAct).where(ForwardedAct.id == act_id).with_for_update())
            if row is None or row.fence != fence or row.status not in ("pending", "opened"):
                return row.status if row is not None else "refused"
            asked = Act(business_id, row.subscription_id, row.verb, row.wish, row.key)
            at, row.attempts = clock.wall(), row.attempts + 1
            row.link = said.link or row.link
            waited = at - (row.sent_at or at)
            if row.verb == "change_method" and (row.status == "opened" or said.state == "done"):
                row.status = lifecycle.move(FORWARDED, row.status, "confirm" if row.status == "opened" and row.attempts > 3 else "open")
                row.check_at = at + LATER * row.attempts
            elif found is not None and is_in_force(found, asked):
                row.status, row.answered_at, row.check_at = lifecycle.move(FORWARDED, row.status, "confirm"), at, None
            elif said.state == "refused" or waited > GIVEN_UP:
                verb, what = ("refuse", "refused") if said.state == "refused" else ("give_up", "unanswered")
                row.status, row.answered_at, row.check_at = lifecycle.move(FORWARDED, row.status, verb), at, None
                row.error = (said.words or "")[:500] or None
                emit(db, f"subscription.{what}_elsewhere", business_id=business_id, customer_id=row.customer_id, noun=row.subscription_id,
                     data={"act_id": row.id, "verb": row.verb})
            else:
                row.check_at = at + timedelta(seconds=AGAIN[min(row.attempts, len(AGAIN)) - 1])
            return row.status

    def _status(self, business_id: str, act_id: str) -> str:
        with self.database.open(system(business_id)) as db:
            return db.scalar(select(ForwardedAct.status).where(ForwardedAct.id == act_id)) or "refused"


def heard_late(db: ScopedSession, found: Sequence[Record]) -> None:
    """Subscriptions were read there: what was given up and is in force after all was done."""
    said = {one.id: one for one in found if one.kind == "subscription"}
    if not said:
        return
    for row in db.scalars(select(ForwardedAct).where(ForwardedAct.status == "unanswered", ForwardedAct.subscription_id.in_(sorted(said)))):
        if is_in_force(said[row.subscription_id], Act(row.business_id, row.subscription_id, row.verb, row.wish, row.key)):
            row.status, row.answered_at = lifecycle.move(FORWARDED, row.status, "confirm"), clock.wall()


def is_in_force(found: Record, act: Act) -> bool:
    """Whether what the other system says of the subscription is what was asked for."""
    said, planned, wish = found.values, found.more.get("planned"), act.wish
    if act.verb == "change_plan":
        wanted = (wish["product_id"], wish["quantity"], _addons(wish.get("addons")))
        now = (said["product_id"], said["quantity"], _addons(found.more.get("addons")))
        later = (planned["product_id"], planned["quantity"], _addons(planned["addons"])) if planned else None
        return wanted in (now, later)
    return {
        "cancel": said["cancel_at_period_end"] or said["status"] == "cancelled",
        "keep": not said["cancel_at_period_end"] and said["status"] in LIVE,
        "end": said["status"] == "cancelled", "pause": said["status"] == "paused", "resume": said["status"] == "active",
        "keep_plan": planned is None,
        "edit_billing": all((said["billing"].get(name) or None) == (value or None) for name, value in (wish.get("billing") or {}).items())
        and (said["tax_id"] or None) == (wish.get("tax_id") or None),
    }.get(act.verb, False)


def _addons(held: Any) -> list[tuple[str, int]]:
    return sorted((one["addon_id"], one["quantity"]) for one in held or [])
