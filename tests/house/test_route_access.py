"""Every route belongs to a door, and only Ben can open Ben's rows at any door."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.routing import Rule

from auth import access_tokens, sessions
from auth.access_tokens import make_for_customer
from auth.models import BrowserSession, IdentityEmail
from auth.oidc_client.models import ProviderLogin
from auth.passkeys import Passkey
from billing.catalogue.addons import create_addon
from billing.catalogue.discount_codes import create_discount
from billing.catalogue.pictures import announce_picture
from billing.charging.recognition import record_acceptance
from billing.charging.refund import refund
from billing.customers.customers import create_customer
from billing.model.catalogue import CollectionItem
from billing.model.disputes import Dispute
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseInstance, LicenseKey
from billing.model.payment_accounts import sandbox_account_id
from billing.model.receipts import Receipt
from billing.model.refund_requests import CustomerRefundRequest
from billing.model.statements import Statement
from billing.plan_changes.quote import quote
from billing.price_changes import order
from billing.price_changes.order import NewPrice
from billing.subscriptions.billing_details import correct_invoice
from core import clock
from core.ids import new_id
from core.scope import everything, system
from tenants.api_keys import new_key
from tenants.webhooks import endpoints
from tests.cast import Buyer
from tests.conftest import Street
from tests.visitor import Visitor

LIST = Path(__file__).parent / "urls.txt"
DOORS = {  # the first word of an endpoint → whose door it is
    "unified": "a person",
    "business": "a customer of one business",
    "auth": "whoever signs in",
    "domains": "whoever comes to a business's own domain",
    "oidc": "an app, or a person on the way to one",
    "api": "a program with a key",
    "customer_api": "a customer's program, with a token",
    "console": "staff",
    "impersonation": "staff that look as a customer sees",
    "sandbox": "the pretend bank",
    "incoming": "another billing system, by its signature",
    "payment_notifications": "a payment processor, by its signature",
    "notices": "whoever has the link in a reminder that switches it off",
    "statements": "whoever cancels without signing in",
    "legal": "anybody",
    "mailbox": "an operator of a test deployment",
    "clock": "an operator of a test deployment",
    "healthz": "probes",
    "readyz": "probes",
    "tls_allowed": "the proxy in front",
    "operator": "an operator",
    "metrics": "an operator",
    "static": "anybody",
    "language": "anybody",
    "logo": "anybody",
}
PERSONAL = ("unified", "business")
OF_THE_DOOR = {"business_id", "token", "provider"}  # arguments that name no row of a customer


@dataclass
class Strangers:
    """Everyone except Ben, each with a browser, and all of Ben's ids by the argument names of routes."""

    cast: Street
    ids: dict[str, str]
    needles: list[str]
    people: dict[str, Visitor]
    tokens: dict[str, str]
    key: str

    def ask(self, who: str, method: str, rule: Rule, business_id: str) -> tuple[str, Any]:
        known = self.ids | {"business_id": business_id}
        path = fill(self.cast.app, rule, {name: known.get(name, "1") for name in rule.arguments})
        data = {"csrf_token": self.tokens.get(who, "")} if method == "POST" else {}
        visitor = self.people[who]
        page = visitor._open(method, path, follow=False, expect=None, **({"data": data} if method == "POST" else {}))
        seen = [needle for needle in self.needles if needle not in path and needle.encode() in page.body]
        assert not seen, f"{who}: {method} {path} shows {seen}"
        return path, page


def fill(app: Any, rule: Rule, values: dict[str, str]) -> str:
    with app.test_request_context():
        return app.url_map.bind("localhost").build(rule.endpoint, values, method=next(iter(rule.methods - {"HEAD", "OPTIONS"})))


def rules(app: Any, doors: tuple[str, ...]) -> Iterator[tuple[str, Rule]]:
    for rule in app.url_map.iter_rules():
        if rule.endpoint.split(".")[0] in doors:
            for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
                yield method, rule


