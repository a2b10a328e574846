"""A whole pretend payment provider: its own database, hosted card page, test cards, journal. It moves no money."""

from gateways.sandbox.gateway import SandboxGateway

__all__ = ["SandboxGateway"]
