"""Who a purchase is for: a customer there is, or one that begins with it."""

from __future__ import annotations

from pydantic import model_validator

from billing.commands.customers import create_customer
from billing.queries import api as read
from core.web import house
from tenants.api.customers import Phone
from tenants.api.door import caller
from tenants.api.reading import Body, Id


class Buyer(Body):
    """{customer_id} or {email, name, phone_number}. A customer of this address keeps the name and number that they have."""

    customer_id: Id | None = None
    email: str | None = None
    name: str | None = None
    phone_number: Phone | None = None

    @model_validator(mode="after")
    def named(self) -> Buyer:
        if not self.customer_id and not self.email:
            raise ValueError("give a customer_id, or an email and a name")
        if self.customer_id and (self.email or self.name or self.phone_number):
            raise ValueError("a customer_id names the customer; send no email, name or phone_number with it")
        return self


def customer_for(buyer: Buyer) -> str:
    """The id of the customer meant; with an e-mail the one of that (folded) address, or a new one. Commits on its own.

    Raises NotFound, Invalid.
    """
    with house().database.open(caller().scope, write=buyer.customer_id is None) as db:
        if buyer.customer_id:
            return read.customer(db, buyer.customer_id).customer_id
        email = buyer.email or ""
        known = read.customer_by_address(db, email)
        if known is not None:
            return known.customer_id
        name = buyer.name or email.partition("@")[0]
        return create_customer(db, caller().business_id, email=email, name=name, phone=buyer.phone_number).customer_id
