"""The country of the customer's IP address: read from trusted proxies only, and kept as evidence with invoices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import undefer

from billing.model.invoices import Invoice
from billing.model.payments import Payment
from billing.subscriptions.subscribe import buy
from core.proxies import COUNTRY, ForwardedClient, TrustedProxies
from core.scope import everything, system
from core.setting_values import Misconfigured
from core.settings import Settings
from tests.pages.console_setup import Site

HEADER = "CF-IPCountry"


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("country"), trusted_proxies=TrustedProxies.parse("10.0.0.0/8"), country_header=HEADER)
    item.ada = item.customer("ada@marlow.example")
    yield item
    item.services.database.dispose()
    drop()


@pytest.mark.parametrize(
    ("trusted", "peer", "sent", "country"),
    [
        ("1", "192.0.2.1", "FR", "FR"),
        ("10.0.0.0/8", "10.1.1.1", "FR", "FR"),
        ("10.0.0.0/8", "192.0.2.1", "FR", None),  # the client itself sent it
        ("", "10.1.1.1", "FR", None),
        ("1", "192.0.2.1", "XX", None),
        ("1", "192.0.2.1", "T1", None),
        ("1", "192.0.2.1", "fr", None),
        ("1", "192.0.2.1", "FR<script>", None),
        ("1", "192.0.2.1", "", None),
    ],
)
def test_only_a_trusted_proxy_names_the_country(trusted: str, peer: str, sent: str, country: str | None) -> None:
    seen: dict[str, Any] = {}
    app = ForwardedClient(lambda environ, _start: seen.update(environ), TrustedProxies.parse(trusted), HEADER)
    app({"REMOTE_ADDR": peer, "HTTP_CF_IPCOUNTRY": sent, "HTTP_X_FORWARDED_FOR": "203.0.113.9"}, None)
    assert seen.get(COUNTRY) == country
    without = ForwardedClient(lambda environ, _start: seen.update(environ), TrustedProxies.parse(trusted))
    seen.clear()
    without({"REMOTE_ADDR": peer, "HTTP_CF_IPCOUNTRY": sent}, None)
    assert COUNTRY not in seen


def test_the_setting_names_a_header() -> None:
    assert Settings.from_env({"PORTAL_COUNTRY_HEADER": HEADER}).country_header == HEADER
    with pytest.raises(Misconfigured, match="PORTAL_COUNTRY_HEADER"):
        Settings.from_env({"PORTAL_COUNTRY_HEADER": "a header"})


def add_card(site: Site, peer: str, country: str) -> Payment:
    """Ada begins to add a card, through a proxy that names the country of her address. Returns the payment without an amount."""
    begun = Payment.charge_type == "method"
    with site.services.database.open(everything("the page that was begun before is over"), write=True) as db:
        db.execute(update(Payment).where(begun).values(is_open=False, status="cancelled"), execution_options={"synchronize_session": False})
    site.ada.environ, site.ada.headers = {"REMOTE_ADDR": peer}, {**site.ada.headers, HEADER: country}
    site.ada.get("/payment-methods")
    site.ada.post("/payment-methods", {"customer_id": site.ada_at_acorn.customer_id}, follow=False, expect=303)
    with site.services.database.open(everything("read a test")) as db:
        of_ada = select(Payment).where(Payment.customer_id == site.ada_at_acorn.customer_id, begun)
        return db.scalars(of_ada.order_by(Payment.created_at.desc())).first()


def sell(site: Site) -> tuple[str, dict[str, Any]]:
    """The business sells by API. Returns the payment and the evidence of its invoice."""
    ada = site.ada_at_acorn
    cart = site.row(Payment, Payment.id == ada.purchase_id).cart
    sold = buy(
        site.services.processor, system(site.acorn), customer_id=ada.customer_id, cart=[(cart[0]["product_id"], 1)],
        payment_method_id=ada.method_id, billing={"country": "GB"},
    )  # fmt: skip
    with site.services.database.open(everything("read a test")) as db:
        query = select(Invoice).options(undefer(Invoice.tax_evidence)).join(Payment, Payment.invoice_id == Invoice.id)
        return sold.payment_id, db.scalar(query.where(Payment.id == sold.payment_id)).tax_evidence


def test_the_country_is_kept_with_the_next_invoice(site: Site) -> None:
    """A sale by API comes from the business's server, so the evidence is from the customer's latest payment at the portal."""
    assert sell(site)[1]["facts"] == {"address": "GB", "card": None, "ip": None}
    assert "country" not in add_card(site, "192.0.2.9", "FR").author, "not from a trusted proxy"
    assert add_card(site, "10.0.0.5", "GB").author["country"] == "GB"
    payment_id, evidence = sell(site)
    assert (evidence["facts"]["ip"], evidence["clear"]) == ("GB", True)
    assert add_card(site, "10.0.0.5", "FR").author["country"] == "FR"
    payment_id, evidence = sell(site)
    assert (evidence["country"], evidence["facts"]["ip"], evidence["clear"]) == ("GB", "FR", False)
    page = site.sam.get(site.at(f"/sales/payments/{payment_id}")).text
    assert "IP address: France." in page and "Not clear" in page
