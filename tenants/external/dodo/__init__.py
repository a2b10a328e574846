"""Dodo Payments as an external billing system, through its official SDK."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from billing.external.port import DelegatedCall, ExternalAnswer, Noun
from billing.imports import Counts
from billing.model.imported_records import Record
from core.outgoing import Outgoing
from tenants.external.dodo import client as dodo_client
from tenants.external.dodo import webhooks
from tenants.external.dodo.client import call
from tenants.external.dodo.operations import VERBS
from tenants.external.dodo.operations import plan as in_parameters
from tenants.external.dodo.resources import FETCH, RESOURCES, plain
from tenants.external.system import SIZE, AccountPage, Created, Hint, Json, Progress, Resource
from tenants.imports.shapes import record

if TYPE_CHECKING:
    from tenants.external.account import Reach
    from tenants.external.reader import AccountReader

HOSTS = {"live": "https://live.dodopayments.com", "test": "https://test.dodopayments.com"}
OVERLAP = timedelta(minutes=5)  # tolerates clock differences
_LINK = re.compile(r"https?://[\x21-\x7e]{1,2000}")


class DodoBilling:
    name, title, has_events = "dodo", "Dodo Payments", False
    variables = ("DODO_PAYMENTS_API_KEY", "DODO_PAYMENTS_WEBHOOK_KEY")
    resources: Sequence[Resource] = RESOURCES
    readable = frozenset(FETCH)

    def address(self, mode: str) -> str:
        return HOSTS[mode]

    def open(self, outgoing: Outgoing, reach: Reach, *, timeout: float = 30.0, retries: int = 0) -> Any:
        return dodo_client.client(outgoing, reach, timeout=timeout, retries=retries)

    def page(self, api: Any, resource: Any, cursor: str | None, created: Created) -> AccountPage:
        number = int(cursor or 0)
        filters: dict[str, Any] = {"page_number": number, "page_size": SIZE}
        filters |= {"created_at_gte": created.since - OVERLAP} if created.since else {}
        filters |= {"created_at_lte": created.until} if created.until else {}
        items = call(lambda: resource.page(api, **filters)).items
        found = list(items) if isinstance(items, list | tuple) else []
        return AccountPage(found, str(number + 1) if len(found) >= SIZE else None)

    def records(self, reader: AccountReader, resource: Any, items: Sequence[Any]) -> list[Record]:
        from tenants.external.dodo import account_lists

        return account_lists.records(reader, resource, items)

    def fetch(self, api: Any, kind: str, id: str) -> Json:
        return plain(call(lambda: FETCH[kind](api, id)))

    def translate(self, reader: AccountReader, kind: str, data: Any) -> list[Record]:
        return [record(kind, data)]

    def learn(self, reader: AccountReader, kind: str, noun: str) -> None:
        """Store one object, for a payment with its subscription, whose dates it may have moved."""
        found = reader.read_record(kind, noun)
        if found is None:
            return
        more = []
        if kind == "payment" and found.values["subscription_id"]:
            renewed = reader.read_record("subscription", found.values["subscription_id"])
            more = [renewed] if renewed else []
        reader.keep([*more, found])

    def finish(self, reader: AccountReader, report: Progress) -> Counts:
        from tenants.external.dodo import account_lists

        return account_lists.methods(reader, report)

    def verify(self, secret: str, headers: Mapping[str, str], body: bytes) -> Hint:
        return webhooks.verify(secret, headers, body)

    def events(self, api: Any, since: datetime, cursor: str | None) -> tuple[list[Hint], str | None]:
        return [], None  # it keeps no such list; a pull shows what was missed

    def subscribe(self, api: Any, url: str) -> str:
        """Subscribe to the account's webhooks. An existing subscription is reused."""
        known = call(lambda: api.webhooks.list(limit=100)).data
        found = next((item.id for item in known if item.url == url and not item.disabled), None)
        found = found or call(lambda: api.webhooks.create(url=url, description="Customer portal")).id
        return str(call(lambda: api.webhooks.retrieve_secret(found)).secret)

    def check(self, api: Any, key: str, mode: str) -> str:
        call(lambda: api.customers.list(page_size=1))
        return ""

    def send(self, api: Any, act: DelegatedCall) -> ExternalAnswer:
        answer = call(lambda: VERBS[act.verb](api.subscriptions, act))
        link = getattr(answer, "payment_link", None)
        return ExternalAnswer("done", link=link if isinstance(link, str) and _LINK.fullmatch(link) else None)

    def preview(self, api: Any, subscription_id: str, plan: Mapping[str, Any]) -> Json:
        return plain(call(lambda: api.subscriptions.preview_change_plan(subscription_id, **in_parameters(plan))))

    def document(self, api: Any, noun: Noun, id: str) -> Any:
        get = getattr(api.invoices.payments, "retrieve" if noun == "payments" else "retrieve_refund")
        return call(lambda: get(id).read())
