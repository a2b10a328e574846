"""Sends due deliveries, with one thread per endpoint, so that a slow endpoint does not delay others.

An endpoint is claimed under a lease. Its deliveries are rendered, sent and recorded a few at a time, without an open transaction during
network calls. If a worker dies, its deliveries stay due and are sent again under the same message id.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import or_, select

from core import clock, recurring_jobs
from core.db import ScopedSession
from core.outgoing import HostUnreachable, RequestRefused
from core.scope import everything, system
from core.services import Services
from tenants.webhooks import secrets as webhook_secrets
from tenants.webhooks.models import Delivery, Endpoint
from tenants.webhooks.outcomes import AttemptOutcome, record
from tenants.webhooks.payloads import payload
from tenants.webhooks.signing import signed
from tenants.webhooks.thread_pool import run_parallel

log = structlog.get_logger()

LEASE = timedelta(seconds=120)
TIMEOUT = 15.0  # seconds for the whole answer
TURN = 20.0  # seconds that an endpoint is served before others get a turn
SLOTS = 24  # endpoints at once; at most half of them failing
PER_BUSINESS = 8  # endpoints of one business at once
LANES, CHUNK = 4, 8  # concurrent requests to one endpoint; deliveries rendered and recorded together
SEQUENTIAL_CHUNK = 2  # deliveries sent one after the other: few enough to finish within the lease
MAX_RESPONSE = 4096  # bytes of a response that are stored
PAUSE_AFTER_ERROR = timedelta(minutes=1)


@dataclass(frozen=True)
class DeliveryClaim:
    business_id: str
    endpoint_id: str
    fence: int
    failing: bool


@dataclass(frozen=True)
class SignedMessage:
    delivery_id: str
    message_id: str
    body: str


@dataclass(frozen=True)
class DeliveryRequest:
    url: str
    headers: dict[str, str]
    secrets: list[str]
    rate: int | None
    messages: list[SignedMessage]
    gone: list[str]


class Sender:
    def __init__(self, services: Services) -> None:
        self.services = services
        self._wake, self._stop = threading.Event(), threading.Event()
        self._busy: set[DeliveryClaim] = set()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        self._wake.set()

    def start(self) -> None:
        """Start the claiming thread if it does not run. Workers call this in every round."""
        if self._thread is None or not self._thread.is_alive():
            self._stop.clear()
            self._thread = threading.Thread(target=self._run_forever, name="webhooks", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop claiming. Requests that are being sent are completed."""
        self._stop.set()
        self.wake()

    def drain(self) -> int:
        """Send everything that is due in this thread. Return the number of turns of endpoints. For tests and commands."""
        turns = 0
        while claims := self.claim(SLOTS):
            run_parallel(self.serve, claims, SLOTS)
            turns += len(claims)
        return turns

    def claim(self, free: int) -> list[DeliveryClaim]:
        """Claim endpoints with due deliveries: healthy ones first, failing ones in at most half of the slots.

        A business gets at most PER_BUSINESS endpoints; businesses take turns.
        """
        at = clock.wall()
        failing_slots = SLOTS // 2 - sum(item.failing for item in list(self._busy))
        free_now = (
            Endpoint.due_at <= at,
            or_(Endpoint.busy_until.is_(None), Endpoint.busy_until <= at),
            Endpoint.disabled.is_(False),
            Endpoint.removed_at.is_(None),
        )
        with self.services.database.open(everything("endpoints that webhooks are due at")) as db:
            if db.scalar(select(Endpoint.id).where(*free_now).limit(1)) is None:
                return []  # the usual case needs no write lock
            healthy = self._in_turns(db, *free_now, Endpoint.failing_since.is_(None))
            failing = self._in_turns(db, *free_now, Endpoint.failing_since.is_not(None))
        share = Counter(item.business_id for item in list(self._busy))
        claims: list[DeliveryClaim] = []
        with self.services.database.open(everything("claim endpoints to send webhooks to"), write=True) as db:
            for business_id, endpoint_id in (*healthy, *failing):
                if len(claims) == free or share[business_id] == PER_BUSINESS:
                    continue
                endpoint = select(Endpoint).where(Endpoint.business_id == business_id, Endpoint.id == endpoint_id, *free_now)
                row = db.scalar(endpoint.with_for_update(skip_locked=True))
                if row is None or (row.failing_since is not None and failing_slots <= 0):
                    continue  # another worker has it, or enough failing endpoints are being served
                failing_slots -= row.failing_since is not None
                share[business_id] += 1
                row.busy_until, row.fence = at + LEASE, row.fence + 1
                claims.append(DeliveryClaim(business_id, endpoint_id, row.fence, row.failing_since is not None))
            return claims

    def _in_turns(self, db: ScopedSession, *conditions: Any) -> list[tuple[str, str]]:
        """Return (business, endpoint): the longest waiting endpoint of every business, then the second of each."""
        query = select(Endpoint.business_id, Endpoint.id).where(*conditions)
        return [
            (item[0], item[1])
            for item in db.execute(recurring_jobs.in_turns(query, Endpoint.business_id, Endpoint.due_at, Endpoint.id, limit=SLOTS * 2))
        ]

    def serve(self, claim: DeliveryClaim) -> None:
        """Send to one endpoint until nothing is due, its turn is over, or it needs a pause."""
        pause, until = None, time.monotonic() + TURN
        try:
            while pause is None and time.monotonic() < until:
                request = self.load(claim)
                if request is None or not (request.messages or request.gone):
                    break
                outcomes = self.send(request, claim)
                with self.services.database.open(system(claim.business_id), write=True) as db:
                    pause = record(db, claim.endpoint_id, outcomes, request.gone)
        except Exception:
            log.exception("webhook endpoint failed", endpoint=claim.endpoint_id)
            pause = PAUSE_AFTER_ERROR
        finally:
            self._release(claim, pause)

    def load(self, claim: DeliveryClaim) -> DeliveryRequest | None:
        """Return the next deliveries, rendered from the current rows; None if the claim is no longer valid."""
        with self.services.worker.around(), self.services.database.open(system(claim.business_id)) as db:
            endpoint = db.scalar(
                select(Endpoint).where(
                    Endpoint.id == claim.endpoint_id,
                    Endpoint.fence == claim.fence,
                    Endpoint.disabled.is_(False),
                    Endpoint.removed_at.is_(None),
                )
            )
            if endpoint is None:
                return None
            settings = self.services.settings
            due = select(Delivery).where(Delivery.endpoint_id == endpoint.id, Delivery.state == "pending", Delivery.due_at <= clock.wall())
            count = SEQUENTIAL_CHUNK if claim.failing or endpoint.rate_limit else CHUNK
            bodies = [(row, payload(db, row)) for row in db.scalars(due.order_by(Delivery.due_at, Delivery.id).limit(count)).all()]
            messages = [SignedMessage(row.id, row.message_id, _text(body)) for row, body in bodies if body]
            return DeliveryRequest(
                endpoint.url,
                webhook_secrets.headers_of(settings, endpoint),
                webhook_secrets.signing_secrets(settings, endpoint),
                endpoint.rate_limit,
                messages,
                [row.id for row, body in bodies if body is None],
            )

    def send(self, request: DeliveryRequest, claim: DeliveryClaim) -> list[AttemptOutcome]:
        def post_one(message: SignedMessage) -> AttemptOutcome:
            began = time.monotonic()
            outcome = self._post(request, message)
            if request.rate:
                time.sleep(max(0.0, 1 / request.rate - (time.monotonic() - began)))
            return outcome

        return run_parallel(post_one, request.messages, 1 if claim.failing or request.rate else LANES)

    def _post(self, request: DeliveryRequest, message: SignedMessage) -> AttemptOutcome:
        at, began = clock.wall(), time.monotonic()
        headers = {**request.headers, "Content-Type": "application/json", **signed(request.secrets, message.message_id, at, message.body)}
        error, status, response, wait = None, None, "", 0
        try:
            answer = self.services.outgoing.request(
                "POST", request.url, headers=headers, content=message.body.encode(), timeout=TIMEOUT, max_bytes=MAX_RESPONSE
            )
            status, response = answer.status, answer.body.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
            after = answer.headers.get("retry-after", "")
            wait = int(after) if after.isascii() and after.isdigit() and len(after) < 6 else 0
        except (RequestRefused, HostUnreachable) as problem:
            error = str(problem)[:300]
        return AttemptOutcome(message.delivery_id, at, int((time.monotonic() - began) * 1000), status, error, message.body, response, wait)

    def _release(self, claim: DeliveryClaim, pause: timedelta | None) -> None:
        with self.services.database.open(system(claim.business_id), write=True) as db:
            row = db.scalar(select(Endpoint).where(Endpoint.id == claim.endpoint_id, Endpoint.fence == claim.fence).with_for_update())
            if row is not None:  # otherwise the lease ended and another worker has it
                row.busy_until = None
                if pause and row.due_at:
                    row.due_at = max(row.due_at, clock.wall() + pause)

    def _run_forever(self) -> None:
        while not self._stop.is_set():
            try:
                for claim in self.claim(SLOTS - len(self._busy)) if len(self._busy) < SLOTS else ():
                    self._busy.add(claim)
                    threading.Thread(target=self._turn, args=(claim,), name="webhooks of an endpoint", daemon=True).start()
            except Exception:
                log.exception("webhook claim failed")
            self._wake.wait(1.0)
            self._wake.clear()

    def _turn(self, claim: DeliveryClaim) -> None:
        try:
            self.serve(claim)
        finally:
            self._busy.discard(claim)
            self.wake()


def _text(body: dict[str, object]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
