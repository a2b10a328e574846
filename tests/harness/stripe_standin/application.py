"""The Flask application of the stand-in: keys, permissions, idempotency keys, failures on demand, and the operations by path."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify, redirect, request

from tests.harness.stripe_standin import (
    billing_api,
    checkout,
    discounts,
    hosted_pages,
    intents,
    methods,
    money,
    specification,
    tax_ids,
    taxes,
)
from tests.harness.stripe_standin.hosted_pages import html
from tests.harness.stripe_standin.world import Account, Object, Problem, Stored

if TYPE_CHECKING:
    from tests.harness.stripe_standin.server import StandIn

Operation = Callable[..., Object]


def _retrieve(kind: str) -> Operation:
    return lambda account, values, identifier: account.get(identifier, kind)


def _list(kind: str, *filters: str) -> Operation:
    def run(account: Account, values: dict[str, Any]) -> Object:
        found = account.every(kind, **{name: values.get(name) for name in filters})
        if since := (values.get("created") or {}).get("gte"):
            found = [item for item in found if item["created"] >= since]
        if after := values.get("starting_after"):
            found = found[[item["id"] for item in found].index(after) + 1 :]
        limit = values.get("limit", 10)
        return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": request.path}

    return run


def _account(account: Account, values: dict[str, Any]) -> Object:
    return {"id": account.id, "object": "account", "country": account.country, "default_currency": account.currency}


def _country(account: Account, values: dict[str, Any], country: str) -> Object:
    return {
        "id": country, "object": "country_spec", "default_currency": "gbp", "supported_bank_account_currencies": {"gbp": ["GB"]},
        "supported_payment_currencies": ["eur", "gbp", "jpy", "sek", "usd"], "supported_payment_methods": ["card"],
        "supported_transfer_countries": ["GB"],
        "verification_fields": {name: {"additional": [], "minimum": []} for name in ("company", "individual")},
    }  # fmt: skip


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/v1/account"): _account,
    ("GET", "/v1/country_specs/{country}"): _country,
    ("POST", "/v1/customers"): methods.create_customer,
    ("POST", "/v1/customers/{customer}"): methods.update_customer,
    ("POST", "/v1/payment_methods"): methods.create,
    ("GET", "/v1/payment_methods"): _list("payment_method", "customer", "type"),
    ("GET", "/v1/payment_methods/{payment_method}"): _retrieve("payment_method"),
    ("GET", "/v1/mandates/{mandate}"): methods.mandate,
    ("POST", "/v1/payment_methods/{payment_method}/attach"): methods.attach,
    ("POST", "/v1/payment_methods/{payment_method}/detach"): methods.detach,
    ("POST", "/v1/payment_intents"): intents.create,
    ("GET", "/v1/payment_intents"): _list("payment_intent", "customer"),
    ("GET", "/v1/payment_intents/{intent}"): _retrieve("payment_intent"),
    ("POST", "/v1/payment_intents/{intent}"): intents.update,
    ("POST", "/v1/payment_intents/{intent}/confirm"): intents.confirm,
    ("POST", "/v1/payment_intents/{intent}/cancel"): intents.cancel,
    ("GET", "/v1/setup_intents"): _list("setup_intent", "customer"),
    ("GET", "/v1/setup_intents/{intent}"): _retrieve("setup_intent"),
    ("POST", "/v1/checkout/sessions"): checkout.create,
    ("GET", "/v1/checkout/sessions"): _list("checkout.session", "customer", "payment_intent"),
    ("GET", "/v1/checkout/sessions/{session}"): _retrieve("checkout.session"),
    ("POST", "/v1/checkout/sessions/{session}/expire"): checkout.expire,
    ("POST", "/v1/refunds"): money.create_refund,
    ("GET", "/v1/refunds/{refund}"): _retrieve("refund"),
    ("POST", "/v1/refunds/{refund}"): money.update_refund,
    ("GET", "/v1/charges/{charge}"): _retrieve("charge"),
    ("GET", "/v1/disputes"): _list("dispute", "payment_intent"),
    ("GET", "/v1/disputes/{dispute}"): _retrieve("dispute"),
    **billing_api.OPERATIONS,
    **taxes.OPERATIONS,
    **tax_ids.OPERATIONS,
    **discounts.OPERATIONS,
}


def make_app(stand_in: StandIn) -> Flask:
    app = Flask("stripe_standin")

    @app.route("/v1/<path:_rest>", methods=["GET", "POST", "DELETE"])
    def api(_rest: str) -> Response:
        return _Call(stand_in).answer()

    @app.route("/c/pay/<session>", methods=["GET", "POST"])
    def page(session: str) -> Any:
        account = stand_in.account_of(session)
        if request.method == "POST":
            with stand_in.lock:
                checkout.submit(account, session, request.form.to_dict())
        return _page(account, session)

    hosted_pages.register(app, stand_in)

    @app.route("/3ds/<reference>", methods=["GET", "POST"])
    def bank(reference: str) -> Any:
        account = stand_in.account_of(reference)
        if request.method == "POST":
            with stand_in.lock:
                checkout.answer_bank(account, reference, request.form["answer"] == "approve")
            return redirect(account.private[reference]["return_url"], 303)
        return html('<form method="post"><button name="answer" value="approve">Complete</button>'
                     '<button name="answer" value="refuse">Fail</button></form>')  # fmt: skip

    return app


def _page(account: Account, session: str) -> Any:
    found = account.get(session, "checkout.session")
    if found["status"] == "complete":
        return redirect(found["success_url"], 303)
    if found["status"] == "expired":
        return html("<p>This page has expired.</p>")
    intent = account.objects.get(found["payment_intent"] or found["setup_intent"] or "", {})
    if intent.get("status") == "requires_action":
        return redirect(f"{account.base_url}/3ds/{intent['id']}", 303)
    problem = intent.get("last_payment_error") or intent.get("last_setup_error") or {}
    return html(f'<p role="alert">{problem.get("message", "")}</p><form method="post"><input name="number" autocomplete="cc-number">'
                 '<input name="expiry" autocomplete="cc-exp"><input name="cvc" autocomplete="cc-csc">'
                 '<input name="name" autocomplete="cc-name">'
                 '<input name="country" autocomplete="country"><input name="iban"><button>Pay</button></form>')  # fmt: skip


class _Call:
    def __init__(self, stand_in: StandIn):
        self.stand_in, self.method, self.path = stand_in, request.method, request.path
        self.text = request.get_data(as_text=True)
        self.key = request.headers.get("Idempotency-Key")

    def answer(self) -> Response:
        knob = self.stand_in.take(self.method, self.path)
        if knob == "drop before":
            return self._dropped()
        if knob.startswith("slow "):
            time.sleep(float(knob[5:]))
        status, body, repeated, more = self._handle(knob)
        self.stand_in.calls.append((self.method, self.path, status))
        if knob == "drop":
            return self._dropped()
        response = jsonify(body)
        response.status_code = status
        response.headers["Request-Id"] = f"req_{len(self.stand_in.calls)}"
        response.headers.update(more)
        if repeated:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    def _dropped(self) -> Response:
        """Close the connection without an answer."""
        request.environ["werkzeug.socket"].shutdown(2)
        return Response("", 499)

    def _handle(self, knob: str) -> tuple[int, Object, bool, dict[str, str]]:
        with self.stand_in.lock:
            try:
                account = self.stand_in.authenticate(request.headers.get("Authorization", ""))
                name, identifiers = specification.find(self.method, self.path)
                if f"{self.method} {name}" in account.refused:
                    raise Problem(403, "The provided key does not have the required permissions for this endpoint.")
                if knob == "429":
                    raise Problem(429, "Too many requests.", code="rate_limit")
                values = specification.read_request(self.method, name, request.query_string.decode(), self.text)
            except specification.NotInSpecification as wrong:
                self.stand_in.mistakes.append(str(wrong))
                return 400, {"error": {"type": "invalid_request_error", "message": str(wrong)}}, False, {}
            except Problem as problem:
                more = {"Retry-After": self.stand_in.retry_after} if problem.status == 429 else {}
                return problem.status, {"error": problem.error}, False, more
            checkout.expire_due(account)
            return *self._once(account, name, identifiers, values, knob), {}

    def _once(self, account: Account, name: str, identifiers: list[str], values: dict[str, Any], knob: str) -> tuple[int, Object, bool]:
        """Run the operation, or return the stored answer of its idempotency key."""
        account.forget_old_keys()
        fingerprint = hashlib.sha256(f"{self.path}?{self.text}".encode()).hexdigest()
        known = account.stored.get(self.key or "") if self.method == "POST" else None
        if known is not None and known.fingerprint != fingerprint:
            words = f"Keys for idempotent requests can only be used with the same parameters they were first used with ({known.path})."
            return 400, {"error": {"type": "idempotency_error", "message": words}}, False
        if known is not None:
            return known.status, known.body, True
        status, body = self._run(account, name, identifiers, values, knob)
        if self.key and self.method == "POST":
            account.stored[self.key] = Stored(fingerprint, self.path, time.time(), status, body)
        return status, body, False

    def _run(self, account: Account, name: str, identifiers: list[str], values: dict[str, Any], knob: str) -> tuple[int, Object]:
        error = {"error": {"type": "api_error", "message": "An unknown error occurred"}}
        if knob == "500":
            return 500, error
        expand = values.pop("expand", [])
        try:
            body = deepcopy(OPERATIONS[self.method, name](account, values, *identifiers))
            status = 200
        except Problem as problem:
            body, status = {"error": deepcopy(problem.error)}, problem.status
        if knob == "500 after":
            return 500, error
        if status == 200:
            for path in expand:
                _expand(account, body, path.split("."))
            taxes.leave_out(body, expand)
            tax_ids.leave_out(body, expand)
            discounts.expand_products(account, body, expand)
        try:
            specification.check_answer(self.method, name, body, status)
        except specification.NotInSpecification as wrong:
            self.stand_in.mistakes.append(str(wrong))
            raise
        return status, body


def _expand(account: Account, node: Any, path: list[str]) -> None:
    """Replace an id in an answer, or in each object of a list, with its object."""
    for item in node if isinstance(node, list) else [node]:
        first, *rest = path
        value = item.get(first) if isinstance(item, dict) else None
        if isinstance(value, list) and not rest:
            item[first] = [deepcopy(account.objects[part]) if isinstance(part, str) else part for part in value]
        if isinstance(value, str):
            item[first] = value = deepcopy(account.objects[value])
            if value.get("deleted"):
                item[first] = value = {"id": value["id"], "object": value["object"], "deleted": True}
        if rest and isinstance(value, dict | list):
            _expand(account, value, rest)
