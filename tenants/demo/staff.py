"""The team of the demo's businesses: Sam, with different roles, so that the console shows each role."""

from __future__ import annotations

from auth.identities import identity_of
from core.scope import everything
from core.services import Services
from tenants.memberships import join

SAM = "sam@acorn.example"
ROLES = {"acorn": "owner", "birch": "owner", "harbour": "support", "kiln": "developer", "sabia": "read_only"}
"""Business → Sam's role."""


def hire(services: Services, businesses: dict[str, str]) -> None:
    """Add Sam to the teams without an invitation. `businesses`: key → business_id."""
    with services.database.open(everything("the demo's staff"), write=True) as db:
        identity_id = identity_of(db, SAM, SAM)
        for business, role in ROLES.items():
            join(db, businesses[business], identity_id, email=SAM, email_key=SAM, role=role)
