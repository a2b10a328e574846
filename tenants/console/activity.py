"""Activity: the changes in a business, filtered by actor, type or customer."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import render_template, request
from flask.typing import ResponseReturnValue
from flask_babel import lazy_gettext as _l

from core.links import here
from core.request_context import db
from portal import cursor
from portal.event_sentences import SENTENCES
from tenants import activity as query
from tenants.console.access import bp, needs
from tenants.console.event_sentences import describe

PAGE = 50
ACTORS = {"staff": _l("Team"), "customer": _l("Customers"), "api_key": _l("API keys"), "system": _l("System")}
KINDS = {
    "customers": (_l("Customers"), ("customer.", "customers.", "profile.", "portal_session.", "portal_link.", "payment_method.")),
    "subscriptions": (_l("Subscriptions"), ("subscription.", "dunning.")),
    "money": (_l("Payments"), ("invoice.", "payment.", "refund.", "money.", "discount.")),
    "catalogue": (_l("Catalogue"), ("product.", "addon.", "collection.", "picture.", "license_key.")),
    "business": (_l("Business"), ("business.", "team.", "api_key.", "webhook_endpoint.", "provider.")),
}
"""Name in the address → (label, prefixes of event types)."""


@bp.get("/<business_id>/activity")
@needs("activity.read")
def activity() -> ResponseReturnValue:
    args = {name: request.args.get(name, "")[:100] for name in ("actor", "kind", "customer", "by")}
    kept = {
        "actor": args["actor"] if args["actor"] in ACTORS else "",
        "kind": args["kind"] if args["kind"] in KINDS else "",
        "customer": args["customer"],
        "by": args["by"],
    }
    found = query.entries(
        db(replica=True),
        customer_id=kept["customer"],
        actor=kept["actor"],
        actor_id=kept["by"],
        types=types_of(kept["kind"]),
        before=cursor.read(request.args.get("before")),
        limit=PAGE + 1,
    )
    base = here("console.activity")
    narrowed = {name: value for name, value in kept.items() if value}
    older = f"{base}?{urlencode({**narrowed, 'before': cursor.write(found[PAGE - 1].at, found[PAGE - 1].id)})}" if len(found) > PAGE else ""
    newest = f"{base}?{urlencode(narrowed)}" if request.args.get("before") else ""
    return render_template(
        "tenants/console/activity.html",
        entries=describe(found[:PAGE]),
        base=base,
        older=older,
        newest=newest,
        values=kept,
        is_narrowed=bool(narrowed),
        about=next((item.customer for item in found if item.customer_id == kept["customer"]), ""),
        actors=list(ACTORS.items()),
        kinds=[(name, words) for name, (words, _beginnings) in KINDS.items()],
        customers_url=here("console.customers"),
    )


def types_of(kind: str) -> tuple[str, ...]:
    """Return the event types of a kind. An empty kind gives an empty tuple, which means no filter."""
    if not kind:
        return ()
    return tuple(type for type in SENTENCES if type.startswith(KINDS[kind][1]))
