"""Dodo Payments as the other billing system (`billing/elsewhere.py`), by the official SDK. Each call has one try and a time limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from billing.elsewhere import Act, Said
from billing.loaded import Record
from core.errors import Conflict, Unavailable
from core.scope import Actor
from core.web import House
from tenants.elsewhere.account import note_failure
from tenants.elsewhere.client import why
from tenants.elsewhere.hooks import reader_of
from tenants.elsewhere.reader import SOURCE, Reader
from tenants.elsewhere.resources import plain

Note = Callable[[str], None]

NOT_CONNECTED = "This business's billing system is not connected here any more."
AWAY = "The business's billing system cannot be reached now. Nothing was changed; please try again."
DEARER = "The price has changed since it was shown. Look at the new figures; nothing was changed."


class Dodo:
    name = SOURCE

    def __init__(self, house: House) -> None:
        self.house = house

    def send(self, act: Act) -> Said:
        reader = reader_of(self.house, act.business_id, retries=0)
        if reader is None:
            return Said("refused", NOT_CONNECTED)
        if act.verb == "change_plan" and (refused := self._dearer(act)):
            return refused
        return _said(lambda: _VERBS[act.verb](reader.api.subscriptions, act), self._note(act.business_id))

    def learn(self, business_id: str, subscription_id: str, actor: Actor | None = None) -> Record | None:
        reader, note = self._reader(business_id), self._note(business_id)
        found: Record | None = _asked(lambda: reader.one("subscription", subscription_id), note)
        if found is not None:
            _asked(lambda: reader.keep([found], actor=actor), note)
        return found

    def preview(self, business_id: str, subscription_id: str, wish: Mapping[str, Any]) -> dict[str, Any]:
        api = self._reader(business_id).api
        return plain(_asked(lambda: api.subscriptions.preview_change_plan(subscription_id, **_plan(wish)), self._note(business_id)))

    def paper(self, business_id: str, noun: Literal["payments", "refunds"], id: str) -> bytes:
        api = self._reader(business_id).api
        get = getattr(api.invoices.payments, "retrieve" if noun == "payments" else "retrieve_refund")
        pdf: bytes = _asked(lambda: get(id), self._note(business_id)).read()
        if not pdf.startswith(b"%PDF-"):
            raise Unavailable("DOCUMENT_UNAVAILABLE", "The business's billing system gave no document. Please try again later.")
        return pdf

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
        due = int(now["immediate_charge"]["summary"]["total_amount"])
        return Said("refused", DEARER) if due > int(act.wish.get("due_minor", due)) else None


def _said(ask: Callable[[], Any], note: Note) -> Said:
    from dodopayments import APIError

    try:
        answer = ask()
    except APIError as failed:
        return _failed(failed, note)
    link = str(getattr(answer, "payment_link", None) or "")
    return Said("done", link=link if link.startswith(("https://", "http://")) else None)


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
    """The sentence of its error, as text: never markup, never long."""
    body = refused.body if isinstance(refused.body, dict) else {}
    return " ".join(str(body.get("message") or "").split())[:400]


def _asked(ask: Callable[[], Any], note: Note) -> Any:
    from dodopayments import APIError

    try:
        return ask()
    except APIError as failed:
        said = _failed(failed, note)
        if said.state == "refused":
            raise Conflict("REFUSED_ELSEWHERE", said.words) from None
        raise Unavailable("ELSEWHERE_UNREACHABLE", AWAY) from None


def _headers(act: Act) -> dict[str, Any]:
    return {"extra_headers": {"Idempotency-Key": act.key}}


def _change(api: Any, act: Act, **fields: Any) -> Any:
    return api.update(act.subscription_id, **fields, **_headers(act))


def _why(act: Act) -> dict[str, Any]:
    told = {"cancellation_feedback": act.wish.get("feedback"), "cancellation_comment": act.wish.get("comment")}
    return {"cancel_reason": "cancelled_by_customer"} | {name: value for name, value in told.items() if value}


def _plan(wish: Mapping[str, Any]) -> dict[str, Any]:
    later = wish["effective_at"] == "next_billing_date"
    return {
        "product_id": wish["product_id"], "quantity": wish["quantity"], "effective_at": wish["effective_at"], "addons": wish["addons"],
        "proration_billing_mode": "full_immediately" if later else wish["mode"], "on_payment_failure": wish["on_payment_failure"],
        **({"discount_codes": wish["codes"]} if "codes" in wish else {}),
    }  # fmt: skip


def _billing(act: Act) -> dict[str, Any]:
    wish = act.wish
    return {"billing": wish["billing"], "customer_name": wish["name"], "tax_id": wish["tax_id"] or "",
            "customer_business_name": wish["business_name"]}


_VERBS: dict[str, Callable[[Any, Act], Any]] = {
    "cancel": lambda api, act: _change(api, act, cancel_at_next_billing_date=True, **_why(act)),
    "keep": lambda api, act: _change(api, act, cancel_at_next_billing_date=False),
    "end": lambda api, act: _change(api, act, status="cancelled", **_why(act)),
    "pause": lambda api, act: _change(api, act, status="paused"),
    "resume": lambda api, act: _change(api, act, status="active"),
    "edit_billing": lambda api, act: _change(api, act, **_billing(act)),
    "change_plan": lambda api, act: api.change_plan(act.subscription_id, **_plan(act.wish), **_headers(act)),
    "keep_plan": lambda api, act: api.cancel_change_plan(act.subscription_id, **_headers(act)),
    "change_method": lambda api, act: api.update_payment_method(
        act.subscription_id, payment_method={"type": "new", "return_url": act.wish["return_url"]}, **_headers(act)),
}
