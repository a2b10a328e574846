"""The lane that checks VAT IDs: one business at a time, outside transactions, with retries while VIES does not answer."""

from __future__ import annotations

from sqlalchemy import func, select

from billing.model.parties import Business
from billing.model.tax_id_checks import NOT_CHECKED, TaxIdCheck
from billing.pricing.taxes import full_vat_id
from billing.subscriptions.tax_id_checks import record_answer, record_unused
from core import clock
from core.db import ScopedSession
from core.lanes import Lanes, Turn
from core.metrics.snapshot import Due, count_due
from core.scope import everything, system
from core.services import Services
from tenants.vies.client import ask_vies

AT_ONCE = 100  # businesses per query
BATCH = 50  # checks per turn


class VatIdChecks:
    """Checks the VAT IDs of the customers of all businesses."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.lanes = Lanes("VAT ID checks", services.database, self.due, self.serve, slots=2)

    def backlog(self, db: ScopedSession) -> Due:
        return count_due(db, TaxIdCheck.due_at, TaxIdCheck.due_at <= clock.wall())

    def due(self) -> list[str]:
        with self.services.database.open(everything("businesses with VAT IDs to check")) as db:
            query = select(TaxIdCheck.business_id).where(TaxIdCheck.due_at <= clock.wall()).group_by(TaxIdCheck.business_id)
            return list(db.scalars(query.order_by(func.min(TaxIdCheck.due_at)).limit(AT_ONCE)))

    def serve(self, business_id: str, turn: Turn) -> bool:
        url = self.services.settings.vies_url
        with self.services.database.open(system(business_id)) as db:
            business = db.scalar(select(Business).where(Business.business_id == business_id))
            requester = full_vat_id(business.tax_id, business.tax_country) if business else None
            query = select(TaxIdCheck.id, TaxIdCheck.number).where(TaxIdCheck.due_at <= clock.wall())
            due = [(row.id, row.number) for row in db.execute(query.order_by(TaxIdCheck.due_at, TaxIdCheck.id).limit(BATCH))]
        for check_id, number in due:
            if turn.over:
                break
            answer = ask_vies(self.services.outgoing, url, number, requester) if url else None
            with self.services.database.open(system(business_id), write=True) as db:
                if answer is None:
                    record_unused(db, check_id, NOT_CHECKED)
                else:
                    record_answer(db, check_id, answer)
            if answer is not None and answer.valid is None:
                return False  # the others wait until VIES answers again
        return True
