"""The customer of a purchase: an existing one, or a new one."""

from __future__ import annotations

from pydantic import model_validator

from billing.customers.customers import create_customer
from billing.history import api_lists as read
from core.request_context import services
from tenants.api.authentication import caller
from tenants.api.customers import Phone
from tenants.api.request_parsing import Body, Id


class CustomerInput(Body):
    """Either `customer_id`, or `email`, `name` and `phone_number`.

    If a customer with this email exists, that customer is used and keeps their name and phone number.
    """

    customer_id: Id | None = None
    email: str | None = None
    name: str | None = None
    phone_number: Phone | None = None

    @model_validator(mode="after")
    def named(self) -> CustomerInput:
        if not self.customer_id and not self.email:
            raise ValueError("send a customer_id, or an email and a name")
        if self.customer_id and (self.email or self.name or self.phone_number):
            raise ValueError("send a customer_id without email, name and phone_number")
        return self


def customer_for(wanted: CustomerInput) -> str:
    """Return the id of the customer. An email finds the customer with that address, ignoring case, or creates one.

    Commits in its own transaction.

    Raises NotFound, Invalid.
    """
    with services().database.open(caller().scope, write=wanted.customer_id is None) as db:
        if wanted.customer_id:
            return read.customer(db, wanted.customer_id).customer_id
        email = wanted.email or ""
        found = read.customer_by_address(db, email)
        if found is not None:
            return found.customer_id
        name = wanted.name or email.partition("@")[0]
        return create_customer(db, caller().business_id, email=email, name=name, phone=wanted.phone_number).customer_id
