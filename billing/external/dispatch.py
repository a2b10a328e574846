"""Sends delegated actions to other billing systems in three steps, like a charge: commit, send, record. No transaction is open meanwhile.

Without an answer the action stays pending. Before it is sent again, the subscription is read from the other system, because the first
request may have arrived. After a day without an answer the action is marked unanswered. If the subscription is read later and the
action turns out to be done, it is marked confirmed.

An action that the customer has to finish on a page of the other system, such as 3-D Secure, is `opened`: it is looked up, and never sent
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import structlog
from sqlalchemy import select

from billing.external.details import has_details
from billing.external.enqueue import LEASE
from billing.external.port import DelegatedCall, ExternalAnswer, ExternalBilling
from billing.model import lifecycle
from billing.model.delegated_actions import DelegatedAction
from billing.model.imported_records import Record
from billing.model.invoices import Invoice
from billing.model.lifecycle import DELEGATED_ACTION, LIVE, UNPAID_STATES
from core import clock
from core.db import Database, ScopedSession
from core.errors import N_, PortalError
from core.outbox import emit
from core.scope import Actor, system

log = structlog.get_logger()

RETRY_SECONDS = [2, 5, 15, 60, 300, 900, 3600]
GIVE_UP_AFTER = timedelta(hours=24)
PAGE_CHECK = timedelta(minutes=2)  # after a customer was sent to a page of the other system, of which only an event tells the end
PAGE_SECONDS = [15, 30, 60, 120, 300, 900, 3600]  # the same, where the end can be read
UNFINISHED = N_("It was not paid in time.")


class ActionDispatcher:
    def __init__(self, database: Database, systems: Mapping[str, ExternalBilling]) -> None:
        self.database, self.systems = database, systems

    def run(self, business_id: str, action_id: str) -> str:
        """Send the action, or look up its result, and record the answer. Returns its status. Safe to call at any time."""
        claimed = self._claim(business_id, action_id)
        if claimed is None:
            return self._status(business_id, action_id)
        action, sent_before, is_opened, actor, fence = claimed
        external = self.systems.get(action["system"])
        if external is None:
            refused = ExternalAnswer("refused", "This billing system is not connected.")
            return self._record(business_id, action_id, fence, refused, None, actor)
        call = DelegatedCall(
            business_id,
            action["subscription_id"],
            action["verb"],
            action["parameters"],
            action["key"],
            action["customer_id"],
            by_customer=actor.type == "customer",
        )
        answer = ExternalAnswer("unknown")
        found = self._learn(external, call, actor) if sent_before else None
        if not sent_before or (found is not None and not is_opened and not is_in_force(found, call)):
            answer = external.send(call)
            # also after a refusal: the reason may be a change that is not known here, or the action may already be in force
            found = self._learn(external, call, actor) if answer.state != "unknown" else None
        return self._record(business_id, action_id, fence, answer, found, actor)

    def _claim(self, business_id: str, action_id: str) -> tuple[dict[str, Any], bool, bool, Actor, int] | None:
        """Return (the action, whether it may have arrived before, whether the customer has to finish it, its actor, fence).

        None: there is nothing to do.
        """
        with self.database.open(system(business_id), write=True) as db:
            row = db.scalar(select(DelegatedAction).where(DelegatedAction.id == action_id).with_for_update())
            at = clock.wall()
            if row is None or row.status not in ("pending", "opened") or (row.fence and row.check_at and row.check_at > at):
                return None
            action = {name: getattr(row, name) for name in ("system", "subscription_id", "verb", "parameters", "key", "customer_id")}
            sent_before = row.sent_at is not None
            row.sent_at, row.check_at, row.fence = row.sent_at or at, at + LEASE, row.fence + 1
            actor = Actor(row.actor_type, row.actor_id)  # type: ignore[arg-type]
            return action, sent_before, row.status == "opened", actor, row.fence

    def _learn(self, external: ExternalBilling, call: DelegatedCall, actor: Actor) -> Record | None:
        try:
            return external.learn(call, actor)
        except PortalError as error:
            log.info("external system unreachable", action=call.key, why=error.code)
            return None

    def _record(self, business_id: str, action_id: str, fence: int, answer: ExternalAnswer, found: Record | None, actor: Actor) -> str:
        with self.database.open(system(business_id, actor), write=True) as db:
            row = db.scalar(select(DelegatedAction).where(DelegatedAction.id == action_id).with_for_update())
            if row is None or row.fence != fence or row.status not in ("pending", "opened"):
                return row.status if row is not None else "refused"
            call = _call(row)
            at, row.attempts = clock.wall(), row.attempts + 1
            row.link, invoice_state = answer.link or row.link, _invoice_state(db, row, found)
            is_late = at - (row.sent_at or at) > GIVE_UP_AFTER
            if row.verb == "change_method" and (row.status == "opened" or answer.state == "done"):
                next_verb = "confirm" if row.status == "opened" and row.attempts > 3 else "open"
                row.status = lifecycle.move(DELEGATED_ACTION, row.status, next_verb)
                row.check_at = at + PAGE_CHECK * row.attempts
            elif found is not None and (is_in_force(found, call) or invoice_state == "paid"):
                row.status, row.answered_at, row.check_at = lifecycle.move(DELEGATED_ACTION, row.status, "confirm"), at, None
            elif answer.state == "refused":
                _close(db, row, "refuse", answer.message)
            elif row.status == "opened" and (invoice_state == "void" or (invoice_state and is_late)):
                row.status, row.check_at = lifecycle.move(DELEGATED_ACTION, row.status, "refuse"), None  # nobody has to be told
            elif is_late:
                is_unfinished = row.status == "opened" and found is not None
                _close(db, row, *(("refuse", UNFINISHED) if is_unfinished else ("give_up", answer.message)))
            elif row.status == "opened" or (answer.state == "done" and row.link):
                row.status = lifecycle.move(DELEGATED_ACTION, row.status, "open")
                row.check_at = at + timedelta(seconds=PAGE_SECONDS[min(row.attempts, len(PAGE_SECONDS)) - 1])
            else:
                row.check_at = at + timedelta(seconds=RETRY_SECONDS[min(row.attempts, len(RETRY_SECONDS)) - 1])
            return row.status

    def _status(self, business_id: str, action_id: str) -> str:
        with self.database.open(system(business_id)) as db:
            return db.scalar(select(DelegatedAction.status).where(DelegatedAction.id == action_id)) or "refused"


def _call(row: DelegatedAction) -> DelegatedCall:
    return DelegatedCall(row.business_id, row.subscription_id, row.verb, row.parameters, row.key, row.customer_id)


def _invoice_state(db: ScopedSession, row: DelegatedAction, found: Record | None) -> str | None:
    """Return the state of the invoice that the customer was sent to pay: open, paid, void; None for other actions.

    It was read with the subscription. Without an id, it was the latest one.
    """
    if row.verb != "pay_invoice" or found is None:
        return None
    if invoice_id := row.parameters.get("invoice_id"):
        return db.scalar(select(Invoice.status).where(Invoice.id == invoice_id))
    return "open" if found.values["status"] in UNPAID_STATES else "paid"


def _close(db: ScopedSession, row: DelegatedAction, verb: Literal["refuse", "give_up"], message: str | None) -> None:
    row.status, row.answered_at, row.check_at = lifecycle.move(DELEGATED_ACTION, row.status, verb), clock.wall(), None
    row.error = (message or "")[:500] or None
    emit(
        db,
        "subscription.action_refused" if verb == "refuse" else "subscription.action_unanswered",
        business_id=row.business_id,
        customer_id=row.customer_id,
        noun=row.subscription_id,
        data={"action_id": row.id, "verb": row.verb},
    )


def record_late_answer(db: ScopedSession, found: Sequence[Record]) -> None:
    """Confirm unanswered actions that are in force according to subscriptions that were read from the other system."""
    subscriptions = {item.id: item for item in found if item.kind == "subscription"}
    if not subscriptions:
        return
    for row in db.scalars(
        select(DelegatedAction).where(DelegatedAction.status == "unanswered", DelegatedAction.subscription_id.in_(sorted(subscriptions)))
    ):
        call = _call(row)
        if is_in_force(subscriptions[row.subscription_id], call):
            row.status, row.answered_at = lifecycle.move(DELEGATED_ACTION, row.status, "confirm"), clock.wall()


def is_in_force(found: Record, call: DelegatedCall) -> bool:
    """Return whether the subscription in the other system is in the requested state."""
    values, planned, parameters = found.values, found.more.get("planned"), call.parameters
    if call.verb == "change_plan":
        requested = (parameters["product_id"], parameters["quantity"], _addons(parameters.get("addons")))
        current = (values["product_id"], values["quantity"], _addons(found.more.get("addons")))
        scheduled = (planned["product_id"], planned["quantity"], _addons(planned["addons"])) if planned else None
        return requested in (current, scheduled)
    states: dict[str, bool] = {
        "cancel": values["cancel_at_period_end"] or values["status"] == "cancelled",
        "keep": not values["cancel_at_period_end"] and values["status"] in LIVE,
        "end": values["status"] == "cancelled",
        "pause": values["status"] == "paused",
        "resume": values["status"] == "active",
        "keep_plan": planned is None,
        "edit_billing": call.verb == "edit_billing" and has_details(found, parameters),
    }
    return bool(states.get(call.verb))


def _addons(addons: Any) -> list[tuple[str, int]]:
    return sorted((item["addon_id"], item["quantity"]) for item in addons or [])
