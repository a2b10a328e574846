"""Dodo Payments as the other billing system (`billing/elsewhere.py`), by the official SDK. Each call has one try and a time limit.

Ids here are ours and are sent as that account's references; what did not come from the connected account is not asked about.
A page waits a few seconds for an answer (`asking.py`); documents are fetched on while it says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from billing.elsewhere import Act, Said
from billing.loaded import Record
from core.errors import Conflict, Unavailable
from core.outgoing import BROKEN
from core.scope import Actor
from core.web import House
from tenants.elsewhere.account import note_failure, reference
from tenants.elsewhere.asking import Asking, NoAnswerYet, Silent
from tenants.elsewhere.budget import Budget
from tenants.elsewhere.client import why
from tenants.elsewhere.figures import figures
from tenants.elsewhere.hooks import ASKS, SECONDS, reader_of
from tenants.elsewhere.reader import SOURCE, UNREADABLE, Reader
from tenants.elsewhere.resources import plain
from tenants.elsewhere.verbs import VERBS
from tenants.elsewhere.verbs import plan as in_parameters

Note = Callable[[str], None]
_LINK = re.compile(r"https?://[\x21-\x7e]{1,2000}")

NOT_CONNECTED = "This business's billing system is not connected here any more."
AWAY = "The business's billing system cannot be reached now. Nothing was changed; please try again."
FETCHING = "We are fetching this document from the business's billing system. It will be here in a moment."
NO_DOCUMENT = "The business's billing system gave no document. Please try again later."
DEARER = "The price has changed since it was shown. Look at the new figures; nothing was changed."


class Dodo:
    name = SOURCE

    def __init__(self, house: House) -> None:
        self.house, self.asking = house, Asking()

    def send(self, act: Act) -> Said:
        reader = reader_of(self.house, act.business_id, retries=0)
        sent = self._theirs(act, reader) if reader is not None else None
        if reader is None or sent is None:
            return Said("refused", NOT_CONNECTED)
        if act.verb == "change_plan" and (refused := self._dearer(act)):
            return refused
        note = self._note(act.business_id)
        try:
            return self.asking.ask(act.business_id, lambda: _said(lambda: VERBS[act.verb](reader.api.subscriptions, sent), note))
        except NoAnswerYet:
            return Said("unknown")

    def learn(self, business_id: str, subscription_id: str, actor: Actor | None = None) -> Record | None:
        reader, note = self._reader(business_id), self._note(business_id)
        reader.budget = Budget(ASKS, SECONDS)
        theirs = self._reference(reader, "subscription", subscription_id)

        def read() -> Record | None:
            found: Record | None = _asked(lambda: reader.one("subscription", theirs), note)
            if found is None:
                return None
            _asked(lambda: reader.keep([found], actor=actor), note)
            return reader.here(found)

        return self._ask(business_id, read)

    def preview(self, business_id: str, subscription_id: str, wish: Mapping[str, Any]) -> dict[str, Any]:
        reader = self._reader(business_id)
        theirs, plan = self._reference(reader, "subscription", subscription_id), self._plan(reader, wish)
        ask = lambda: reader.api.subscriptions.preview_change_plan(theirs, **in_parameters(plan))  # noqa: E731
        try:
            return figures(plain(self._ask(business_id, lambda: _asked(ask, self._note(business_id)))))
        except UNREADABLE:
            raise Unavailable("ELSEWHERE_UNREACHABLE", AWAY) from None

    def paper(self, business_id: str, noun: Literal["payments", "refunds"], id: str, keep: Callable[[bytes], bytes]) -> bytes:
        reader = self._reader(business_id)
        theirs = self._reference(reader, "payment" if noun == "payments" else "refund", id)
        get = getattr(reader.api.invoices.payments, "retrieve" if noun == "payments" else "retrieve_refund")

        def fetch() -> bytes:
            pdf = _asked(lambda: get(theirs).read(), self._note(business_id))
            if not isinstance(pdf, bytes) or not pdf.startswith(b"%PDF-"):
                raise Unavailable("DOCUMENT_UNAVAILABLE", NO_DOCUMENT)
            return keep(pdf)

        try:
            return self.asking.ask(business_id, fetch)
        except Silent:
            raise Unavailable("DOCUMENT_UNAVAILABLE", NO_DOCUMENT) from None
        except NoAnswerYet:
            raise Unavailable("DOCUMENT_BEING_FETCHED", FETCHING) from None

    def _ask(self, business_id: str, work: Callable[[], Any]) -> Any:
        try:
            return self.asking.ask(business_id, work)
        except NoAnswerYet:
            raise Unavailable("ELSEWHERE_UNREACHABLE", AWAY) from None

    def _reference(self, reader: Reader, kind: str, row_id: str) -> str:
        found = reference(self.house.database, reader.business_id, reader.origin, kind, row_id)
        if found is None:
            raise Unavailable("NOT_CONNECTED", NOT_CONNECTED)
        return found

    def _plan(self, reader: Reader, wish: Mapping[str, Any]) -> dict[str, Any]:
        """A plan change in the account's references. Raises Unavailable for a plan or add-on that it does not have."""
        return {**wish, "product_id": self._reference(reader, "product", wish["product_id"]),
                "addons": [{**one, "addon_id": self._reference(reader, "addon", one["addon_id"])} for one in wish["addons"]]}

    def _theirs(self, act: Act, reader: Reader) -> Act | None:
        try:
            wish = self._plan(reader, act.wish) if act.verb == "change_plan" else act.wish
            return replace(act, subscription_id=self._reference(reader, "subscription", act.subscription_id), wish=wish)
        except Unavailable:
            return None

    def _note(self, business_id: str) -> Note:
        return lambda why: note_failure(self.house.database, business_id, SOURCE, why)

    def _reader(self, business_id: str) -> Reader:
        reader = reader_of(self.house, business_id)
        if reader is None:
            raise Unavailable("NOT_CONNECTED", NOT_CONNECTED)
        return reader

    def _dearer(self, act: Act) -> Said | None:
        """It prorates by the second, so the figures move: less than was shown is fine, more is not what was agreed to."""
        try:
            now = self.preview(act.business_id, act.subscription_id, act.wish)
        except Conflict as refused:
            return Said("refused", refused.sentence)
        except Unavailable:
            return Said("unknown")
        due = now["immediate_charge"]["summary"]["total_amount"]
        return Said("refused", DEARER) if due > int(act.wish.get("due_minor", due)) else None


