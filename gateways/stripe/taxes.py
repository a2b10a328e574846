"""Stripe Tax at one account: calculations, and the transactions from which Stripe makes its tax reports.

Sources: https://docs.stripe.com/api/tax/calculations and https://docs.stripe.com/tax/custom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from billing.pricing.tax_port import RecordedSale, ReversedItem, TaxAnswer, TaxedItem, TaxItem, TaxRequest
from billing.pricing.taxes import EU, full_vat_id
from core.errors import N_, Conflict, Invalid, Unavailable
from core.money import Money
from gateways.stripe.amounts import to_stripe
from gateways.stripe.api import AccessDenied, KeyReused, Refusal, StripeApi, StripeObject, Unanswered
from gateways.stripe.tax_treatments import taxed_item

log = structlog.get_logger()

TIMEOUT = 4.0
"""Seconds. A purchase is calculated and then charged with up to three calls, and the API answers within 25 seconds."""
TAX_CODES = {
    "digital_products": "txcd_10000000",  # General - Electronically Supplied Services
    "saas": "txcd_10103001",  # Software as a service (SaaS) - business use
    "e_book": "txcd_10302000",  # Digital Books - downloaded - non subscription - with permanent rights
    "edtech": "txcd_20060058",  # Training Services - Self-study Web-based
    "live_tutoring": "txcd_20060059",  # Tutoring
}
"""Tax category → product tax code (https://docs.stripe.com/tax/tax-codes). A product without one has the preset code of the account."""
TAX_ID_TYPES = {
    "GB": "gb_vat", "CH": "ch_vat", "NO": "no_vat", "AU": "au_abn", "NZ": "nz_gst", "CA": "ca_gst_hst", "JP": "jp_trn", "IN": "in_gst",
    "SG": "sg_gst", "ZA": "za_vat",
}  # fmt: skip
"""Country → type of a tax number outside the EU. Numbers of other countries are not sent."""
_LINES = "line_items.data.tax_breakdown"
_SILENT = N_("The tax cannot be calculated right now. Nothing was charged. Please try again in a few minutes.")
_DENIED = N_(
    "Stripe Tax cannot be used with the key of this payment account. It needs the permission “Tax Calculations and Transactions: Write”."
)
_ADDRESS = N_("The billing address is not complete enough to calculate the tax. Check the postal code and the state.")
_NOT_SET_UP = N_("Stripe Tax is not set up. Complete its settings at Stripe.")
_REFUSED = N_("Stripe Tax refused to calculate the tax. Nothing was charged.")
_NOT_RECORDED = N_("Stripe did not record the tax of this sale. Check it at Stripe.")


class StripeTax:
    """Implements billing.pricing.tax_port.HostedTax."""

    def __init__(self, api: StripeApi):
        self._api = api

    def check(self) -> Sequence[str]:
        try:
            found = [(_NOT_SET_UP, self._is_set_up()), (_DENIED, self._may_calculate())]
        except (Unanswered, Refusal) as silent:
            raise _unavailable(silent) from silent
        return [sentence for sentence, is_fine in found if not is_fine]

    def _is_set_up(self) -> bool:
        """Return whether the settings at Stripe are complete. A key that may not read them can calculate, so that is no fault."""
        try:
            return bool(self._api.call(self._api.v1.tax.settings.retrieve).object["status"] == "active")
        except AccessDenied as denied:
            if denied.status == 401:
                raise
            return True

    def _may_calculate(self) -> bool:
        """Ask for a transaction of a calculation that does not exist, as account_check.py does: nothing changes."""
        try:
            self._api.call(
                self._api.v1.tax.transactions.create_from_calculation,
                {"calculation": "taxcalc_portal_permission_check", "reference": "portal_permission_check"},
            )
        except AccessDenied:
            return False
        except Refusal:
            return True
        return True

    def calculate(self, request: TaxRequest) -> TaxAnswer:
        try:
            made = self._calculate(request)
        except AccessDenied as denied:
            raise Unavailable("TAX_NOT_CALCULATED", _DENIED) from denied
        except Unanswered as silent:
            raise _unavailable(silent) from silent
        except Refusal as refused:
            raise _refusal(refused) from refused
        lines = made["line_items"]["data"]
        if made["line_items"]["has_more"]:
            lines = list(self._every_line(made["id"]))
        return TaxAnswer(made["id"], _checked(request, made, lines))

    def _calculate(self, request: TaxRequest) -> StripeObject:
        parameters = _parameters(request)
        try:
            return self._api.call(self._api.v1.tax.calculations.create, parameters).object
        except Refusal as refused:
            if refused.code != "tax_id_invalid" and "tax_ids" not in refused.param:
                raise
            log.warning("tax number not taken by the calculator", business_id=request.business_id, country=request.country)
            return self._api.call(self._api.v1.tax.calculations.create, _parameters(request, with_tax_id=False)).object

    def _every_line(self, calculation: str) -> Sequence[StripeObject]:
        lines = self._api.v1.tax.calculations.line_items
        try:
            return list(self._api.every(lambda values, options: lines.list(calculation, values, options=options), {}))
        except (Unanswered, Refusal) as silent:
            raise _unavailable(silent) from silent

    def record_sale(self, key: str, calculation: str, reference: str) -> RecordedSale:
        parameters = {"calculation": calculation, "reference": reference, "expand": ["line_items"]}
        return self._record(key, self._api.v1.tax.transactions.create_from_calculation, parameters)

    def record_refund(
        self, key: str, sale: str, reference: str, *, currency: str, amount_minor: int, items: Sequence[ReversedItem]
    ) -> RecordedSale:
        parts = [
            {
                "original_line_item": item.line, "reference": f"{reference}:{number}",
                "amount": -_number(item.amount_minor, currency), "amount_tax": -_number(item.tax_minor, currency),
            }
            for number, item in enumerate(items, 1)
        ]  # fmt: skip
        what = {"line_items": parts} if parts else {"flat_amount": -_number(amount_minor, currency)}
        parameters = {"mode": "partial", "original_transaction": sale, "reference": reference, "expand": ["line_items"], **what}
        return self._record(key, self._api.v1.tax.transactions.create_reversal, parameters)

    def reverse_in_full(self, key: str, recorded: str, reference: str) -> RecordedSale:
        parameters = {"mode": "full", "original_transaction": recorded, "reference": reference, "expand": ["line_items"]}
        return self._record(key, self._api.v1.tax.transactions.create_reversal, parameters)

    def _record(self, key: str, method: Callable[..., object], parameters: StripeObject) -> RecordedSale:
        """Make a transaction. Stripe accepts a reference only once, so a repetition after the key has expired is refused."""
        try:
            made = self._api.call(method, parameters, key=key).object
        except AccessDenied as denied:
            raise Unavailable("TAX_NOT_RECORDED", _DENIED) from denied
        except Unanswered as silent:
            log.warning("tax not recorded", key=key, said=str(silent))
            raise Unavailable("TAX_NOT_RECORDED", _NOT_RECORDED) from silent
        except (KeyReused, Refusal) as refused:
            log.warning("tax not recorded", key=key, said=str(refused))
            raise Conflict("TAX_NOT_RECORDED", _NOT_RECORDED) from refused
        return RecordedSale(made["id"], tuple(line["id"] for line in made["line_items"]["data"]))


def _parameters(request: TaxRequest, *, with_tax_id: bool = True) -> StripeObject:
    address = {
        "country": request.country, "state": request.state, "city": request.city, "postal_code": request.zipcode, "line1": request.street,
    }  # fmt: skip
    kind, number = _tax_id(request) if with_tax_id else ("", "")
    return {
        "currency": request.currency.lower(),
        "line_items": [_item(item, request.currency) for item in request.items],
        "customer_details": {
            "address": {name: value for name, value in address.items() if value},
            "address_source": "billing",
            **({"tax_ids": [{"type": kind, "value": number}]} if kind else {}),
        },
        "expand": [_LINES],
        **({"tax_date": int(request.on.timestamp())} if request.on else {}),
    }


def _item(item: TaxItem, currency: str) -> StripeObject:
    behavior = "inclusive" if item.inclusive else "exclusive"
    code = TAX_CODES.get(item.category or "")
    amount = _number(item.amount_minor, currency)
    return {"amount": amount, "reference": item.reference, "tax_behavior": behavior, **({"tax_code": code} if code else {})}


def _tax_id(request: TaxRequest) -> tuple[str, str]:
    """Return type and value of the tax number in Stripe's form, empty if there is none that Stripe knows."""
    if not request.tax_id:
        return "", ""
    if request.country in EU:
        number = full_vat_id(request.tax_id, request.country)
        return ("eu_vat", number) if number else ("", "")
    kind = TAX_ID_TYPES.get(request.country, "")
    value = request.tax_id if kind != "gb_vat" or request.tax_id.upper().startswith("GB") else f"GB{request.tax_id}"
    return (kind, value) if kind else ("", "")


def _checked(request: TaxRequest, made: StripeObject, lines: Sequence[StripeObject]) -> tuple[TaxedItem, ...]:
    """Return the tax of each item. Raises Unavailable if the answer is not one to this request, or does not add up."""
    found = {line["reference"]: line for line in lines}
    out = []
    for item in request.items:
        line = found.get(item.reference)
        if line is None or line["amount"] != _number(item.amount_minor, request.currency):
            raise Unavailable("TAX_NOT_CALCULATED", _SILENT)
        try:
            out.append(taxed_item(line, request.currency, request.country))
        except ValueError as part:  # an amount that the currency of the portal cannot express
            raise Unavailable("TAX_NOT_CALCULATED", _REFUSED) from part
    on_top = sum(line["amount_tax"] for line in lines if line["tax_behavior"] == "exclusive")
    total = sum(line["amount"] for line in lines) + on_top
    if len(lines) != len(request.items) or made["currency"].upper() != request.currency or made["amount_total"] != total:
        log.error("tax calculation does not add up", calculation=made["id"], business_id=request.business_id)
        raise Unavailable("TAX_NOT_CALCULATED", _SILENT)
    return tuple(out)


def _number(minor: int, currency: str) -> int:
    return to_stripe(Money(minor, currency))


def _unavailable(problem: Exception) -> Unavailable:
    log.warning("tax not calculated", problem=type(problem).__name__, said=str(problem))
    return Unavailable("TAX_NOT_CALCULATED", _SILENT)


def _refusal(refused: Refusal) -> Invalid | Unavailable:
    log.warning("tax refused", code=refused.code, said=str(refused))
    if refused.code == "customer_tax_location_invalid" or refused.param.startswith("customer_details[address]"):
        return Invalid("TAX_NOT_CALCULATED", _ADDRESS, fields={"billing": _ADDRESS})
    return Unavailable("TAX_NOT_CALCULATED", _NOT_SET_UP if refused.code.startswith("tax_settings") else _REFUSED)
