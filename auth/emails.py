"""Sign-in emails, sent by the worker. Only this module looks addresses up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select, update

from auth import account_emails, challenge_emails, email_opt_out, portal_links, rate_limits, tokens
from auth.email_names import customer_name, plain
from auth.models import Challenge, DynamicLink, IdentityEmail
from billing.model.business_profile import BusinessProfile, profile_of
from billing.model.parties import Business, Customer
from core import email_log
from core.mail import EmailMessage, render_email
from core.outbox_claims import Work
from core.scope import everything
from core.services import Services

MAX_NOTIFIED = 20
"""Maximum number of businesses notified of one refused sign-in email."""
Knows = Callable[[str], str | None]
"""Maps a folded address to the address another package has on file as a reason to sign in, such as an open invitation."""


class SignInEmails:
    """Handlers of the `auth.*` events and `portal_link.requested`. `also_known`: lookups of other packages."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.also_known: list[Knows] = []
        self.settings, self.database = services.settings, services.database

    def challenge_requested(self, work: Work) -> None:
        with self.database.open(everything("send a sign-in email")) as db:
            challenge = db.scalar(select(Challenge).where(Challenge.id == work.data["challenge_id"]))
        if challenge is None or not self._is_wanted(work, challenge):
            return
        with self.database.open(everything("send a sign-in email")) as db:
            found = [
                (c, profile_of(b))
                for c, b in db.execute(
                    select(Customer, Business)
                    .join(Business, Business.business_id == Customer.business_id)
                    .where(Customer.email_key == challenge.address_key)
                    .order_by((Customer.business_id == challenge.business_id).desc(), Customer.is_recognized.desc(), Customer.created_at)
                    .limit(100)  # a business may store an address any number of times
                )
            ]
            person = db.scalar(select(IdentityEmail.email).where(IdentityEmail.email_key == challenge.address_key))
            on_file = person or db.scalar(
                select(Customer.email)
                .where(Customer.email_key == challenge.address_key)
                .order_by(Customer.is_recognized.desc(), (Customer.email == challenge.email).desc(), Customer.created_at)
                .limit(1)
            )
            entered = db.scalar(select(Business).where(Business.business_id == challenge.business_id)) if challenge.business_id else None
            profile = profile_of(entered) if entered else None
        here = [customer for customer, business in found if profile is None or business.business_id == profile.business_id]
        invited = None if on_file else self._is_known_at_others(challenge.address_key)
        self._use_address_on_file(challenge, on_file or invited)
        if challenge.purpose != "sign_in" or here or (profile is None and (person or invited)):
            is_sent = self._sign_in(work, challenge, profile, here)
            if not is_sent:
                self._report_refusal(work, challenge, here)
        else:
            is_sent = self._no_purchases(work, challenge, profile, at_others=bool(found))
        if is_sent:
            challenge_emails.note_sent(self.database, challenge)

    def _is_wanted(self, work: Work, challenge: Challenge) -> bool:
        """Return whether a possibly late email should still be sent. If so, its code is valid for ten minutes from now."""
        if challenge.used_at or challenge.revoked_at:
            return False
        if challenge.sent_at is None and challenge_emails.is_replaced(self.database, challenge):
            email_log.withhold(self.database, self.settings, work, challenge.email, "replaced")
            return False
        if challenge_emails.revive(self.database, challenge):
            return True
        if challenge.sent_at is None:
            email_log.withhold(self.database, self.settings, work, challenge.email, "too_late")
        return False

    def _report_refusal(self, work: Work, challenge: Challenge, here: list[Customer]) -> None:
        """Report that the mail server refused the address, at most once a day per address.

        A person who asked to add it is emailed at their other addresses. Otherwise the businesses that know the customer see it in
        their activity.
        """
        once = rate_limits.Limit(f"refused:{tokens.hashed(self.settings, 'address', challenge.address_key)[:32]}", 1, rate_limits.DAY)
        if not rate_limits.spend_for(self.database, f"{work.id}:refused", [once]):
            return
        why = "the mail server refused the address"
        with self.database.open(everything("report a refused sign-in email"), write=True) as db:
            if challenge.identity_id and challenge.purpose != "sign_in":
                account_emails.notify_identity(db, challenge.identity_id, "email_refused", challenge.email)
                return
            for item in [customer for customer in here if customer.is_recognized][:MAX_NOTIFIED]:
                email_log.tell_business(db, item.business_id, item.customer_id, about=work.type, email=challenge.email, reason=why)

    def _use_address_on_file(self, challenge: Challenge, on_file: str | None) -> None:
        """Send to the address as stored on file, not as typed: a mail server may distinguish `Ada@` from `ada@`.

        `challenge` is detached and is updated too.
        """
        if on_file is None or on_file == challenge.email:
            return
        with self.database.open(everything("use the address on file"), write=True) as db:
            db.execute(
                update(Challenge).where(Challenge.id == challenge.id).values(email=on_file),
                execution_options={"synchronize_session": False},
            )
        challenge.email = on_file

    def _sign_in(self, work: Work, challenge: Challenge, profile: BusinessProfile | None, here: list[Customer]) -> bool:
        code = tokens.code(self.settings, challenge.id, challenge.code_hash)
        token = tokens.link_token(self.settings, "link", challenge.id, challenge.link_hash)
        customer_locale = here[0].locale if here else None
        return self._send(
            work,
            "sign_in",
            challenge,
            profile,
            profile.language_for(customer_locale, challenge.locale) if profile else customer_locale or challenge.locale,
            {
                "name": customer_name(here[0]) if here and profile else "",
                "url": f"{self.settings.base_url}/login/link/{token}",
                "code": f"{code[:4]} {code[4:]}",
                "device": challenge.device,
                "purpose": challenge.purpose,
                "minutes": 10,
            },
            is_known=any(item.is_recognized for item in here),
        )

    def _no_purchases(self, work: Work, challenge: Challenge, profile: BusinessProfile | None, at_others: bool) -> bool:
        address = tokens.hashed(self.settings, "never-again", challenge.address_key)
        if email_opt_out.is_opted_out(self.database, address):
            return False
        if not at_others and not rate_limits.spend_for(
            self.database, work.id, rate_limits.unknown_address_emails(self.settings, challenge.address_key)
        ):
            email_log.withhold(self.database, self.settings, work, challenge.email, "limit")
            return False
        base = self.settings.base_url
        return self._send(
            work,
            "no_purchases",
            challenge,
            profile,
            challenge.locale,
            {
                "bought_from_others": at_others,
                "url": f"{base}/login",
                "device": challenge.device,
                "opt_out_url": f"{base}/login/email-opt-out/{tokens.sign(self.settings, 'never-again', address)}",
            },
            is_known=False,
        )

    def portal_link_requested(self, work: Work) -> None:
        query = (
            select(DynamicLink, Customer, Business)
            .join(Customer, (Customer.business_id == DynamicLink.business_id) & (Customer.customer_id == DynamicLink.customer_id))
            .join(Business, Business.business_id == DynamicLink.business_id)
            .where(DynamicLink.id == work.data["link_id"])
        )
        with self.database.open(everything("send a portal link")) as db:
            row = db.execute(query).first()
            if row is None or not portal_links.is_live(row[0]) or row[2].archived_at is not None:
                return
            link, customer, profile = row[0], row[1], profile_of(row[2])
        quota = (
            rate_limits.portal_links(customer.customer_id, customer.business_id)
            if customer.is_recognized
            else rate_limits.acceptance_emails(self.settings, customer.email_key, customer.business_id)
        )
        if customer.is_declined:
            return
        if not rate_limits.spend_for(self.database, work.id, quota):
            email_log.withhold(self.database, self.settings, work, customer.email, "limit")
            return
        self._email(
            work,
            "portal_link",
            customer.email,
            profile.language_for(customer.locale),
            profile,
            {"name": customer_name(customer), "url": portal_links.url_of(self.settings, link), "expires_at": link.expires_at},
            is_known=customer.is_recognized,
        )

    def addresses_changed(self, work: Work) -> None:
        def message(to: str) -> EmailMessage:
            return EmailMessage(
                to,
                *render_email(
                    "address_changed",
                    work.data["locale"],
                    to=to,
                    what=work.data["what"],
                    address=work.data["address"],
                    url=f"{self.settings.base_url}/profile",
                ),
            )

        self.services.mailer.send_each((message(to), f"{work.id}:{number}") for number, to in enumerate(work.data["to"]))

    def _send(
        self,
        work: Work,
        name: str,
        challenge: Challenge,
        profile: BusinessProfile | None,
        locale: str,
        values: dict[str, Any],
        *,
        is_known: bool,
    ) -> bool:
        times = {"asked_at": challenge.created_at, "expires_at": challenge.expires_at}
        return self._email(work, name, challenge.email, locale, profile, {**times, **values}, is_known=is_known)

    def _email(
        self, work: Work, name: str, to: str, locale: str | None, profile: BusinessProfile | None, values: dict[str, Any], *, is_known: bool
    ) -> bool:
        """Render and send. `is_known`: the person paid or accepted the business; otherwise only its name is shown (safety 3.2)."""
        shown = profile if is_known else None
        subject, text, html = render_email(
            name,
            locale,
            zone=profile.zone if profile else "UTC",
            to=to,
            brand=shown.brand if shown else None,
            sender=shown.name if shown else self.settings.name,
            seller=shown.seller if shown else "",
            business=shown.name if shown else plain(profile.name) if profile else "",
            support_email=(shown.support_email if shown else "") or self.settings.support_email,
            **values,
        )
        return bool(self.services.mailer.send(EmailMessage(to, subject, text, html), f"{work.id}:{name}"))

    def _is_known_at_others(self, address_key: str) -> str | None:
        return next((address for knows in self.also_known if (address := knows(address_key))), None)
