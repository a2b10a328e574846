"""Emails about account changes, such as a new browser, passkey or provider. They go to all addresses of the person."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from auth import rate_limits
from auth.models import Identity, IdentityEmail
from auth.rate_limits import Limit
from core.db import ScopedSession
from core.mail import EmailMessage, render_email
from core.outbox import emit
from core.outbox_claims import Work
from core.scope import Actor, everything
from core.services import Services

WHAT = (
    "device",
    "passkey_added",
    "passkey_removed",
    "provider_added",
    "provider_removed",
    "merged",
    "exported",
    "email_changed",
    "email_refused",
)


def notify_identity(db: ScopedSession, identity_id: str, what: str, detail: str = "") -> None:
    """Queue the emails for the worker, in the caller's transaction (everything()). Raises ValueError for an unknown `what`.

    `detail`: a display name, never a secret.
    """
    if what not in WHAT:
        raise ValueError(what)
    to = list(db.scalars(select(IdentityEmail.email).where(IdentityEmail.identity_id == identity_id).order_by(IdentityEmail.email_key)))
    locale = db.scalar(select(Identity.locale).where(Identity.identity_id == identity_id))
    emit(
        db,
        "auth.account_changed",
        noun=identity_id,
        actor=Actor("customer", identity_id),
        data={"what": what, "detail": detail, "to": to, "locale": locale},
    )


def register(services: Services) -> None:
    def write(work: Work) -> None:
        def message(to: str) -> EmailMessage:
            return EmailMessage(
                to,
                *render_email(
                    "account_changed",
                    work.data["locale"],
                    to=to,
                    what=work.data["what"],
                    detail=work.data["detail"],
                    at=work.at,
                    url=f"{services.settings.base_url}/profile",
                ),
            )

        refused = services.mailer.send_each((message(to), f"{work.id}:{number}") for number, to in enumerate(work.data["to"]))
        if refused and len(refused) < len(work.data["to"]) and work.data["what"] != "email_refused" and work.noun_id:
            once = Limit(f"email-refused:{work.noun_id}", 1, timedelta(days=7))
            if rate_limits.spend_for(services.database, f"{work.id}:refused", [once]):
                with services.database.open(everything("report a refused address"), write=True) as db:
                    notify_identity(db, work.noun_id, "email_refused", ", ".join(refused))

    def farewell(work: Work) -> None:
        """Email every address that the account had. The account page no longer exists, so the link leads to sign-in."""

        def message(to: str) -> EmailMessage:
            url = f"{services.settings.base_url}/login"
            return EmailMessage(to, *render_email("account_closed", work.data["locale"], to=to, at=work.at, url=url))

        services.mailer.send_each((message(to), f"{work.id}:{number}") for number, to in enumerate(work.data["to"]))

    services.handlers.on("auth.account_changed", write, sends=True)
    services.handlers.on("auth.account_closed", farewell, sends=True)
