"""Customers' programs and front ends: what a token opens, what it may do, and how it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from auth import access_tokens, api_origins, sessions
from auth.models import AccessToken, BrowserSession
from billing.model.invoices import Invoice
from billing.model.parties import Business
from billing.model.payments import Payment
from billing.model.subscriptions import Subscription
from core import clock
from core.scope import everything, system
from tenants import api_keys
from tests import unpaid_renewals
from tests.cast import Buyer, Cast
from tests.visitor import Visitor

P, U = "/api/customer-portal", "/api/unified-customer-portal"


class Client:
    """A program that calls with one token."""

    def __init__(self, app: Any, token: str, origin: str = "") -> None:
        self.http, self.token, self.origin = app.test_client(), token, origin

    def __call__(self, method: str, path: str, json: Any = None, expect: int | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", **({"Origin": self.origin} if self.origin else {})}
        answer = self.http.open(path, method=method, json=json, headers=headers)
        if expect is not None:
            assert answer.status_code == expect, (method, path, answer.status_code, answer.get_data(as_text=True)[:500])
        return answer


def key_of(cast: Cast, business_id: str) -> str:
    with cast.services.database.open(system(business_id), write=True) as db:
        return str(api_keys.new_key(db, business_id, "Own app", settings=cast.services.settings)[1])


def token_of(app: Any, cast: Cast, buyer: Buyer, *, read_only: bool = False) -> str:
    """Return a token that the business's own program makes."""
    merchant = Client(app, key_of(cast, buyer.business_id))
    answer = merchant("POST", f"/api/customers/{buyer.customer_id}/customer-portal/token", {"read_only": read_only}, expect=201)
    assert answer.json["scope"] == ("read" if read_only else "read act")
    return str(answer.json["token"])


def person_token(cast: Cast, visitor: Any, *, may_act: bool = True) -> tuple[str, Visitor]:
    """Return a token of Ada's own session, and her browser."""
    ada: Visitor = visitor()
    ada.sign_in(Cast.ADA)
    services = cast.services
    with services.database.open(everything("Ada's session")) as db:
        session_id = db.scalars(select(BrowserSession.id).order_by(BrowserSession.created_at.desc())).first() or ""
    visit = sessions.load_by_id(services.database, session_id)
    assert visit is not None
    return access_tokens.make_for_session(services.database, services.settings, visit, None, "A program", may_act=may_act)[1], ada


def row(cast: Cast, buyer: Buyer) -> Subscription:
    with cast.services.database.open(system(buyer.business_id)) as db:
        return db.scalars(select(Subscription).where(Subscription.id == buyer.subscription_id)).one()


@pytest.fixture
def acorn(app: Any, cast: Cast) -> Client:
    """A program with a token of Ada at Acorn."""
    return Client(app, token_of(app, cast, cast.ada_at_acorn))


def test_every_read_call_answers_with_the_fields_that_front_ends_need(acorn: Client, cast: Cast) -> None:
    ada = cast.ada_at_acorn
    business = acorn("GET", f"{P}/business", expect=200).json
    assert (business["business_id"], business["name"]) == (cast.acorn, "Acorn Notes")
    assert business["allow_customers_to_cancel_subscription"] is True
    assert business["tracking"] is None
    assert acorn("GET", f"{P}/profile", expect=200).json["email"].lower() == Cast.ADA
    page = acorn("GET", f"{P}/subscriptions?page_size=50&page_number=0", expect=200).json
    assert (page["total_count"], page["has_next"], len(page["items"])) == (1, False, 1)
    detail = acorn("GET", f"{P}/subscriptions/{ada.subscription_id}", expect=200).json
    for shape in (page["items"][0], detail):
        assert shape["product"]["name"] == "Acorn Team" and shape["recurring_pre_tax_amount"] and shape["next_billing_date"]
        assert shape["metadata"] == {} == shape["customer"]["metadata"]
    assert detail["addons"] == [] == detail["meters"] and detail["billing"] and detail["payment_frequency_interval"]
    payments = acorn("GET", f"{P}/payments?subscription_id={ada.subscription_id}", expect=200).json
    assert payments["total_count"] >= 1
    payment_id = payments["items"][0]["payment_id"]
    cart = acorn("GET", f"{P}/payments/{payment_id}/product-cart", expect=200).json["items"]
    assert cart[0]["product_name"] == "Acorn Team" and cart[0]["is_subscription"] and isinstance(cart[0]["license_keys"], list)
    assert acorn("GET", f"{P}/payments/{payment_id}/digital-product-deliverables", expect=200).json == {"items": []}
    methods = acorn("GET", f"{P}/payment-methods", expect=200).json["items"]
    assert methods[0]["card"]["last4_digits"]
    assert acorn("GET", f"{P}/subscriptions/{ada.subscription_id}/eligible-payment-methods", expect=200).json["items"]
    product_id = detail["product"]["id"]
    assert isinstance(acorn("GET", f"{P}/products/{product_id}", expect=200).json["addons"], list)
    for path in ("refunds", "credit-entitlements", "wallets", "wallets/ledger-entries?currency=UNDEFINED", "entitlements",
                 "license-key-instances?page_size=100", f"subscriptions/{ada.subscription_id}/usage-history"):  # fmt: skip
        assert acorn("GET", f"{P}/{path}", expect=200).json["items"] is not None
    assert acorn("GET", f"{P}/wallets", expect=200).json["total_balance_usd"] == 0