def dispute_of(db: Any, buyer: Buyer) -> str:
    """Add a dispute of the buyer's purchase. Returns its id."""
    row = Dispute(
        business_id=buyer.business_id,
        customer_id=buyer.customer_id,
        id=new_id("dp"),
        payment_id=buyer.purchase_id,
        brand_id=buyer.business_id,
        payment_account_id=sandbox_account_id(buyer.business_id),
        reference="dispute_of_ben",
        amount_minor=100,
        currency="EUR",
        status="dispute_won",
        stage="dispute",
        created_at=clock.now(),
    )
    db.add(row)
    return row.id


def price_change_of(db: Any, product_id: str) -> str:
    """Order a price change that is planned for nobody yet. Returns its id."""
    return order.order(db, product_id, NewPrice(9900, clock.now() + timedelta(days=300))).id


def request_of(db: Any, ben: Buyer) -> str:
    """Add an open refund request. Returns its id."""
    at = clock.now()
    of = {"business_id": ben.business_id, "customer_id": ben.customer_id, "payment_id": ben.payment_id}
    row = CustomerRefundRequest(id=new_id("rrq"), status="open", answer_by=at, created_at=at, **of)
    db.add(row)
    return row.id


def statement_of(db: Any, business_id: str) -> str:
    """Add a cancellation that waits for a decision. Returns its id."""
    at = clock.now()
    row = Statement(
        business_id=business_id,
        id=new_id("stm"),
        number="S-261201-BENBEN",
        kind="cancel",
        status="waiting",
        language="en",
        zone="UTC",
        name="Ben Hill",
        email="ben@hill.example",
        email_key="ben@hill.example",
        contract="Birch Team",
        declared="I cancel the contract “Birch Team”.",
        sha256="0" * 64,
        received_at=at,
        answer_by=at,
    )
    db.add(row)
    return row.id


def catalogue_of(services: Any, business_id: str) -> dict[str, str]:
    """Return the other ids of a business that routes take."""
    with services.database.open(system(business_id), write=True) as db:
        addon = create_addon(db, business_id, name="Backups", currency="EUR", price=100)
        item = db.scalars(select(CollectionItem).order_by(CollectionItem.position)).first()
        code = create_discount(db, business_id, kind="percentage", amount=1000, code="BIRCH10")
        picture = announce_picture(db, business_id, addon.id)
        price_change_id = price_change_of(db, str(item.product_id))
        return {
            "addon_id": addon.id,
            "collection_id": item.collection_id,
            "group_id": item.group_id,
            "item_id": item.id,
            "discount_id": code.id,
            "code": code.code,
            "image_id": picture.id,
            "price_change_id": price_change_id,
        }


