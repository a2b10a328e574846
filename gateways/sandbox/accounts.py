"""The sandbox as a kind of payment processor."""

from __future__ import annotations

from billing.charging.account_ports import AccountReport
from billing.charging.ports import AccountAccess
from core.errors import N_, Invalid
from gateways.sandbox.gateway import SandboxGateway


class SandboxKind:
    """Every account of the sandbox shares one database and its test controls."""

    name = "sandbox"

    def __init__(self, gateway: SandboxGateway) -> None:
        self.gateway = gateway

    def open(self, access: AccountAccess) -> SandboxGateway:
        return self.gateway.at(access.id)

    def taxes(self, access: AccountAccess) -> None:
        """The sandbox has no tax calculator."""

    def check(self, access: AccountAccess) -> AccountReport:
        """Accept every account in test mode. Raises Invalid in live mode."""
        if access.live:
            raise Invalid(fields={"secret_key": N_("The sandbox charges no real money. It is not available in live mode.")})
        return AccountReport(external_id=access.id)
