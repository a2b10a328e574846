"""A test payment provider with its own database, hosted card page, test cards and journal. It moves no money."""

from gateways.sandbox.accounts import SandboxKind
from gateways.sandbox.gateway import SandboxGateway

__all__ = ["SandboxGateway", "SandboxKind"]
