"""StripeKind: opens and checks Stripe accounts. The SDK is imported when the first account is opened, because that takes 0.2 seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from billing.charging.account_ports import AccountReport
from billing.charging.ports import AccountAccess
from billing.pricing.tax_port import HostedTax
from core.outgoing import Outgoing

if TYPE_CHECKING:
    from gateways.stripe.gateway import StripeGateway


class StripeKind:
    name = "stripe"
    page_origins = ("https://checkout.stripe.com", "https://hooks.stripe.com")
    """Hosted pages, and the page that leads to a customer's bank."""

    def __init__(self, outgoing: Outgoing, api_base: str | None = None):
        """`api_base` replaces Stripe's address in tests."""
        self._outgoing, self._api_base = outgoing, api_base

    def open(self, access: AccountAccess) -> StripeGateway:
        from gateways.stripe.gateway import StripeGateway

        return StripeGateway(access, self._outgoing, self._api_base)

    def taxes(self, access: AccountAccess) -> HostedTax:
        from gateways.stripe.api import StripeApi
        from gateways.stripe.taxes import TIMEOUT, StripeTax

        return StripeTax(StripeApi(access, self._outgoing, self._api_base, TIMEOUT))

    def check(self, access: AccountAccess) -> AccountReport:
        from gateways.stripe.account_check import check
        from gateways.stripe.api import StripeApi

        return check(StripeApi(access, self._outgoing, self._api_base), access)