def test_a_program_cancels_keeps_pauses_and_edits(acorn: Client, cast: Cast) -> None:
    ada = cast.ada_at_acorn
    url = f"{P}/subscriptions/{ada.subscription_id}"
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        business = db.scalars(select(Business)).one()
        business.settings = {**business.settings, "pause": True}
    sent = {"cancel_at_next_billing_date": True, "cancellation_feedback": "too_expensive", "cancellation_comment": "Bye"}
    assert acorn("PATCH", url, sent, expect=200).json["cancel_at_next_billing_date"] is True
    assert row(cast, ada).cancelled_by == {"type": "customer"}
    acorn("PATCH", url, {"cancel_at_next_billing_date": False}, expect=200)
    assert acorn("PATCH", url, {"pause": True}, expect=200).json["status"] == "paused"
    assert acorn("PATCH", url, {"pause": False}, expect=200).json["status"] == "active"
    billing = {"city": "Leipzig", "country": "DE", "state": None, "street": "Markt 1", "zipcode": "04109"}
    acorn("PATCH", url, {"billing": billing, "customer_name": "Ada M.", "tax_id": None, "customer_business_name": None}, expect=200)
    assert row(cast, ada).billing["city"] == "Leipzig"
    for wrong in ({}, {"pause": True, "cancel_at_next_billing_date": True}, {"billing": {"country": "ZZ"}}):
        assert acorn("PATCH", url, wrong).status_code == 422, wrong
    assert acorn("POST", f"{url}/cancel", {}, expect=200).json["status"] == "cancelled"


def test_what_was_previewed_is_what_is_charged(acorn: Client, cast: Cast) -> None:
    ada = cast.ada_at_acorn
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        business = db.scalars(select(Business)).one()
        business.settings = {**business.settings, "plan_change": True}
    url = f"{P}/subscriptions/{ada.subscription_id}"
    sold = acorn("GET", url).json["product"]["id"]
    groups = acorn("GET", f"{P}/products/{sold}/collection", expect=200).json["groups"]
    other = next(item["product_id"] for group in groups for item in group["products"] if item["product_id"] != sold)
    change = {"product_id": other, "quantity": 1, "addons": None, "metadata": None}
    seen = acorn("POST", f"{url}/change-plan/preview", change, expect=200).json
    due = seen["immediate_charge"]["summary"]["total_amount"]
    lines = seen["immediate_charge"]["line_items"]
    assert all(line["unit_price"] >= 0 and isinstance(line["tax"], int | float) for line in lines)
    acorn("POST", f"{url}/change-plan", change, expect=200)
    cast.services.worker.drain()
    with cast.services.database.open(system(cast.acorn)) as db:
        paid = db.scalars(select(Payment).where(Payment.subscription_id == ada.subscription_id, Payment.charge_type == "plan_change")).all()
    assert [payment.amount_minor for payment in paid] == ([due] if due else [])
    assert acorn("GET", url).json["product"]["id"] == other or acorn("GET", url).json["scheduled_change"]


def test_tokens_open_their_own_customer_only(app: Any, cast: Cast, acorn: Client) -> None:
    """Another customer, another business, another kind of token, another mode: nothing is there."""
    ben, ada = cast.ben, cast.ada_at_birch
    with cast.services.database.open(everything("ids of others")) as db:
        payment = db.scalars(select(Payment.id).where(Payment.customer_id == ben.customer_id)).first()
    for buyer in (ben, ada):
        for method, path in (
            ("GET", f"{P}/subscriptions/{buyer.subscription_id}"), ("PATCH", f"{P}/subscriptions/{buyer.subscription_id}"),
            ("POST", f"{P}/subscriptions/{buyer.subscription_id}/cancel"), ("DELETE", f"{P}/payment-methods/{buyer.method_id}"),
            ("POST", f"{P}/subscriptions/{buyer.subscription_id}/update-payment-method"),
            ("POST", f"{P}/subscriptions/{buyer.subscription_id}/change-plan/preview"),
            ("POST", f"{P}/subscriptions/{buyer.subscription_id}/change-plan"),
            ("DELETE", f"{P}/subscriptions/{buyer.subscription_id}/change-plan/scheduled"),
            ("GET", f"{P}/payments/{payment}/product-cart"), ("PATCH", f"{P}/payments/{payment}/invoices"),
        ):  # fmt: skip
            body = {"pause": True} if method != "GET" else None
            assert acorn(method, path, body).status_code == 404, (method, path)
        assert not row(cast, buyer).paused_at
    for path in ("businesses", "subscriptions", f"subscriptions/{cast.ada_at_acorn.subscription_id}", "payments", "token"):
        assert acorn("GET", f"{U}/{path}").status_code == 401, "a business's token never opens the unified calls"
    merchant = Client(app, key_of(cast, cast.acorn))
    assert merchant("GET", f"{P}/business").status_code == 401
    assert Client(app, acorn.token.replace("portal_test_", "portal_live_"))("GET", f"{P}/business").status_code == 401
    assert acorn("GET", "/api/customers").status_code == 401, "a customer's token is no API key"


