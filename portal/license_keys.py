"""License keys: masked in lists, complete inside a closed <details> element, which needs no further request."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.licenses import activations
from billing.licenses import queries as license_queries
from core.links import here
from core.request_context import db
from portal import bp, cursor
from portal.impersonation import current_impersonation
from portal.request_accounts import businesses, is_several, open_account

PAGE = 50


@bp.get("/license-keys")
def license_keys() -> ResponseReturnValue:
    rows = license_queries.keys(db(replica=True), before=cursor.read(request.args.get("before")), limit=PAGE + 1)
    older = cursor.write(rows[PAGE - 1].created_at, rows[PAGE - 1].id) if len(rows) > PAGE else None
    return render_template(
        "portal/license_keys.html",
        rows=mask_when_impersonated(rows[:PAGE]),
        older=older,
        businesses=businesses(),
        several=is_several(),
        masked=mask_key,
    )


@bp.post("/license-keys/<key_id>/instances/<instance_id>/release")
def free_instance(key_id: str, instance_id: str) -> ResponseReturnValue:
    """Deactivate an activation. The key stays the same."""
    open_account(activations.deactivate(db(), key_id, instance_id).business_id)
    flash(_("Activation removed. The key stays the same."), "good")
    return redirect(here("license_keys"), 303)


def mask_when_impersonated(rows: list[license_queries.KeyRow]) -> list[license_queries.KeyRow]:
    """Return the rows, with masked keys while staff view the portal as the customer."""
    if current_impersonation() is not None:
        for row in rows:
            row.key = mask_key(row.key)
    return rows


def mask_key(key: str) -> str:
    """Return the key with its middle hidden, such as KILN-7Q4M-••••-R2XD.

    A key without groups keeps its first and last four characters.
    """
    groups = key.split("-")
    if len(groups) >= 3:
        middle = ["••••" for _ in groups[2:-1]] or ["••••"]
        return "-".join([*groups[: 2 if len(groups) > 3 else 1], *middle, groups[-1]])
    return f"{key[:4]}••••{key[-4:]}" if len(key) > 12 else f"{key[:2]}••••"
