"""Who works at the demo's shops: Sam, in a different role at each, so that the console shows what a role may do."""

from __future__ import annotations

from auth.identities import identity_of
from core.scope import everything
from core.web import House
from tenants.joining import join

SAM = "sam@acorn.example"
ROLES = {"acorn": "owner", "birch": "owner", "harbour": "support", "kiln": "developer", "sabia": "read_only"}
"""Shop → Sam's role there."""


def hire(house: House, shops: dict[str, str]) -> None:
    """`shops`: key → business_id. The demo knows that Sam reads this address; elsewhere an invitation asks for proof."""
    with house.database.open(everything("the demo's staff"), write=True) as db:
        identity_id = identity_of(db, SAM, SAM)
        for shop, role in ROLES.items():
            join(db, shops[shop], identity_id, email=SAM, email_key=SAM, role=role)
