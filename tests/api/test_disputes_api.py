"""Disputes as the official SDK reads them, and their webhooks."""

from __future__ import annotations

from typing import Any

import dodopayments
import pytest
from sqlalchemy import select

from billing.model.payments import Payment
from core.scope import everything, system
from gateways.sandbox import returns
from tenants.webhooks.models import Delivery
from tenants.webhooks.payloads import payload
from tests.api.conftest import BILLING, ONCE, Site


def bought(site: Site) -> str:
    acorn = site.sdk()
    ada = acorn.customers.create(email="disputes@marlow.example", name="Ada Marlow")
    tool = acorn.products.create(name="Acorn for desktop", price=ONCE, tax_category="digital_products")
    with pytest.warns(DeprecationWarning):
        began = acorn.payments.create(
            billing=BILLING,
            customer={"customer_id": ada.customer_id},
            payment_link=True,
            product_cart=[{"product_id": tool.product_id, "quantity": 1}],
        )
    site.pay(began.payment_link or "")
    site.settle()
    return str(began.payment_id)


def test_the_sdk_lists_and_retrieves_disputes(site: Site) -> None:
    payment_id, acorn = bought(site), site.sdk()
    webhook = acorn.webhooks.create(url="https://acorn.example/hooks", filter_types=["dispute.opened", "dispute.lost"])
    with site.services.database.open(everything("a test looks")) as db:
        reference, total = db.execute(select(Payment.gateway_reference, Payment.amount_minor).where(Payment.id == payment_id)).one()
    dispute = site.services.gateway.on_page(returns.open_dispute, reference, None, "duplicate")
    site.settle()
    [item] = acorn.disputes.list(dispute_status="dispute_opened", dispute_stage="dispute").items
    assert (item.amount, item.payment_id, item.dispute_status, item.dispute_stage) == (str(total), payment_id, "dispute_opened", "dispute")
    found = acorn.disputes.retrieve(item.dispute_id)
    assert (found.customer.email, found.reason, found.payment_provider) == ("disputes@marlow.example", "duplicate", "dodo")
    paid = acorn.payments.retrieve(payment_id)
    assert [row.dispute_id for row in paid.disputes] == [item.dispute_id]
    assert acorn.disputes.list(customer_id="cus_other").items == [] == acorn.disputes.list(dispute_status="dispute_won").items
    assert site.sdk(site.other_key).disputes.list().items == []
    with pytest.raises(dodopayments.NotFoundError):
        site.sdk(site.other_key).disputes.retrieve(item.dispute_id)
    with pytest.raises(dodopayments.ConflictError) as refused:
        acorn.refunds.create(payment_id=payment_id)
    assert "PAYMENT_DISPUTED" in str(refused.value)
    site.services.gateway.on_page(returns.decide_dispute, dispute, "dispute_lost")
    site.settle()
    assert acorn.disputes.retrieve(item.dispute_id).dispute_status == "dispute_lost"
    assert sent(site, webhook.id) == [("dispute.opened", "Dispute"), ("dispute.lost", "Dispute")]


def sent(site: Site, endpoint_id: str) -> list[tuple[str, Any]]:
    """Return (type, payload type) of the messages of an endpoint, oldest first."""
    with site.services.database.open(system(site.acorn)) as db:
        rows = db.scalars(select(Delivery).where(Delivery.endpoint_id == endpoint_id).order_by(Delivery.event_at)).all()
        return [(row.type, (payload(db, row) or {})["data"]["payload_type"]) for row in rows]
