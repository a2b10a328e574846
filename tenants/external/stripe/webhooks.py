"""Events of Stripe, from signed webhooks and from the account's list of events, as hints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from billing.model import bounds
from core.errors import BadRequest, Unauthorized
from core.json_input import read_json
from tenants.external.stripe.values import child, id_of
from tenants.external.system import REFERENCE, Hint

TOLERANCE = 300  # seconds that a signature may be old

# The longest prefix decides. An object whose event is not named here is not read.
_KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "customer.": ("customer", ("id",)),
    "customer.subscription.": ("subscription", ("id",)),
    "customer.discount.": ("customer", ("customer",)),
    "customer.tax_id.": ("customer", ("customer",)),
    "customer.source.": ("customer", ("customer",)),
    "customer.bank_account.": ("", ()),
    "customer.card.": ("", ()),
    "product.": ("sold_product", ("id",)),
    "price.": ("product", ("id",)),
    "invoice.": ("invoice", ("id",)),
    "invoice_payment.": ("invoice", ("invoice",)),
    "charge.": ("payment", ("id",)),
    "charge.dispute.": ("payment", ("charge",)),
    "charge.refund.": ("refund", ("id",)),
    "refund.": ("refund", ("id",)),
    "payment_method.": ("payment_method", ("id",)),
}
EVENTS = [
    "customer.created", "customer.updated", "customer.deleted", "customer.subscription.created", "customer.subscription.updated",
    "customer.subscription.deleted", "customer.subscription.paused", "customer.subscription.resumed", "customer.discount.created",
    "customer.discount.updated", "customer.discount.deleted", "customer.tax_id.created", "customer.tax_id.updated",
    "customer.tax_id.deleted", "product.created", "product.updated", "product.deleted", "price.created", "price.updated", "price.deleted",
    "invoice.finalized", "invoice.paid", "invoice.payment_failed", "invoice.voided", "invoice.updated", "invoice.marked_uncollectible",
    "invoice_payment.paid", "charge.succeeded", "charge.failed", "charge.updated", "charge.refunded", "refund.created", "refund.updated",
    "refund.failed", "payment_method.attached", "payment_method.detached", "payment_method.updated",
    "payment_method.automatically_updated",
]  # fmt: skip
"""What the portal asks an account to send."""


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> Hint:
    import stripe

    try:
        stripe.WebhookSignature.verify_header(body.decode("utf-8"), headers.get("stripe-signature", ""), secret, TOLERANCE)
    except (stripe.SignatureVerificationError, ValueError):
        raise Unauthorized(sentence="The signature is not valid.") from None
    try:
        return hint_of(read_json(body))
    except (ValueError, RecursionError):  # not JSON, nested too deeply, text that cannot be stored, an invalid id
        raise BadRequest(sentence="This is not a valid event.") from None


def hint_of(event: Any) -> Hint:
    """Return what an event is about. Raises ValueError."""
    event_id, kind_of = child(event, "id"), child(event, "type")
    if not isinstance(event_id, str) or not REFERENCE.fullmatch(event_id) or not isinstance(kind_of, str):
        raise ValueError("not an event")
    bounds.text(kind_of)
    prefix = next((item for item in sorted(_KINDS, key=len, reverse=True) if kind_of.startswith(item)), "")
    kind, path = _KINDS.get(prefix, ("", ()))
    if not kind:
        return Hint(event_id, kind_of[:100])
    noun = id_of(child(event, "data", "object", *path))
    if noun is None or not REFERENCE.fullmatch(noun):
        raise ValueError("not a valid id")
    return Hint(event_id, kind_of[:100], kind, noun)
