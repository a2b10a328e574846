"""Implements external billing (`billing/external/port.py`) with any of the systems. Each call has one try and a time limit.

Our ids are translated to the ids of the account; rows that did not come from the account are refused. A page waits a few seconds
for an answer (`page_calls.py`); the download of a document continues in the background.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from billing.external.port import DelegatedCall, ExternalAnswer, Noun
from billing.model.imported_records import Record
from core.errors import N_, Conflict, Unavailable
from core.scope import Actor
from core.services import Services
from tenants.external.account import note_failure, read_events_soon, reference
from tenants.external.incoming_webhooks import REQUESTS, SECONDS, reader_of
from tenants.external.page_calls import NoAnswerYet, PageCalls, Silent
from tenants.external.plan_previews import figures
from tenants.external.read_limits import ReadLimit
from tenants.external.reader import UNREADABLE, AccountReader
from tenants.external.system import BillingSystem, CallFailed

Note = Callable[[str], None]

NOT_CONNECTED = N_("This business's billing system is no longer connected.")
AWAY = N_("The business's billing system can't be reached right now. Nothing was changed. Please try again.")
DOWNLOADING = "We are getting this document from the business's billing system. It will be ready in a moment."
NO_DOCUMENT = N_("The business's billing system did not return the document. Please try again later.")
PRICE_INCREASED = N_("The price has changed since you reviewed it. Review the new price. Nothing was changed.")


class AccountActions:
    def __init__(self, services: Services, billing_system: BillingSystem) -> None:
        self.services, self.system, self.name = services, billing_system, billing_system.name
        self.page_calls = PageCalls()

    def send(self, act: DelegatedCall) -> ExternalAnswer:
        reader = reader_of(self.services, act.business_id, self.name, retries=0)
        delegated = self._translate(act, reader) if reader is not None else None
        if reader is None or delegated is None:
            return ExternalAnswer("refused", NOT_CONNECTED)
        if act.verb == "change_plan" and (refused := self._refuse_higher_price(act)):
            return refused
        note = self._note(act.business_id)
        try:
            answer = self.page_calls.wait_for(act.business_id, lambda: _send(lambda: self.system.send(reader.api, delegated), note))
        except NoAnswerYet:
            return ExternalAnswer("unknown")
        if answer.state == "done" and act.verb in ("change_plan", "edit_billing"):  # they change more than the subscription
            read_events_soon(self.services.database, act.business_id, self.name)
        return answer

    def learn(self, act: DelegatedCall, actor: Actor | None = None) -> Record | None:
        reader, note = self._reader(act.business_id), self._note(act.business_id)
        reader.budget = ReadLimit(REQUESTS, SECONDS)
        external_id = self._reference(reader, "subscription", act.subscription_id)
        also = self._also(reader, act)

        def read() -> Record | None:
            found: list[Record] = _call_account(lambda: reader.read_records("subscription", external_id), note)
            if not found:
                return None
            for kind, id in also:
                found = [*_call_account(partial(reader.read_records, kind, id), note), *found]
            _call_account(lambda: reader.keep(found, actor=actor), note)
            if act.verb == "pay_invoice" and any(record.kind == "invoice" and record.values["status"] == "paid" for record in found):
                read_events_soon(self.services.database, act.business_id, self.name)
            return reader.here(found[-1])

        learned: Record | None = self._ask(act.business_id, read)
        return learned

    def _also(self, reader: AccountReader, act: DelegatedCall) -> list[tuple[str, str]]:
        """Return what an action may have changed beside its subscription, as (kind, id there)."""
        if invoice_id := act.parameters.get("invoice_id"):
            return [("invoice", self._reference(reader, "invoice", invoice_id))]
        return [("customer", self._reference(reader, "customer", act.customer_id))] if act.verb == "edit_billing" else []

    def preview(self, business_id: str, subscription_id: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        reader = self._reader(business_id)
        external_id, plan = self._reference(reader, "subscription", subscription_id), self._plan(reader, parameters)
        call = lambda: self.system.preview(reader.api, external_id, plan)  # noqa: E731
        try:
            return figures(self._ask(business_id, lambda: _call_account(call, self._note(business_id))))
        except UNREADABLE:
            raise Unavailable("ELSEWHERE_UNREACHABLE", AWAY) from None

    def document_pdf(self, business_id: str, noun: Noun, id: str, keep: Callable[[bytes], bytes]) -> bytes | None:
        reader = self._reader(business_id)
        external_id = self._reference(reader, noun.removesuffix("s"), id)

        def fetch() -> bytes | None:
            try:
                pdf = _call_account(lambda: self.system.document(reader.api, noun, external_id), self._note(business_id))
            except UNREADABLE:
                raise Unavailable("DOCUMENT_UNAVAILABLE", NO_DOCUMENT) from None
            if pdf is None:
                return None
            if not isinstance(pdf, bytes) or not pdf.startswith(b"%PDF-"):
                raise Unavailable("DOCUMENT_UNAVAILABLE", NO_DOCUMENT)
            return keep(pdf)

        try:
            return self.page_calls.wait_for(business_id, fetch)
        except Silent:
            raise Unavailable("DOCUMENT_UNAVAILABLE", NO_DOCUMENT) from None
        except NoAnswerYet:
            raise Unavailable("DOCUMENT_BEING_FETCHED", DOWNLOADING) from None

    def _ask(self, business_id: str, work: Callable[[], Any]) -> Any:
        try:
            return self.page_calls.wait_for(business_id, work)
        except NoAnswerYet:
            raise Unavailable("ELSEWHERE_UNREACHABLE", AWAY) from None

    def _reference(self, reader: AccountReader, kind: str, row_id: str) -> str:
        found = reference(self.services.database, reader.business_id, reader.origin, kind, row_id)
        if found is None:
            raise Unavailable("NOT_CONNECTED", NOT_CONNECTED)
        return found

    def _plan(self, reader: AccountReader, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return a plan change with the ids of the account. Raises Unavailable for a plan or add-on that it does not have."""
        return {
            **parameters,
            "product_id": self._reference(reader, "product", parameters["product_id"]),
            "addons": [{**item, "addon_id": self._reference(reader, "addon", item["addon_id"])} for item in parameters["addons"]],
        }

    def _translate(self, act: DelegatedCall, reader: AccountReader) -> DelegatedCall | None:
        try:
            parameters = self._plan(reader, act.parameters) if act.verb == "change_plan" else act.parameters
            if invoice_id := parameters.get("invoice_id"):
                parameters = {**parameters, "invoice_id": self._reference(reader, "invoice", invoice_id)}
            return replace(act, subscription_id=self._reference(reader, "subscription", act.subscription_id), parameters=parameters)
        except Unavailable:
            return None

    def _note(self, business_id: str) -> Note:
        return lambda reason: note_failure(self.services.database, business_id, self.name, reason)

    def _reader(self, business_id: str) -> AccountReader:
        reader = reader_of(self.services, business_id, self.name)
        if reader is None:
            raise Unavailable("NOT_CONNECTED", NOT_CONNECTED)
        return reader

    def _refuse_higher_price(self, act: DelegatedCall) -> ExternalAnswer | None:
        """Refuse the change if it now costs more than was shown. The system prorates by the second, so the price changes slightly."""
        try:
            now = self.preview(act.business_id, act.subscription_id, act.parameters)
        except Conflict as refused:
            return ExternalAnswer("refused", refused.sentence)
        except Unavailable:
            return ExternalAnswer("unknown")
        due = now["immediate_charge"]["summary"]["total_amount"]
        return ExternalAnswer("refused", PRICE_INCREASED) if due > int(act.parameters.get("due_minor", due)) else None