def test_read_only_tokens_change_nothing(app: Any, cast: Cast) -> None:
    reader = Client(app, token_of(app, cast, cast.ada_at_acorn, read_only=True))
    reader("GET", f"{P}/subscriptions", expect=200)
    refused = reader("PATCH", f"{P}/subscriptions/{cast.ada_at_acorn.subscription_id}", {"cancel_at_next_billing_date": True})
    assert (refused.status_code, refused.json["code"]) == (403, "INSUFFICIENT_SCOPE")
    assert not row(cast, cast.ada_at_acorn).cancel_at_period_end


def test_a_token_ends_when_it_should(app: Any, cast: Cast, acorn: Client) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        key = next(key for key in api_keys.keys_of(db) if key.name == "Own app")
        api_keys.revoke_key(db, key)
    assert acorn("GET", f"{P}/business").status_code == 401, "with the key that made it"
    second = Client(app, token_of(app, cast, cast.ada_at_acorn))
    second("DELETE", f"{P}/token", expect=204)
    assert second("GET", f"{P}/business").status_code == 401, "when it signs itself out"
    third = Client(app, token_of(app, cast, cast.ada_at_acorn))
    with cast.services.database.open(everything("a day later"), write=True) as db:
        db.execute(update(AccessToken).values(expires_at=clock.wall() - timedelta(seconds=1)))
    assert third("GET", f"{P}/business").status_code == 401, "after 24 hours"


def test_a_closed_business_says_so_in_plain_text(cast: Cast, acorn: Client) -> None:
    with cast.services.database.open(everything("Acorn closes"), write=True) as db:
        db.execute(update(Business).where(Business.business_id == cast.acorn).values(archived_at=clock.now()))
    refused = acorn("GET", f"{P}/business")
    assert refused.status_code == 403 and "this business is archived" in refused.get_data(as_text=True).lower()
    assert refused.mimetype == "text/plain"


def test_a_person_lists_and_acts_across_businesses(app: Any, cast: Cast, visitor: Any) -> None:
    token, ada_in_browser = person_token(cast, visitor)
    ada = Client(app, token)
    names = [item["name"] for item in ada("GET", f"{U}/businesses", expect=200).json["items"]]
    assert {"Acorn Notes", "Birch Hosting"} <= set(names)
    listed = ada("GET", f"{U}/subscriptions?page_size=100", expect=200).json["items"]
    assert {item["business_id"] for item in listed} >= {cast.acorn, cast.birch}
    assert cast.ben.subscription_id not in {item["subscription_id"] for item in listed}
    ada("PATCH", f"{U}/subscriptions/{cast.ada_at_birch.subscription_id}", {"cancel_at_next_billing_date": True}, expect=200)
    assert row(cast, cast.ada_at_birch).cancel_at_period_end
    assert ada("GET", f"{U}/subscriptions/{cast.ben.subscription_id}").status_code == 404
    of_birch = Client(app, ada("GET", f"{U}/businesses/{cast.birch}/customer-portal-token", expect=200).json["token"])
    assert of_birch("GET", f"{P}/business", expect=200).json["name"] == "Birch Hosting"
    assert of_birch("GET", f"{P}/subscriptions/{cast.ada_at_acorn.subscription_id}").status_code == 404
    assert of_birch("GET", f"{U}/businesses").status_code == 401
    assert ada("GET", f"{U}/businesses/bus_unknown/customer-portal-token").status_code == 404
    ada_in_browser.get("/")
    ada_in_browser.submit("/logout")
    for client, path in ((ada, f"{U}/businesses"), (of_birch, f"{P}/business")):
        assert client("GET", path).status_code == 401, "both end with the session"


