"""Every recurring job takes turns between businesses: Acorn has many older rows and Birch one, which is in the first run.

A new tick, lane or queue fails here until it has a scenario (or a reason why no business can delay another).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, insert, inspect, select, update

from auth import personal_export as person_exports
from auth.domains.models import Domain
from auth.models import Identity
from auth.oidc_server import backchannel_logout
from auth.oidc_server.models import App, AppSession
from billing.model.consents import Consent
from billing.model.invoices import Invoice
from billing.model.method_move_files import MethodMoveFile
from billing.model.parties import Business
from billing.model.payment_accounts import PaymentAccount, PaymentAccountDetails, sandbox_account_id
from billing.model.payments import Payment, PaymentMethod
from billing.model.price_changes import SubscriptionPriceChange
from billing.model.refund_requests import CustomerRefundRequest
from billing.model.sent_notices import SentNotice
from billing.model.statements import Statement
from billing.model.subscriptions import Subscription
from billing.model.tax_calculations import TaxCalculation, TaxReport
from billing.model.tax_id_checks import TaxIdCheck
from billing.price_changes.order import NewPrice, order, stop
from billing.subscriptions import consents
from core import clock
from core.outbox import emit
from core.recurring_jobs import JobFailure
from core.scope import everything, system
from tenants import exports, idempotency_store
from tenants.external.account import ExternalWebhook
from tenants.idempotency_store import StoredCall
from tenants.webhooks import retention
from tenants.webhooks.models import Delivery, Endpoint
from tenants.webhooks.sending import PER_BUSINESS, SLOTS
from tests.cast import Buyer, Cast

MANY = 60
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NO_BUSINESS_IN_IT = {
    "sandbox notifications": "the test gateway's own list; each is stored and left to the outbox",
    "old sign-ins": "rows of people and browsers: each run takes thousands of every table",
    "old exports": "rows of people: each run takes all that is old",
    "old failures": "each run takes all that is old, in one statement",
    "sessions at domains": "each run takes all that is old, in one statement",
    "old notifications": "each run takes all that is old, in one statement",
    "old operator records": "rows of the deployment: each run takes all that is old, in one statement",
    "mail server": "asks the deployment's own mail server what it offers",
}
_n = itertools.count()


@dataclass
class Town:
    cast: Cast

    @property
    def database(self) -> Any:
        return self.cast.services.database

    def tick(self, name: str) -> Any:
        return next(item for item in self.cast.services.worker.ticks if item.name == name).run()

    def lanes(self, name: str) -> Any:
        return next(lane for lane in self.cast.services.worker.lanes if lane.name == name)

    def rows(self, kind: Any, *where: Any) -> list[Any]:
        with self.database.open(everything("a test looks")) as db:
            return list(db.scalars(select(kind).where(*where)))

    def change(self, kind: Any, *where: Any, **values: Any) -> None:
        with self.database.open(everything("a test changes"), write=True) as db:
            db.execute(update(kind).where(*where).values(**values), execution_options={"synchronize_session": False})

    def copies(self, of: Any, count: int = MANY, **values: Any) -> list[str]:
        """Insert `count` copies of the row `of` with other ids. A value may be a function of the new id."""
        columns = {item.key: getattr(of, item.key) for item in inspect(type(of)).column_attrs if not item.deferred} | values
        ids = [f"{of.id}_{next(_n)}" for _ in range(count)]
        rows = [{**{name: value(row_id) if callable(value) else value for name, value in columns.items()}, "id": row_id} for row_id in ids]
        with self.database.open(everything("many rows"), write=True) as db:
            db.execute(insert(type(of)), rows)
        return ids

    def add(self, *rows: Any) -> None:
        with self.database.open(everything("rows of a test"), write=True) as db:
            for row in rows:
                db.add(row)
                db.flush()

    def subscription(self, buyer: Buyer) -> Any:
        return self.rows(Subscription, Subscription.id == buyer.subscription_id)[0]

    def subscriptions(self, age: timedelta, column: str, **values: Any) -> None:
        """Insert many subscriptions of Acorn and one of Birch in the same state; Birch's is a minute younger."""
        at = clock.now() - age
        self.copies(self.subscription(self.cast.ada_at_acorn), **values, **{column: at})
        self.change(
            Subscription, Subscription.id == self.cast.ada_at_birch.subscription_id, **values, **{column: at + timedelta(minutes=1)}
        )

    def reminded(self, purpose: str) -> bool:
        return bool(self.rows(SentNotice, SentNotice.business_id == self.cast.birch, SentNotice.purpose == purpose))


