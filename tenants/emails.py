"""Emails to staff: team invitations, and notices to owners about the changes that safety 2.7 names. The worker sends them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from sqlalchemy import select

from auth import rate_limits
from auth.email_names import plain
from billing.model.business_profile import BusinessProfile, public_profile
from billing.model.disputes import Dispute
from billing.model.parties import Customer
from billing.model.statements import Statement
from billing.refund_requests.queries import get_request
from core import dispute_words, email_log, formatting, i18n
from core.db import ScopedSession
from core.mail import EmailMessage, render_email
from core.outbox import emit
from core.outbox_claims import Work
from core.scope import Actor, system
from core.services import Services
from tenants.roles import ROLES
from tenants.team import Invitation, Membership, is_open


def notify_owners(db: ScopedSession, what: str, about: str = "", *, business_id: str | None = None, actor: Actor | None = None) -> None:
    """Email every owner of the session's business. `what`: one of WHAT; `about`: a name, never a secret.

    Pass `business_id` and `actor` in sessions under everything(), which have neither.
    Raises KeyError for an unknown `what`.
    """
    if what not in WHAT:
        raise KeyError(what)
    emit(db, "owners.notified", business_id=business_id or db.scope.business, data={"what": what, "about": about}, actor=actor)


WHAT = frozenset(
    {
        "key_created",
        "key_revoked",
        "webhook_changed",
        "webhook_secret_shown",
        "refunded",
        "provider_changed",
        "domain_changed",
        "client_changed",
        "team_joined",
        "team_role_changed",
        "team_removed",
        "team_left",
        "rules_changed",
        "payments_changed",
    }
)


PARTS: dict[str, object] = {
    "rules": _l("what customers can do"),
    "details": _l("name, address or time zone"),
    "languages": _l("languages"),
    "legal": _l("legal pages"),
    "taxes": _l("taxes"),
    "api_origins": _l("web addresses that may call the customer API"),
    "refunds": _l("refund policy"),
    "closed": _l("the business was closed"),
    "reopened": _l("the business was reopened"),
}
"""Values of `about` for "rules_changed", translated into the reader's language."""


def sentence(what: str, who: str, about: str) -> str:
    """Return the sentence that describes the change, in the current language."""
    sentences = {
        "key_created": _("%(who)s created the API key “%(about)s”.", who=who, about=about),
        "key_revoked": _("%(who)s revoked the API key “%(about)s”.", who=who, about=about),
        "webhook_changed": _("%(who)s changed the webhook %(about)s.", who=who, about=about),
        "webhook_secret_shown": _("%(who)s viewed the secret of the webhook %(about)s.", who=who, about=about),
        "refunded": _("%(who)s issued a refund: %(about)s.", who=who, about=about),
        "provider_changed": _("%(who)s changed your sign-in provider: %(about)s.", who=who, about=about),
        "domain_changed": _("%(who)s changed the domain of your portal: %(about)s.", who=who, about=about),
        "client_changed": _("%(who)s changed an app that your customers sign in to: %(about)s.", who=who, about=about),
        "team_joined": _("%(who)s joined the team: %(about)s.", who=who, about=about),
        "team_role_changed": _("%(who)s changed the role of %(about)s.", who=who, about=about),
        "team_left": _("%(about)s closed their account and is no longer in the team.", about=about),
        "team_removed": _("%(who)s removed %(about)s from the team.", who=who, about=about),
        "rules_changed": _("%(who)s changed your portal settings: %(about)s.", who=who, about=about),
        "payments_changed": _("%(who)s changed your payment accounts: %(about)s.", who=who, about=about),
    }
    return sentences[what]


