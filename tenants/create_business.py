"""Creates a business for a signed-in person, who becomes its owner."""

from __future__ import annotations

from zoneinfo import available_timezones

from auth import rate_limits
from auth.rate_limits import DAY, Limit
from auth.sessions import Visit
from billing.customers.businesses import create_business
from billing.model.email_address import clean_address
from billing.subscriptions.billing_details import COUNTRIES
from core.db import Database
from core.errors import N_, Invalid, TooMany, Unauthorized
from core.scope import everything
from tenants.memberships import join

PER_DAY = 5


def create_own_business(
    database: Database, visit: Visit, *, name: str, currency: str, country: str, zone: str, support_email: str = ""
) -> str:
    """Return the id of the new business.

    `support_email` is public; the owner's sign-in email is not used for it.
    Raises Invalid (fields name, currency, country, zone, support_email), TooMany after five businesses in a day.
    """
    if visit.identity_id is None:
        raise Unauthorized()
    wrong: dict[str, str] = {}
    if not name.strip():
        wrong["name"] = "Enter a name for the business."
    if country not in COUNTRIES:
        wrong["country"] = N_("Choose a country.")
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
    if not rate_limits.spend(database, [Limit(f"business:day:{visit.identity_id}", PER_DAY, DAY)]):
        raise TooMany(sentence=N_("You can create five businesses per day. Try again tomorrow."))
    with database.open(everything("create a business"), write=True) as db:
        business_id = create_business(
            db,
            name=name,
            currency=currency,
            zone=zone,
            locale=visit.locale or "en",
            support_email=support_email.strip(),
            address={"country": country},
        ).business_id
        email, key, _ = visit.open_emails[0]
        join(db, business_id, visit.identity_id, email=email, email_key=key, role="owner")
    return business_id