@pytest.fixture
def town(cast: Cast) -> Town:
    return Town(cast)


def renewals(town: Town, _patch: Any) -> None:
    town.subscriptions(HOUR, "next_billing_at", previous_billing_at=None)
    town.change(
        Subscription, Subscription.business_id == town.cast.acorn, Subscription.next_billing_at < clock.now(), zone="Nowhere/Land"
    )  # none of them can be renewed
    before = town.subscription(town.cast.ada_at_birch).period_n
    town.tick("renewals")
    assert town.subscription(town.cast.ada_at_birch).period_n == before + 1
    town.tick("renewals")
    assert len(town.rows(JobFailure, JobFailure.job == "renewals")) == MANY
    assert town.tick("renewals") == 0, "what failed is not tried again at once"


def remind_renewal(town: Town, _patch: Any) -> None:
    town.subscriptions(-DAY, "next_billing_at", interval="Year", interval_count=1)
    town.tick("dunning")
    assert town.reminded("renewal")


def remind_expiry(town: Town, _patch: Any) -> None:
    clock.turn(clock.wall().replace(day=15) - clock.wall())
    month = {"expiry_year": clock.now().year, "expiry_month": clock.now().month}
    method = town.rows(PaymentMethod, PaymentMethod.id == town.cast.ada_at_acorn.method_id)[0]
    for copy in town.copies(method, reference=lambda id: id, **month):
        town.copies(town.subscription(town.cast.ada_at_acorn), 1, payment_method_id=copy)
    town.change(PaymentMethod, PaymentMethod.id == town.cast.ada_at_birch.method_id, **month)
    town.tick("dunning")
    assert town.reminded("expiring")


def price_changes(town: Town, _patch: Any) -> None:
    """A price rise at Acorn for many subscriptions, and a younger one at Birch for one: planned, announced and stopped."""
    town.subscriptions(-35 * DAY, "next_billing_at")
    changes = {}
    for business, plan in ((town.cast.acorn, "acorn.plan"), (town.cast.birch, "birch.plan")):
        with town.database.open(system(business), write=True) as db:
            changes[business] = order(db, town.cast.products[plan], NewPrice(9900, clock.now())).id
    rows = SubscriptionPriceChange
    town.tick("dunning")
    of_ada = (rows.business_id == town.cast.birch, rows.subscription_id == town.cast.ada_at_birch.subscription_id)
    assert [row.status for row in town.rows(rows, *of_ada)] == ["announced"]
    for business, change in changes.items():
        with town.database.open(system(business), write=True) as db:
            stop(db, change)
    town.tick("dunning")
    assert [row.status for row in town.rows(rows, *of_ada)] == ["stopped"]


def planned_statement(town: Town, _patch: Any) -> None:
    """Many statements of Acorn whose subscription is gone from sight, and one of Birch."""
    ada, at = town.cast.ada_at_birch, clock.now() - HOUR
    fields = {"kind": "cancel", "status": "planned", "language": "en", "zone": "UTC", "name": "Ada", "email": "a@b.example"} | {
        "email_key": "a@b.example", "contract": "-", "declared": "-", "sha256": "-", "answer_by": at, "wanted_at": at, "received_at": at
    }  # fmt: skip
    acorn = town.cast.ada_at_acorn
    for n in range(MANY):
        ids = {"business_id": acorn.business_id, "customer_id": acorn.customer_id, "subscription_id": acorn.subscription_id}
        town.add(Statement(id=f"stm_{n}", number=f"S-{n}", **ids, **fields))
    ids = {"business_id": ada.business_id, "customer_id": ada.customer_id, "subscription_id": ada.subscription_id}
    town.add(Statement(id="stm_birch", number="S-B", **ids, **{**fields, "received_at": clock.now()}))
    town.tick("planned statements")
    assert town.subscription(ada).cancel_at_period_end


def overdue_request(town: Town, _patch: Any) -> None:
    at = clock.now() - HOUR
    for buyer, ids in ((town.cast.ada_at_acorn, [f"rrq_{n}" for n in range(MANY)]), (town.cast.ada_at_birch, ["rrq_birch"])):
        paid = town.rows(Payment, Payment.id == buyer.payment_id)[0]
        payments = town.copies(paid, len(ids), key=lambda id: id, invoice_id=None)
        for id, payment_id in zip(ids, payments, strict=True):
            of = {"business_id": buyer.business_id, "customer_id": buyer.customer_id, "payment_id": payment_id}
            late = at if buyer is town.cast.ada_at_acorn else at + timedelta(minutes=1)
            town.add(CustomerRefundRequest(id=id, status="open", answer_by=late, created_at=at, **of))
    town.tick("overdue refund requests")
    [birch] = town.rows(CustomerRefundRequest, CustomerRefundRequest.id == "rrq_birch")
    assert birch.reminded_at is not None


