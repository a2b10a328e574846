"""The letters of signing in, written by the worker. Only here is an address looked up."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import select, update

from auth import budgets, links, tokens
from auth.challenges import is_live
from auth.faces import Face, face_of
from auth.models import Challenge, DynamicLink, IdentityEmail, NeverAgain
from billing.parties import Business, Customer
from core import clock
from core.mail import Letter, render_letter
from core.scope import everything
from core.web import House
from core.worker import Work

Knows = Callable[[str], str | None]
"""folded address → that address as another room has it on file, where it is a reason to sign in (an open invitation)"""


class SignInLetters:
    """Handlers of the `auth.*` events and `portal_link.asked`. `also_known`: what other rooms know of an address."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.also_known: list[Knows] = []
        self.settings, self.database = house.settings, house.database

    def challenge_asked(self, work: Work) -> None:
        with self.database.open(everything("write a sign-in letter")) as db:
            challenge = db.scalar(select(Challenge).where(Challenge.id == work.data["challenge_id"]))
            if challenge is None or not is_live(challenge):
                return
            found = [(c, face_of(b)) for c, b in db.execute(
                select(Customer, Business).join(Business, Business.business_id == Customer.business_id)
                .where(Customer.email_key == challenge.address_key)
                .order_by((Customer.business_id == challenge.business_id).desc(), Customer.is_known.desc(), Customer.created_at)
                .limit(100)  # a business may write an address as often as it likes
            )]
            person = db.scalar(select(IdentityEmail.email).where(IdentityEmail.email_key == challenge.address_key))
            on_file = person or db.scalar(select(Customer.email).where(Customer.email_key == challenge.address_key)
                                          .order_by(Customer.is_known.desc(), (Customer.email == challenge.email).desc(),
                                                    Customer.created_at).limit(1))
            door = db.scalar(select(Business).where(Business.business_id == challenge.business_id)) if challenge.business_id else None
            face = face_of(door) if door else None
        here = [customer for customer, business in found if face is None or business.business_id == face.business_id]
        invited = None if on_file else self._known(challenge.address_key)
        self._address_to(challenge, on_file or invited)
        if challenge.purpose != "sign_in" or here or (face is None and (person or invited)):
            self._sign_in(work, challenge, face, here)
        else:
            self._no_purchases(work, challenge, face, elsewhere=bool(found))

    def _address_to(self, challenge: Challenge, on_file: str | None) -> None:
        """The message goes to the mailbox that the proof is for, as its owner's row has it, however somebody typed it: a mail server
        may tell `Ada@` from `ada@`. `challenge` is detached."""
        if on_file is None or on_file == challenge.email:
            return
        with self.database.open(everything("a sign-in email goes to the address on file"), write=True) as db:
            db.execute(update(Challenge).where(Challenge.id == challenge.id).values(email=on_file),
                       execution_options={"synchronize_session": False})
        challenge.email = on_file

    def _sign_in(self, work: Work, challenge: Challenge, face: Face | None, here: list[Customer]) -> None:
        code = tokens.code(self.settings, challenge.id, challenge.code_hash)
        token = tokens.link_token(self.settings, "link", challenge.id, challenge.link_hash)
        theirs = here[0].locale if here else None
        self._send(work, "sign_in", challenge, face, face.speaks(theirs, challenge.locale) if face else theirs or challenge.locale, {
            "name": _name(here[0]) if here and face else "", "url": f"{self.settings.base_url}/login/link/{token}",
            "code": f"{code[:4]} {code[4:]}", "device": challenge.device, "purpose": challenge.purpose, "minutes": 10,
        }, any(one.is_known for one in here))

    def _no_purchases(self, work: Work, challenge: Challenge, face: Face | None, elsewhere: bool) -> None:
        address = tokens.hashed(self.settings, "never-again", challenge.address_key)
        with self.database.open(everything("does this address want such letters")) as db:
            if db.scalar(select(NeverAgain).where(NeverAgain.address_hash == address)) is not None:
                return
        if not elsewhere and not budgets.spend(self.database, budgets.unknown_letters(self.settings, challenge.address_key)):
            return
        base = self.settings.base_url
        self._send(work, "no_purchases", challenge, face, challenge.locale, {
            "elsewhere": elsewhere, "url": f"{base}/login", "device": challenge.device,
            "never_url": f"{base}/login/never-again/{tokens.sign(self.settings, 'never-again', address)}",
        }, False)

    def portal_link_asked(self, work: Work) -> None:
        query = (
            select(DynamicLink, Customer, Business)
            .join(Customer, (Customer.business_id == DynamicLink.business_id) & (Customer.customer_id == DynamicLink.customer_id))
            .join(Business, Business.business_id == DynamicLink.business_id).where(DynamicLink.id == work.data["link_id"])
        )
        with self.database.open(everything("write a portal link's letter")) as db:
            row = db.execute(query).first()
            if row is None or not links.is_live(row[0]) or row[2].archived_at is not None:
                return
            link, customer, face = row[0], row[1], face_of(row[2])
        quota = budgets.portal_links(customer.customer_id, customer.business_id) if customer.is_known else \
            budgets.planted_letters(self.settings, customer.email_key, customer.business_id)
        if customer.is_declined or not budgets.spend(self.database, quota):
            return
        self._letter(work, "portal_link", customer.email, face.speaks(customer.locale), face, {
            "name": _name(customer), "url": links.url_of(self.settings, link), "expires_at": link.expires_at,
        }, customer.is_known)

    def addresses_changed(self, work: Work) -> None:
        def letter(to: str) -> Letter:
            return Letter(to, *render_letter(
                "address_changed", work.data["locale"], to=to, what=work.data["what"], address=work.data["address"],
                url=f"{self.settings.base_url}/profile",
            ))

        self.house.mailer.send_each((letter(to), f"{work.id}:{number}") for number, to in enumerate(work.data["to"]))

    def _send(self, work: Work, name: str, challenge: Challenge, face: Face | None, locale: str, words: dict[str, Any],
              is_known: bool) -> None:
        asked = {"asked_at": challenge.created_at, "expires_at": challenge.expires_at}
        self._letter(work, name, challenge.email, locale, face, {**asked, **words}, is_known)

    def _letter(self, work: Work, name: str, to: str, locale: str | None, face: Face | None, words: dict[str, Any],
                is_known: bool) -> None:
        """`is_known`: they paid or accepted that business; of any other its name is all that is said (safety 3.2)."""
        seen = face if is_known else None
        subject, text, html = render_letter(
            name, locale, zone=face.zone if face else "UTC", to=to, brand=seen.brand if seen else None,
            sender=seen.name if seen else self.settings.name, seller=seen.seller if seen else "",
            business=seen.name if seen else plain(face.name) if face else "",
            support_email=(seen.support_email if seen else "") or self.settings.support_email, **words,
        )
        self.house.mailer.send(Letter(to, subject, text, html), f"{work.id}:{name}")

    def _known(self, address_key: str) -> str | None:
        return next((address for knows in self.also_known if (address := knows(address_key))), None)


def plain(name: str) -> str:
    """A name that no mail program makes a link of."""
    return " ".join(re.sub(r"[.:/@\\]+", " ", name).split())[:60]


def _name(customer: Customer) -> str:
    """A name is a merchant's free text: it is said only where the person paid or accepted that business (safety 3.2)."""
    return customer.name if customer.is_known else ""


def never_again(house: House, address_hash: str) -> None:
    """Write down that this address wants no more of these letters."""
    with house.database.open(everything("never again"), write=True) as db:
        if db.scalar(select(NeverAgain).where(NeverAgain.address_hash == address_hash)) is None:
            db.add(NeverAgain(address_hash=address_hash, created_at=clock.wall()))
