"""A business lets Stripe Tax calculate: what is shown is what is charged, and each sale and refund is recorded there once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import undefer

from billing.catalogue.products import create_collection
from billing.charging.refund import refund
from billing.documents.view_model import printed
from billing.model.invoices import Invoice, InvoiceLine
from billing.model.parties import Business
from billing.model.payment_accounts import sandbox_account_id
from billing.model.payments import Payment, Refund
from billing.model.subscriptions import Subscription
from billing.model.tax_calculations import TaxCalculation, TaxReport
from billing.plan_changes import confirm as confirm_plan_change
from billing.pricing import prices
from billing.pricing.credit_lines import less_credit
from billing.pricing.next_charge import next_charge
from billing.subscriptions.billing_details import edit_billing
from billing.subscriptions.subscribe import StartedPurchase, buy, subscribe
from core import clock
from core.errors import Conflict, Invalid, Unavailable
from core.recurring_jobs import JobFailure
from core.scope import customer_of, everything, system
from core.settings import Settings
from tests.harness.stripe_site import FAILS_LATER, StripeSite, start
from tests.harness.stripe_standin import running

GERMANY = {"country": "DE", "zipcode": "04109", "city": "Leipzig", "street": "Lindenallee 9"}
NEW_YORK = {"country": "US", "state": "NY", "zipcode": "10001", "city": "New York", "street": "1 Main St"}


@pytest.fixture
def site(settings: Settings) -> Iterator[StripeSite]:
    """Acorn in Britain, with Stripe Tax."""
    with running() as stand_in:
        services = start(replace(settings, outgoing_loopback=True), stand_in)
        site = StripeSite.open(services).connect()
        set_up(site, calculator="stripe", calculator_account=sandbox_account_id(site.business_id))
        yield site
        assert stand_in.mistakes == []
        services.database.dispose()


def set_up(site: StripeSite, **setup: Any) -> None:
    with site.database.open(everything("taxes of a story"), write=True) as db:
        business = db.scalar(select(Business))
        business.tax_setup, business.address = setup, {"country": "GB"}


def settle(site: StripeSite) -> None:
    """Let the worker handle the events, and then what they queued."""
    for _ in range(3):
        site.work()


def stripe(site: StripeSite) -> Any:
    return site.gateway.stand_in


def transactions(site: StripeSite) -> list[Any]:
    """Return the records of Stripe Tax, oldest first: (type, amount of each line, tax of each line)."""
    made = reversed(site.gateway.account.every("tax.transaction"))
    return [
        (item["type"], [line["amount"] for line in item["line_items"]["data"]], [line["amount_tax"] for line in item["line_items"]["data"]])
        for item in made
    ]


def sell(site: StripeSite, *items: tuple[str | None, int, bool], billing: dict[str, str] = GERMANY, **more: Any) -> StartedPurchase:
    """Sell one-time products, given as (category, price, price includes tax)."""
    cart = []
    for category, price, inclusive in items:
        terms = {"type": "one_time_price", "currency": "EUR", "price": price, "tax_inclusive": inclusive}
        cart.append((site.product(terms, **({"tax_category": category} if category else {})), 1))
    return buy(
        site.processor, system(site.business_id), customer_id=site.customer_id, cart=cart, payment_method_id=site.card(), billing=billing,
        **more,
    )  # fmt: skip


def join(site: StripeSite, price: int = 2900, billing: dict[str, str] = GERMANY, **more: Any) -> StartedPurchase:
    began = subscribe(
        site.processor, system(site.business_id), customer_id=site.customer_id, payment_method_id=site.card(),
        product_id=site.product(site.monthly(price)), billing=billing, **more,
    )  # fmt: skip
    site.subscription_id = began.subscription_id or ""
    return began


def invoice_of(site: StripeSite, payment_id: str) -> Invoice:
    query = select(Invoice).options(undefer(Invoice.snapshot), undefer(Invoice.tax_evidence))
    with site.database.open(everything("read a story")) as db:
        return db.scalar(query.join(Payment, Payment.invoice_id == Invoice.id).where(Payment.id == payment_id))


def test_a_purchase_is_charged_as_calculated_and_recorded_once(site: StripeSite) -> None:
    bought = sell(site, ("saas", 2999, False))
    assert bought.total_minor == 2999 + 570
    assert site.charges() == [3569]
    invoice = invoice_of(site, bought.payment_id)
    assert (invoice.subtotal_minor, invoice.tax_minor, invoice.due_minor) == (2999, 570, 3569)
    [line] = site.rows(InvoiceLine)
    assert (line.tax_code, line.tax_bps, line.tax_reason) == ("S", 1900, None)
    for _ in range(3):
        site.work()
    assert transactions(site) == [("transaction", [2999], [570])]
    [calculation] = site.rows(TaxCalculation)
    assert invoice.tax_evidence["cases"] == ["calculated"]
    assert invoice.tax_evidence["calculation"] == {"reference": calculation.reference, "rates": ["19"]}
    [sent] = site.gateway.account.every("tax.calculation")
    assert sent["id"] == calculation.reference and sent["customer_details"]["address"]["postal_code"] == "04109"


@pytest.mark.parametrize(
    ("items", "total", "tax"),
    [
        ([("saas", 1000, True)], 1000, 160),
        ([("e_book", 1000, False)], 1070, 70),
        ([("live_tutoring", 1000, False)], 1000, 0),
        ([("saas", 333, False), ("saas", 333, False), ("saas", 333, False)], 1189, 190),
        ([("saas", 1000, False), ("e_book", 1000, False), (None, 1190, True)], 1190 + 1070 + 1190, 190 + 70 + 190),
    ],
    ids=("within", "reduced", "exempt", "once-per-rate", "several"),
)
def test_prices_and_rates(site: StripeSite, items: list[Any], total: int, tax: int) -> None:
    """A price with tax stays as promised. Lines of one category are rounded together: 3 × 3.33 have 1.90 of tax, not 3 × 0.63."""
    bought = sell(site, *items)
    invoice = invoice_of(site, bought.payment_id)
    assert (bought.total_minor, invoice.due_minor, invoice.tax_minor) == (total, total, tax)
    lines = site.rows(InvoiceLine)
    assert sum(line.net_minor + line.tax_minor for line in lines) == total
    assert sum(row["tax_minor"] for row in invoice.snapshot["tax"]) == tax
    settle(site)
    [(_, _, taxes)] = transactions(site)
    assert sum(taxes) == tax


def test_several_taxes_are_one_rate_with_its_exact_percentage(site: StripeSite) -> None:
    """New York has a tax of the state and one of the city, together 8.875 %."""
    invoice = invoice_of(site, sell(site, ("saas", 100_000, False), billing=NEW_YORK).payment_id)
    assert invoice.tax_minor == 8875
    assert "8.875%" in printed(invoice.snapshot)["lines"][0]["rate"]
    assert any("8.875%" in label for label, *_ in printed(invoice.snapshot)["totals"])
    [line] = site.rows(InvoiceLine)
    assert (line.tax_code, line.tax_bps) == ("S", 888)


def test_a_reverse_charge_and_a_place_without_registration(site: StripeSite) -> None:
    sold = sell(site, ("saas", 1000, False), tax_id="DE136695976", business_name="Marlow Studio")
    [line] = site.rows(InvoiceLine)
    assert (sold.total_minor, line.tax_code, line.tax_reason) == (1000, "AE", "VATEX-EU-AE")
    sold = sell(site, ("saas", 1000, False), billing={"country": "JP"})
    codes = {line.invoice_id: line.tax_code for line in site.rows(InvoiceLine)}
    assert (sold.total_minor, codes[invoice_of(site, sold.payment_id).id]) == (1000, "O")


def test_an_exempt_product_prints_its_reason(site: StripeSite) -> None:
    invoice = invoice_of(site, sell(site, ("live_tutoring", 1000, False)).payment_id)
    assert any("tax-exempt product" in note for note in printed(invoice.snapshot)["notes"])


@pytest.mark.parametrize("trouble", ["drop before", "drop", "500", "429"])
def test_without_an_answer_nothing_is_sold(site: StripeSite, trouble: str) -> None:
    """Nothing is written and nothing is charged. The account is not called again for a while."""
    stripe(site).on_next("POST", "/tax/calculations", trouble, times=99)
    before = (site.events(), len(site.rows(Payment)))
    with pytest.raises(Unavailable) as refused:
        sell(site, ("saas", 1000, False))
    assert refused.value.code == "TAX_NOT_CALCULATED" and "Nothing was charged" in refused.value.sentence
    calls = len(stripe(site).calls)
    with pytest.raises(Unavailable):
        join(site)
    assert len([call for call in stripe(site).calls[calls:] if "tax" in call[1]]) == 0
    assert len(site.rows(Payment)) == before[1] and site.charges() == [] and site.rows(Subscription) == []
    assert [name for name in site.events() if name.startswith(("payment.", "subscription."))] == []
    stripe(site).forget_troubles()


def test_an_address_that_is_not_enough_is_refused_in_words(site: StripeSite) -> None:
    for billing in ({"country": "US", "state": "NY"}, {}):
        with pytest.raises(Invalid) as refused:
            sell(site, ("saas", 1000, False), billing=billing)
        assert refused.value.code == "TAX_NOT_CALCULATED" and "billing" in refused.value.fields
    assert site.rows(Payment) == []


def test_a_refusal_and_a_closed_account(site: StripeSite) -> None:
    site.gateway.account.refused.add("POST /v1/tax/calculations")
    with pytest.raises(Unavailable, match="permission"):
        sell(site, ("saas", 1000, False))
    set_up(site, calculator="stripe", calculator_account="pac_of_nobody")
    with pytest.raises(Unavailable, match="closed"):
        sell(site, ("saas", 1000, False))
    assert site.rows(Payment) == []


class TestRenewals:
    def test_a_renewal_has_its_own_calculation(self, site: StripeSite) -> None:
        join(site)
        assert self.next_charge(site) == 3451
        site.pass_period()
        assert site.charges() == [3451, 3451]
        settle(site)
        assert transactions(site) == [("transaction", [2900], [551])] * 2
        assert len({row.operation for row in site.rows(TaxCalculation)}) == 2

    def next_charge(self, site: StripeSite) -> int:
        """Return the figures on pages."""
        with site.database.open(everything("read a story")) as db:
            return next_charge(db, db.scalar(select(Subscription)))

    def test_while_stripe_is_away_it_backs_off_and_is_charged_later(self, site: StripeSite) -> None:
        """Never with a guessed tax, and once."""
        join(site)
        stripe(site).on_next("POST", "/tax/calculations", "drop before", times=9)
        site.pass_period()
        assert site.charges() == [3451]
        [failure] = site.rows(JobFailure)
        assert failure.row_id == site.subscription_id and "cannot be calculated" in failure.sentence
        assert site.subscription().status == "active" and len(site.rows(Invoice)) == 1
        site.work()
        assert len(site.rows(Invoice)) == 1, "it rests"
        stripe(site).forget_troubles()
        site.processor.taxes._silent.clear()
        self.rest(site)
        site.work()
        assert site.charges() == [3451, 3451] and site.rows(JobFailure) == []

    @staticmethod
    def rest(site: StripeSite) -> None:
        with site.database.open(everything("time passes in a story"), write=True) as db:
            for failure in db.scalars(select(JobFailure)):
                failure.retry_at = clock.wall() - timedelta(seconds=1)

    def test_a_renewal_that_was_declined_is_retried_with_the_same_tax(self, site: StripeSite) -> None:
        """The invoice exists, so nothing is calculated again."""
        began = subscribe(
            site.processor, system(site.business_id), customer_id=site.customer_id, payment_method_id=site.card(number=FAILS_LATER),
            product_id=site.product(site.monthly(2900)), billing=GERMANY,
        )  # fmt: skip
        site.subscription_id = began.subscription_id or ""
        site.pass_period()
        asked = len(site.gateway.account.every("tax.calculation"))
        site.pass_period()
        assert len(site.gateway.account.every("tax.calculation")) == asked
        unpaid = [row for row in site.rows(Invoice) if row.status == "open"]
        assert [row.due_minor for row in unpaid] == [3451]

    def test_a_trial_is_calculated_for_the_page_and_recorded_when_it_is_paid(self, site: StripeSite) -> None:
        join(site, trial_days=14)
        assert site.rows(TaxCalculation) == [] and self.next_charge(site) == 3451
        site.pass_period()
        settle(site)
        assert site.charges() == [3451] and transactions(site) == [("transaction", [2900], [551])]

    def test_a_new_address_is_calculated_for_the_page(self, site: StripeSite) -> None:
        join(site)
        with site.database.open(system(site.business_id), write=True) as db:
            edit_billing(db, site.subscription_id, name="Ada", street="1 Rue", city="Paris", state=None, zipcode="75001", country="FR")
        assert self.next_charge(site) == 2900, "the tax is not known yet"
        settle(site)
        assert self.next_charge(site) == 3480
        site.pass_period()
        assert site.charges() == [3451, 3480]

    def test_subscriptions_from_before_are_calculated_too(self, site: StripeSite) -> None:
        set_up(site)
        join(site)
        set_up(site, calculator="stripe", calculator_account=sandbox_account_id(site.business_id))
        settle(site)
        assert (site.charges(), self.next_charge(site)) == ([2900], 3451)
        assert transactions(site) == [], "the first payment was taxed by the table"


class TestReports:
    def test_a_lost_answer_is_sent_again_under_the_same_key(self, site: StripeSite) -> None:
        sell(site, ("saas", 1000, False))
        stripe(site).on_next("POST", "/create_from_calculation", "drop")
        settle(site)
        [report] = site.rows(TaxReport)
        assert report.reported_at is None and len(transactions(site)) == 1
        TestRenewals.rest(site)
        site.work()
        [report] = site.rows(TaxReport)
        assert report.reported_at is not None and transactions(site) == [("transaction", [1000], [190])]

    def test_refunds_reverse_the_tax_of_their_documents(self, site: StripeSite) -> None:
        bought = sell(site, ("saas", 1001, False))
        scope = system(site.business_id)
        for amount in (400, 400, None):
            refund(site.processor, scope, bought.payment_id, **({"amount_minor": amount} if amount else {}))
            settle(site)
        sale, *back = transactions(site)
        assert sale == ("transaction", [1001], [190])
        assert [kind for kind, *_ in back] == ["reversal"] * 3
        assert [sum(amounts) + sum(taxes) for _, amounts, taxes in back] == [-400, -400, -391]
        assert sum(tax for _, _, taxes in back for tax in taxes) == -190
        site.work()
        assert len(transactions(site)) == 4

    def test_a_refund_of_several_rates_is_distributed(self, site: StripeSite) -> None:
        bought = sell(site, ("saas", 1000, False), ("e_book", 1000, True))
        refund(site.processor, system(site.business_id), bought.payment_id, amount_minor=1095)
        settle(site)
        _, (kind, amounts, taxes) = transactions(site)
        assert kind == "reversal" and len(amounts) == 2
        assert -amounts[0] - taxes[0] - amounts[1] == 1095  # a price with tax contains its tax

    def test_a_refund_that_fails_later_is_restored(self, site: StripeSite) -> None:
        bought = sell(site, ("saas", 1000, False))
        made = refund(site.processor, system(site.business_id), bought.payment_id)
        settle(site)
        there = next(item["id"] for item in site.gateway.account.every("refund") if item["metadata"]["portal_key"] == made.key)
        stripe(site).finish_refund(there, failed=True)
        site.deliver()
        settle(site)
        assert transactions(site) == [
            ("transaction", [1000], [190]), ("reversal", [-1000], [-190]), ("reversal", [1000], [190]),
        ]  # fmt: skip

    def test_what_stripe_refuses_stays_visible(self, site: StripeSite) -> None:
        sell(site, ("saas", 1000, False))
        site.gateway.account.every("tax.calculation")[0]["expires_at"] = 0
        settle(site)
        [failure] = site.rows(JobFailure)
        assert failure.job == "report_tax" and "Check it at Stripe" in failure.sentence


def test_the_table_stays_the_default(site: StripeSite) -> None:
    set_up(site, registrations=[{"id": "r", "scheme": "local", "country": "GB"}])
    bought = sell(site, ("saas", 1000, False), billing={"country": "GB"})
    settle(site)
    assert bought.total_minor == 1200 and transactions(site) == []
    assert [call for call in stripe(site).calls if "tax" in call[1]] == [] and site.rows(TaxCalculation) == []


def test_a_line_keeps_its_calculated_tax_beside_credit(site: StripeSite) -> None:
    """Rounding credit lines does not round the tax of the calculator again."""
    line = replace(prices.line("Team", 1, 1000, 1900, False), tax_minor=191, tax_case="calculated")
    part = {"tax_code": "S", "tax_bps": 1900, "tax_reason": None, "minor": 119}
    item, credit = less_credit([line], balance=119, balance_parts=[part]).lines
    assert (item.tax_minor, credit.net_minor, credit.tax_minor) == (191, -100, -19)


def test_a_rate_that_basis_points_cannot_express_is_exact_everywhere(site: StripeSite) -> None:
    """Of the next charge that pages show, of the charge, and of the refund's document."""
    began = join(site, price=100_000, billing=NEW_YORK)
    assert TestRenewals().next_charge(site) == began.total_minor == 108_875
    made = refund(site.processor, system(site.business_id), began.payment_id, amount_minor=1000)
    [row] = site.rows(Refund, id=made.id)
    assert row.snapshot["tax"][0]["rate"] == row.snapshot["lines"][0]["tax_rate"] == "8.875"
    assert "8.875%" in printed(row.snapshot)["lines"][0]["rate"]


