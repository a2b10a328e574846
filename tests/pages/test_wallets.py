"""A card that was paid with a wallet is named so: on the payment, in lists, on receipts, invoices and refunds."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pypdf
import pytest
from sqlalchemy import select

from billing.charging.refund import refund
from billing.model.payments import Payment, PaymentMethod, Refund
from billing.subscriptions.subscribe import buy
from core.scope import everything, system
from tests.pages.console_setup import Site


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = sqlite.fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("wallets"))
    item.ada = item.customer("ada@marlow.example")
    yield item
    item.services.database.dispose()
    drop()


@pytest.mark.parametrize(("wallet", "name"), [("apple_pay", "Apple Pay"), ("google_pay", "Google Pay"), (None, ""), ("unheard_of", "")])
def test_a_wallet_is_named_wherever_the_card_is(site: Site, wallet: str | None, name: str) -> None:
    ada = site.ada_at_acorn
    with site.services.database.open(everything("the wallet of a card"), write=True) as db:
        db.scalar(select(PaymentMethod).where(PaymentMethod.id == ada.method_id)).wallet = wallet
    cart = site.row(Payment, Payment.id == ada.purchase_id).cart
    bought = buy(
        site.services.processor, system(site.acorn), customer_id=ada.customer_id, cart=[(cart[0]["product_id"], 1)],
        payment_method_id=ada.method_id,
    )  # fmt: skip
    paid = site.row(Payment, Payment.id == bought.payment_id)
    back = refund(site.services.processor, system(site.acorn), paid.id)
    site.services.worker.drain()
    card, visitor = f"Visa ending 4242, {name}" if name else "Visa ending 4242", site.ada
    pages = [
        site.sam.get(site.at(f"/sales/payments/{paid.id}")), site.sam.get(site.at("/sales/payments")),
        visitor.get(f"/purchases/{paid.id}"), visitor.get(f"/invoices/{paid.invoice_id}"),
    ]  # fmt: skip
    assert all(card in page.text for page in pages), [page.text for page in pages if card not in page.text]
    made = site.row(Refund, Refund.id == back.id)
    for path in (f"/invoices/{paid.invoice_id}.pdf", f"/refunds/{made.id}.pdf"):
        text = " ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(visitor.get(path).body)).pages)
        assert ("4242, " + name if name else "4242") in " ".join(text.split()), text
        assert name or "4242," not in text
    if not name:
        assert "Pay" not in "".join(str(page.soup.find("main")) for page in pages[2:]).replace("Payment", "").replace("Pay now", "")
