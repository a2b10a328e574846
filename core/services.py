"""The shared objects of one application, created and connected in `wsgi.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from core.lifecycle import Lifecycle

if TYPE_CHECKING:
    from core.db import Database, ScopedSession
    from core.handlers import Handlers
    from core.mail import Mailer
    from core.metrics.snapshot import Snapshot
    from core.outgoing import Outgoing
    from core.settings import Settings
    from core.worker import Worker


class Documents(Protocol):
    """Return a document as PDF bytes and its number. `billing.documents.store` implements it."""

    systems: Mapping[str, Any]

    def invoice_pdf(self, db: ScopedSession, invoice_id: str, /) -> tuple[bytes, str]: ...
    def correction_pdf(self, db: ScopedSession, correction_id: str, /) -> tuple[bytes, str]: ...
    def refund_pdf(self, db: ScopedSession, refund_id: str, /) -> tuple[bytes, str]: ...


_UNSET: Any = None  # tests that need only the database leave the other services unset


@dataclass
class Services:
    """`core` cannot import the packages above it, so their objects have a Protocol or `Any` as their type."""

    settings: Settings
    database: Database
    gateway: Any = None  # the sandbox, None where PORTAL_GATEWAY=none
    worker: Worker = _UNSET
    processor: Any = None  # billing.charging.payment_processor.PaymentProcessor
    handlers: Handlers = _UNSET
    mailer: Mailer = _UNSET
    documents: Documents = _UNSET
    forwarder: Any = None  # billing.external.dispatch.ActionDispatcher
    outgoing: Outgoing = _UNSET
    leave_teams: Callable[[ScopedSession, str, list[str]], None] = _UNSET  # end memberships when an account closes
    only_owner_of: Callable[[Any], list[str]] = _UNSET  # visit → names of the businesses without another owner
    domain_of: Callable[[str], Any] = _UNSET  # host name → the verified domain of a business, or None
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    metrics: Snapshot = _UNSET