def dun(town: Town, _patch: Any) -> None:
    town.subscriptions(2 * DAY, "on_hold_at", status="on_hold")
    town.tick("dunning")
    assert town.reminded("dunning")


def recover(town: Town, _patch: Any) -> None:
    ids = town.copies(town.subscription(town.cast.ada_at_acorn), status="active")
    birch = town.cast.ada_at_birch
    held = clock.now() - 9 * DAY
    town.add(
        *(
            SentNotice(
                business_id=buyer.business_id,
                customer_id=buyer.customer_id,
                id=f"dunning:{item}:x:1",
                purpose="dunning",
                noun_id=item,
                for_at=held,
                step=1,
                at=held,
                closed_at=None,
            )
            for buyer, item in [*((town.cast.ada_at_acorn, row_id) for row_id in ids), (birch, birch.subscription_id)]
        )
    )
    town.tick("dunning")
    assert town.rows(SentNotice, SentNotice.business_id == birch.business_id, SentNotice.closed_at.is_not(None))


def unpaid(town: Town, buyer: Buyer, count: int, status: str = "on_hold") -> None:
    """Insert subscriptions whose last payment was declined two hours ago."""
    at = clock.now() - 2 * HOUR
    invoice = town.rows(Invoice, Invoice.subscription_id == buyer.subscription_id)[0]
    payment = town.rows(Payment, Payment.subscription_id == buyer.subscription_id)[0]
    for copy in town.copies(town.subscription(buyer), count, status=status, on_hold_at=at):
        bill = town.copies(
            invoice,
            1,
            subscription_id=copy,
            status="open",
            paid_minor=0,
            number=lambda id: id,
            snapshot={},
            operation=lambda id: f"x:{id}:1",
            issued_at=at,
        )[0]
        town.copies(
            payment,
            1,
            subscription_id=copy,
            invoice_id=bill,
            status="failed",
            is_open=False,
            error_code="INSUFFICIENT_FUNDS",
            key=lambda id: id,
            refunded_minor=0,
            updated_at=at,
        )


def retry(town: Town, _patch: Any) -> None:
    town.change(Business, Business.business_id.in_([town.cast.acorn, town.cast.birch]), settings={"retry_schedule_hours": [1]})
    unpaid(town, town.cast.ada_at_acorn, MANY)
    unpaid(town, town.cast.ada_at_birch, 1)
    town.tick("dunning")
    assert town.reminded("retry")


def end_grace(town: Town, _patch: Any) -> None:
    town.subscriptions(3 * DAY, "on_hold_at", status="past_due")
    town.tick("dunning")
    assert town.subscription(town.cast.ada_at_birch).status == "on_hold"


def reconcile(town: Town, _patch: Any) -> None:
    payment = town.rows(Payment, Payment.id == town.cast.ada_at_acorn.payment_id)[0]
    other = town.rows(Payment, Payment.id == town.cast.ada_at_birch.payment_id)[0]
    state = {
        "status": "processing",
        "is_open": True,
        "subscription_id": None,
        "invoice_id": None,
        "key": lambda id: f"lost/{id}",
        "refunded_minor": 0,
        "sent_at": clock.wall() - DAY,
    }
    town.copies(payment, **state, check_at=clock.wall() - HOUR)
    (birch,) = town.copies(other, 1, **state, check_at=clock.wall() - timedelta(minutes=1))
    fence = town.rows(Payment, Payment.id == birch)[0].fence
    town.tick("reconcile")
    assert town.rows(Payment, Payment.id == birch)[0].fence > fence


def sweep_webhooks(town: Town, patch: Any) -> None:
    patch.setattr(retention, "BATCH", 2)
    at = clock.wall() - 40 * DAY
    for business_id, count in ((town.cast.acorn, MANY), (town.cast.birch, 1)):
        endpoint(town, business_id, at)
        town.add(
            *(
                Delivery(
                    business_id=business_id,
                    id=f"whd_{next(_n)}",
                    endpoint_id=f"ep_{business_id}",
                    event_id=f"evt_{n}",
                    message_id=f"m{n}",
                    type="x",
                    data={},
                    event_at=at,
                    state="delivered",
                    created_at=at,
                )
                for n in range(count)
            )
        )
    town.tick("old webhook deliveries")
    assert town.rows(Delivery, Delivery.business_id == town.cast.acorn) and not town.rows(Delivery, Delivery.business_id == town.cast.birch)


