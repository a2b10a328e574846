"""Licence keys: masked in lists, whole inside a closed <details>, so that reading one is the reader's own act and no request."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from billing.queries import held_keys
from core.web import db
from portal import bp, cursor
from portal.standing import businesses, is_several

PAGE = 50


@bp.get("/license-keys")
def license_keys() -> ResponseReturnValue:
    rows = held_keys.keys(db(replica=True), before=cursor.read(request.args.get("before")), limit=PAGE + 1)
    older = cursor.write(rows[PAGE - 1].created_at, rows[PAGE - 1].id) if len(rows) > PAGE else None
    return render_template(
        "portal/license_keys.html", rows=rows[:PAGE], older=older, businesses=businesses(), several=is_several(), masked=masked
    )


def masked(key: str) -> str:
    """KILN-7Q4M-••••-R2XD: the last but one group hidden; a key without groups keeps its first and last four."""
    groups = key.split("-")
    if len(groups) >= 3:
        middle = ["••••" for _ in groups[2:-1]] or ["••••"]
        return "-".join([*groups[: 2 if len(groups) > 3 else 1], *middle, groups[-1]])
    return f"{key[:4]}••••{key[-4:]}" if len(key) > 12 else f"{key[:2]}••••"
