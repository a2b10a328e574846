"""A business's program uses the official SDK from its first customer to a refund."""

from __future__ import annotations

import dodopayments
import httpx
import pytest

from tests.api.conftest import BILLING, MONTHLY, ONCE, Site


def test_the_sdk_goes_from_first_customer_to_refund(site: Site) -> None:
    acorn, birch = site.sdk(), site.sdk(site.other_key)

    # the same address in another spelling is a customer of both
    ada = acorn.customers.create(email="Ada@Marlow.example", name="Ada Marlow", phone_number="+442012345678", metadata={"crm": "17"})
    other = birch.customers.create(email="ada@marlow.EXAMPLE", name="A. Marlow")
    assert (ada.business_id, other.business_id) == (site.acorn, site.birch)
    assert [item.customer_id for item in acorn.customers.list(email="ADA@marlow.example").items] == [ada.customer_id]
    changed = acorn.customers.update(ada.customer_id, name="Ada M. Marlow", preferred_locale="de", metadata={"crm": "18"})
    assert (changed.name, changed.preferred_locale, changed.metadata) == ("Ada M. Marlow", "de", {"crm": "18"})
    assert acorn.customers.retrieve(ada.customer_id) == changed

    plan = acorn.products.create(name="Acorn Team", price=MONTHLY, tax_category="saas", metadata={"tier": 2})
    tool = acorn.products.create(
        name="Acorn for desktop", price=ONCE, tax_category="digital_products", license_key_enabled=True, license_key_activations_limit=2
    )
    assert acorn.products.retrieve(plan.product_id).price.type == "recurring_price"
    assert [item.name for item in acorn.products.list(recurring=False).items] == [tool.name]

    # subscribed with a link, paid on the hosted page
    began = acorn.subscriptions.create(
        billing=BILLING, customer={"customer_id": ada.customer_id}, product_id=plan.product_id, quantity=2, payment_link=True,
        return_url="https://acorn.example/thanks", metadata={"seats": "2"},
    )  # fmt: skip
    assert began.recurring_pre_tax_amount == 4834 and began.payment_link
    assert acorn.subscriptions.retrieve(began.subscription_id).status == "pending"
    back = site.pay(began.payment_link)
    assert back.status_code == 303, back.text[:500]
    site.settle()
    lives = acorn.subscriptions.retrieve(began.subscription_id)
    assert lives.status == "active" and lives.has_payment_method and lives.next_billing_date > lives.previous_billing_date
    assert lives.metadata == {"seats": "2"} and lives.quantity == 2 and lives.billing.country == "GB"
    paid = acorn.payments.retrieve(began.payment_id)
    assert (paid.status, paid.total_amount, paid.tax, paid.card_last_four) == ("succeeded", 5801, 967, "4242")
    assert paid.charge_type == "new" and paid.service_periods[0].subscription_id == began.subscription_id

    # bought at once with the card that was saved
    method = acorn.customers.retrieve_payment_methods(ada.customer_id).items[0]
    assert method.card and method.card.last4_digits == "4242"
    with pytest.warns(DeprecationWarning):
        bought = acorn.payments.create(
            billing=BILLING, customer={"customer_id": ada.customer_id}, product_cart=[{"product_id": tool.product_id, "quantity": 1}],
            payment_method_id=method.payment_method_id,
        )  # fmt: skip
    site.settle()
    purchase = acorn.payments.retrieve(bought.payment_id)
    assert purchase.status == "succeeded" and purchase.charge_type is None and purchase.subscription_ids == []
    assert purchase.digital_products_delivered and purchase.product_cart and purchase.product_cart[0].product_id == tool.product_id

    # lists, newest first, of one's own only
    assert [item.payment_id for item in acorn.payments.list().items] == [bought.payment_id, began.payment_id]
    assert [item.payment_id for item in acorn.payments.list(page_size=1, page_number=1).items] == [began.payment_id]
    assert [item.payment_id for item in acorn.payments.list(subscription_id=began.subscription_id).items] == [began.payment_id]
    assert [item.payment_id for item in acorn.payments.list(product_id=tool.product_id).items] == [bought.payment_id]
    assert [item.subscription_id for item in acorn.subscriptions.list(status="active").items] == [began.subscription_id]
    assert acorn.subscriptions.list(status="cancelled").items == []
    for rows in (birch.payments.list(), birch.subscriptions.list(), birch.products.list(), birch.refunds.list()):
        assert rows.items == []

    # documents
    assert acorn.invoices.payments.retrieve(bought.payment_id).read().startswith(b"%PDF")
    assert purchase.invoice_url and httpx.get(purchase.invoice_url).content.startswith(b"%PDF")

    # scheduled to end, then kept
    assert acorn.subscriptions.update(began.subscription_id, cancel_at_next_billing_date=True).cancel_at_next_billing_date
    assert not acorn.subscriptions.update(began.subscription_id, cancel_at_next_billing_date=False).cancel_at_next_billing_date

    # refunded in part, then in full
    line = acorn.payments.retrieve_line_items(bought.payment_id).items[0]
    first = acorn.refunds.create(payment_id=bought.payment_id, items=[{"item_id": line.items_id, "amount": 1000}], reason="Half a gift")
    site.settle()
    assert acorn.refunds.retrieve(first.refund_id).status == "succeeded" and first.is_partial
    assert acorn.payments.retrieve(bought.payment_id).refund_status == "partial"
    rest = acorn.refunds.create(payment_id=bought.payment_id)
    site.settle()
    again = acorn.payments.retrieve(bought.payment_id)
    assert again.refund_status == "full" and {refund.refund_id for refund in again.refunds} == {first.refund_id, rest.refund_id}
    assert (first.amount or 0) + (rest.amount or 0) == again.total_amount
    assert httpx.get(f"{site.url}/api/invoices/refunds/{rest.refund_id}", headers=_bearer(site.key)).content.startswith(b"%PDF")
    assert len(acorn.refunds.list(customer_id=ada.customer_id).items) == 2

    # ended at once: never to be renewed, and not a second time
    over = acorn.subscriptions.update(began.subscription_id, status="cancelled", cancellation_feedback="unused")
    assert over.status == "cancelled" and over.cancelled_at and over.cancelled_by and over.cancelled_by.actor_type == "api_key"
    with pytest.raises(dodopayments.ConflictError):
        acorn.subscriptions.update(began.subscription_id, status="cancelled")


def test_a_purchase_creates_or_finds_its_customer(site: Site) -> None:
    acorn = site.sdk()
    plan = acorn.products.create(name="Acorn Team", price={**MONTHLY, "trial_period_days": 14}, tax_category="saas")
    first, second = (
        acorn.subscriptions.create(billing=BILLING, customer=buyer, product_id=plan.product_id, quantity=1, payment_link=True)
        for buyer in ({"email": "Ben@Hill.example", "name": "Ben Hill"}, {"email": "ben@hill.example", "name": "B"})
    )
    assert first.customer.customer_id == second.customer.customer_id and first.customer.name == "Ben Hill"
    assert len(acorn.customers.list().items) == 1


def test_a_portal_link_opens_its_business_only(site: Site) -> None:
    acorn = site.sdk()
    ada = acorn.customers.create(email="ada@marlow.example", name="Ada Marlow")
    link = acorn.customers.customer_portal.create(ada.customer_id, send_email=True, return_url="https://acorn.example/account").link
    assert link.startswith(f"{site.url}/session/")
    assert httpx.get(link).status_code == 200
    other = acorn.customers.customer_portal.create(ada.customer_id).link
    assert other != link


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