def endpoint(town: Town, business_id: str, at: Any, id: str = "") -> None:
    town.add(
        Endpoint(
            business_id=business_id,
            id=id or f"ep_{business_id}",
            url="http://localhost/",
            secret="",
            created_at=at,
            due_at=at,
            updated_at=at,
        )
    )


def old_calls(town: Town, patch: Any) -> None:
    patch.setattr(idempotency_store, "DELETE_BATCH", 10)
    patch.setattr(idempotency_store, "DELETE_ROUNDS", 2)
    at = clock.wall() - 3 * DAY
    town.add(
        *(
            StoredCall(business_id=business_id, id=f"rep_{next(_n)}", request="x", status=200, body={}, created_at=at)
            for business_id, count in ((town.cast.acorn, MANY), (town.cast.birch, 1))
            for _ in range(count)
        )
    )
    town.tick("old calls")
    assert town.rows(StoredCall, StoredCall.business_id == town.cast.acorn) and not town.rows(
        StoredCall, StoredCall.business_id == town.cast.birch
    )


def app_sessions(town: Town, **values: Any) -> None:
    at = clock.wall()
    common: dict[str, Any] = {
        "identity_id": None,
        "grant_id": "gone",
        "subject": "s",
        "scope": "openid",
        "is_offline": False,
        "auth_time": at,
        "redirect_uri": "x",
        "challenge": "x",
        "code_expires_at": at,
        "code_used_at": at,
        "created_at": at,
        "expires_at": at + DAY,
        "code_hash": "x",
    } | values
    for buyer, count in ((town.cast.ada_at_acorn, MANY), (town.cast.ada_at_birch, 1)):
        app = f"app_{buyer.business_id}"
        town.add(
            App(
                business_id=buyer.business_id,
                id=app,
                name="Notes",
                redirect_uris=[],
                post_logout_uris=[],
                backchannel_uri="http://localhost:1/",
                created_at=at,
            )
        )
        town.add(
            *(
                AppSession(business_id=buyer.business_id, customer_id=buyer.customer_id, app_id=app, id=f"sid_{next(_n):05d}", **common)
                for _ in range(count)
            )
        )


def sessions_of_apps(town: Town, patch: Any) -> None:
    patch.setattr(backchannel_logout, "BATCH", 10)
    app_sessions(town)
    assert town.tick("sessions of apps") == 10
    assert town.rows(AppSession, AppSession.business_id == town.cast.birch)[0].left_at is not None


def app_logouts(town: Town, _patch: Any) -> None:
    at = clock.wall() - HOUR
    app_sessions(town, left_at=at, logout_due_at=at)
    assert sorted(town.lanes("app logouts").claim()) == sorted([town.cast.acorn, town.cast.birch])


def domains(town: Town, _patch: Any) -> None:
    at = clock.wall() - 3 * DAY
    theirs = ((town.cast.acorn, MANY, -DAY), (town.cast.birch, 1, HOUR))
    town.add(
        *(
            Domain(
                business_id=business_id,
                id=f"dom_{next(_n)}",
                host=f"x{n}.{business_id}.example",
                token="t",
                created_at=at,
                verified_at=at,
                checked_at=at + age,
            )
            for business_id, count, age in theirs
            for n in range(count)
        )
    )
    assert town.lanes("domains").claim() == [town.cast.acorn, town.cast.birch]


def external_accounts(town: Town, _patch: Any) -> None:
    at = clock.wall() - HOUR
    town.add(
        *(
            ExternalWebhook(
                business_id=business_id,
                id=f"dodo/{next(_n)}",
                type="payment.succeeded",
                kind="payment",
                noun=f"pay_{n}",
                received_at=at,
                due_at=at,
                attempts=0,
            )
            for business_id, count in ((town.cast.acorn, MANY), (town.cast.birch, 1))
            for n in range(count)
        )
    )
    assert sorted(town.lanes("external accounts").claim()) == sorted([f"{town.cast.acorn} dodo", f"{town.cast.birch} dodo"])