@pytest.fixture(scope="module")
def strangers(street: Street) -> Strangers:
    services, ben, app = street.services, street.ben, street.app
    with services.database.open(system(street.acorn), write=True) as db:  # Mallory bought nothing: she sees the empty states
        record_acceptance(create_customer(db, street.acorn, email=street.MALLORY, name="Mallory Void"))
    with app.app_context(), services.database.open(system(street.acorn), write=True) as db:
        _row, key = new_key(db, street.acorn, "Acorn's program")
    with app.app_context():
        back = refund(services.processor, system(street.birch), ben.purchase_id, amount_minor=100, reason="a test")
    with services.database.open(system(street.birch), write=True) as db:
        quote_id = quote(db, ben.subscription_id, street.products["birch.more"]).id
        webhook_id = endpoints.create(db, services.outgoing, street.birch, "https://birch.example/hooks").id
        paid = db.scalar(select(Invoice.id).where(Invoice.customer_id == ben.customer_id))
        correction_id = correct_invoice(db, paid, {"name": "Ben Hill the younger", "country": "GB"}).id
        disputed = dispute_of(db, ben)
        declared = statement_of(db, street.birch)
        receipt_id = db.scalar(select(Receipt.id).where(Receipt.customer_id == ben.customer_id))
        requested = request_of(db, ben)
    of_birch = catalogue_of(services, street.birch)
    people = {"anonymous": Visitor(app), "Mallory": Visitor(app), "Ada": Visitor(app), "Ben": Visitor(app)}
    people["Mallory"].sign_in(street.MALLORY)
    people["Ada"].sign_in(street.ADA)
    people["Ben"].sign_in(street.BEN)
    tokens = {}
    for name in ("Mallory", "Ada", "Ben"):
        people[name].get("/profile")
        tokens[name] = people[name].token()
    people["anonymous"].get("/login")
    tokens["anonymous"] = people["anonymous"].token()
    with services.database.open(everything("what a test knows of Ben"), write=True) as db:
        key_id = db.scalar(select(LicenseKey.id).where(LicenseKey.customer_id == ben.customer_id))
        secret = db.scalar(select(LicenseKey.key).where(LicenseKey.customer_id == ben.customer_id))
        instance = LicenseInstance(
            business_id=ben.business_id,
            customer_id=ben.customer_id,
            id=new_id("lki"),
            license_key_id=key_id,
            name="Ben's laptop",
            created_at=clock.now(),
        )
        db.add(instance)
        invoice = db.execute(select(Invoice.id, Invoice.number).where(Invoice.customer_id == ben.customer_id)).first()
        session = db.scalar(
            select(BrowserSession.id)
            .join(IdentityEmail, IdentityEmail.identity_id == BrowserSession.identity_id)
            .where(IdentityEmail.email_key == street.BEN)
        )
        passkey, login = new_id("cred"), new_id("log")
        who = db.scalars(select(IdentityEmail.identity_id).where(IdentityEmail.email_key == street.BEN)).one()
        db.add(
            ProviderLogin(
                identity_id=who,
                id=login,
                provider="op/work",
                issuer="https://work.example",
                subject="ben",
                label="Ben",
                address_key=None,
                created_at=clock.now(),
                last_used_at=clock.now(),
            )
        )
        db.add(
            Passkey(
                identity_id=who,
                id=passkey,
                name="Ben's phone",
                public_key=b"key",
                sign_count=0,
                is_backed_up=False,
                created_at=clock.now(),
                last_used_at=None,
            )
        )
        db.flush()
        token = make_for_customer(db, street.services.settings, street.birch, ben.customer_id)[0].id
        ids = {
            "customer_id": ben.customer_id,
            "subscription_id": ben.subscription_id,
            "payment_id": ben.purchase_id,
            "invoice_id": invoice.id,
            "correction_id": correction_id,
            "quote_id": quote_id,
            "refund_id": back.id,
            "dispute_id": disputed,
            "statement_id": declared,
            "receipt_id": receipt_id,
            "request_id": requested,
            "key_id": key_id,
            "license_key_id": key_id,
            "instance_id": instance.id,
            "session_id": session,
            "credential_id": passkey,
            "login_id": login,
            "payment_method_id": ben.method_id,
            "method_id": ben.method_id,
            "product_id": street.products["birch.plan"],
            # of the console, where tests/pages/test_console.py knocks with the real ones
            "app_id": "app_unknown",
            "domain_id": "dom_unknown",
            "registration_id": "txg_unknown",
            "account_id": "pac_unknown",
            "rate_id": "txr_unknown",
            "consent_id": "cst_unknown",
            "invitation_id": "inv_unknown",
            "membership_id": "mem_unknown",
            "export_id": "cex_unknown",
            "link_id": "pls_unknown",
            "view_id": "cvw_unknown",
            "exception_id": "pay_unknown",
            "api_key_id": "key_unknown",
            "delivery_id": "whd_unknown",
            "event_id": "evt_unknown",
            "merge_id": "mrg_unknown",
            "failure_id": "renewals:sub_unknown",
            "webhook_id": webhook_id,
            "brand_id": street.birch,
            "grant_id": key_id,
            "token_id": token,
            "credit_id": "crd_unknown",
            "meter_id": "mtr_unknown",
            **of_birch,
        }
    needles = [
        "Ben Hill",
        street.BEN,
        "Ben's laptop",
        "Ben&#39;s laptop",
        secret,
        ben.payment_id,
        *(value for name, value in ids.items() if name not in ("product_id", "brand_id")),
    ]
    return Strangers(street, ids, needles, people, tokens, key)


def test_every_route_has_a_door(street: Street) -> None:
    lost = [rule.rule for rule in street.app.url_map.iter_rules() if rule.endpoint.split(".")[0] not in DOORS]
    assert not lost, f"nobody's door: {lost}"


