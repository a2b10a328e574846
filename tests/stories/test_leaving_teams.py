"""Closing an account ends the person's memberships and the access they granted. A business keeps an owner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from auth.models import IdentityEmail, RateLimitCount
from billing.model.parties import Business
from core import clock
from core.errors import Conflict
from core.outbox import Event
from core.scope import everything, staff
from tenants import account_closing, memberships
from tenants.team import Invitation, Membership, invited_address
from tests.cast import Cast
from tests.visitor import Visitor

OLGA, PAT = "olga@acorn.example", "pat@acorn.example"


def joined(cast: Cast, visitor: Callable[..., Visitor], email: str, role: str = "owner") -> tuple[Visitor, str]:
    """A signed-in member of Acorn, and their membership."""
    with cast.services.database.open(everything("an invitation"), write=True) as db:
        memberships.invite(db, cast.acorn, email, role)
    item = visitor()
    item.sign_in(email)
    item.get("/console")
    item.submit("acceptance", follow=False, expect=303)
    with cast.services.database.open(everything("which membership")) as db:
        return item, db.scalars(select(Membership.id).where(Membership.email_key == email, Membership.removed_at.is_(None))).one()


def close(visitor: Visitor, email: str, **kwargs: Any) -> Any:
    visitor.get("/profile/closing")
    return visitor.submit("/profile/closing", confirmation=email, **kwargs)


def events(cast: Cast, kind: str) -> list[str]:
    with cast.services.database.open(everything("what was written down")) as db:
        return list(db.scalars(select(Event.noun_id).where(Event.type == kind, Event.business_id == cast.acorn)))


def test_closing_an_account_ends_memberships_and_the_invitations_she_sent(cast: Cast, visitor: Any) -> None:
    _sam, _id = joined(cast, visitor, cast.SAM)
    olga, member_id = joined(cast, visitor, OLGA)
    with cast.services.database.open(staff(cast.acorn, member_id), write=True) as db:
        sent = memberships.invite(db, cast.acorn, PAT, "owner", by=member_id).id
    close(olga, OLGA)
    assert events(cast, "team.removed") == [member_id] and events(cast, "team.invitation_revoked") == [sent]
    assert invited_address(cast.services.database, PAT) is None
    with cast.services.database.open(everything("what is left")) as db:
        row = db.scalars(select(Invitation).where(Invitation.id == sent)).one()
        assert row.revoked_at is not None
    pat = visitor()
    pat.sign_in(cast.ADA)  # somebody with an account of their own
    pat.post(f"/console/invitations/{sent}/acceptance", expect=404)
    assert "closed their account" in [email.text for email in pat.emails(cast.SAM)][-1]


def test_a_new_account_with_the_old_address_is_no_member(cast: Cast, visitor: Any) -> None:
    joined(cast, visitor, cast.SAM)
    ada, _id = joined(cast, visitor, cast.ADA, "support")
    close(ada, cast.ADA)
    again = visitor()
    with cast.services.database.open(everything("the limit of emails starts anew"), write=True) as db:
        for row in db.scalars(select(RateLimitCount)):
            db.delete(row)
    again.sign_in(cast.ADA)
    again.get(f"/console/{cast.acorn}", expect=404)


def test_the_last_owner_hands_over_or_closes_the_business_first(cast: Cast, visitor: Any) -> None:
    sam, member_id = joined(cast, visitor, cast.SAM)
    page = sam.get("/profile/closing")
    assert "only owner of Acorn Notes" in page.text and page.soup.find("form", action="/profile/closing") is None
    sam.post("/profile/closing", {"confirmation": cast.SAM}, expect=409)
    with cast.services.database.open(everything("nothing has changed")) as db:
        assert db.scalar(select(Membership.removed_at).where(Membership.id == member_id)) is None
        assert db.scalar(select(IdentityEmail.email_key).where(IdentityEmail.email_key == cast.SAM)) == cast.SAM
    joined(cast, visitor, OLGA)
    close(sam, cast.SAM)
    assert events(cast, "team.removed") == [member_id]


def test_two_owners_who_close_their_accounts_at_once_leave_one(cast: Cast) -> None:
    database = cast.services.database
    with database.open(everything("two owners"), write=True) as db:
        for name in ("sam", "olga"):
            memberships.join(db, cast.acorn, f"idn_{name}", email=f"{name}@acorn.example", email_key=f"{name}@acorn.example", role="owner")
    gate, outcomes = threading.Barrier(2), []

    def go(name: str) -> None:
        gate.wait()
        try:
            with database.open(everything("an account closes"), write=True) as db:
                account_closing.leave_all(db, f"idn_{name}", [f"{name}@acorn.example"])
            outcomes.append("left")
        except Conflict:
            outcomes.append("stays")

    threads = [threading.Thread(target=go, args=(name,)) for name in ("sam", "olga")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["left", "stays"]


def test_a_closed_business_does_not_prevent_closing_accounts(cast: Cast, visitor: Any) -> None:
    sam, member_id = joined(cast, visitor, cast.SAM)
    with cast.services.database.open(everything("Acorn closes"), write=True) as db:
        db.scalars(select(Business).where(Business.business_id == cast.acorn)).one().archived_at = clock.now()
    close(sam, cast.SAM)
    assert events(cast, "team.removed") == [member_id]
