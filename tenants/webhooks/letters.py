"""Word to the owners when messages fail, and when an endpoint was switched off: who else would notice that their programs hear nothing?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from auth.faces import public_face
from core.mail import Letter, render_letter
from core.scope import system
from core.web import House
from core.worker import Work
from tenants.team import Membership
from tenants.webhooks.tables import Delivery


def register(house: House) -> None:
    house.handlers.on("webhook_endpoint.switched_off", lambda work: switched_off(house, work), "webhooks.switched_off")
    house.handlers.on("webhook_endpoint.failing", lambda work: failing(house, work), "webhooks.failing")


def switched_off(house: House, work: Work) -> None:
    held = select(func.count(Delivery.id)).where(Delivery.endpoint_id == work.noun_id, Delivery.state == "held")
    with house.database.open(system(str(work.business_id))) as db:
        count = db.scalar(held)
    _send(house, work, "webhook_switched_off", reason=work.data["why"], since=datetime.fromisoformat(work.data["since"]), held=count)


def failing(house: House, work: Work) -> None:
    _send(house, work, "webhook_failing", type=work.data["type"], status=work.data["status"])


def _send(house: House, work: Work, name: str, **words: Any) -> None:
    """To every owner, or to the business's own address where it has none."""
    settings, business_id = house.settings, str(work.business_id)
    face = public_face(house.database, business_id)
    if face is None:
        return
    with house.database.open(system(business_id)) as db:
        owners = list(db.scalars(select(Membership.email).where(Membership.role == "owner", Membership.removed_at.is_(None))))

    def letter(to: str) -> Letter:
        return Letter(to, *render_letter(
            name, face.locale, zone=face.zone, to=to, sender=settings.name, business=face.name, host=work.data["host"],
            url=f"{settings.base_url}/console/{business_id}/developers/webhooks", **words,
        ))  # fmt: skip

    addresses = owners or ([face.support_email] if face.support_email else [])
    house.mailer.send_each((letter(to), f"{work.id}:{name}:{to}") for to in addresses)