def test_both_doors_have_the_same_pages(street: Street) -> None:
    pages: dict[str, set[tuple[str, str]]] = {"unified": set(), "business": set()}
    for method, rule in rules(street.app, PERSONAL):
        door, _, page = rule.endpoint.partition(".portal.")
        if page:
            pages[door].add((method, page))
            prefix = "/business/<business_id>" if door == "business" else ""
            assert rule.rule.startswith(prefix + "/")
    assert pages["unified"] == pages["business"] and len(pages["unified"]) > 10


def test_every_url_argument_has_a_test_value(street: Street, strangers: Strangers) -> None:
    """A new kind of id must be added to the table above. Otherwise the tests below would use a made-up id."""
    names = {name for _, rule in rules(street.app, (*PERSONAL, "api", "customer_api", "console")) for name in rule.arguments}
    assert names - set(strangers.ids) - OF_THE_DOOR == set()


@pytest.mark.parametrize("who", ["anonymous", "Mallory", "Ada"])
def test_bens_rows_are_not_found_for_others(strangers: Strangers, who: str) -> None:
    wrong = []
    cast = strangers.cast
    for method, rule in rules(cast.app, PERSONAL):
        named = bool(rule.arguments - OF_THE_DOOR)
        for business_id in (cast.birch, cast.acorn) if "business_id" in rule.arguments else ("",):
            if method != "GET" and not named:
                continue  # one's own things: nothing of Ben's is named
            path, page = strangers.ask(who, method, rule, business_id)
            to_sign_in = page.status in (302, 303) and page.location.split("?")[0].removeprefix("http://localhost").startswith("/login")
            at_home = who == "Ada" or business_id != cast.birch
            if who == "anonymous":
                fine = to_sign_in or page.status in (401, 404)
            elif named:
                fine = page.status == 404 or (not at_home and to_sign_in)
            else:
                fine = page.status in (200, 302, 303, 308) if at_home else (to_sign_in or page.status == 404)
            if not fine:
                wrong.append(f"{method} {path} → {page.status} {page.location}")
    assert not wrong, f"{who}: " + "\n".join(wrong)


def test_bens_rows_are_found_for_ben(strangers: Strangers) -> None:
    """Otherwise the test above would pass on an empty deployment."""
    ben = strangers.people["Ben"]
    for noun in ("subscription", "purchase", "invoice", "refund"):
        rule = next(rule for _, rule in rules(strangers.cast.app, ("unified",)) if rule.endpoint == f"unified.portal.{noun}")
        ben.get(fill(strangers.cast.app, rule, strangers.ids))
        at_birch = next(rule for _, rule in rules(strangers.cast.app, ("business",)) if rule.endpoint == f"business.portal.{noun}")
        ben.get(fill(strangers.cast.app, at_birch, strangers.ids | {"business_id": strangers.cast.birch}))


def test_acorns_key_opens_nothing_of_birch(strangers: Strangers) -> None:
    client, wrong, key = strangers.cast.app.test_client(), [], {"Authorization": f"Bearer {strangers.key}"}
    for method, rule in rules(strangers.cast.app, ("api",)):
        path = fill(strangers.cast.app, rule, {name: strangers.ids.get(name, "1") for name in rule.arguments})
        answer = client.open(path, method=method, headers=key, **({} if method == "GET" else {"json": {}}))
        seen = [needle for needle in strangers.needles if needle not in path and needle.encode() in answer.data]
        assert not seen, f"{method} {path} shows {seen}"
        if rule.arguments and answer.status_code != 404:
            wrong.append(f"{method} {path} → {answer.status_code}")
        bare = client.open(path, method=method, **({} if method == "GET" else {"json": {}}))
        if bare.status_code == 200 and rule.endpoint not in ("api.supported_countries", "api.description"):
            wrong.append(f"{method} {path} without a key → 200")
    assert not wrong, "\n".join(wrong)


