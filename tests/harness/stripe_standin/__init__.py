"""A stand-in for Stripe: one process, state in memory, an account for each key.

Every request and answer is checked against Stripe's OpenAPI document.

It behaves as Stripe's documentation says, as far as gateways/stripe needs it. It was never compared with the real service.

    with running() as stand_in:
        account = stand_in.account("rk_test_acorn")
        stand_in.on_next("POST", "/confirm", "drop")     # the answer of the next such call is lost
"""

from tests.harness.stripe_standin.server import StandIn, running
from tests.harness.stripe_standin.world import Account

__all__ = ["Account", "StandIn", "running"]