def vat_id_checks(town: Town, _patch: Any) -> None:
    at = clock.wall() - HOUR
    town.add(
        *(
            TaxIdCheck(
                business_id=buyer.business_id,
                customer_id=buyer.customer_id,
                id=f"{buyer.customer_id}:{n}",
                number=f"ATU{n}",
                status="waiting",
                due_at=at,
                created_at=at,
            )
            for buyer, count in ((town.cast.ada_at_acorn, MANY), (town.cast.ada_at_birch, 1))
            for n in range(count)
        )
    )
    assert sorted(town.lanes("VAT ID checks").claim()) == sorted([town.cast.acorn, town.cast.birch])


def hosted_tax(town: Town) -> None:
    """Stripe Tax decides, at an account that does not exist: every calculation and record fails, and is stored as a failure."""
    town.change(Business, tax_setup={"calculator": "stripe", "calculator_account": "pac_none"})


def failed_at_birch(town: Town, job: str) -> bool:
    return bool(town.rows(JobFailure, JobFailure.business_id == town.cast.birch, JobFailure.job == job))


def tax_estimates(town: Town, _patch: Any) -> None:
    hosted_tax(town)
    town.subscriptions(-DAY, "next_billing_at")
    town.tick("tax estimates")
    assert failed_at_birch(town, "estimate_tax")


def tax_reports(town: Town, _patch: Any) -> None:
    hosted_tax(town)
    at = clock.wall() - HOUR
    for buyer, count in ((town.cast.ada_at_acorn, MANY), (town.cast.ada_at_birch, 1)):
        owner, calculation = {"business_id": buyer.business_id}, f"txc_{buyer.customer_id}"
        about = {"operation": calculation, "payment_account_id": "pac_none", "reference": "taxcalc", "currency": "EUR", "lines": []}
        town.add(TaxCalculation(**owner, customer_id=buyer.customer_id, id=calculation, created_at=at, **about))
        later = at + (DAY if count == 1 else timedelta(0))
        report = {"kind": "sale", "calculation_id": calculation, "noun_id": "inv", "created_at": later}
        town.add(*(TaxReport(**owner, id=f"sale:{buyer.customer_id}{n}", **report) for n in range(count)))
    town.tick("tax reports")
    assert failed_at_birch(town, "report_tax")


def payment_account_tests(town: Town, _patch: Any) -> None:
    at = clock.wall() - HOUR
    for business_id, count in ((town.cast.acorn, MANY), (town.cast.birch, 1)):
        ids = [f"pac_{business_id}_{n}" for n in range(count)]
        accounts = {"business_id": business_id, "kind": "sandbox", "currencies": [], "state": "open", "created_at": at}
        town.add(*(PaymentAccount(id=row_id, **accounts) for row_id in ids))
        town.add(*(PaymentAccountDetails(business_id=business_id, id=row_id, label="", test_due_at=at) for row_id in ids))
    assert sorted(town.lanes("payment account tests").claim()) == sorted([town.cast.acorn, town.cast.birch])


def payment_method_moves(town: Town, _patch: Any) -> None:
    at = clock.wall() - HOUR
    for business_id, count in ((town.cast.acorn, MANY), (town.cast.birch, 1)):
        ids = [f"pac_{business_id}_moves_{n}" for n in range(count)]
        account = {"business_id": business_id, "kind": "sandbox", "currencies": [], "state": "refunds_only", "created_at": at}
        town.add(*(PaymentAccount(id=row_id, **account) for row_id in ids))
        file = {"business_id": business_id, "to_account_id": sandbox_account_id(business_id), "state": "checking", "lines": [],
                "moves": [], "line_count": 0, "position": 0, "moved_before": 0, "move_count": 0, "problems": [], "due_at": at,
                "created_at": at}  # fmt: skip
        town.add(*(MethodMoveFile(id=row_id, **file) for row_id in ids))
    assert sorted(town.lanes("payment method moves").claim()) == sorted([town.cast.acorn, town.cast.birch])


def customer_exports(town: Town, _patch: Any) -> None:
    at = clock.wall()
    town.add(
        *(
            exports.CustomerExport(business_id=business_id, id=f"exp_{next(_n)}", search_text="", requested_by="x", total=0, created_at=at)
            for business_id, count in ((town.cast.acorn, MANY), (town.cast.birch, 1))
            for _ in range(count)
        )
    )
    assert sorted(town.lanes("customer exports").claim()) == sorted([town.cast.acorn, town.cast.birch])


