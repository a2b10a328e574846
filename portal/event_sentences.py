"""One sentence per event type, for the activity pages of customers and businesses. The pages show the actor separately."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask_babel import lazy_gettext as _l

from core.languages import own_name
from core.template_context import formatter
from portal.phrases import card_of_event

SENTENCES: dict[str, Any] = {
    "business.created": _l("The business was created."),
    "business.archived": _l("The business was closed."),
    "business.reopened": _l("The business was reopened."),
    "business.rules_changed": _l("The portal settings were changed."),
    "business.details_changed": _l("The business details were changed."),
    "business.refund_policy_changed": _l("The refund policy was changed."),
    "business.taxes_changed": _l("The tax settings were changed."),
    "business.languages_changed": _l("The portal languages were set to %(languages)s. The default is %(language)s."),
    "business.brand_changed": _l("The portal branding was changed."),
    "business.api_origins_changed": _l("The web addresses that may call the customer API were changed."),
    "api_key.created": _l("The API key “%(name)s” was created."),
    "api_key.revoked": _l("The API key “%(name)s” was revoked."),
    "provider.changed": _l("The business's identity provider settings were changed."),
    "provider.switched": _l("Sign-in with the business's identity provider was turned on or off."),
    "provider.removed": _l("The business's identity provider was removed."),
    "domain.added": _l("The domain %(host)s was added."),
    "domain.verified": _l("The domain %(host)s was verified. The portal is available there."),
    "domain.lost": _l("The DNS records no longer verify the domain %(host)s. The portal isn't available there."),
    "domain.removed": _l("The domain %(host)s was removed."),
    "app.created": _l("The app “%(name)s” was registered."),
    "app.changed": _l("The app “%(name)s” was changed."),
    "app.secret_changed": _l("The app “%(name)s” has a new secret."),
    "app.removed": _l("The app “%(name)s” was removed."),
    "access_token.created": _l("A token for the customer API was created."),
    "app.allowed": _l("The app “%(name)s” was given access to this customer's details."),
    "app.disallowed": _l("The app “%(name)s” no longer has access to this customer's details."),
    "team.invited": _l("%(email)s was invited to the team."),
    "team.invitation_revoked": _l("The invitation for %(email)s was revoked."),
    "team.joined": _l("%(email)s joined the team."),
    "team.role_changed": _l("The role of %(email)s was changed."),
    "team.removed": _l("%(email)s was removed from the team."),
    "product.created": _l("The product “%(name)s” was added."),
    "product.updated": _l("A product was changed."),
    "product.archived": _l("A product was archived."),
    "product.unarchived": _l("A product was restored from the archive."),
    "addon.created": _l("The add-on “%(name)s” was added."),
    "addon.updated": _l("An add-on was changed."),
    "addon.archived": _l("An add-on was archived."),
    "addon.unarchived": _l("An add-on was restored from the archive."),
    "discount.created": _l("The discount code “%(code)s” was created."),
    "discount.updated": _l("A discount code was changed."),
    "discount.deleted": _l("The discount code “%(code)s” was deleted."),
    "discount.redeemed": _l("The discount code “%(code)s” was used."),
    "picture.uploaded": _l("An image was added to the catalog."),
    "collection.created": _l("The collection “%(name)s” was added."),
    "collection.updated": _l("A collection was changed."),
    "collection.archived": _l("A collection was archived."),
    "collection.unarchived": _l("A collection was restored from the archive."),
    "customer.created": _l("The customer was added."),
    "customer.updated": _l("The customer's details were changed."),
    "customer.tax_id_valid": _l("VIES confirmed the VAT ID %(number)s."),
    "customer.tax_id_invalid": _l("VIES does not know the VAT ID %(number)s. Tax is charged as to a consumer."),
    "customer.blocked": _l("The customer was blocked."),
    "customer.unblocked": _l("The customer was unblocked."),
    "customer.email_changed": _l("The email address was changed. The previous address was %(old)s."),
    "customer.accepted": _l("The customer approved this business."),
    "customer.declined": _l("The customer said that this business isn't theirs."),
    "customer.viewed": _l("Viewed the portal as this customer. Reason: %(reason)s"),
    "customers.export_requested": _l("An export of the customer list was requested."),
    "profile.edited": _l("The name, address, phone number or language was changed."),
    "notices.changed": _l("The reminders by email were changed."),
    "portal_session.created": _l("A portal link was created for this customer."),
    "portal_session.revoked": _l("A portal link was revoked."),
    "email.refused": _l("An email to %(email)s was rejected by the recipient's mail server (%(reason)s)."),
    "email.withheld": _l("An email was not sent because a limit was reached or it was too old."),
    "portal_link.requested": _l("A portal link was requested. It is emailed to the address on file."),
    "payment_method.added": _l("%(card)s was saved."),
    "payment_method.added_again": _l("%(card)s was entered again and replaces the saved one."),
    "payment_method.renewed": _l("%(card)s was renewed by the bank."),
    "payment_method.moved": _l("%(card)s was moved to another payment account of the business."),
    "payment_method.removed": _l("%(card)s was removed."),
    "payment_method.default_changed": _l("%(card)s is now the default payment method."),
    "payment_method.expiring": _l("%(card)s expires soon."),
    "subscription.created": _l("Subscribed to %(product)s."),
    "subscription.active": _l("The subscription is active."),
    "subscription.renewed": _l("The subscription was renewed until %(day)s."),
    "subscription.renewal_reminder": _l("A renewal reminder was sent: %(amount)s on %(day)s."),
    "subscription.price_change_announced": _l("We emailed about a new price: %(amount)s from %(day)s."),
    "subscription.price_change_accepted": _l("The new price was agreed to: %(amount)s from %(day)s."),
    "subscription.price_change_refused": _l("The new price was not agreed to. The price stays the same."),
    "subscription.price_change_stopped": _l("The business stopped the price change. The price stays the same."),
    "subscription.price_changed": _l("The price changed to %(amount)s."),
    "subscription.price_kept": _l("The price stayed the same, because nobody agreed to the new one."),
    "price_change.created": _l("A new price for existing subscribers was ordered."),
    "price_change.stopped": _l("A price change for existing subscribers was stopped."),
    "subscription.on_hold": _l("A renewal was not paid. The subscription is on hold."),
    "subscription.past_due": _l("A renewal was not paid. It will be retried."),
    "subscription.paused": _l("The subscription was paused."),
    "subscription.unpaused": _l("The subscription was resumed."),
    "subscription.plan_changed": _l("The plan was changed."),
    "subscription.plan_change_scheduled": _l("A plan change was scheduled for the next billing date."),
    "subscription.plan_change_cancelled": _l("The scheduled plan change was cancelled."),
    "subscription.update_payment_method": _l("The payment method of the subscription was changed to %(card)s."),
    "subscription.billing_details_changed": _l("The billing name, address or tax number was changed."),
    "subscription.next_billing_date_changed": _l("The next payment was moved to %(day)s."),
    "subscription.term_extended": _l("The subscription term was extended."),
    "subscription.cancellation_scheduled": _l("The subscription was cancelled. It ends on %(day)s."),
    "subscription.cancellation_revoked": _l("The cancellation was undone."),
    "consent.recorded": _l("What you agreed to was recorded."),
    "statement.received": _l("The statement %(number)s was received."),
    "statement.effective": _l("The statement %(number)s took effect."),
    "statement.planned": _l("The cancellation %(number)s takes effect in a later billing period."),
    "statement.waiting": _l("The statement %(number)s needs a decision of the business."),
    "statement.settled": _l("The refund of the statement %(number)s is made."),
    "statement.dismissed": _l("The business answered the statement %(number)s without carrying it out."),
    "subscription.cancelled": _l("The subscription ended."),
    "subscription.expired": _l("The subscription expired."),
    "subscription.failed": _l("The subscription didn't start because the first payment was declined."),
    "subscription.loaded": _l("The subscription was imported from %(source)s."),
    "subscription.action_delegated": _l("A request was sent to the external billing system."),
    "subscription.action_refused": _l("The external billing system declined the request."),
    "subscription.action_unanswered": _l("The external billing system didn't answer for a day. The change may have been made."),
    "subscription.collection_decided": _l("The system that charges the subscription was chosen."),
    "dunning.started": _l("Emails about the unpaid amount started."),
    "dunning.reminder": _l("A reminder about the unpaid amount was sent."),
    "dunning.recovered": _l("The unpaid amount was paid. The emails stopped."),
    "invoice.issued": _l("Invoice %(number)s for %(amount)s was issued."),
    "invoice.paid": _l("An invoice was paid."),
    "invoice.void": _l("An invoice was voided."),
    "invoice.corrected": _l("Invoice %(corrects)s was corrected. The corrected invoice is %(number)s."),
    "payment.processing": _l("A payment of %(amount)s is in progress."),
    "payment.action_required": _l("The bank requires the customer to confirm %(amount)s."),
    "payment.succeeded": _l("%(amount)s was paid."),
    "payment.failed": _l("The bank declined %(amount)s."),
    "payment.cancelled": _l("A payment of %(amount)s was cancelled before it was charged."),
    "refund.pending": _l("A refund of %(amount)s was requested."),
    "refund.by_policy": _l("The customer refunded %(amount)s under the refund policy."),
    "refund.succeeded": _l("%(amount)s was refunded."),
    "refund.failed": _l("A refund failed."),
    "refund_request.received": _l("A refund of a payment of %(amount)s was requested."),
    "refund_request.message": _l("A message about a refund request was sent."),
    "refund_request.declined": _l("A refund request was declined."),
    "refund_request.withdrawn": _l("A refund request was withdrawn."),
    "refund_request.refunded": _l("A refund request was closed: %(amount)s was refunded."),
    "refund_request.overdue": _l("A refund request was not answered in time. The owners were reminded."),
    "dispute.opened": _l("A payment was disputed with the bank: %(amount)s."),
    "dispute.challenged": _l("The business answered the dispute of %(amount)s."),
    "dispute.won": _l("The dispute of %(amount)s was won. The payment stands."),
    "dispute.lost": _l("The dispute of %(amount)s was lost. The money went back to the customer."),
    "dispute.accepted": _l("The dispute of %(amount)s was accepted. The money went back to the customer."),
    "dispute.expired": _l("The dispute of %(amount)s was not answered in time. The money went back to the customer."),
    "dispute.cancelled": _l("The dispute of %(amount)s was withdrawn. The payment stands."),
    "license_key.created": _l("A license key was issued."),
    "license_key.updated": _l("A license key was changed."),
    "license_key.activated": _l("A license key was activated."),
    "license_key.deactivated": _l("An activation of a license key was deactivated."),
    "payment_account.connected": _l("A payment account was connected."),
    "payment_account.key_replaced": _l("The key of a payment account was replaced."),
    "payment_account.test_requested": _l("A payment account was tested."),
    "payment_account.move_requested": _l("A file was uploaded that moves payment methods to another account."),
    "payment_account.move_confirmed": _l("Moving payment methods to another account was confirmed."),
    "payment_account.changed": _l("A payment account was changed."),
    "payment_account.charges_stopped": _l("A payment account takes no new charges."),
    "payment_account.closed": _l("A payment account was closed."),
    "reconciliation_exception.opened": _l("A payment needs reconciliation: the payment provider and this portal disagree."),
    "reconciliation_exception.closed": _l("A payment was reconciled manually."),
    "webhook_endpoint.created": _l("Events are sent to %(host)s."),
    "webhook_endpoint.updated": _l("A webhook was changed."),
    "webhook_endpoint.secret_rotated": _l("A webhook has a new secret."),
    "webhook_endpoint.failing": _l("A webhook delivery to %(host)s failed eight times."),
    "webhook_endpoint.switched_off": _l("The webhook to %(host)s was turned off because its deliveries failed for days."),
    "webhook_endpoint.removed": _l("The webhook to %(host)s was deleted."),
}

HIDDEN_EVENTS = frozenset({"owners.notified", "app.session_left", "external_webhook.received"})
"""Events that are not shown: an email that repeats another event, and a hint that is followed by the event itself."""

STAFF_ONLY = frozenset(
    {
        "reconciliation_exception.opened",
        "reconciliation_exception.closed",
        "dunning.started",
        "dunning.reminder",
        "dunning.recovered",
        "customer.declined",
        "email.withheld",
        "subscription.collection_decided",
    }
)
"""Event types that are shown to staff but not to customers."""


class _Values(dict[str, str]):
    """Values for a sentence. A value that the event does not have becomes "…"."""

    def __missing__(self, _name: str) -> str:
        return "…"


def event_sentence(type: str, data: dict[str, Any]) -> str:
    """Return the sentence for an event. A type without a sentence gives its own name as text."""
    template = SENTENCES.get(type)
    if template is None:
        return type.replace(".", " ").replace("_", " ").capitalize() + "."
    values = _Values({name: value for name, value in data.items() if isinstance(value, str) and value})
    minor, currency = data.get("amount", data.get("total")), data.get("currency")
    if isinstance(minor, int) and isinstance(currency, str):
        values["amount"] = formatter().money(minor, currency)
    if data.get("last4"):
        values["card"] = card_of_event(f"{data.get('brand') or ''} {data['last4']}".strip())
    elif isinstance(data.get("method"), str):
        values["card"] = card_of_event(data["method"])
    if isinstance(data.get("languages"), list) and isinstance(data.get("language"), str):
        values |= {"languages": ", ".join(own_name(item) for item in data["languages"]), "language": own_name(data["language"])}
    if day := _day(data.get("ends_at") or data.get("next_billing_at")):
        values["day"] = day
    return str(template) % values


def _day(text: Any) -> str:
    try:
        return formatter().date(datetime.fromisoformat(text), "document")
    except (TypeError, ValueError):
        return ""
