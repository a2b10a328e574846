"""Amounts as Stripe counts them: `core/stripe/amounts.py`, which external billing needs too."""

from core.stripe.amounts import MINIMUM, from_stripe, is_too_small, to_stripe

__all__ = ["MINIMUM", "from_stripe", "is_too_small", "to_stripe"]