def test_a_person_pays_what_is_shown(app: Any, cast: Cast, visitor: Any) -> None:
    unpaid_renewals.hold(cast, cast.ada_at_acorn)
    ada = Client(app, person_token(cast, visitor)[0])
    url = f"{U}/subscriptions/{cast.ada_at_acorn.subscription_id}/pay"
    with cast.services.database.open(system(cast.acorn)) as db:
        due = db.scalars(select(Invoice.due_minor).where(Invoice.status == "open")).one()
    method = cast.ada_at_acorn.method_id
    refused = ada("POST", url, {"amount": due + 1, "payment_method_id": method})
    assert (refused.status_code, refused.json["code"]) == (409, "AMOUNT_CHANGED")
    assert ada("POST", url, {"amount": due, "payment_method_id": method}).status_code == 200
    again = ada("POST", url, {"amount": due, "payment_method_id": method})
    assert again.status_code in (200, 409)
    with cast.services.database.open(system(cast.acorn)) as db:
        paid = db.scalars(select(Payment).where(Payment.invoice_id.is_not(None), Payment.status == "succeeded")).all()
    assert len([payment for payment in paid if payment.amount_minor == due and payment.attempt > 1]) <= 1


def test_what_needs_a_recent_sign_in_needs_it_here_too(app: Any, cast: Cast, visitor: Any) -> None:
    ada = Client(app, person_token(cast, visitor)[0])
    with cast.services.database.open(everything("an hour later"), write=True) as db:
        db.execute(update(BrowserSession).values(proved_at=clock.wall() - timedelta(hours=1)))
    refused = ada("POST", f"{U}/subscriptions/{cast.ada_at_acorn.subscription_id}/cancel", {})
    assert (refused.status_code, refused.json["code"]) == (403, "RECENT_SIGN_IN_REQUIRED")
    assert row(cast, cast.ada_at_acorn).status == "active"
    ada("PATCH", f"{U}/subscriptions/{cast.ada_at_acorn.subscription_id}", {"cancel_at_next_billing_date": True}, expect=200)


def test_browsers_may_call_from_listed_origins_only(app: Any, cast: Cast, acorn: Client) -> None:
    own, foreign = "https://account.acorn.example", "https://evil.example"
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        assert api_origins.save_origins(db, cast.services.settings, cast.acorn, [own + "/", "https://ACORN.example:443"])
    url = f"{P}/payment-methods"
    for origin, allowed in ((own, True), ("https://acorn.example", True), (foreign, False), ("null", False)):
        asked = app.test_client().options(url, headers={"Origin": origin, "Access-Control-Request-Method": "GET"})
        assert (asked.headers.get("Access-Control-Allow-Origin") == origin) is allowed, origin
        answer = Client(app, acorn.token, origin)("GET", url, expect=200)
        assert (answer.headers.get("Access-Control-Allow-Origin") == origin) is allowed, origin
        assert "Access-Control-Allow-Credentials" not in answer.headers
    birch = Client(app, token_of(app, cast, cast.ada_at_birch), own)("GET", url, expect=200)
    assert "Access-Control-Allow-Origin" not in birch.headers, "Acorn's front end may not use tokens of Birch"
    assert "Access-Control-Allow-Origin" not in app.test_client().get("/api/customers", headers={"Origin": own}).headers


def test_the_sign_in_email_is_sent_as_from_the_page(app: Any, cast: Cast, visitor: Any) -> None:
    http, someone = app.test_client(), visitor()
    known = http.post("/api/customer-portal-login?send_email=false", json={"email": Cast.ADA, "business_id": cast.acorn})
    other = http.post("/api/customer-portal-login?send_email=false", json={"email": "nobody@street.example", "business_id": cast.acorn})
    assert (known.status_code, known.json) == (other.status_code, other.json) == (200, known.json)
    assert http.post("/api/unified-customer-portal-login", json={"email": Cast.ADA}).status_code == 200
    assert http.post("/api/unified-customer-portal-login", json={"email": "not an address"}).status_code == 422
    assert [item for item in someone.emails(Cast.ADA) if "/login/link/" in item.text]
    public = http.get(f"/api/checkout/businesses/{cast.acorn}").json
    assert public["name"] == "Acorn Notes"
    assert http.get("/api/checkout/businesses/bus_unknown").status_code == 404


def test_a_session_has_a_limited_number_of_tokens(app: Any, cast: Cast, visitor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_tokens, "MOST", 3)
    token, _browser = person_token(cast, visitor)
    ada = Client(app, token)
    made = [ada("GET", f"{U}/businesses/{cast.acorn}/customer-portal-token", expect=200).json["token"] for _ in range(2)]
    assert [Client(app, item)("GET", f"{P}/business").status_code for item in (*made, token)[:2]] == [200, 200]
    assert ada("GET", f"{U}/businesses/{cast.acorn}/customer-portal-token", expect=200)
    assert Client(app, made[0])("GET", f"{P}/business").status_code == 401, "the oldest has ended"
    ada("GET", f"{U}/businesses", expect=200)  # a program never signs itself out
