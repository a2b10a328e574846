"""Events as words: one neutral sentence a type, for the customer's activity and the business's. Who did it stands beside it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask_babel import lazy_gettext as _l

from core.languages import own_name
from core.pages import words
from portal.words import card_said

SENTENCES: dict[str, Any] = {
    "business.created": _l("The business was begun."),
    "business.archived": _l("The business was closed."),
    "business.reopened": _l("The business was opened again."),
    "business.rules_changed": _l("The rules of the portal were changed."),
    "business.details_changed": _l("The business's own details were changed."),
    "business.languages_changed": _l("The portal speaks: %(languages)s. For everybody else: %(language)s."),
    "business.brand_changed": _l("The look of the portal was changed."),
    "api_key.created": _l("The API key “%(name)s” was made."),
    "api_key.revoked": _l("The API key “%(name)s” was taken away."),
    "provider.changed": _l("How customers sign in with the business's own provider was changed."),
    "provider.switched": _l("Signing in with the business's own provider was switched on or off."),
    "provider.removed": _l("The business's own provider was removed."),
    "domain.added": _l("The domain %(host)s was added."),
    "domain.verified": _l("The portal is served at %(host)s."),
    "domain.lost": _l("DNS does not say any more that %(host)s is the business's; the portal is not served there."),
    "domain.removed": _l("The domain %(host)s was removed."),
    "app.created": _l("The app “%(name)s” was registered."),
    "app.changed": _l("The app “%(name)s” was changed."),
    "app.secret_changed": _l("The app “%(name)s” got a new secret."),
    "app.removed": _l("The app “%(name)s” was removed."),
    "app.allowed": _l("The app “%(name)s” was allowed to know this customer."),
    "app.disallowed": _l("The app “%(name)s” is not allowed to know this customer any more."),
    "team.invited": _l("%(email)s was invited to the team."),
    "team.invitation_revoked": _l("The invitation of %(email)s was taken back."),
    "team.joined": _l("%(email)s joined the team."),
    "team.role_changed": _l("%(email)s got another role."),
    "team.removed": _l("%(email)s was removed from the team."),
    "product.created": _l("The product “%(name)s” was added."),
    "product.updated": _l("A product was changed."),
    "product.archived": _l("A product was taken off sale."),
    "product.unarchived": _l("A product is on sale again."),
    "addon.created": _l("The add-on “%(name)s” was added."),
    "addon.updated": _l("An add-on was changed."),
    "addon.archived": _l("An add-on was taken off sale."),
    "addon.unarchived": _l("An add-on is on sale again."),
    "discount.created": _l("The discount code “%(code)s” was made."),
    "discount.updated": _l("A discount code was changed."),
    "discount.deleted": _l("The discount code “%(code)s” was taken away."),
    "discount.redeemed": _l("The discount code “%(code)s” was used."),
    "picture.uploaded": _l("A picture was added to the catalogue."),
    "collection.created": _l("The collection “%(name)s” was added."),
    "collection.updated": _l("A collection was changed."),
    "collection.archived": _l("A collection was closed."),
    "collection.unarchived": _l("A collection is open again."),
    "customer.created": _l("Written down as a customer."),
    "customer.updated": _l("The customer's details were changed."),
    "customer.blocked": _l("The customer was blocked."),
    "customer.unblocked": _l("The customer was unblocked."),
    "customer.email_changed": _l("The address was changed; before, it was %(old)s."),
    "customer.accepted": _l("Allowed this business to appear among the others."),
    "customer.declined": _l("Said that this business is not theirs."),
    "customer.viewed": _l("Looked at these pages as the customer sees them. Reason: %(reason)s"),
    "customers.export_asked": _l("The list of customers was asked for as a file."),
    "profile.edited": _l("Name, address, phone or language was changed."),
    "portal_session.created": _l("A link into the portal was made for this customer."),
    "portal_session.revoked": _l("A link into the portal was taken back."),
    "portal_link.asked": _l("A link into the portal was asked for; it goes to the address on file."),
    "payment_method.added": _l("%(card)s was saved."),
    "payment_method.removed": _l("%(card)s was taken away."),
    "payment_method.default_changed": _l("%(card)s is charged first from now on."),
    "payment_method.expiring": _l("%(card)s expires soon."),
    "subscription.created": _l("Subscribed to %(product)s."),
    "subscription.active": _l("The subscription is active."),
    "subscription.renewed": _l("The subscription was renewed to %(day)s."),
    "subscription.renewal_reminder": _l("The next renewal was announced: %(amount)s on %(day)s."),
    "subscription.on_hold": _l("A renewal was not paid; the subscription is on hold."),
    "subscription.past_due": _l("A renewal was not paid; it is tried again."),
    "subscription.paused": _l("The subscription was paused."),
    "subscription.unpaused": _l("The subscription was resumed."),
    "subscription.plan_changed": _l("The plan was changed."),
    "subscription.plan_change_scheduled": _l("A change of plan was put down for the next billing date."),
    "subscription.plan_change_cancelled": _l("The planned change was dropped."),
    "subscription.update_payment_method": _l("%(card)s pays for the subscription from now on."),
    "subscription.billing_details_changed": _l("Billing name, address or tax number was changed."),
    "subscription.next_billing_date_changed": _l("The next payment was moved to %(day)s."),
    "subscription.term_extended": _l("The subscription may run longer."),
    "subscription.cancellation_scheduled": _l("Cancelled; it ends on %(day)s."),
    "subscription.cancellation_revoked": _l("The cancellation was taken back."),
    "subscription.cancelled": _l("The subscription ended."),
    "subscription.expired": _l("The subscription finished: its time was over."),
    "subscription.failed": _l("The subscription did not start: the first payment was declined."),
    "subscription.loaded": _l("The subscription was taken over from %(source)s."),
    "subscription.asked_elsewhere": _l("The billing system it is kept in was asked to do it."),
    "subscription.refused_elsewhere": _l("The billing system it is kept in did not do it."),
    "subscription.unanswered_elsewhere": _l("The billing system it is kept in did not answer for a day; it may have been done."),
    "dunning.started": _l("Letters about the missing payment began."),
    "dunning.reminder": _l("A reminder of the missing payment was sent."),
    "dunning.recovered": _l("It is paid after all; the letters ended."),
    "invoice.issued": _l("Invoice %(number)s over %(amount)s was issued."),
    "invoice.paid": _l("An invoice was paid."),
    "invoice.void": _l("An invoice was made void."),
    "invoice.corrected": _l("Invoice %(corrects)s was corrected; the new one is %(number)s."),
    "payment.processing": _l("A payment of %(amount)s is under way."),
    "payment.action_required": _l("The bank wants the customer to confirm %(amount)s."),
    "payment.succeeded": _l("%(amount)s was paid."),
    "payment.failed": _l("The bank declined %(amount)s."),
    "payment.cancelled": _l("A payment of %(amount)s was called back before money moved."),
    "refund.pending": _l("A refund of %(amount)s was asked for."),
    "refund.succeeded": _l("%(amount)s was sent back."),
    "refund.failed": _l("A refund did not go through."),
    "license_key.created": _l("A licence key was issued."),
    "license_key.updated": _l("A licence key was changed."),
    "license_key.activated": _l("A licence key was put to use in one more place."),
    "license_key.deactivated": _l("A place of a licence key was freed."),
    "money.parked": _l("Money waits for a person: the provider and this portal do not agree."),
    "money.settled_by_hand": _l("Money that waited was settled by hand."),
    "webhook_endpoint.created": _l("Events are sent to %(host)s."),
    "webhook_endpoint.updated": _l("Where events are sent was changed."),
    "webhook_endpoint.secret_rotated": _l("A webhook got a new secret."),
    "webhook_endpoint.failing": _l("A message to %(host)s was tried in vain eight times."),
    "webhook_endpoint.switched_off": _l("Nothing arrived at %(host)s for days; nothing is sent there now."),
    "webhook_endpoint.removed": _l("Events are not sent to %(host)s any more."),
}

UNTOLD = frozenset({"owners.told", "app.session_left"})
"""A letter that repeats another event, and a hint that is followed by the event itself."""

STAFF_ONLY = frozenset({
    "money.parked", "money.settled_by_hand", "dunning.started", "dunning.reminder", "dunning.recovered", "payment_method.expiring",
    "subscription.renewal_reminder", "customer.declined",
})
"""What a customer's own page leaves out: the machinery behind what they see anyway."""


