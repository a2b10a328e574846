"""Billing details of a customer at Stripe: name, company, address and tax numbers. All subscriptions of the customer share them.

Stripe prints `name` on invoices. So a company is stored there as well as in `business_name`, and the person in `individual_name`.
Of several tax numbers, the portal shows one; a change replaces that one and leaves the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from stdnum.ch import vat as swiss

from billing.external.details import PREFIXES, has_number, plain_number, shown_details
from billing.external.port import DelegatedCall
from core.errors import N_
from tenants.external.stripe.values import address, child, children, first_text, id_of
from tenants.external.system import CallFailed, Json, ObjectMissing

CHANGED = N_("The billing details have changed since you opened them. Review them and save again.")
NO_KIND = N_("The billing system has no kind of tax number for this country. Contact the business.")

TOO_LONG = N_("The billing system takes names of at most 150 characters.")
MOST_CHARACTERS, LONGEST = 150, 100
"""Of a name, and of a tax number that is read."""

_KINDS = {
    kind[:2].upper(): kind
    for kind in (
        "ad_nrt ae_trn al_tin am_tin ao_tin ar_cuit au_abn aw_tin az_tin ba_tin bb_tin bd_bin bf_ifu bh_vat bj_ifu bo_tin bs_tin by_tin"
        " ca_bn cd_nif ch_vat cl_tin cm_niu cn_tin co_nit cr_tin cv_nif do_rcn ec_ruc eg_tin et_tin fo_vat gb_vat ge_vat gi_tin gn_nif"
        " hk_br id_npwp il_vat in_gst is_vat ke_pin kg_tin kh_tin kr_brn kz_bin la_tin li_vat lk_vat ma_vat md_vat me_pib mk_vat mr_nif"
        " mx_rfc my_sst ng_tin no_vat np_pan nz_gst om_vat pe_ruc ph_tin py_ruc rs_pib ru_inn sa_vat sg_gst sn_ninea sr_fin sv_nit th_vat"
        " tj_tin tr_tin tw_vat tz_vat ua_vat ug_tin us_ein uy_ruc uz_vat ve_rif vn_tin za_vat zm_tin zw_tin"
    ).split()
}
"""The kind of a business's tax number per country, of those that Stripe has. https://docs.stripe.com/billing/customer/tax-ids"""


def name_of(buyer: Json) -> str:
    """Return the name of the person. `name` is the company's where the company was stored as well."""
    name, company = buyer.get("name"), buyer.get("business_name")
    person = buyer.get("individual_name") if company and name == company else None
    return " ".join(first_text(person, name, buyer.get("email")).split())[:200]


def details_of(buyer: Any) -> Json:
    """Return the billing details of an expanded customer, in the shape of the import. `tax_ids`: all numbers, to compare."""
    if not isinstance(buyer, dict):
        return {"billing": {}, "name": "", "business_name": None, "tax_id": None, "tax_ids": []}
    numbers, company = _numbers(buyer), first_text(buyer.get("business_name"))[:250] or None
    return {
        "billing": address(buyer.get("address")), "name": name_of(buyer), "business_name": company,
        "tax_id": numbers[0]["value"] if numbers else None, "tax_ids": [item["value"] for item in numbers],
    }  # fmt: skip


def _numbers(buyer: Json) -> list[Json]:
    """Return the tax numbers, the one that is shown first: one of the address's country, else the newest."""
    country = child(buyer, "address", "country")
    found = [item for item in children(buyer, "tax_ids") if plain_number(first_text(item.get("value"))) and len(item["value"]) <= LONGEST]
    return sorted(found, key=lambda item: (_country(item) != country, -_created(item), str(item.get("id"))))


def _country(item: Json) -> str | None:
    kind = item.get("type")
    named = item.get("country") or (kind[:2].upper() if isinstance(kind, str) and not kind.startswith("eu_") else item["value"][:2])
    return "GR" if named == "EL" else named if isinstance(named, str) else None


def _created(item: Json) -> int:
    created = item.get("created")
    return created if isinstance(created, int) else 0


