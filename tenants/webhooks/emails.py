"""Emails to the owners of a business when webhooks fail or an endpoint was disabled."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from billing.model.business_profile import public_profile
from core.mail import EmailMessage, render_email
from core.outbox_claims import Work
from core.scope import system
from core.services import Services
from tenants.team import Membership
from tenants.webhooks.models import Delivery


def register(services: Services) -> None:
    services.handlers.on("webhook_endpoint.switched_off", lambda work: switched_off(services, work), "webhooks.switched_off", sends=True)
    services.handlers.on("webhook_endpoint.failing", lambda work: failing(services, work), "webhooks.failing", sends=True)


def switched_off(services: Services, work: Work) -> None:
    held = select(func.count(Delivery.id)).where(Delivery.endpoint_id == work.noun_id, Delivery.state == "held")
    with services.database.open(system(str(work.business_id))) as db:
        count = db.scalar(held)
    _send(services, work, "webhook_switched_off", reason=work.data["why"], since=datetime.fromisoformat(work.data["since"]), held=count)


def failing(services: Services, work: Work) -> None:
    _send(services, work, "webhook_failing", type=work.data["type"], status=work.data["status"])


def _send(services: Services, work: Work, name: str, **words: Any) -> None:
    """Email every owner, or the business's support address if there is no owner."""
    settings, business_id = services.settings, str(work.business_id)
    profile = public_profile(services.database, business_id)
    if profile is None:
        return
    with services.database.open(system(business_id)) as db:
        owners = list(db.scalars(select(Membership.email).where(Membership.role == "owner", Membership.removed_at.is_(None))))

    def message(to: str) -> EmailMessage:
        return EmailMessage(to, *render_email(
            name, profile.locale, zone=profile.zone, to=to, sender=settings.name, business=profile.name, host=work.data["host"],
            url=f"{settings.base_url}/console/{business_id}/developers/webhooks", **words,
        ))  # fmt: skip

    addresses = owners or ([profile.support_email] if profile.support_email else [])
    services.mailer.send_each((message(to), f"{work.id}:{name}:{to}") for to in addresses)
