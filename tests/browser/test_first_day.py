"""The first day of a business in a real browser: from an invitation to a plan change, with activity and webhook."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from dodopayments import DodoPayments
from dodopayments.types import AttachExistingCustomerParam
from PIL import Image
from playwright.sync_api import Page, expect

from billing.customers.businesses import create_business
from core.scope import everything
from core.services import Services
from core.settings import Settings
from tenants.memberships import invite
from tests.browser.conftest import axe, sign_in
from tests.browser.served_portal import GOOD, type_card
from tests.hostile_server import receiving

pytestmark = pytest.mark.browser
SAM, ADA = "sam@acorn.example", "ada@marlow.example"


@pytest.fixture(params=["sqlite"])
def engine(request: pytest.FixtureRequest) -> object:
    return request.getfixturevalue(request.param)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, outgoing_loopback=True)


def test_a_merchants_first_day(served: Services, person: Callable[..., Page]) -> None:
    with served.worker.around(), served.database.open(everything("flask business new --owner"), write=True) as db:
        acorn = create_business(db, name="Acorn Notes", currency="EUR", zone="Europe/London").business_id
        db.flush()
        invite(db, acorn, SAM, "owner")
    sam = person()
    sign_in(sam, SAM, "/login?next=/console")
    sam.get_by_role("button", name="Join").click()
    console = f"{served.settings.base_url}/console/{acorn}"
    with receiving() as receiver:
        webhook(sam, console, receiver.url)
        brand(sam, console)
        for name, price in (("Acorn Team", "29.00"), ("Acorn Max", "49.00")):
            product(sam, console, name, price)
        collection(sam, console)
        rules(sam, console)
        customer = new_customer(sam, console)
        key = api_key(sam, console)

        # her program sells the first plan; Ada pays on the hosted page
        sdk = DodoPayments(bearer_token=key, base_url=served.settings.base_url + "/api", _strict_response_validation=True)
        plans = {item.name: item.product_id for item in sdk.products.list()}
        started = sdk.subscriptions.create(
            billing={"country": "GB"},
            customer=AttachExistingCustomerParam(customer_id=customer),
            product_id=plans["Acorn Team"],
            quantity=1,
            payment_link=True,
        )
        ada = person()
        ada.goto(started.payment_link or "")
        type_card(ada, GOOD)
        expect(ada.get_by_role("heading", level=1)).to_be_visible()

        # the static link asks her to prove her address; the dynamic one signs her in with one click, once
        sam.goto(f"{console}/sales/customers/{customer}/invite")
        assert axe(sam) == []
        static = sam.get_by_role("textbox", name="Link for all customers").input_value()
        by_static = person()
        sign_in(by_static, ADA, static)
        expect(by_static.get_by_text("Acorn Team").first).to_be_visible()
        sam.get_by_label("Show it to me to send myself").check()
        sam.get_by_role("button", name="Create link").click()
        dynamic = sam.get_by_role("textbox", name="Personal link").input_value()
        sam.goto(f"{console}/sales/customers/{customer}/invite")
        assert dynamic not in sam.content()
        phone = person(width=390)
        phone.goto(dynamic)
        phone.locator("main form button.main").click()
        expect(phone.get_by_text("Acorn Team").first).to_be_visible()
        again = person()
        again.goto(dynamic)
        expect(again.locator("h1")).not_to_have_text("Acorn Notes")
        assert "Acorn Team" not in again.content()

        # she changes plan, at the price she is shown
        by_static.get_by_role("link", name="Acorn Team").first.click()
        by_static.get_by_role("link", name="Change plan").first.click()
        by_static.get_by_label(re.compile("Acorn Max")).check()
        by_static.get_by_role("button", name="Review the price").click()
        by_static.get_by_role("button", name=re.compile(r"^Pay .* and change$")).click()
        expect(by_static.get_by_role("status").first).to_contain_text("You’re now on Acorn Max")

        # the business sees it in activity, deliveries and the received webhook
        sam.goto(f"{console}/activity?customer={customer}")
        expect(sam.get_by_role("rowheader", name=re.compile("plan", re.I)).first).to_be_visible()
        heard: list[str] = []
        for _ in range(60):
            heard = [json.loads(item.body)["type"] for item in receiver.heard]
            if "subscription.plan_changed" in heard:
                break
            sam.wait_for_timeout(250)
        assert {"subscription.active", "payment.succeeded", "subscription.plan_changed"} <= set(heard)
        sam.goto(f"{console}/developers/webhooks/deliveries")
        row = sam.get_by_role("row").filter(has_text="subscription.plan_changed").first
        expect(row).to_contain_text("Delivered")
        row.get_by_role("link").first.click()
        expect(sam.locator("pre").first).to_contain_text("Acorn Max")
        assert axe(sam) == []


def webhook(sam: Page, console: str, url: str) -> None:
    sam.goto(f"{console}/developers/webhooks/new")
    sam.get_by_label("Address", exact=True).fill(url + "/hooks")
    sam.get_by_role("button", name="Create webhook").click()
    expect(sam.get_by_role("heading", level=1)).to_contain_text("/hooks")


def brand(sam: Page, console: str) -> None:
    sam.goto(f"{console}/brand")
    sam.get_by_label("Accent color", exact=True).first.fill("#5a2e14")
    expect(sam.frame_locator("#brand-preview").locator("h1").first).to_be_visible()
    sam.get_by_role("button", name="Save", exact=True).click()
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "#5a2e14").save(picture, "PNG")
    sam.set_input_files("#logo", {"name": "acorn.png", "mimeType": "image/png", "buffer": picture.getvalue()})
    sam.get_by_role("button", name="Upload logo").click()
    expect(sam.get_by_alt_text("Your current logo")).to_be_visible()


def product(sam: Page, console: str, name: str, price: str) -> None:
    sam.goto(f"{console}/products/new")
    sam.get_by_label("Name").fill(name)
    sam.get_by_label("Price type").select_option("recurring_price")
    sam.locator("#amount").fill(price)
    sam.locator("main form button.main").click()
    expect(sam.get_by_text(name).first).to_be_visible()


def collection(sam: Page, console: str) -> None:
    sam.goto(f"{console}/collections/new")
    sam.get_by_label("Name").fill("Plans")
    for name in ("Acorn Team", "Acorn Max"):
        sam.get_by_label(re.compile(name)).check()
    sam.get_by_role("button", name="Create collection").click()
    expect(sam.get_by_role("heading", name="Acorn Max")).to_be_visible()


def rules(sam: Page, console: str) -> None:
    sam.goto(f"{console}/settings")
    sam.get_by_label("Change their plan within its collection").check()
    sam.get_by_role("button", name="Save rules").click()
    expect(sam.get_by_label("Change their plan within its collection")).to_be_checked()


def new_customer(sam: Page, console: str) -> str:
    sam.goto(f"{console}/sales/customers/new")
    sam.get_by_label("Name").fill("Ada Marlow")
    sam.get_by_label("Email address").fill(ADA)
    sam.get_by_role("button", name="Add customer").click()
    sam.wait_for_url(re.compile(r"/sales/customers/cus_\w+"))
    found = re.search(r"cus_\w+", sam.url)
    assert found
    return found.group(0)


def api_key(sam: Page, console: str) -> str:
    sam.goto(f"{console}/developers/keys/new")
    sam.get_by_label("Name").fill("Checkout")
    sam.locator("input[name=reach][value=full]").check()
    sam.get_by_role("button", name="Create key").click()
    return sam.locator("#secret").inner_text()