def _send(call: Callable[[], ExternalAnswer], note: Note) -> ExternalAnswer:
    try:
        return call()
    except CallFailed as failed:
        return _failed(failed, note)
    except UNREADABLE:  # the call may have been carried out
        return _failed(CallFailed(0, "", no_answer="an unreadable answer"), note)


def _failed(failed: CallFailed, note: Note) -> ExternalAnswer:
    """Return the refusal or, without an answer, "unknown". Missing answers and refused access are noted."""
    answer = _refusal(failed) if failed.status else ExternalAnswer("unknown")
    if answer.state == "unknown" or failed.status in (401, 403):
        note(failed.reason)
    return answer


def _refusal(refused: CallFailed) -> ExternalAnswer:
    if refused.is_temporary:
        return ExternalAnswer("unknown")
    if refused.status in (401, 403) and not _error_message(refused):
        return ExternalAnswer("refused", NOT_CONNECTED)
    return ExternalAnswer("refused", _error_message(refused) or f"The billing system answered with status {refused.status}.")


def _error_message(refused: CallFailed) -> str:
    """Return the message of the error as short plain text that can be stored."""
    message = refused.message[:2000].encode("utf-8", "replace").decode().replace("\0", "")
    return " ".join(message.split())[:400]


def _call_account(call: Callable[[], Any], note: Note) -> Any:
    try:
        return call()
    except CallFailed as failed:
        answer = _failed(failed, note)
        if answer.state == "refused":
            raise Conflict("REFUSED_ELSEWHERE", answer.message) from None
        raise Unavailable("ELSEWHERE_UNREACHABLE", AWAY) from None
