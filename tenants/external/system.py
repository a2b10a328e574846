"""What an external billing system brings: its lists, its way to read a page or one object, its webhooks and its actions.

The reader, the pull, the webhooks' door, the lanes, the console and the commands are shared. Each system is a package beside this module.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog

from billing.external.port import DelegatedCall, ExternalAnswer, Noun
from billing.imports import Counts
from billing.model.imported_records import Record
from core.outgoing import Outgoing

if TYPE_CHECKING:
    from tenants.external.account import Reach
    from tenants.external.reader import AccountReader

log = structlog.get_logger()

SIZE = 100  # rows per page, the maximum of each API
MAX_PAGES = 50_000  # per list, against accounts whose list never ends
REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
"""An external id that is safe as a part of a path."""
MAX_WAIT = 900.0  # seconds that Retry-After may request
TRIES = 8

Json = dict[str, Any]
Found = TypeVar("Found")
Progress = Callable[[str, int], None]
"""Called with the name of the resource and the number of rows read so far."""


class CallFailed(Exception):
    """The account refused a request, or did not answer.

    `status`: of the answer, 0 without one. `message`: the account's own text. `retry_after`: seconds that it asks to wait.
    """

    def __init__(self, status: int, message: str, *, retry_after: float = 0.0, no_answer: str = "") -> None:
        self.status, self.message, self.retry_after = status, message, retry_after
        self.reason = f"{status}: {message or 'no message'}" if status else no_answer or "no answer"
        """The failure in one line: `503: Busy.`, `no answer in time`."""
        super().__init__(self.reason)

    @property
    def is_temporary(self) -> bool:
        return self.status == 0 or self.status >= 500 or self.status in (408, 425, 429)


class ObjectMissing(CallFailed):
    """The account has no such object."""


@dataclass(frozen=True)
class Resource:
    """A list of an account. `kind`: of its records. `dated`: the list can be filtered by creation time."""

    name: str
    kind: str
    dated: bool = False


@dataclass(frozen=True)
class AccountPage:
    """A page of a list. `next`: the cursor of the next page; None at the end."""

    items: list[Any]
    next: str | None


@dataclass(frozen=True)
class Created:
    """Limits of the creation time of the listed objects."""

    until: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True)
class Hint:
    """A verified webhook: its id, its type, and the object that it is about. `kind` is empty for types that are not read."""

    id: str
    type: str
    kind: str = ""
    noun: str = ""


class BillingSystem(Protocol):
    """One system. `name` is `collected_by` of its subscriptions. `readable`: the kinds that can be read one by one.

    `variables`: the environment variables of the command that have the account's key and the secret of its webhooks.
    """

    name: str
    title: str
    variables: tuple[str, str]
    resources: Sequence[Resource]
    readable: frozenset[str]
    has_events: bool
    """Whether the account keeps a list of its events, which shows what happened while no webhook arrived."""

    def address(self, mode: str) -> str:
        """Return the base URL of the system's API in this mode (test, live)."""
        ...

    def open(self, outgoing: Outgoing, reach: Reach, *, timeout: float = 30.0, retries: int = 0) -> Any:
        """Return the client that the other methods get as `reader.api` or `api`."""
        ...

    def page(self, api: Any, resource: Resource, cursor: str | None, created: Created) -> AccountPage:
        """Read one page. Raises CallFailed, or an error of UNREADABLE."""
        ...

    def records(self, reader: AccountReader, resource: Resource, items: Sequence[Any]) -> list[Record]:
        """Return a page of a list as records."""
        ...

    def fetch(self, api: Any, kind: str, id: str) -> Any:
        """Read one object. Raises CallFailed."""
        ...

    def translate(self, reader: AccountReader, kind: str, data: Any) -> list[Record]:
        """Return an object as records, those that it refers to first. Raises Invalid, or an error of UNREADABLE."""
        ...

    def learn(self, reader: AccountReader, kind: str, noun: str) -> None:
        """Read and store the object that a webhook was about, with what may have changed with it."""
        ...

    def finish(self, reader: AccountReader, report: Progress) -> Counts:
        """Read what no list returns, at the end of a pull."""
        ...

    def verify(self, secret: str, headers: Mapping[str, str], body: bytes) -> Hint:
        """Return what a webhook is about. Raises Unauthorized for a bad signature, BadRequest for an event that is not valid."""
        ...

    def events(self, api: Any, since: datetime, cursor: str | None) -> tuple[list[Hint], str | None]:
        """Return a page of the account's events since then, newest first, and the cursor of the next page. Raises CallFailed."""
        ...

    def subscribe(self, api: Any, url: str) -> str:
        """Have webhooks sent to `url`. Returns their secret. Raises CallFailed."""
        ...

    def check(self, api: Any, key: str, mode: str) -> str:
        """Check that the key is accepted, and of this mode. Returns the account's own id, or "" without one. Raises CallFailed, Invalid."""
        ...

    def send(self, api: Any, act: DelegatedCall) -> ExternalAnswer:
        """Carry out an action, with the ids of the account. Raises CallFailed."""
        ...

    def preview(self, api: Any, subscription_id: str, plan: Mapping[str, Any]) -> Json:
        """Return the cost of a plan change. Raises CallFailed, or an error of UNREADABLE."""
        ...

    def document(self, api: Any, noun: Noun, id: str) -> Any:
        """Return the PDF of a payment's invoice, of an unpaid invoice or of a refund; None if the system has none. Raises CallFailed."""
        ...


def with_retries(call: Callable[[], Found], sleep: Callable[[float], None] = time.sleep) -> Found:
    """Retry while the account is busy or unreachable: after its Retry-After, else with exponential backoff.

    Raises CallFailed if a retry cannot help, and after the last try.
    """
    for tried in range(1, TRIES + 1):
        try:
            return call()
        except CallFailed as failed:
            if not failed.is_temporary or tried == TRIES:
                raise
            pause = failed.retry_after or 2.0**tried
        log.info("external account retry scheduled", seconds=pause)
        sleep(min(pause, MAX_WAIT))
    raise AssertionError("unreachable")


def retry_after(header: str | None) -> float:
    """Return the seconds of a Retry-After header; 0 without one."""
    try:
        return max(float(header or 0), 0.0)
    except ValueError:
        return 60.0  # a date, which is rarely sent


def reference_of(id_field: str, item: Json) -> str | None:
    """Return the external id of a listed object; None if it is not valid."""
    found = item.get(id_field)
    return found if isinstance(found, str) and REFERENCE.fullmatch(found) else None
