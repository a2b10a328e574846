"""Licence keys: masked in lists, whole inside a closed <details>, so that reading one is the reader's own act and no request."""

from __future__ import annotations

from flask import flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from billing.commands import licensing
from billing.queries import held_keys
from core.web import db, here
from portal import bp, cursor
from portal.looking import looking
from portal.standing import businesses, is_several, open_account

PAGE = 50


@bp.get("/license-keys")
def license_keys() -> ResponseReturnValue:
    rows = held_keys.keys(db(replica=True), before=cursor.read(request.args.get("before")), limit=PAGE + 1)
    older = cursor.write(rows[PAGE - 1].created_at, rows[PAGE - 1].id) if len(rows) > PAGE else None
    return render_template(
        "portal/license_keys.html", rows=veiled(rows[:PAGE]), older=older, businesses=businesses(), several=is_several(), masked=masked
    )


@bp.post("/license-keys/<key_id>/instances/<instance_id>/release")
def free_instance(key_id: str, instance_id: str) -> ResponseReturnValue:
    """Give a place of use back; the key itself stays as it is."""
    open_account(licensing.deactivate(db(), key_id, instance_id).business_id)
    flash(_("The place is free again. The key stays the same."), "good")
    return redirect(here("license_keys"), 303)


def veiled(rows: list[held_keys.KeyRow]) -> list[held_keys.KeyRow]:
    """The keys, shortened where somebody of the business looks."""
    if looking() is not None:
        for one in rows:
            one.key = masked(one.key)
    return rows


def masked(key: str) -> str:
    """KILN-7Q4M-••••-R2XD: the last but one group hidden; a key without groups keeps its first and last four."""
    groups = key.split("-")
    if len(groups) >= 3:
        middle = ["••••" for _ in groups[2:-1]] or ["••••"]
        return "-".join([*groups[: 2 if len(groups) > 3 else 1], *middle, groups[-1]])
    return f"{key[:4]}••••{key[-4:]}" if len(key) > 12 else f"{key[:2]}••••"