def edit(api: Any, act: DelegatedCall) -> None:
    """Change the details of the subscription's customer. Raises CallFailed, with a sentence if they changed since they were shown.

    The new tax number is created first, because Stripe is most likely to refuse that. If Stripe then refuses the rest, the number is
    removed again. The old number is removed last, so there is always one. Every step can be repeated.
    """
    customer_id = id_of(api.get(f"/v1/subscriptions/{act.subscription_id}").get("customer"))
    if customer_id is None:
        raise CallFailed(400, "The subscription has no customer.")
    path, wanted = f"/v1/customers/{customer_id}", act.parameters
    if max(len(wanted["name"]), len(wanted["business_name"] or "")) > MOST_CHARACTERS:
        raise CallFailed(400, TOO_LONG)
    buyer = api.get(path, expand=["tax_ids"])
    _refuse_changed(details_of(buyer), wanted)
    number, numbers, made = wanted["tax_id"], _numbers(buyer), None
    if number and not has_number((item["value"] for item in numbers), number):
        made = api.post(f"{path}/tax_ids", key=f"{act.key}/tax_id", **_tax_id(number, wanted["billing"]["country"]))
    fields = _fields(wanted)
    try:
        if not _is_stored(buyer, fields):  # Stripe repeats a stored error for a day, also if the call was carried out
            api.post(path, key=act.key, **fields)
    except CallFailed as failed:
        if made is not None and not failed.is_temporary:
            _remove(api, path, made)
        raise
    replaced = wanted["before"]["tax_id"]
    for item in numbers:
        if has_number([item["value"]], replaced) and not has_number([item["value"]], number):
            _remove(api, path, item)


def _refuse_changed(there: Json, wanted: Mapping[str, Any]) -> None:
    """Raise CallFailed if a detail is neither as it was shown nor as it is requested, so that nobody's change is overwritten unseen."""
    after, now = (
        shown_details({**item["billing"], **{name: item[name] for name in ("name", "business_name")}}) for item in (wanted, there)
    )
    before, numbers = wanted["before"], there["tax_ids"]
    is_as_shown = has_number(numbers, before["tax_id"]) or has_number(numbers, wanted["tax_id"])
    if not is_as_shown and (numbers or (before["tax_id"] and wanted["tax_id"])):
        raise CallFailed(400, CHANGED)
    if any(now[name] not in (before[name], after[name]) for name in now):
        raise CallFailed(400, CHANGED)


def _fields(wanted: Mapping[str, Any]) -> Json:
    parts, company = wanted["billing"], wanted["business_name"]
    return {
        "name": company or wanted["name"], "individual_name": wanted["name"] if company else "", "business_name": company or "",
        "address": {
            "line1": parts["street"], "line2": "", "city": parts["city"], "state": parts["state"], "postal_code": parts["zipcode"],
            "country": parts["country"],
        },
    }  # fmt: skip


def _is_stored(buyer: Json, fields: Json) -> bool:
    parts = fields["address"]
    is_same = all((buyer.get(name) or "") == value for name, value in fields.items() if name != "address")
    return is_same and all((child(buyer, "address", name) or "") == value for name, value in parts.items())


def _tax_id(number: str, country: str) -> Json:
    """Return a tax number as Stripe writes it. Raises CallFailed for a country without one at Stripe."""
    plain, prefix = plain_number(number), "EL" if country == "GR" else country
    if prefix in PREFIXES:
        return {"type": "gb_vat" if country == "GB" else "eu_vat", "value": prefix + plain.removeprefix(prefix)}
    if country not in _KINDS:
        raise CallFailed(400, NO_KIND)
    if country == "CH" and re.fullmatch(r"(CHE)?\d{9}(MWST|TVA|IVA|TPV)", plain):
        number = swiss.format(f"CHE{plain.removeprefix('CHE')}")
    return {"type": _KINDS[country], "value": number}


def _remove(api: Any, path: str, item: Json) -> None:
    try:
        api.delete(f"{path}/tax_ids/{item['id']}")
    except ObjectMissing:
        return
