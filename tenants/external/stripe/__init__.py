"""Stripe Billing as an external billing system, through Stripe's official SDK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from billing.external.port import DelegatedCall, ExternalAnswer, Noun
from billing.imports import Counts
from billing.model.imported_records import Record
from core.outgoing import Outgoing
from tenants.external.stripe import connection, webhooks
from tenants.external.stripe.resources import READABLE, RESOURCES
from tenants.external.stripe.values import child
from tenants.external.system import SIZE, AccountPage, Created, Hint, Json, Progress, Resource, reference_of

if TYPE_CHECKING:
    from tenants.external.account import Reach
    from tenants.external.reader import AccountReader

OVERLAP = 300  # seconds; tolerates clock differences


class StripeBilling:
    name, title, has_events = "stripe", "Stripe Billing", True
    variables = ("STRIPE_BILLING_API_KEY", "STRIPE_BILLING_WEBHOOK_SECRET")
    resources: Sequence[Resource] = RESOURCES
    readable = READABLE

    def address(self, mode: str) -> str:
        return "https://api.stripe.com"

    def open(self, outgoing: Outgoing, reach: Reach, *, timeout: float = 30.0, retries: int = 0) -> Any:
        from tenants.external.stripe.client import StripeAccount

        return StripeAccount(outgoing, reach, timeout)

    def page(self, api: Any, resource: Any, cursor: str | None, created: Created) -> AccountPage:
        limits = {"gte": int(created.since.timestamp()) - OVERLAP} if created.since else {}
        limits |= {"lte": int(created.until.timestamp())} if created.until else {}
        more: Json = {"created": limits} if limits else {}
        return _page(api.get(resource.path, limit=SIZE, **more, **_after(cursor), **resource.parameters))

    def records(self, reader: AccountReader, resource: Resource, items: Sequence[Any]) -> list[Record]:
        from tenants.external.stripe import account_lists

        return account_lists.records(reader, resource, items)

    def fetch(self, api: Any, kind: str, id: str) -> Json:
        from tenants.external.stripe import account_lists

        return account_lists.fetch(api, kind, id)

    def translate(self, reader: AccountReader, kind: str, data: Any) -> list[Record]:
        from tenants.external.stripe import account_lists

        return account_lists.translate(reader, kind, data)

    def learn(self, reader: AccountReader, kind: str, noun: str) -> None:
        from tenants.external.stripe import account_lists

        account_lists.learn(reader, kind, noun)

    def finish(self, reader: AccountReader, report: Progress) -> Counts:
        from tenants.external.stripe import account_lists

        return account_lists.close_invoices(reader)

    def verify(self, secret: str, headers: Mapping[str, str], body: bytes) -> Hint:
        return webhooks.verify(secret, headers, body)

    def events(self, api: Any, since: datetime, cursor: str | None) -> tuple[list[Hint], str | None]:
        page = _page(api.get("/v1/events", limit=SIZE, created={"gte": int(since.timestamp())}, **_after(cursor)))
        hints = []
        for item in page.items[:SIZE]:
            try:
                hints.append(webhooks.hint_of(item))
            except (ValueError, RecursionError):  # an event that cannot be read says nothing
                continue
        return hints, page.next

    def subscribe(self, api: Any, url: str) -> str:
        return connection.subscribe(api, url)

    def check(self, api: Any, key: str, mode: str) -> str:
        return connection.check(api, key, mode)

    def send(self, api: Any, act: DelegatedCall) -> ExternalAnswer:
        from tenants.external.stripe import operations

        return operations.send(api, act)

    def preview(self, api: Any, subscription_id: str, plan: Mapping[str, Any]) -> Json:
        from tenants.external.stripe import plan_changes

        return plan_changes.preview(api, subscription_id, plan)

    def document(self, api: Any, noun: Noun, id: str) -> bytes | None:
        """Return the PDF of an invoice. Stripe has no document of a refund, and of a charge without an invoice."""
        if noun == "refunds" or (noun == "payments" and not id.startswith("pi_")):
            return None
        found = self.fetch(api, "invoice", id) if noun == "invoices" else child(self.fetch(api, "payment", id), "invoice")
        url = child(found, "invoice_pdf")
        return api.download(url) if isinstance(url, str) else None


def _after(cursor: str | None) -> Json:
    return {"starting_after": cursor} if cursor else {}


def _page(answer: Json) -> AccountPage:
    items = answer.get("data")
    found = items if isinstance(items, list) else []
    last = reference_of("id", found[-1]) if found and isinstance(found[-1], dict) else None
    return AccountPage(found, last if answer.get("has_more") is True else None)
