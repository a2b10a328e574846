"""The external billing systems by name."""

from __future__ import annotations

from tenants.external.dodo import DodoBilling
from tenants.external.stripe import StripeBilling
from tenants.external.system import BillingSystem

SYSTEMS: dict[str, BillingSystem] = {system.name: system for system in (DodoBilling(), StripeBilling())}
TITLES = {name: system.title for name, system in SYSTEMS.items()}
