"""Sends what is due, in threads of its own: one per endpoint that is being served, so that a slow one holds up nobody else.

An endpoint is claimed under a lease, its deliveries are rendered, sent, and written down, a few at a time; no transaction
is open while the network is asked. A worker that dies leaves its deliveries due: they go out again under the same id.
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

from core import clock, turns
from core.db import ScopedSession
from core.outgoing import Refused, Unreachable
from core.scope import everything, system
from core.web import House
from tenants.webhooks import sealing
from tenants.webhooks.lanes import side_by_side
from tenants.webhooks.outcomes import Outcome, record
from tenants.webhooks.payloads import payload
from tenants.webhooks.signing import signed
from tenants.webhooks.tables import Delivery, Endpoint

log = structlog.get_logger()

LEASE = timedelta(seconds=120)
TIMEOUT = 15.0  # seconds for the whole answer
TURN = 20.0  # seconds an endpoint is served before others come first again
SLOTS = 24  # endpoints at once; at most half of them are failing ones
OF_ONE = 8  # endpoints of one business at once
LANES, CHUNK = 4, 8  # requests at once to one endpoint; deliveries rendered and written down together
ONE_BY_ONE = 2  # where one is sent after the other: so few that they cannot outlast the lease
KEPT = 4096  # bytes of an answer
AFTER_TROUBLE = timedelta(minutes=1)


@dataclass(frozen=True)
class Claim:
    business_id: str
    endpoint_id: str
    fence: int
    failing: bool


@dataclass(frozen=True)
class Parcel:
    delivery_id: str
    message_id: str
    body: str


@dataclass(frozen=True)
class Load:
    url: str
    headers: dict[str, str]
    secrets: list[str]
    rate: int | None
    parcels: list[Parcel]
    gone: list[str]


class Sender:
    def __init__(self, house: House) -> None:
        self.house = house
        self._wake, self._stop = threading.Event(), threading.Event()
        self._busy: set[Claim] = set()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        self._wake.set()

    def start(self) -> None:
        """Every worker calls this in each of its rounds; the first time starts the thread that claims."""
        if self._thread is None or not self._thread.is_alive():
            self._stop.clear()
            self._thread = threading.Thread(target=self._run_forever, name="webhooks", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Claim nothing more; what is being sent is sent."""
        self._stop.set()
        self.wake()

    def drain(self) -> int:
        """Send all that is due, here and now. Returns how many turns endpoints had. For tests and commands."""
        turns = 0
        while claims := self.claim(SLOTS):
            side_by_side(self.serve, claims, SLOTS)
            turns += len(claims)
        return turns

    def claim(self, free: int) -> list[Claim]:
        """Endpoints with something due that nobody serves: healthy ones first, failing ones in half of the slots at most, and no more
        than OF_ONE of one business; businesses take turns."""
        at = clock.wall()
        room = SLOTS // 2 - sum(one.failing for one in list(self._busy))
        free_now = (Endpoint.due_at <= at, or_(Endpoint.busy_until.is_(None), Endpoint.busy_until <= at), Endpoint.disabled.is_(False),
                    Endpoint.removed_at.is_(None))
        with self.house.database.open(everything("endpoints that webhooks are due at")) as db:
            if db.scalar(select(Endpoint.id).where(*free_now).limit(1)) is None:
                return []  # the usual case costs no writer's lock
            healthy = self._in_turns(db, *free_now, Endpoint.failing_since.is_(None))
            failing = self._in_turns(db, *free_now, Endpoint.failing_since.is_not(None))
        share, claims = Counter(one.business_id for one in list(self._busy)), []
        with self.house.database.open(everything("claim endpoints to send webhooks to"), write=True) as db:
            for business_id, endpoint_id in (*healthy, *failing):
                if len(claims) == free or share[business_id] == OF_ONE:
                    continue
                one = select(Endpoint).where(Endpoint.business_id == business_id, Endpoint.id == endpoint_id, *free_now)
                row = db.scalar(one.with_for_update(skip_locked=True))
                if row is None or (row.failing_since is not None and room <= 0):
                    continue  # another worker has it, or enough of the failing ones are being served
                room -= row.failing_since is not None
                share[business_id] += 1
                row.busy_until, row.fence = at + LEASE, row.fence + 1
                claims.append(Claim(business_id, endpoint_id, row.fence, row.failing_since is not None))
            return claims

    def _in_turns(self, db: ScopedSession, *conditions: Any) -> list[tuple[str, str]]:
        """(business, endpoint): the longest waiting one of every business, then every second one."""
        query = select(Endpoint.business_id, Endpoint.id).where(*conditions)
        return [(one[0], one[1]) for one in db.execute(
            turns.in_turns(query, Endpoint.business_id, Endpoint.due_at, Endpoint.id, limit=SLOTS * 2))]

    def serve(self, claim: Claim) -> None:
        """Send to one endpoint until nothing is due there, its turn is over, or it wants to be left alone."""
        rest, until = None, time.monotonic() + TURN
        try:
            while rest is None and time.monotonic() < until:
                load = self.load(claim)
                if load is None or not (load.parcels or load.gone):
                    break
                outcomes = self.send(load, claim)
                with self.house.database.open(system(claim.business_id), write=True) as db:
                    rest = record(db, claim.endpoint_id, outcomes, load.gone)
        except Exception:
            log.exception("webhooks of an endpoint broke", endpoint=claim.endpoint_id)
            rest = AFTER_TROUBLE
        finally:
            self._release(claim, rest)

    def load(self, claim: Claim) -> Load | None:
        """The next few deliveries, rendered from the rows as they are now."""
        with self.house.worker.around(), self.house.database.open(system(claim.business_id)) as db:
            endpoint = db.scalar(select(Endpoint).where(Endpoint.id == claim.endpoint_id, Endpoint.fence == claim.fence,
                                                        Endpoint.disabled.is_(False), Endpoint.removed_at.is_(None)))
            if endpoint is None:
                return None
            settings = self.house.settings
            due = select(Delivery).where(Delivery.endpoint_id == endpoint.id, Delivery.state == "pending", Delivery.due_at <= clock.wall())
            count = ONE_BY_ONE if claim.failing or endpoint.rate_limit else CHUNK
            bodies = [(row, payload(db, row)) for row in db.scalars(due.order_by(Delivery.due_at, Delivery.id).limit(count)).all()]
            parcels = [Parcel(row.id, row.message_id, _text(body)) for row, body in bodies if body]
            return Load(endpoint.url, sealing.headers_of(settings, endpoint), sealing.signing_secrets(settings, endpoint),
                        endpoint.rate_limit, parcels, [row.id for row, body in bodies if body is None])

    def send(self, load: Load, claim: Claim) -> list[Outcome]:
        def one(parcel: Parcel) -> Outcome:
            began = time.monotonic()
            outcome = self._post(load, parcel)
            if load.rate:
                time.sleep(max(0.0, 1 / load.rate - (time.monotonic() - began)))
            return outcome

        return side_by_side(one, load.parcels, 1 if claim.failing or load.rate else LANES)

    def _post(self, load: Load, parcel: Parcel) -> Outcome:
        at, began = clock.wall(), time.monotonic()
        headers = {**load.headers, "Content-Type": "application/json", **signed(load.secrets, parcel.message_id, at, parcel.body)}
        error, status, response, wait = None, None, "", 0
        try:
            answer = self.house.outgoing.request("POST", load.url, headers=headers, content=parcel.body.encode(), timeout=TIMEOUT,
                                                 max_bytes=KEPT)
            status, response = answer.status, answer.body.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
            after = answer.headers.get("retry-after", "")
            wait = int(after) if after.isascii() and after.isdigit() and len(after) < 6 else 0
        except (Refused, Unreachable) as problem:
            error = str(problem)[:300]
        return Outcome(parcel.delivery_id, at, int((time.monotonic() - began) * 1000), status, error, parcel.body, response, wait)

    def _release(self, claim: Claim, rest: timedelta | None) -> None:
        with self.house.database.open(system(claim.business_id), write=True) as db:
            row = db.scalar(select(Endpoint).where(Endpoint.id == claim.endpoint_id, Endpoint.fence == claim.fence).with_for_update())
            if row is not None:  # else our lease ran out, and another worker has it
                row.busy_until = None
                if rest and row.due_at:
                    row.due_at = max(row.due_at, clock.wall() + rest)

    def _run_forever(self) -> None:
        while not self._stop.is_set():
            try:
                for claim in self.claim(SLOTS - len(self._busy)) if len(self._busy) < SLOTS else ():
                    self._busy.add(claim)
                    threading.Thread(target=self._turn, args=(claim,), name="webhooks of one", daemon=True).start()
            except Exception:
                log.exception("claiming webhooks failed")
            self._wake.wait(1.0)
            self._wake.clear()

    def _turn(self, claim: Claim) -> None:
        try:
            self.serve(claim)
        finally:
            self._busy.discard(claim)
            self.wake()


def _text(body: dict[str, object]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
