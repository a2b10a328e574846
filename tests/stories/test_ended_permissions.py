"""Access that a removed or demoted member granted to others ends together with their permission to grant it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from auth.sessions import Visit
from core.errors import NotFound, PortalError
from core.scope import everything, staff
from tenants import api_keys, memberships
from tenants.team import Invitation, Membership, invited_address, open_invitations
from tenants.webhooks import endpoints
from tests.cast import Cast
from tests.visitor import Visitor

OLGA, PAT = "olga@acorn.example", "pat@acorn.example"


@pytest.fixture
def team(cast: Cast) -> dict[str, str]:
    """Sam and Olga own Acorn; membership ids by name."""
    with cast.services.database.open(everything("a team"), write=True) as db:
        return {
            name: memberships.join(db, cast.acorn, f"idn_{name}", email=email, email_key=email, role="owner").id
            for name, email in (("sam", cast.SAM), ("olga", OLGA))
        }


def invited(cast: Cast, by: str, email: str = PAT, role: str = "owner") -> str:
    with cast.services.database.open(staff(cast.acorn, by), write=True) as db:
        return memberships.invite(db, cast.acorn, email, role, by=by).id


def visit(visitor: Callable[..., Visitor], cast: Cast, email: str) -> Visitor:
    item = visitor()
    item.sign_in(email)
    return item


def roles_of(cast: Cast, email: str) -> list[str]:
    with cast.services.database.open(everything("who is in the team")) as db:
        return list(
            db.scalars(
                select(Membership.role).where(
                    Membership.business_id == cast.acorn, Membership.email_key == email, Membership.removed_at.is_(None)
                )
            )
        )


@pytest.mark.parametrize("end", ["removed", "support", "developer", "read_only"])
def test_invitations_end_with_the_permission_to_send_them(cast: Cast, team: dict[str, str], visitor: Any, end: str) -> None:
    item, mine = invited(cast, team["olga"]), invited(cast, team["sam"], "quin@acorn.example", "support")
    pat = visit(visitor, cast, PAT)
    assert "acceptance" in str(pat.get("/console").soup)
    with cast.services.database.open(staff(cast.acorn, team["sam"]), write=True) as db:
        memberships.remove(db, team["olga"]) if end == "removed" else memberships.change_role(db, team["olga"], end)
    pat.get("/profile")
    pat.post(f"/console/invitations/{item}/acceptance", expect=404)
    assert roles_of(cast, PAT) == [] and invited_address(cast.services.database, PAT) is None
    with cast.services.database.open(staff(cast.acorn, team["sam"])) as db:
        assert [row.id for row in open_invitations(db)] == [mine], "Sam's own stay"


def test_acceptance_checks_the_inviter_again(cast: Cast, team: dict[str, str], visitor: Any) -> None:
    """Also for older invitations whose sender was removed before invitations ended together with the sender."""
    item, pat = invited(cast, team["olga"]), visit(visitor, cast, PAT)
    with cast.services.database.open(everything("removed long ago"), write=True) as db:
        row = db.scalars(select(Membership).where(Membership.id == team["olga"])).one()
        row.role = "support"
    pat.get("/profile")
    pat.post(f"/console/invitations/{item}/acceptance", expect=404)
    assert roles_of(cast, PAT) == []
    with cast.services.database.open(everything("owner again"), write=True) as db:
        db.scalars(select(Membership).where(Membership.id == team["olga"])).one().role = "owner"
    pat.post(f"/console/invitations/{item}/acceptance", follow=False, expect=303)
    assert roles_of(cast, PAT) == ["owner"]


def test_a_removed_owner_cannot_use_an_invitation_to_herself(cast: Cast, team: dict[str, str], visitor: Any) -> None:
    item, olga = invited(cast, team["olga"], "olga@home.example"), visit(visitor, cast, "olga@home.example")
    with cast.services.database.open(staff(cast.acorn, team["sam"]), write=True) as db:
        memberships.remove(db, team["olga"])
    olga.get("/profile")
    olga.post(f"/console/invitations/{item}/acceptance", expect=404)
    assert "acceptance" not in str(olga.get("/console").soup)


def test_records_of_the_business_stay_when_a_member_leaves(cast: Cast, team: dict[str, str], visitor: Any) -> None:
    """Members that joined by the member's invitation stay, and so do webhook secrets."""
    item, pat = invited(cast, team["olga"], role="support"), visit(visitor, cast, PAT)
    pat.get("/console")
    pat.submit(f"/console/invitations/{item}/acceptance")
    with cast.services.database.open(staff(cast.acorn, team["olga"]), write=True) as db:
        hook = endpoints.create(db, cast.services.outgoing, cast.acorn, "https://hooks.acorn.example/told").id
        before = endpoints.find(db, hook).secret
    with cast.services.database.open(staff(cast.acorn, team["sam"]), write=True) as db:
        memberships.remove(db, team["olga"])
    assert roles_of(cast, PAT) == ["support"] and pat.get(f"/console/{cast.acorn}").status == 200
    with cast.services.database.open(staff(cast.acorn, team["sam"])) as db:
        row = endpoints.find(db, hook)
        assert row.secret == before and row.disabled_at is None