def personal_exports(town: Town, _patch: Any) -> None:
    """Exports belong to people, one per person. Two are written at once, then the next person follows."""
    town.add(*(Identity(identity_id=f"idn_{n}", name="", created_at=clock.wall()) for n in range(4)))
    town.add(*(person_exports.PersonExport(identity_id=f"idn_{n}", id=f"exp_{n}", created_at=clock.wall()) for n in range(4)))
    lanes = town.lanes("person exports")
    assert lanes.claim() == ["idn_0", "idn_1"]
    lanes._busy.clear()
    lanes._served |= {"idn_0": 1.0, "idn_1": 1.0}
    assert lanes.claim() == ["idn_2", "idn_3"]


def webhooks(town: Town, _patch: Any) -> None:
    at = clock.wall() - HOUR
    for n in range(30):
        endpoint(town, town.cast.acorn, at, f"ep_{n}")
    endpoint(town, town.cast.birch, at + timedelta(minutes=1))
    claimed = [item.business_id for item in town.cast.services.worker_sender.claim(SLOTS)]
    assert town.cast.birch in claimed and claimed.count(town.cast.acorn) == PER_BUSINESS


def outbox(town: Town, _patch: Any) -> None:
    with town.database.open(everything("much work"), write=True) as db:
        for _ in range(MANY):
            emit(db, "product.created", business_id=town.cast.acorn)
        birch = emit(db, "product.created", business_id=town.cast.birch)
    assert birch in [work.id for work, _, _ in town.cast.services.worker.claim()]


def old_consents(town: Town, patch: Any) -> None:
    patch.setattr(consents, "BATCH", 2)
    patch.setattr(consents, "ROUNDS", 1)
    at = clock.wall() - 4000 * DAY
    for buyer, count in ((town.cast.ada_at_acorn, MANY), (town.cast.ben, 1)):
        values = {"business_id": buyer.business_id, "customer_id": buyer.customer_id, "payment_id": buyer.purchase_id}
        texts = {"kind": "terms", "text": "Terms", "language": "en", "agreed_at": at, "recorded_by": {}, "recorded_at": at}
        town.add(*(Consent(id=f"cns_{next(_n)}", **values, **texts) for _ in range(count)))
    consents.sweep(town.database)
    with town.database.open(everything("what is left")) as db:
        assert db.scalar(select(func.count()).select_from(Consent).where(Consent.business_id == town.cast.birch)) == 0


SCENARIOS: dict[str, list[Callable[[Town, Any], None]]] = {
    "renewals": [renewals],
    "reconcile": [reconcile],
    "dunning": [remind_renewal, price_changes, remind_expiry, dun, recover, retry, end_grace],
    "planned statements": [planned_statement],
    "overdue refund requests": [overdue_request],
    "old webhook deliveries": [sweep_webhooks],
    "old calls": [old_calls],
    "old consents": [old_consents],
    "sessions of apps": [sessions_of_apps],
    "app logouts": [app_logouts],
    "domains": [domains],
    "external accounts": [external_accounts],
    "VAT ID checks": [vat_id_checks],
    "tax estimates": [tax_estimates],
    "tax reports": [tax_reports],
    "payment account tests": [payment_account_tests],
    "payment method moves": [payment_method_moves],
    "customer exports": [customer_exports],
    "person exports": [personal_exports],
    "webhooks": [webhooks],
    "outbox": [outbox],
}


def test_every_job_has_a_scenario(services: Any) -> None:
    jobs = {tick.name for tick in services.worker.ticks} | {lanes.name for lanes in services.worker.lanes} | {"webhooks", "outbox"}
    assert jobs - set(SCENARIOS) - set(NO_BUSINESS_IN_IT) == set(), "give each a scenario above"
    assert set(SCENARIOS) <= jobs


@pytest.mark.parametrize("scenario", [item for all in SCENARIOS.values() for item in all], ids=lambda item: item.__name__)
def test_a_business_with_many_rows_does_not_delay_others(
    town: Town, app: Any, monkeypatch: pytest.MonkeyPatch, scenario: Callable[[Town, Any], None]
) -> None:
    town.cast.services.worker_sender = app.extensions["webhooks"]
    for lanes in town.cast.services.worker.lanes:  # tests share an application
        lanes._busy.clear()
        lanes._served.clear()
        lanes._failed.clear()
    scenario(town, monkeypatch)
    for lanes in town.cast.services.worker.lanes:
        lanes._busy.clear()
        lanes._served.clear()
