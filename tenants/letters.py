"""Letters to staff: an invitation, and word to every owner when somebody touched what safety 2.7 names. Run by the worker."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select

from auth import budgets
from auth.faces import Face, public_face
from auth.letters import plain
from core import format as formatting
from core import i18n
from core.db import ScopedSession
from core.mail import Letter, render_letter
from core.outbox import emit
from core.scope import Actor, system
from core.web import House
from core.worker import Work
from tenants.roles import ROLES
from tenants.team import Invitation, Membership, is_open


def tell_owners(db: ScopedSession, what: str, about: str = "", *, business_id: str | None = None, actor: Actor | None = None) -> None:
    """Write to every owner of the session's business. `what`: one of WHAT; `about`: a name, never a secret.

    `business_id` and `actor` are for sessions under everything(), which have neither.
    """
    if what not in WHAT:
        raise KeyError(what)
    emit(db, "owners.told", business_id=business_id or db.scope.business, data={"what": what, "about": about}, actor=actor)


WHAT = frozenset({
    "key_created", "key_revoked", "webhook_changed", "webhook_secret_shown", "refunded", "provider_changed", "domain_changed",
    "client_changed", "team_joined", "team_role_changed", "team_removed", "rules_changed",
})


PARTS: dict[str, object] = {
    "rules": _l("what customers may do"), "details": _l("name, address or time zone"), "languages": _l("its languages"),
    "closed": _l("the business is closed"), "reopened": _l("the business is open again"),
}
"""What `about` may say of "rules_changed", so that the letter says it in the reader's language."""


def sentence(what: str, who: str, about: str) -> str:
    """What happened, in the current language."""
    said = {
        "key_created": _("%(who)s made the API key “%(about)s”.", who=who, about=about),
        "key_revoked": _("%(who)s took the API key “%(about)s” away.", who=who, about=about),
        "webhook_changed": _("%(who)s changed where events are sent: %(about)s.", who=who, about=about),
        "webhook_secret_shown": _("%(who)s looked at the secret of the webhook %(about)s.", who=who, about=about),
        "refunded": _("%(who)s gave money back: %(about)s.", who=who, about=about),
        "provider_changed": _("%(who)s changed how your customers sign in with you: %(about)s.", who=who, about=about),
        "domain_changed": _("%(who)s changed the domain of your portal: %(about)s.", who=who, about=about),
        "client_changed": _("%(who)s changed who may sign customers in through you: %(about)s.", who=who, about=about),
        "team_joined": _("%(who)s joined the team: %(about)s.", who=who, about=about),
        "team_role_changed": _("%(who)s gave %(about)s another role.", who=who, about=about),
        "team_removed": _("%(who)s removed %(about)s from the team.", who=who, about=about),
        "rules_changed": _("%(who)s changed the rules of your portal: %(about)s.", who=who, about=about),
    }
    return said[what]


@dataclass(frozen=True)
class Desk:
    house: House

    def invited(self, work: Work) -> None:
        """The address may belong to anybody: a business's name is all of its words that goes there, three letters a day at most."""
        with self._open(work) as db:
            row = db.scalar(select(Invitation).where(Invitation.id == work.noun_id, *is_open()))
            asks = db.scalar(select(Membership.email).where(Membership.id == row.invited_by)) if row is not None else None
        face = self._face(work)
        if row is None or not budgets.spend(
            self.house.database, budgets.planted_letters(self.house.settings, row.email_key, face.business_id)
        ):
            return
        with i18n.speaking(face.locale):
            role = str(ROLES[row.role])
        told = replace(face, name=plain(face.name))
        self._send(work, "team_invited", [row.email], told, {"role": role, "asks": asks or "", "expires_at": row.expires_at})

    def owners_told(self, work: Work) -> None:
        with self._open(work) as db:
            owners, who = self._owners(db), self._who(db, work.actor)
        face = self._face(work)
        with i18n.speaking(face.locale):
            about = str((ROLES | PARTS).get(work.data["about"], work.data["about"]))
            said = sentence(work.data["what"], who, about)
        self._send(work, "owner_notice", owners, face, {"said": said, "at": work.at})

    def money_parked(self, work: Work) -> None:
        """Money that only a person can settle: the owners hear of it, for nothing happens by itself any more."""
        with self._open(work) as db:
            owners = self._owners(db)
        face = self._face(work)
        words = {"reason": work.data["reason"], "amount": formatting.money(work.data["amount"], work.data["currency"], face.locale)}
        self._send(work, "money_waits", owners, face, {**words, "url": f"{self._console(face)}/sales/parked"})

    def _owners(self, db: ScopedSession) -> list[str]:
        return list(db.scalars(select(Membership.email).where(Membership.role == "owner", Membership.removed_at.is_(None))))

    def _console(self, face: Face) -> str:
        return f"{self.house.settings.base_url}/console/{face.business_id}"

    def _who(self, db: ScopedSession, actor: Actor) -> str:
        if actor.type == "staff":
            return db.scalar(select(Membership.email).where(Membership.id == actor.id)) or _("Somebody of your team")
        return _("One of your programs") if actor.type == "api_key" else self.house.settings.name

    def _open(self, work: Work):  # type: ignore[no-untyped-def]
        return self.house.database.open(system(str(work.business_id)))

    def _face(self, work: Work) -> Face:
        face = public_face(self.house.database, str(work.business_id))
        if face is None:
            raise LookupError(work.business_id)
        return face

    def _send(self, work: Work, name: str, addresses: list[str], face: Face, words: dict[str, object]) -> None:
        settings = self.house.settings

        def letter(to: str) -> Letter:
            return Letter(to, *render_letter(
                name, face.locale, zone=face.zone, to=to, sender=settings.name, business=face.name,
                **{"url": f"{settings.base_url}/console", "team_url": f"{self._console(face)}/team", **words}))  # type: ignore[arg-type]

        self.house.mailer.send_each((letter(to), f"{work.id}:{name}:{to}") for to in addresses)


def register(house: House) -> None:
    if house.handlers is None:
        return
    desk = Desk(house)
    house.handlers.on("team.invited", desk.invited)
    house.handlers.on("owners.told", desk.owners_told)
    house.handlers.on("money.parked", desk.money_parked)
