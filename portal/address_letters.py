"""A business changed the address it knows a customer by: the old address is told (safety 3.3), whoever else may have it now."""

from __future__ import annotations

from dataclasses import dataclass

from auth import budgets
from auth.faces import face_of
from auth.letters import plain
from auth.tokens import mask
from billing.addresses import fold_address
from billing.queries import letters as query
from core.errors import Invalid
from core.mail import Letter, render_letter
from core.scope import system
from core.web import House
from core.worker import Work


def register(house: House) -> None:
    if house.handlers is not None:
        house.handlers.on("customer.email_changed", Desk(house).changed)


def _key(address: str) -> str:
    """Its key; an address that was accepted by an older rule stands for itself."""
    try:
        return fold_address(address)
    except Invalid:
        return address


@dataclass(frozen=True)
class Desk:
    house: House

    def changed(self, work: Work) -> None:
        """To somebody who never bought here it says the business's name and nothing else of it, three times a day at most."""
        settings, old = self.house.settings, str(work.data["old"])
        with self.house.database.open(system(str(work.business_id))) as db:
            found = query.matter(db, str(work.customer_id), work.id)
        if found is None:
            return
        customer, face = found.customer, face_of(found.business)
        planted = not work.data.get("known")  # to whoever had the old address: the row has the new one by now
        if planted and not budgets.spend(self.house.database, budgets.planted_letters(settings, _key(old), face.business_id)):
            return
        subject, text, html = render_letter(
            "customer_address_changed", face.speaks(customer.locale), zone=face.zone, to=old, brand=None if planted else face.brand,
            sender=settings.name if planted else face.name, seller="" if planted else face.seller,
            business=plain(face.name) if planted else face.name,
            support_email=settings.support_email if planted else face.support_email or settings.support_email,
            new=mask(customer.email), at=work.at, planted=planted)
        self.house.mailer.send(Letter(old, subject, text, html), f"{work.id}:customer_address_changed")