@dataclass(frozen=True)
class StaffEmails:
    services: Services

    def invited(self, work: Work) -> None:
        """Send an invitation. The address may belong to anyone, so only the business's name is included, in at most three emails a day."""
        with self._open(work) as db:
            row = db.scalar(select(Invitation).where(Invitation.id == work.noun_id, *is_open()))
            invited_by = db.scalar(select(Membership.email).where(Membership.id == row.invited_by)) if row is not None else None
        profile = self._profile(work)
        if row is None:
            return
        settings, database = self.services.settings, self.services.database
        if not rate_limits.spend_for(database, work.id, rate_limits.acceptance_emails(settings, row.email_key, profile.business_id)):
            email_log.withhold(database, settings, work, row.email, "limit")
            return
        with i18n.speaking(profile.locale):
            role = str(ROLES[row.role])
        safe_profile = replace(profile, name=plain(profile.name))
        self._send(
            work, "team_invited", [row.email], safe_profile, {"role": role, "invited_by": invited_by or "", "expires_at": row.expires_at}
        )

    def owners_notified(self, work: Work) -> None:
        with self._open(work) as db:
            owners, who = self._owners(db), self._actor_name(db, work.actor)
        profile = self._profile(work)
        with i18n.speaking(profile.locale):
            about = str((ROLES | PARTS).get(work.data["about"], work.data["about"]))
            text = sentence(work.data["what"], who, about)
        self._send(work, "owner_notice", owners, profile, {"sentence": text, "at": work.at})

    def money_exceptions(self, work: Work) -> None:
        """Tell the owners about a reconciliation exception, which is never resolved automatically."""
        with self._open(work) as db:
            owners = self._owners(db)
        profile = self._profile(work)
        amount = formatting.money(work.data["amount"], work.data["currency"], profile.locale)
        values = {"reason": work.data["reason"], "amount": amount}
        self._send(work, "needs_reconciliation", owners, profile, {**values, "url": f"{self._console(profile)}/sales/reconciliation"})

    def dispute_changed(self, work: Work) -> None:
        """Tell the owners about a dispute that was opened or decided, with the date by which to answer."""
        with self._open(work) as db:
            owners = self._owners(db)
            found = db.scalar(select(Dispute).where(Dispute.id == work.noun_id))
            customer = db.scalar(select(Customer).where(Customer.customer_id == work.customer_id))
        if found is None or (work.type == "dispute.opened" and not found.is_open):
            return  # it was decided in the meantime: that has its own email
        profile = self._profile(work)
        with i18n.speaking(profile.locale):
            why = dispute_words.reason(found.reason)
        values = {
            "change": work.type.split(".")[1],
            "amount": formatting.money(found.amount_minor, found.currency, profile.locale),
            "customer": (customer.name or customer.email) if customer else "",
            "dispute": found,
            "why": why,
            "url": f"{self._console(profile)}/sales/disputes/{found.id}",
        }
        self._send(work, "dispute_changed", owners, profile, values)

    def statement_waiting(self, work: Work) -> None:
        """Tell the owners about a cancellation that somebody declared without signing in, and that they have to decide."""
        with self._open(work) as db:
            owners = self._owners(db)
            found = db.scalar(select(Statement).where(Statement.id == work.noun_id))
        if found is None or found.status != "waiting":
            return
        profile = self._profile(work)
        limit = rate_limits.Limit(f"statements:owners:{profile.business_id}", 20, rate_limits.DAY)
        if not rate_limits.spend_for(self.services.database, f"{work.id}:owners", [limit]):
            return  # the console lists it; a flood of statements must not fill the owners' mailboxes
        values = {"statement": found, "url": f"{self._console(profile)}/sales/statements/{found.id}"}
        self._send(work, "statement_waiting", owners, profile, values)

    def refund_request(self, work: Work) -> None:
        """Tell the owners about a request, a message of the customer, or that the time to answer is over."""
        kind = work.type.removeprefix("refund_request.")
        if kind == "message" and not work.data.get("by_customer"):
            return
        with self._open(work) as db:
            owners = self._owners(db)
            found = get_request(db, str(work.noun_id))
        if found.request.status != "open":
            return
        profile = self._profile(work)
        limit = rate_limits.Limit(f"refund_requests:owners:{profile.business_id}", 20, rate_limits.DAY)
        if not rate_limits.spend_for(self.services.database, f"{work.id}:owners", [limit]):
            return  # the console lists it; a flood of requests must not fill the owners' mailboxes
        values = {
            "kind": kind,
            "customer": found.customer.name or found.customer.email,
            "amount": formatting.money(found.payment.amount_minor, found.payment.currency, profile.locale),
            "answer_by": found.request.answer_by,
            "url": f"{self._console(profile)}/sales/refund-requests/{found.request.id}",
        }
        self._send(work, "refund_request_staff", owners, profile, values)

    def _owners(self, db: ScopedSession) -> list[str]:
        return list(db.scalars(select(Membership.email).where(Membership.role == "owner", Membership.removed_at.is_(None))))

    def _console(self, profile: BusinessProfile) -> str:
        return f"{self.services.settings.base_url}/console/{profile.business_id}"

    def _actor_name(self, db: ScopedSession, actor: Actor) -> str:
        if actor.type == "staff":
            return db.scalar(select(Membership.email).where(Membership.id == actor.id)) or _("Someone on your team")
        return _("One of your API keys") if actor.type == "api_key" else self.services.settings.name

    def _open(self, work: Work):  # type: ignore[no-untyped-def]
        return self.services.database.open(system(str(work.business_id)))

    def _profile(self, work: Work) -> BusinessProfile:
        profile = public_profile(self.services.database, str(work.business_id))
        if profile is None:
            raise LookupError(work.business_id)
        return profile

    def _send(self, work: Work, name: str, addresses: list[str], profile: BusinessProfile, values: dict[str, object]) -> None:
        settings = self.services.settings

        def message(to: str) -> EmailMessage:
            return EmailMessage(
                to,
                *render_email(
                    name,
                    profile.locale,
                    zone=profile.zone,
                    to=to,
                    sender=settings.name,
                    business=profile.name,
                    **{"url": f"{settings.base_url}/console", "team_url": f"{self._console(profile)}/team", **values},
                ),
            )

        self.services.mailer.send_each((message(to), f"{work.id}:{name}:{to}") for to in addresses)


def register(services: Services) -> None:
    if services.handlers is None:
        return
    emails = StaffEmails(services)
    services.handlers.on("team.invited", emails.invited, sends=True)
    services.handlers.on("owners.notified", emails.owners_notified, sends=True)
    for change in ("opened", "won", "lost", "accepted", "expired", "cancelled"):
        services.handlers.on(f"dispute.{change}", emails.dispute_changed, sends=True)
    services.handlers.on("statement.waiting", emails.statement_waiting, "statements.staff", sends=True)
    for event in ("received", "message", "overdue"):
        services.handlers.on(f"refund_request.{event}", emails.refund_request, "refund_requests.staff", sends=True)
    services.handlers.on("reconciliation_exception.opened", emails.money_exceptions, sends=True)