class TestPlanChanges:
    def plans(self, site: StripeSite) -> str:
        """A subscription to the small plan. Returns the large one."""
        join(site)
        large = site.product(site.monthly(5000))
        with site.database.open(everything("plans of a story"), write=True) as db:
            db.scalar(select(Business)).settings = {"plan_change": True}
        with site.database.open(system(site.business_id), write=True) as db:
            create_collection(db, site.business_id, name="Plans", product_ids=[site.subscription().product_id, large])
        return large

    def test_a_change_waits_for_the_next_billing_date(self, site: StripeSite) -> None:
        large = self.plans(site)
        scope = customer_of(site.business_id, site.customer_id)
        with site.database.open(scope, write=True) as db:
            quote = confirm_plan_change.quote(db, site.subscription_id, large)
        assert (quote.effective_at, quote.due_minor, quote.next_renewal_minor) == ("next_billing_date", 0, 5950)
        assert confirm_plan_change.confirm(site.processor, scope, quote.id).status == "scheduled"
        site.pass_period()
        assert site.charges() == [3451, 5950]

    def test_a_change_that_charges_now_is_refused_in_words(self, site: StripeSite) -> None:
        large = self.plans(site)
        with site.database.open(system(site.business_id), write=True) as db:
            with pytest.raises(Conflict, match="next billing date"):
                confirm_plan_change.quote(db, site.subscription_id, large, mode="prorated_immediately", effective_at="immediately")
            free = confirm_plan_change.quote(db, site.subscription_id, large, mode="do_not_bill", effective_at="immediately")
        assert (free.effective_at, free.due_minor) == ("immediately", 0)
