"""Sales → Customers: search, the page of one customer, adding and editing customers."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.customers import queries as query
from billing.customers.customer_type import check_type
from billing.customers.customers import clean_company, clean_name, create_customer, update_customer
from billing.customers.profile import clean_phone
from billing.history.disputes import disputes_of_customer
from billing.model.email_address import clean_address
from billing.model.parties import Customer
from core import dispute_words, i18n
from core.errors import N_, Conflict, Invalid
from core.languages import among
from core.links import exists_here, here
from core.request_context import db
from portal.license_keys import mask_key
from portal.phrases import interval, type_choices, type_words
from tenants import activity
from tenants.console.access import bp, current_member, needs
from tenants.console.event_sentences import describe
from tenants.console.lists import list_query

FIELDS = ("name", "email", "phone", "language", "business_name", "tax_id", "customer_type")


@bp.get("/<business_id>/sales/customers")
@needs("customers.read")
def customers() -> ResponseReturnValue:
    wanted, base = list_query(), here("console.customers")
    found = query.lines(db(replica=True), wanted.text, before=wanted.before, limit=26)
    rows, newest, older = wanted.cut(base, found, lambda item: (item.created_at, item.customer_id))
    return render_template("tenants/console/customers.html", rows=rows, newest=newest, older=older, query=wanted, base=base)


@bp.get("/<business_id>/sales/customers/new")
@needs("customers.write")
def new_customer() -> ResponseReturnValue:
    return _form(None, {}, {})


@bp.post("/<business_id>/sales/customers")
@needs("customers.write")
def add_customer() -> ResponseReturnValue:
    typed = _typed()
    try:
        row = create_customer(db(), current_member().business_id, **_checked(typed))
    except Invalid as wrong:
        return _form(None, typed, wrong.fields), 422
    flash(_("%(name)s is added. No email was sent.", name=row.name), "good")
    return redirect(f"{here('console.customers')}/{row.customer_id}", 303)


@bp.get("/<business_id>/sales/customers/<customer_id>")
@needs("customers.read")
def customer(customer_id: str) -> ResponseReturnValue:
    row, base = query.get_customer(db(), customer_id), here("console.customers")
    held = query.keys(db(), customer_id)
    return render_template(
        "tenants/console/customer.html",
        customer=row,
        loaded=query.loaded_from(db(), customer_id),
        base=base,
        url=f"{base}/{customer_id}",
        interval=interval,
        type_words=type_words(row),
        masked=mask_key,
        keys=held,
        subscriptions=query.subscriptions(db(), customer_id),
        payments=query.payments(db(), customer_id),
        totals=query.totals(db(), customer_id),
        disputes=disputes_of_customer(db(), customer_id) if current_member().may("money.read") else [],
        disputes_url=here("console.disputes"),
        reason=dispute_words.reason,
        entries=describe(activity.entries(db(), customer_id=customer_id, limit=12)),
        subscriptions_url=here("console.subscriptions") if exists_here("console.subscription") else "",
        payments_url=here("console.payments") if exists_here("console.payment") else "",
        activity_url=here("console.activity") + f"?customer={customer_id}",
    )


@bp.get("/<business_id>/sales/customers/<customer_id>/details")
@needs("customers.write")
def customer_details(customer_id: str) -> ResponseReturnValue:
    row = query.get_customer(db(), customer_id)
    return _form(
        row,
        {
            "name": row.name,
            "email": row.email,
            "phone": row.phone or "",
            "language": row.locale or "",
            "business_name": row.business_name or "",
            "tax_id": row.tax_id or "",
            "customer_type": row.customer_type or "",
        },
        {},
    )


@bp.post("/<business_id>/sales/customers/<customer_id>/details")
@needs("customers.write")
def change_customer(customer_id: str) -> ResponseReturnValue:
    """Save a customer's details. An email reports a changed address to the old one (safety 3.3)."""
    row, typed = query.get_customer(db(), customer_id), _typed()
    try:
        given = _checked(typed, row.locale, (row.billing or {}).get("country"))
    except Invalid as wrong:
        return _form(row, typed, wrong.fields), 422
    if "customer_type" not in request.form:  # the form has no such field if the customer chose
        del given["customer_type"]
    changed = {name: value for name, value in given.items() if value != getattr(row, name)}
    old = row.email
    try:
        update_customer(db(), row, **changed)
    except Conflict as refused:
        return _form(row, typed, {"customer_type": refused.sentence}), 409
    if "email" in changed:
        flash(_("Saved. We email %(address)s that the address was changed.", address=old), "good")
    else:
        flash(_("Saved."), "good")
    return redirect(f"{here('console.customers')}/{customer_id}", 303)


def _typed() -> dict[str, str]:
    return {name: request.form.get(name, "").strip()[:400] for name in FIELDS}


def _checked(typed: dict[str, str], kept: str | None = None, country: str | None = None) -> dict[str, Any]:
    """Validate all fields and return the values to store.

    `kept`: a language that is allowed although the business no longer offers it. `country`: its rules apply to the tax number.
    Raises Invalid with all errors (fields as FIELDS).
    """
    wrong: dict[str, str] = {}
    out: dict[str, Any] = {"locale": typed["language"] or None}
    for name, check in (("name", clean_name), ("email", lambda text: clean_address(text)[0]), ("phone", clean_phone)):
        try:
            out[name] = check(typed[name])
        except Invalid as problem:
            wrong |= problem.fields
    try:
        out["business_name"], out["tax_id"] = clean_company(typed["business_name"], typed["tax_id"], country)
    except Invalid as problem:
        wrong |= problem.fields
    try:
        check_type(typed["customer_type"])
        out["customer_type"] = typed["customer_type"] or None
    except Invalid as problem:
        wrong |= problem.fields
    if out["locale"] not in (None, kept, *among(current_member().profile.languages)):
        wrong["language"] = N_("Choose a language from the list.")
    if wrong:
        raise Invalid(fields=wrong)
    return out


def _form(row: Customer | None, typed: dict[str, str], errors: dict[str, str]) -> str:
    base = here("console.customers")
    names = dict.fromkeys(
        name for name in (*among(current_member().profile.languages), row.locale if row else None) if name and i18n.known(name)
    )
    return render_template(
        "tenants/console/customer_form.html",
        customer=row,
        values=typed,
        errors={name: _(words) for name, words in errors.items()},
        base=base,
        url=f"{base}/{row.customer_id}" if row else base,
        customer_types=type_choices(),
        languages_offered=[("", _("Browser default")), *((name, i18n.own_name(name.replace("-", "_"))) for name in names)],
    )
