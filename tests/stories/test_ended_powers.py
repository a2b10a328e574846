"""What a removed or demoted member gave to others ends with their own right to give it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from auth.sessions import Visit
from core.errors import NotFound, PortalError
from core.scope import everything, staff
from tenants import joining, keys
from tenants.team import Invitation, Membership, invited_address, open_invitations
from tests.cast import Cast
from tests.visitor import Visitor

OLGA, PAT = "olga@acorn.example", "pat@acorn.example"


@pytest.fixture
def team(cast: Cast) -> dict[str, str]:
    """Sam and Olga own Acorn; membership ids by name."""
    with cast.house.database.open(everything("a team"), write=True) as db:
        return {name: joining.join(db, cast.acorn, f"idn_{name}", email=email, email_key=email, role="owner").id
                for name, email in (("sam", cast.SAM), ("olga", OLGA))}


def invited(cast: Cast, by: str, email: str = PAT, role: str = "owner") -> str:
    with cast.house.database.open(staff(cast.acorn, by), write=True) as db:
        return joining.invite(db, cast.acorn, email, role, by=by).id


def visit(visitor: Callable[..., Visitor], cast: Cast, email: str) -> Visitor:
    one = visitor()
    one.sign_in(email)
    return one


def roles_of(cast: Cast, email: str) -> list[str]:
    with cast.house.database.open(everything("who is in the team")) as db:
        return list(db.scalars(select(Membership.role).where(Membership.business_id == cast.acorn, Membership.email_key == email,
                                                             Membership.removed_at.is_(None))))


@pytest.mark.parametrize("end", ["removed", "support", "developer", "read_only"])
def test_invitations_end_with_the_power_to_send_them(cast: Cast, team: dict[str, str], visitor: Any, end: str) -> None:
    one, mine = invited(cast, team["olga"]), invited(cast, team["sam"], "quin@acorn.example", "support")
    pat = visit(visitor, cast, PAT)
    assert "acceptance" in str(pat.get("/console").soup)
    with cast.house.database.open(staff(cast.acorn, team["sam"]), write=True) as db:
        joining.remove(db, team["olga"]) if end == "removed" else joining.change_role(db, team["olga"], end)
    pat.get("/profile")
    pat.post(f"/console/invitations/{one}/acceptance", expect=404)
    assert roles_of(cast, PAT) == [] and invited_address(cast.house.database, PAT) is None
    with cast.house.database.open(staff(cast.acorn, team["sam"])) as db:
        assert [row.id for row in open_invitations(db)] == [mine], "Sam's own stay"


def test_acceptance_checks_the_inviter_again(cast: Cast, team: dict[str, str], visitor: Any) -> None:
    """Also where the invitation itself says nothing: an older one, of somebody who was removed before it could end with them."""
    one, pat = invited(cast, team["olga"]), visit(visitor, cast, PAT)
    with cast.house.database.open(everything("removed long ago"), write=True) as db:
        row = db.scalars(select(Membership).where(Membership.id == team["olga"])).one()
        row.role = "support"
    pat.get("/profile")
    pat.post(f"/console/invitations/{one}/acceptance", expect=404)
    assert roles_of(cast, PAT) == []
    with cast.house.database.open(everything("owner again"), write=True) as db:
        db.scalars(select(Membership).where(Membership.id == team["olga"])).one().role = "owner"
    pat.post(f"/console/invitations/{one}/acceptance", follow=False, expect=303)
    assert roles_of(cast, PAT) == ["owner"]


def test_a_removed_owner_does_not_come_back_by_an_invitation_to_herself(cast: Cast, team: dict[str, str], visitor: Any) -> None:
    one, olga = invited(cast, team["olga"], "olga@home.example"), visit(visitor, cast, "olga@home.example")
    with cast.house.database.open(staff(cast.acorn, team["sam"]), write=True) as db:
        joining.remove(db, team["olga"])
    olga.get("/profile")
    olga.post(f"/console/invitations/{one}/acceptance", expect=404)
    assert "acceptance" not in str(olga.get("/console").soup)


def test_removing_beside_accepting_never_leaves_both(cast: Cast, team: dict[str, str]) -> None:
    database = cast.house.database
    for n in range(8):
        email, olga = f"pat{n}@acorn.example", f"olga{n}@acorn.example"
        with database.open(everything("another owner"), write=True) as db:
            by = joining.join(db, cast.acorn, f"idn_olga{n}", email=olga, email_key=olga, role="owner").id
        one = invited(cast, by, email)
        pat = _visit(f"idn_pat{n}", email)
        gate, outcomes = threading.Barrier(2), []

        def accept() -> None:
            gate.wait()
            try:
                joining.accept(database, pat, one)
                outcomes.append("joined")
            except NotFound:
                outcomes.append("refused")

        def remove() -> None:
            gate.wait()
            with database.open(staff(cast.acorn, team["sam"]), write=True) as db:
                joining.remove(db, by)
            outcomes.append("removed")

        with cast.house.worker.around():
            threads = [threading.Thread(target=_in_app, args=(cast, work)) for work in (accept, remove)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(outcomes) in (["joined", "removed"], ["refused", "removed"])
        with database.open(everything("the invitation")) as db:
            row = db.scalars(select(Invitation).where(Invitation.id == one)).one()
            assert (row.accepted_at is None) != (row.revoked_at is None), "one of the two came first"


def test_api_keys_end_with_their_maker_unless_somebody_takes_them_over(cast: Cast, team: dict[str, str]) -> None:
    house, database = cast.house, cast.house.database

    def made(by: str) -> str:
        with database.open(staff(cast.acorn, by), write=True) as db:
            return keys.new_key(db, cast.acorn, "a key", settings=house.settings)[1]

    def works(secret: str) -> bool:
        try:
            return keys.read_key(database, house.settings, secret).business_id == cast.acorn
        except PortalError:
            return False

    with database.open(everything("a developer"), write=True) as db:
        dana = joining.join(db, cast.acorn, "idn_dana", email="dana@acorn.example", email_key="dana@acorn.example", role="developer").id
    sams, olgas, danas = made(team["sam"]), made(team["olga"]), made(dana)
    with database.open(staff(cast.acorn, team["sam"]), write=True) as db:
        joining.change_role(db, team["olga"], "developer")
    assert works(olgas), "a developer may make keys too"
    with database.open(staff(cast.acorn, team["sam"]), write=True) as db:
        joining.change_role(db, team["olga"], "support")
    assert not works(olgas) and works(sams) and works(danas)
    with database.open(staff(cast.acorn, team["sam"]), write=True) as db:
        joining.remove(db, dana, keys_go_to=team["sam"])
    assert works(danas), "Sam answers for it now"
    with database.open(everything("whose key")) as db:
        assert set(db.scalars(select(keys.ApiKey.created_by).where(keys.ApiKey.revoked_at.is_(None)))) == {team["sam"]}


def _visit(identity_id: str, email: str) -> Visit:
    from types import SimpleNamespace

    found: Any = SimpleNamespace(identity_id=identity_id, addresses=(email,), emails=(email,))
    return found


def _in_app(cast: Cast, work: Callable[[], None]) -> None:
    with cast.house.worker.around():
        work()