def test_parallel_removal_and_acceptance_leave_no_membership(cast: Cast, team: dict[str, str]) -> None:
    database = cast.services.database
    for n in range(8):
        email, olga = f"pat{n}@acorn.example", f"olga{n}@acorn.example"
        with database.open(everything("another owner"), write=True) as db:
            by = memberships.join(db, cast.acorn, f"idn_olga{n}", email=olga, email_key=olga, role="owner").id
        item = invited(cast, by, email)
        pat = _visit(f"idn_pat{n}", email)
        gate, outcomes = threading.Barrier(2), []

        def accept() -> None:
            gate.wait()
            try:
                memberships.accept(database, pat, item)
                outcomes.append("joined")
            except NotFound:
                outcomes.append("refused")

        def remove() -> None:
            gate.wait()
            with database.open(staff(cast.acorn, team["sam"]), write=True) as db:
                memberships.remove(db, by)
            outcomes.append("removed")

        with cast.services.worker.around():
            threads = [threading.Thread(target=_in_app, args=(cast, work)) for work in (accept, remove)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(outcomes) in (["joined", "removed"], ["refused", "removed"])
        with database.open(everything("the invitation")) as db:
            row = db.scalars(select(Invitation).where(Invitation.id == item)).one()
            assert (row.accepted_at is None) != (row.revoked_at is None), "one of the two came first"


def test_api_keys_end_with_their_creator_unless_taken_over(cast: Cast, team: dict[str, str]) -> None:
    services, database = cast.services, cast.services.database

    def made(by: str) -> str:
        with database.open(staff(cast.acorn, by), write=True) as db:
            return api_keys.new_key(db, cast.acorn, "a key", settings=services.settings)[1]

    def works(secret: str) -> bool:
        try:
            return api_keys.read_key(database, services.settings, secret).business_id == cast.acorn
        except PortalError:
            return False

    with database.open(everything("a developer"), write=True) as db:
        dana = memberships.join(db, cast.acorn, "idn_dana", email="dana@acorn.example", email_key="dana@acorn.example", role="developer").id
    sams, olgas, danas = made(team["sam"]), made(team["olga"]), made(dana)
    with database.open(staff(cast.acorn, team["sam"]), write=True) as db:
        memberships.change_role(db, team["olga"], "developer")
    assert works(olgas), "a developer may make keys too"
    with database.open(staff(cast.acorn, team["sam"]), write=True) as db:
        memberships.change_role(db, team["olga"], "support")
    assert not works(olgas) and works(sams) and works(danas)
    with database.open(staff(cast.acorn, team["sam"]), write=True) as db:
        memberships.remove(db, dana, keys_go_to=team["sam"])
    assert works(danas), "Sam answers for it now"
    with database.open(everything("whose key")) as db:
        assert set(db.scalars(select(api_keys.ApiKey.created_by).where(api_keys.ApiKey.revoked_at.is_(None)))) == {team["sam"]}


def _visit(identity_id: str, email: str) -> Visit:
    from types import SimpleNamespace

    found: Any = SimpleNamespace(identity_id=identity_id, addresses=(email,), emails=(email,))
    return found


def _in_app(cast: Cast, work: Callable[[], None]) -> None:
    with cast.services.worker.around():
        work()
