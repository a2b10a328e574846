"""The reasons why a license key is disabled are stored separately. A key works again when none of them applies."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import select

from billing.charging.refund import refund
from billing.licenses.manage import bring_key, change_key
from billing.model.licenses import LicenseKey
from billing.model.parties import Business
from billing.renewals.pay_dues import pay_dues
from billing.subscriptions.pause import pause, resume
from core import guard
from core.errors import Conflict
from core.revisions import MIGRATIONS
from core.scope import system
from tests.cast import Cast
from tests.stories.ada_subscription import Ada
from tests.stories.business_and_buyer import Site
from tests.unpaid_renewals import hold


@pytest.fixture
def ada(cast: Cast) -> Ada:
    return Ada(cast)


@pytest.fixture
def site(processor_services: Any) -> Site:
    return Site.open(processor_services)


def keys(ada: Ada) -> list[LicenseKey]:
    """Two keys of Ada's subscription."""
    with ada.services.database.open(ada.business) as db:
        mine = select(LicenseKey).where(LicenseKey.subscription_id == ada.buyer.subscription_id, LicenseKey.status != "expired")
        found = list(db.scalars(mine.order_by(LicenseKey.created_at, LicenseKey.id)))
    if len(found) > 1:
        return found
    with ada.services.database.open(ada.business, write=True) as db:
        for n in range(2 - len(found)):
            row = bring_key(db, customer_id=ada.buyer.customer_id, product_id=ada.team, key=f"MADE-ELSEWHERE-{n}")
            row.subscription_id = ada.buyer.subscription_id
    return keys(ada)


def states(ada: Ada) -> list[str]:
    return [key.status for key in keys(ada)]


def test_a_key_that_the_business_disabled_stays_disabled_when_the_customer_pauses_and_resumes(ada: Ada) -> None:
    first, _second = keys(ada)
    ada.do(change_key, first.id, scope=ada.business, disabled=True)
    ada.do(pause, ada.buyer.subscription_id)
    assert states(ada) == ["disabled", "disabled"]
    ada.do(resume, ada.buyer.subscription_id)
    assert states(ada) == ["disabled", "active"]
    ada.do(change_key, first.id, scope=ada.business, disabled=False)
    assert states(ada) == ["active", "active"]


def test_a_key_that_the_business_disabled_stays_disabled_when_what_is_due_is_paid(ada: Ada) -> None:
    first, _second = keys(ada)
    ada.do(change_key, first.id, scope=ada.business, disabled=True)
    hold(ada.cast, ada.buyer)
    assert states(ada) == ["disabled", "disabled"]
    pay_dues(ada.processor, ada.scope, ada.buyer.subscription_id, payment_method_id=ada.cast.card(ada.buyer))
    assert states(ada) == ["disabled", "active"]


def test_a_key_that_is_enabled_during_a_pause_works_after_it(ada: Ada) -> None:
    first, _second = keys(ada)
    ada.do(change_key, first.id, scope=ada.business, disabled=True)
    ada.do(pause, ada.buyer.subscription_id)
    ada.do(change_key, first.id, scope=ada.business, disabled=False)
    assert states(ada) == ["disabled", "disabled"]
    ada.do(resume, ada.buyer.subscription_id)
    assert states(ada) == ["active", "active"]


def key_of(site: Site, payment_id: str) -> LicenseKey:
    [found] = site.rows(LicenseKey, payment_id=payment_id)
    return found


@pytest.mark.parametrize(("choice", "status"), [(None, "disabled"), ("revoke", "disabled"), ("keep", "active")])
def test_keys_of_a_purchase_refunded_in_full_stop_working_unless_the_business_chose_otherwise(
    site: Site, choice: str | None, status: str
) -> None:
    scope = system(site.business_id)
    if choice:
        with site.database.open(scope, write=True) as db:
            db.scalar(select(Business)).settings = {"keys_on_full_refund": choice}
    paid = site.buy(licence=True).payment_id
    refund(site.processor, scope, paid, amount_minor=1000)
    assert key_of(site, paid).status == "active"  # a partial refund: the purchase remains
    refund(site.processor, scope, paid)
    assert key_of(site, paid).status == status and (key_of(site, paid).revoked_at is not None) == (status == "disabled")


def test_a_business_may_enable_a_key_again_that_a_refund_revoked(site: Site) -> None:
    scope, paid = system(site.business_id), site.buy(licence=True).payment_id
    refund(site.processor, scope, paid)
    with site.database.open(scope, write=True) as db:
        change_key(db, key_of(site, paid).id, disabled=False)
    assert key_of(site, paid).status == "active"


def test_a_key_that_ended_cannot_be_enabled(ada: Ada) -> None:
    first, _second = keys(ada)
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalar(select(LicenseKey).where(LicenseKey.id == first.id)).status = "expired"
    with pytest.raises(Conflict, match="INACTIVE_LICENSE_KEY"):
        ada.do(change_key, first.id, scope=ada.business, disabled=False)


def test_keys_that_were_disabled_before_reasons_were_kept(ada: Ada) -> None:
    """A disabled key counts as disabled by the business unless the state of its subscription explains it."""
    first, second = keys(ada)
    with ada.services.database.open(ada.business, write=True) as db:
        db.scalar(select(LicenseKey).where(LicenseKey.id == first.id)).status = "disabled"
    with ada.services.database.engine.begin() as connection, guard.raw_sql(), Operations.context(MigrationContext.configure(connection)):
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
        ScriptDirectory(MIGRATIONS).get_revision("0020").module._disabled_by_whom()
    now = {key.id: key.disabled_by_business_at is not None for key in keys(ada)}
    assert now == {first.id: True, second.id: False}
