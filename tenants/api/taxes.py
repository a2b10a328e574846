"""The tax set-up of the business. An addition to the contract: the console page Settings → Taxes has the same data."""

from __future__ import annotations

from typing import Annotated, Any

from flask import jsonify
from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints

from billing.customers import tax_calculator
from billing.customers import tax_settings as command
from billing.history import api_lists as read
from billing.model.parties import Business
from billing.pricing.tax_setup import STRIPE, TABLE, hosted_account, setup_of
from core.errors import Invalid
from core.request_context import db, services
from portal.billing_services import processor
from tenants.api.authentication import bp, caller
from tenants.api.request_parsing import Body, ShortText, body
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Shape

Place = Annotated[str, StringConstraints(pattern=r"^([A-Z]{2}|\*)$")]
Day = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Region = Annotated[str, StringConstraints(max_length=40)]
Category = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
RowId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]{1,60}$")]


class Registration(Body):
    """A tax registration. `scheme` oss: all consumers in the EU. `valid_to` is the last day."""

    id: RowId | None = None
    scheme: Annotated[str, StringConstraints(pattern=r"^(local|oss)$")] = "local"
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    region: Region | None = None
    number: ShortText | None = None
    valid_from: Day | None = None
    valid_to: Day | None = None


class Rate(Body):
    """A rate of the business. `country` *: every country that nothing else covers. `bps`: 1900 is 19 percent."""

    id: RowId | None = None
    country: Place
    region: Region | None = None
    category: Category | None = None
    bps: Annotated[int, Field(ge=0, le=10_000)]
    code: Annotated[str, StringConstraints(max_length=2)] | None = None
    reason: ShortText | None = None
    valid_from: Day | None = None
    valid_to: Day | None = None


class TaxSetup(Body):
    """The whole set-up. `exempt`: tax category → reason. Without `calculator`, the calculator stays as it is.

    `calculator` stripe: Stripe Tax decides. `calculator_account`: the payment account at Stripe, by default the one for new charges.
    """

    registrations: Annotated[list[Registration], Field(max_length=command.MOST_REGISTRATIONS)] = []
    rates: Annotated[list[Rate], Field(max_length=command.MOST_RATES)] = []
    exempt: Annotated[dict[Category, ShortText], Field(max_length=command.MOST_EXEMPT)] = {}
    prices_include_tax: bool = False
    category: Category | None = None
    not_registered: bool = False
    calculator: Annotated[str, StringConstraints(pattern=r"^(table|stripe)$")] | None = None
    calculator_account: RowId | None = None


class RegistrationShape(Shape):
    id: str
    scheme: str
    country: str
    region: str | None
    number: str | None
    valid_from: str | None
    valid_to: str | None


class RateShape(Shape):
    id: str
    country: str
    region: str | None
    category: str | None
    bps: int
    code: str | None
    reason: str | None
    valid_from: str | None
    valid_to: str | None


class TaxSetupShape(Shape):
    """The tax set-up. `established`: the country of the business's address. `calculator`: table or stripe."""

    established: str | None
    tax_id: str | None
    registrations: list[RegistrationShape]
    rates: list[RateShape]
    exempt: dict[str, str]
    prices_include_tax: bool
    category: str | None
    not_registered: bool
    calculator: str
    calculator_account: str | None

    @classmethod
    def of(cls, business: Business) -> TaxSetupShape:
        setup = setup_of(business)
        return cls(
            established=business.tax_country, tax_id=business.tax_id,
            registrations=[RegistrationShape(**_all(RegistrationShape, row)) for row in setup.get("registrations") or ()],
            rates=[RateShape(**_all(RateShape, row)) for row in setup.get("rates") or ()],
            exempt=dict(setup.get("exempt") or {}), prices_include_tax=bool(setup.get("prices_include_tax")),
            category=setup.get("category"), not_registered=bool(setup.get("not_registered")),
            calculator=setup.get("calculator") or TABLE, calculator_account=setup.get("calculator_account"),
        )  # fmt: skip


def _all(shape: type[Shape], row: Any) -> dict[str, Any]:
    return {name: row.get(name) for name in shape.model_fields}


@bp.get("/tax-settings", endpoint="tax_settings")
@route_spec(TaxSetupShape)
def show() -> ResponseReturnValue:
    """Return the tax set-up of the business."""
    return jsonify(TaxSetupShape.of(read.business(db(), caller().business_id)).json())


@bp.put("/tax-settings", endpoint="put_tax_settings")
@route_spec(TaxSetupShape, body=TaxSetup)
def replace() -> ResponseReturnValue:
    """Replace the tax set-up of the business. Future invoices are taxed by it; issued ones do not change.

    A calculator that is newly chosen is asked first whether it can calculate: 422 with what is missing, 503 if it does not answer.
    """
    sent = body(TaxSetup)
    _check_calculator(sent)
    return jsonify(TaxSetupShape.of(command.replace_setup(db(), sent.model_dump())).json())


def _check_calculator(sent: TaxSetup) -> None:
    """Ask Stripe before anything is written, outside of a transaction. Raises Invalid (calculator), Unavailable."""
    if sent.calculator != STRIPE:
        return
    with services().database.open(caller().scope) as reading:
        present = hosted_account(read.business(reading, caller().business_id))
        known = [account_id for account_id, _ in tax_calculator.stripe_accounts(reading, caller().business_id)]
    account_id = sent.calculator_account or next(iter(known), None)
    if account_id in known and account_id != present:
        missing = tax_calculator.check(processor().accounts, caller().business_id, account_id)
        if missing:
            raise Invalid(fields={"calculator": " ".join(missing)})