class _Values(dict[str, str]):
    """What a sentence may name; a thing the event does not say is left open."""

    def __missing__(self, _name: str) -> str:
        return "…"


def deed(type: str, data: dict[str, Any]) -> str:
    """The sentence; for a type without one, its own words."""
    said = SENTENCES.get(type)
    if said is None:
        return type.replace(".", " ").replace("_", " ").capitalize() + "."
    values = _Values({name: value for name, value in data.items() if isinstance(value, str) and value})
    minor, currency = data.get("amount", data.get("total")), data.get("currency")
    if isinstance(minor, int) and isinstance(currency, str):
        values["amount"] = words().money(minor, currency)
    if data.get("last4"):
        values["card"] = card_said(f"{data.get('brand') or ''} {data['last4']}".strip())
    elif isinstance(data.get("method"), str):
        values["card"] = card_said(data["method"])
    if isinstance(data.get("languages"), list) and isinstance(data.get("language"), str):
        values |= {"languages": ", ".join(own_name(one) for one in data["languages"]), "language": own_name(data["language"])}
    if day := _day(data.get("ends_at") or data.get("next_billing_at")):
        values["day"] = day
    return str(said) % values


def _day(text: Any) -> str:
    try:
        return words().date(datetime.fromisoformat(text), "document")
    except (TypeError, ValueError):
        return ""