def test_adas_tokens_open_nothing_of_ben(strangers: Strangers) -> None:
    """Every call of the customer API with Ben's ids: 404 with a token that fits, 401 with any other, and never a word of Ben's."""
    cast, wrong = strangers.cast, []
    client = cast.app.test_client()
    tokens = {"customer-portal": token_of(cast, cast.ada_at_acorn), "unified-customer-portal": person_token(cast), "": strangers.key}
    for method, rule in rules(cast.app, ("customer_api",)):
        path = fill(cast.app, rule, {name: strangers.ids.get(name, "1") for name in rule.arguments})
        kind = rule.rule.split("/")[2]
        for of, token in tokens.items():
            answer = client.open(path, method=method, headers={"Authorization": f"Bearer {token}"}, json=None if method == "GET" else {})
            seen = [needle for needle in strangers.needles if needle not in path and needle.encode() in answer.data]
            needs_no_token = kind not in ("customer-portal", "unified-customer-portal")
            expected = {404} if rule.arguments - OF_THE_DOOR and of == kind else {401} if of != kind and not needs_no_token else None
            if seen or (expected and answer.status_code not in expected):
                wrong.append(f"{method} {path} with a token of {of or 'a business'} → {answer.status_code} {seen}")
            if method == "DELETE" and answer.status_code == 204:  # a token that signed itself out
                tokens[of] = token_of(cast, cast.ada_at_acorn) if of == "customer-portal" else person_token(cast)
    assert not wrong, "\n".join(wrong)


def token_of(cast: Street, buyer: Buyer) -> str:
    with cast.services.database.open(system(buyer.business_id), write=True) as db:
        return make_for_customer(db, cast.services.settings, buyer.business_id, buyer.customer_id)[1]


def person_token(cast: Street) -> str:
    """Return a token of Ada's session. `strangers` has signed her in."""
    database, settings = cast.services.database, cast.services.settings
    with database.open(everything("Ada's newest session")) as db:
        of_ada = select(IdentityEmail.identity_id).where(IdentityEmail.email_key == cast.ADA)
        session_id = db.scalars(select(BrowserSession.id).where(BrowserSession.identity_id.in_(of_ada))).first() or ""
    visit = sessions.load_by_id(database, session_id)
    assert visit is not None
    return access_tokens.make_for_session(database, settings, visit, None, "A program")[1]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/refunds", {"payment_id": "payment_id"}),
        (
            "/api/subscriptions",
            {"customer": {"customer_id": "customer_id"}, "product_id": "acorn.plan", "quantity": 1, "billing": {"country": "GB"}},
        ),
        (
            "/api/subscriptions",
            {"customer": {"email": "x@y.example", "name": "X"}, "product_id": "product_id", "quantity": 1, "billing": {"country": "GB"}},
        ),
        (
            "/api/payments",
            {
                "customer": {"customer_id": "customer_id"},
                "billing": {"country": "GB"},
                "product_cart": [{"product_id": "acorn.once", "quantity": 1}],
            },
        ),
        (
            "/api/payments",
            {
                "customer": {"email": "x@y.example", "name": "X"},
                "billing": {"country": "GB"},
                "product_cart": [{"product_id": "product_id", "quantity": 1}],
            },
        ),
    ],
)
def test_foreign_ids_in_bodies_are_not_found(strangers: Strangers, path: str, body: dict[str, Any]) -> None:
    known = strangers.ids | strangers.cast.products

    def real(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: real(item) for name, item in value.items()}
        if isinstance(value, list):
            return [real(item) for item in value]
        return known.get(value, value)

    client = strangers.cast.app.test_client()
    sent = real(body)
    answer = client.post(path, json=sent, headers={"Authorization": f"Bearer {strangers.key}"})
    assert answer.status_code == 404, answer.text[:300]
    assert not [needle for needle in strangers.needles if needle not in str(sent) and needle.encode() in answer.data]


def test_the_list_of_urls_is_unchanged(street: Street) -> None:
    """To accept a change: `PORTAL_WRITE_URLS=1 pytest tests/house/test_route_access.py -k list_of_urls`, then read the diff."""
    now = "".join(
        sorted(f"{rule.rule} {method}\n" for rule in street.app.url_map.iter_rules() for method in rule.methods - {"HEAD", "OPTIONS"})
    )
    if os.environ.get("PORTAL_WRITE_URLS"):
        LIST.write_text(now)
    was = LIST.read_text() if LIST.exists() else ""
    new, old = set(now.splitlines()), set(was.splitlines())
    assert now == was, f"New: {sorted(new - old)}. Gone: {sorted(old - new)}. {test_the_list_of_urls_is_unchanged.__doc__}"
