"""What customers agreed to. An addition to the contract: recorded with a purchase, or here for one that exists. It is never changed."""

from __future__ import annotations

from typing import Annotated

from flask.typing import ResponseReturnValue
from pydantic import Field, StringConstraints, model_validator

from billing.history import api_lists as read
from billing.history.consents import page_of_consents
from billing.model.consents import Consent, ConsentKind
from billing.subscriptions.consents import MOST, Agreed, record
from core.request_context import db
from tenants.api.authentication import bp, caller
from tenants.api.request_parsing import Body, Id, Instant, PageQuery, body, query
from tenants.api.route_spec import route_spec
from tenants.api.shapes import Shape, Stamp, items


class ConsentInput(Body):
    """What the customer agreed to: `text` as it was shown, in `language` (de, pt-BR). Without `agreed_at`: now.

    `type`: terms; immediate_start: the service begins within the withdrawal period, and what was used is paid for; digital_content:
    delivery begins at once, and the right to withdraw ends with it; renewal_price.
    """

    type: ConsentKind
    text: Annotated[str, StringConstraints(min_length=1, max_length=5000)]
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", max_length=20)]
    agreed_at: Instant | None = None
    ip_address: Annotated[str, StringConstraints(max_length=45)] | None = None

    @property
    def agreed(self) -> Agreed:
        return Agreed(self.type, self.text, self.language, self.agreed_at, self.ip_address)


Consents = Annotated[list[ConsentInput], Field(max_length=MOST)]


class NewConsents(Body):
    """Consents about one subscription or one payment. Those recorded after the purchase do not end a right to withdraw."""

    consents: Annotated[list[ConsentInput], Field(min_length=1, max_length=MOST)]
    subscription_id: Id | None = None
    payment_id: Id | None = None

    @model_validator(mode="after")
    def fits(self) -> NewConsents:
        if (self.subscription_id is None) == (self.payment_id is None):
            raise ValueError("send either subscription_id or payment_id")
        return self


class ConsentQuery(PageQuery):
    customer_id: str | None = None
    subscription_id: str | None = None
    payment_id: str | None = None


class ConsentShape(Shape):
    """`recorded_at`: when it was stored, and `recorded_by`: api_key, staff or system. `agreed_at`: as it was sent."""

    consent_id: str
    customer_id: str
    type: str
    text: str
    language: str
    agreed_at: Stamp
    recorded_at: Stamp
    recorded_by: str
    ip_address: str | None
    subscription_id: str | None
    payment_id: str | None

    @classmethod
    def of(cls, row: Consent) -> ConsentShape:
        return cls(
            consent_id=row.id, customer_id=row.customer_id, type=row.kind, text=row.text, language=row.language, agreed_at=row.agreed_at,
            recorded_at=row.recorded_at, recorded_by=row.recorded_by["type"],
            ip_address=row.address, subscription_id=row.subscription_id, payment_id=row.payment_id,
        )  # fmt: skip


@bp.post("/consents", endpoint="create_consents")
@route_spec(ConsentShape, form="items", body=NewConsents)
def create() -> ResponseReturnValue:
    """Record what a customer agreed to, about a subscription or a payment that exists."""
    sent = body(NewConsents)
    if sent.subscription_id:
        customer_id = read.subscription(db(), sent.subscription_id)[0].customer_id
    else:
        customer_id = read.payment(db(), sent.payment_id or "").payment.customer_id
    rows = record(
        db(), [item.agreed for item in sent.consents], business_id=caller().business_id, customer_id=customer_id,
        subscription_id=sent.subscription_id, payment_id=sent.payment_id,
    )  # fmt: skip
    return items(ConsentShape.of(row) for row in rows)


@bp.get("/consents", endpoint="consents")
@route_spec(ConsentShape, form="items", query=ConsentQuery)
def index() -> ResponseReturnValue:
    """List consents, those recorded last first."""
    params = query(ConsentQuery)
    rows = page_of_consents(
        db(), params.page, customer_id=params.customer_id, subscription_id=params.subscription_id, payment_id=params.payment_id
    )  # fmt: skip
    return items(ConsentShape.of(row) for row in rows)
