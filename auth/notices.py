"""Letters about the account itself: a new browser, passkey or provider. Every address of the person hears of them."""

from __future__ import annotations

from sqlalchemy import select

from auth.models import Identity, IdentityEmail
from core.db import ScopedSession
from core.mail import Letter, render_letter
from core.outbox import emit
from core.scope import Actor
from core.web import House
from core.worker import Work

WHAT = ("device", "passkey_added", "passkey_removed", "provider_added", "provider_removed", "merged", "exported", "email_changed")


def tell(db: ScopedSession, identity_id: str, what: str, detail: str = "") -> None:
    """Leave the letters to the worker, in the caller's transaction (everything()). `detail`: a name for people, never a secret."""
    if what not in WHAT:
        raise ValueError(what)
    to = list(db.scalars(select(IdentityEmail.email).where(IdentityEmail.identity_id == identity_id).order_by(IdentityEmail.email_key)))
    locale = db.scalar(select(Identity.locale).where(Identity.identity_id == identity_id))
    emit(db, "auth.account_changed", noun=identity_id, actor=Actor("customer", identity_id),
         data={"what": what, "detail": detail, "to": to, "locale": locale})


def register(house: House) -> None:
    def write(work: Work) -> None:
        def letter(to: str) -> Letter:
            return Letter(to, *render_letter(
                "account_changed", work.data["locale"], to=to, what=work.data["what"], detail=work.data["detail"], at=work.at,
                url=f"{house.settings.base_url}/profile",
            ))

        house.mailer.send_each((letter(to), f"{work.id}:{number}") for number, to in enumerate(work.data["to"]))

    def farewell(work: Work) -> None:
        """To every address that the account had: there is no page to lead back to."""
        def letter(to: str) -> Letter:
            url = f"{house.settings.base_url}/login"
            return Letter(to, *render_letter("account_closed", work.data["locale"], to=to, at=work.at, url=url))

        house.mailer.send_each((letter(to), f"{work.id}:{number}") for number, to in enumerate(work.data["to"]))

    house.handlers.on("auth.account_changed", write)
    house.handlers.on("auth.account_closed", farewell)
