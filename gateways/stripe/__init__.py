"""Stripe: a payment processor at which each business has its own account."""

from gateways.stripe.kind import StripeKind

__all__ = ["StripeKind"]
