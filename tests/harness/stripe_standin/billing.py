"""A merchant's account at Stripe Billing: plans, buyers, subscriptions, and what happens to them. Every change is an event."""

from __future__ import annotations

import time
from typing import Any

from tests.harness.stripe_standin import discounts, intents, invoices, methods, tax_ids
from tests.harness.stripe_standin.cards import BY_NUMBER
from tests.harness.stripe_standin.invoices import ADDRESS
from tests.harness.stripe_standin.world import Account, Object

VISA, DECLINED = "4242424242424242", "4000000000000002"
MONTH = 30 * 86_400
LENGTH = {"day": 86_400, "week": 7 * 86_400, "month": MONTH, "year": 365 * 86_400}


class Merchant:
    """`now`: the time of what is made next, in seconds."""

    def __init__(self, account: Account) -> None:
        self.account, self.now = account, int(time.time())

    def price(self, name: str, amount: int, interval: str | None = "month", currency: str = "eur", **more: Any) -> Object:
        product = more.pop("product", None) or self._make(
            "product", active=True, description=None, images=[], marketing_features=[], metadata={}, name=name, updated=self.now,
            default_price=None, tax_code=None, url=None, package_dimensions=None, shippable=None,
        )["id"]  # fmt: skip
        recurring = {"interval": interval, "interval_count": 1, "usage_type": more.pop("usage", "licensed"), "meter": None}
        made = self._make(
            "price", active=True, billing_scheme="per_unit", currency=currency, custom_unit_amount=None, lookup_key=None, metadata={},
            nickname=None, product=product, recurring=recurring if interval else None, tax_behavior="exclusive", tiers_mode=None,
            transform_quantity=None, type="recurring" if interval else "one_time", unit_amount=amount, unit_amount_decimal=str(amount),
        )  # fmt: skip
        made |= more
        self.account.emit("price.created", made)
        return made

    def rename(self, product: str, name: str) -> None:
        found = self.account.get(product, "product")
        found |= {"name": name, "updated": self.now + 1}
        self.account.emit("product.updated", found)

    def retire(self, price: Object) -> None:
        price["active"] = False
        self.account.emit("price.updated", price)

    def customer(self, email: str | None, name: str | None = None, card: str | None = VISA) -> Object:
        made = self._make(
            "customer", email=email, name=name, balance=0, metadata={},
            description=None, phone=None, address=dict(ADDRESS), preferred_locales=["en"], discount=None,
            tax_ids={"object": "list", "data": [], "has_more": False, "url": "/v1/customers/tax_ids"},
            invoice_settings={"custom_fields": None, "default_payment_method": None, "footer": None, "rendering_options": None},
        )  # fmt: skip
        self.account.emit("customer.created", made)
        if card:
            self.give_card(made, card)
        return made

    def give_card(self, customer: Object, number: str = VISA) -> Object:
        made = methods.from_card(self.account, BY_NUMBER[number], name=customer["name"])
        made |= {"customer": customer["id"], "created": self.now}
        customer["invoice_settings"]["default_payment_method"] = made["id"]
        self.account.emit("payment_method.attached", made)
        self.account.emit("customer.updated", customer)
        return made

    def detach(self, customer: Object) -> None:
        found = self.account.objects[customer["invoice_settings"]["default_payment_method"]]
        customer["invoice_settings"]["default_payment_method"] = found["customer"] = None
        self.account.emit("payment_method.detached", found)
        self.account.emit("customer.updated", customer)

    def move(self, customer: Object, **changes: Any) -> None:
        customer |= changes
        self.account.emit("customer.updated", customer)

    def number(self, customer: Object, kind: str, value: str) -> Object:
        """Give a customer a tax number."""
        return tax_ids.create(self.account, {"type": kind, "value": value}, customer["id"])

    def coupon(self, name: str, code: str | None = None, **terms: Any) -> tuple[Object, Object | None]:
        """Return a coupon with these terms (`discounts.coupon`), and its promotion code if there is one."""
        made = discounts.coupon(self.account, name, self.now, **terms)
        return made, discounts.promotion_code(self.account, made, code) if code else None

    def discount(self, coupon: tuple[Object, Object | None], owner: Object) -> Object:
        """Redeem a coupon for a customer, a subscription, or an item of one."""
        kind = owner["object"]
        made = discounts.discount(self.account, coupon[0], self.now, coupon[1], **{kind: owner["id"]})
        if kind == "customer":
            owner["discount"] = made
            self.account.emit("customer.discount.created", made)
        else:
            owner["discounts"].append(made["id"])
            self.account.emit("customer.subscription.updated", self.account.objects[owner.get("subscription", owner["id"])])
        return made

    def delete(self, customer: Object) -> None:
        for item in self.account.every("subscription", customer=customer["id"]):
            if item["status"] != "canceled":
                self.end(item)
        customer["deleted"] = True
        self.account.__dict__.pop("ordered", None)
        self.account.emit("customer.deleted", {"id": customer["id"], "object": "customer", "deleted": True})

    def subscribe(self, customer: Object, *items: tuple[Object, int], status: str = "active") -> Object:
        """Begin a subscription, and pay its first invoice unless it is on trial."""
        made = self._make(
            "subscription", application=None, application_fee_percent=None, billing_cycle_anchor_config=None, billing_thresholds=None,
            automatic_tax={"disabled_reason": None, "enabled": False, "liability": None}, billing_cycle_anchor=self.now,
            billing_mode={"type": "classic"}, billing_schedules=[], cancel_at=None, cancel_at_period_end=False, canceled_at=None,
            cancellation_details=None, collection_method="charge_automatically", currency=items[0][0]["currency"],
            customer=customer["id"], default_payment_method=None, default_tax_rates=[], discounts=[], ended_at=None,
            invoice_settings={"account_tax_ids": None, "issuer": {"type": "self"}}, latest_invoice=None, metadata={},
            pause_collection=None, pending_update=None, schedule=None,
            start_date=self.now, status=status, trial_start=None, trial_end=None, items={},
        )  # fmt: skip
        made["items"] = {"object": "list", "has_more": False, "url": "/v1/subscription_items", "data": [
            self._make("subscription_item", price=price, quantity=quantity, discounts=[], metadata={}, subscription=made["id"],
                       tax_rates=[], current_period_start=self.now, current_period_end=self.now + MONTH, billing_thresholds=None)
            for price, quantity in items
        ]}  # fmt: skip
        for item in made["items"]["data"]:
            item.pop("livemode")
        self.account.emit("customer.subscription.created", made)
        if status != "trialing":
            self.bill(made, "subscription_create")
        return made

    def renew(self, subscription: Object) -> Object:
        """Begin the next period and charge it. A declined charge leaves the subscription past due."""
        for item in subscription["items"]["data"]:
            item["current_period_start"], item["current_period_end"] = item["current_period_end"], item["current_period_end"] + MONTH
        return self.bill(subscription, "subscription_cycle")

    def bill(self, subscription: Object, reason: str) -> Object:
        """Issue an invoice of all items with one fifth of tax, and charge it to the customer's card."""
        invoice = self.issue(
            subscription, reason, [invoices.line(self.account, subscription, item) for item in subscription["items"]["data"]]
        )
        if not self.collect(invoice):
            subscription["status"] = "past_due"
            self.account.emit("customer.subscription.updated", subscription)
        return invoice

    def pay_with(self, invoice: Object, number: str) -> bool:
        """Pay an open invoice with another card."""
        buyer = self.account.objects[invoice["customer"]]
        method = methods.from_card(self.account, BY_NUMBER[number], name=buyer["name"])
        method |= {"customer": buyer["id"], "created": self.now}
        return self.collect(invoice, method)

    def issue(self, subscription: Object, reason: str, lines: list[Object], *, kept: bool = True) -> Object:
        """Issue an invoice. The customer's balance is set off. Without `kept`, it is stored nowhere."""
        invoice = invoices.issue(self.account, self.now, subscription, reason, lines)
        buyer = self.account.objects[subscription["customer"]]
        if not kept:
            del self.account.objects[invoice["id"]]
            return invoice
        discounts.used(self.account, subscription)
        subscription["latest_invoice"] = invoice["id"]
        if invoice["amount_due"] > 0:
            values = {"amount": invoice["amount_due"], "currency": invoice["currency"], "customer": buyer["id"]}
            intent = intents.create(self.account, values)
            intent["created"] = self.now
            paid = self._make("invoice_payment", amount_paid=None, amount_requested=invoice["amount_due"], currency=invoice["currency"],
                              invoice=invoice["id"], is_default=True, payment={"type": "payment_intent", "payment_intent": intent["id"]},
                              status="open", status_transitions={"canceled_at": None, "paid_at": None})  # fmt: skip
            self.account.private[invoice["id"]]["payment"] = paid["id"]
        self.account.emit("invoice.finalized", invoice)
        return invoice

    def collect(self, invoice: Object, method: Object | None = None) -> bool:
        """Charge an open invoice to a card, else to the customer's. Returns whether it is paid."""
        from tests.harness.stripe_standin import plan_changes

        if invoice["amount_due"] == 0:
            invoice |= {"status": "paid", "amount_remaining": 0}
            return True
        paid = self.account.objects[self.account.private[invoice["id"]]["payment"]]
        intent = self.account.objects[paid["payment"]["payment_intent"]]
        subscription = self.account.objects[invoice["parent"]["subscription_details"]["subscription"]]
        buyer = self.account.objects[invoice["customer"]]
        method = method or self.account.objects[buyer["invoice_settings"]["default_payment_method"]]
        if not self._charge(invoice, intent, method, paid):
            return False
        if pending := self.account.private[invoice["id"]].pop("pending", None):
            plan_changes.apply(self.account, subscription, *pending)
        subscription["status"] = "active"
        self.account.emit("customer.subscription.updated", subscription)
        return True

    pay = collect

    def charge(self, customer: Object, amount: int, currency: str = "eur", **facts: Any) -> Object:
        """Charge without an invoice."""
        method = self.account.objects[customer["invoice_settings"]["default_payment_method"]]
        intent = intents.create(self.account, {"amount": amount, "currency": currency, "customer": customer["id"]})
        intents.attempt(self.account, intent, method)
        charge = self.account.objects[intent["latest_charge"]]
        charge |= {"created": self.now, **facts}
        return charge

    def refund(self, charge: str, amount: int) -> Object:
        found = self.account.get(charge, "charge")
        found["amount_refunded"] += amount
        found["refunded"] = found["amount_refunded"] == found["amount"]
        made = self._make("refund", amount=amount, currency=found["currency"], charge=charge, payment_intent=found["payment_intent"],
                          status="succeeded", reason="requested_by_customer", balance_transaction=None, receipt_number=None)  # fmt: skip
        self.account.emit("refund.created", made)
        self.account.emit("charge.refunded", found)
        return made

    def end(self, subscription: Object) -> None:
        subscription |= {"status": "canceled", "canceled_at": self.now, "ended_at": self.now}
        self.account.emit("customer.subscription.deleted", subscription)

    def change(self, subscription: Object, **changes: Any) -> None:
        subscription |= changes
        self.account.emit("customer.subscription.updated", subscription)

    def _charge(self, invoice: Object, intent: Object, method: Object, paid: Object) -> bool:
        behavior = self.account.private[method["id"]]["behavior"]
        intent["payment_method"] = method["id"]
        invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1}
        if behavior == "authenticate":
            intents.challenge(self.account, intent)
            self.account.emit("invoice.payment_action_required", invoice)
            return False
        if methods.is_decline(behavior):
            intents.fail(self.account, intent, behavior)
            self._date(intent)
            self.account.emit("invoice.payment_failed", invoice)
            return False
        intents.succeed(self.account, intent, method)
        self._date(intent)
        invoice |= {"status": "paid", "amount_paid": invoice["amount_due"], "amount_remaining": 0}
        paid |= {"status": "paid", "amount_paid": invoice["amount_due"]}
        paid["status_transitions"]["paid_at"] = self.now
        self.account.emit("invoice_payment.paid", paid)
        self.account.emit("invoice.paid", invoice)
        return True

    def _date(self, intent: Object) -> None:
        charge = self.account.objects[intent["latest_charge"]]
        charge["created"] = self.now

    def _make(self, kind: str, **fields: Any) -> Object:
        return self.account.make(kind, created=self.now, **fields)
