"""What the table of rights (docs/rights.md) says for customers of one place. An addition to the contract."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from flask.typing import ResponseReturnValue
from pydantic import StringConstraints

from billing.model.customer_types import CustomerType
from billing.rights.places import place_of
from billing.rights.table import OCCASIONS, TERMS, cancel_rule, consent_rule, notice_rule, withdraw_rule
from tenants.api.authentication import bp
from tenants.api.request_parsing import Country, Query, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Json, Shape, json_response


class RightsQuery(Query):
    """`state`: code or English name, in the United States and Canada. `customer_type`: by default a consumer."""

    country: Country
    state: Annotated[str, StringConstraints(max_length=100)] | None = None
    customer_type: CustomerType = "consumer"


class Rights(Shape):
    """The rows of the table that count. `notices`: by occasion and length of the period. Days are calendar days."""

    place: str
    customer_type: CustomerType
    cancel: Json
    withdraw: Json
    consents: Json
    notices: Json


@bp.get("/rights", endpoint="rights")
@route_spec(Rights, query=RightsQuery)
def show() -> ResponseReturnValue:
    """Return the rights of customers in a country, as the portal applies them: words, periods and notices, with their sources."""
    params = query(RightsQuery)
    place = place_of({"country": params.country, "state": params.state}) or params.country
    party = params.customer_type
    notices: Json = {occasion: {term: _row(notice_rule(place, party, occasion, term)) for term in TERMS} for occasion in OCCASIONS}
    return json_response(
        Rights(
            place=place, customer_type=party, cancel=_row(cancel_rule(place, party)), withdraw=_row(withdraw_rule(place, party)),
            consents=_row(consent_rule(place, party)), notices=notices,
        )
    )  # fmt: skip


def _row(rule: object) -> Json:
    """Return a rule as JSON: dates as YYYY-MM-DD, labels by language."""
    row: Json = asdict(rule)  # type: ignore[call-overload]
    row["checked"] = row["checked"].isoformat()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}
