"""A merchant's first day: somebody signed in begins a business and is its owner."""

from __future__ import annotations

from zoneinfo import available_timezones

from auth import budgets
from auth.budgets import DAY, Limit
from auth.sessions import Visit
from billing.addresses import clean_address
from billing.commands.billing_details import COUNTRIES
from billing.commands.businesses import create_business
from core.db import Database
from core.errors import Invalid, TooMany, Unauthorized
from core.scope import everything
from tenants.joining import join

A_DAY = 5


def found(database: Database, visit: Visit, *, name: str, currency: str, country: str, zone: str, support_email: str = "") -> str:
    """Returns the business's id. Raises Invalid (fields name, currency, country, zone, support_email), TooMany after five in a day.

    `support_email` is published; the owner's sign-in address is not, unless typed here.
    """
    if visit.identity_id is None:
        raise Unauthorized()
    wrong: dict[str, str] = {}
    if not name.strip():
        wrong["name"] = "Give the business a name."
    if country not in COUNTRIES:
        wrong["country"] = "Choose a country."
    if zone not in available_timezones():
        wrong["zone"] = "Choose a time zone."
    if not currency:
        wrong["currency"] = "Choose a currency."
    if support_email.strip():
        try:
            support_email = clean_address(support_email)[0]
        except Invalid as refused:
            wrong["support_email"] = refused.fields["email"]
    if wrong:
        raise Invalid(fields=wrong)
    if not budgets.spend(database, [Limit(f"business:day:{visit.identity_id}", A_DAY, DAY)]):
        raise TooMany(sentence="You began five businesses today. Tomorrow there can be more.")
    with database.open(everything("somebody begins a business"), write=True) as db:
        business_id = create_business(
            db, name=name, currency=currency, zone=zone, locale=visit.locale or "en", support_email=support_email.strip(),
            address={"country": country},
        ).business_id
        email, key, _ = visit.open_emails[0]
        join(db, business_id, visit.identity_id, email=email, email_key=key, role="owner")
    return business_id