def _said(ask: Callable[[], Any], note: Note) -> Said:
    from dodopayments import APIError

    try:
        answer = ask()
    except APIError as failed:
        return _failed(failed, note)
    link = getattr(answer, "payment_link", None)
    return Said("done", link=link if isinstance(link, str) and _LINK.fullmatch(link) else None)


def _failed(failed: Any, note: Note) -> Said:
    """A refusal with its reasons; or no answer, which is noted, as a closed door is."""
    status = getattr(failed, "status_code", None)
    said = _refusal(failed, status) if status else Said("unknown")
    if said.state == "unknown" or status in (401, 403):
        note(why(failed))
    return said


def _refusal(refused: Any, status: int) -> Said:
    if status in (408, 425, 429) or status >= 500:
        return Said("unknown")
    if status in (401, 403) and not _words(refused):
        return Said("refused", NOT_CONNECTED)
    return Said("refused", _words(refused) or f"It answered {status}.")


def _words(refused: Any) -> str:
    """The sentence of its error, as text that can be stored: never markup, never long."""
    body = refused.body if isinstance(refused.body, dict) else {}
    said = str(body.get("message") or "")[:2000].encode("utf-8", "replace").decode().replace("\0", "")
    return " ".join(said.split())[:400]


def _asked(ask: Callable[[], Any], note: Note) -> Any:
    from dodopayments import APIError

    try:
        return ask()
    except BROKEN as broken:  # in the middle of a document
        note(type(broken).__name__)
        raise Unavailable("ELSEWHERE_UNREACHABLE", AWAY) from None
    except APIError as failed:
        said = _failed(failed, note)
        if said.state == "refused":
            raise Conflict("REFUSED_ELSEWHERE", said.words) from None
        raise Unavailable("ELSEWHERE_UNREACHABLE", AWAY) from None
