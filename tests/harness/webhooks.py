"""Send many events to a receiver that fails three times in ten, and kill workers: nothing is lost, and each message keeps its id.

    .venv/bin/python -m tests.harness.webhooks --events 10000 [--engine postgresql] [--kills 2]

The workers are real processes (`flask --app wsgi worker`). Due times are moved to shorten waits. Prints one JSON object with the
figures. Exits with 1 if a message was lost or changed its id.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from core import clock
from core.outbox import Outbox, emit
from core.scope import everything, system
from core.settings import Settings
from tenants.webhooks import endpoints, history, secrets
from tenants.webhooks.models import Attempt, Delivery, Endpoint
from tests.cast import Cast
from tests.engines import Postgres, Sqlite
from tests.hostile_server import ReceivedRequest, Wire, receiving
from tests.stories.webhook_setup import unwrap

ROOT = Path(__file__).resolve().parents[2]
TYPES = ("payment.succeeded", "license_key.created", "subscription.renewed")


class FailingReceiver:
    """A receiver that accepts seven of ten. The others get an error, a dropped connection, or are accepted without an answer."""

    def __init__(self, seed: int) -> None:
        self.dice, self.lock = random.Random(seed), threading.Lock()
        self.taken: Counter[str] = Counter()
        self.bodies: dict[str, set[str]] = {}
        self.moods: Counter[str] = Counter()

    def __call__(self, wire: Wire, heard: ReceivedRequest) -> None:
        with self.lock:
            luck = self.dice.random()
            mood = "taken" if luck < 0.7 else "error" if luck < 0.85 else "cut" if luck < 0.95 else "answer lost"
            self.moods[mood] += 1
            if mood in ("taken", "answer lost"):
                header = heard.headers["webhook-id"]
                self.taken[header] += 1
                sent = json.loads(heard.body)
                self.bodies.setdefault(header, set()).add(f"{sent['type']} {sent['timestamp']}")
        if mood in ("cut", "answer lost"):
            wire.connection.shutdown(socket.SHUT_RDWR)
        else:
            wire.say(200 if mood == "taken" else 500)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    asked.add_argument("--events", type=int, default=10_000)
    asked.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    asked.add_argument("--kills", type=int, default=2)
    asked.add_argument("--seed", type=int, default=1)
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine: Any = (Sqlite if options.engine == "sqlite" else Postgres)(Path(folder))
        urls, drop = engine.fresh()
        try:
            figures = run(Path(folder), urls, options)
        finally:
            drop()
            if options.engine == "postgresql":
                engine.close()
    print(json.dumps(figures))
    return 1 if figures["lost"] or figures["changed"] or figures["unsigned"] else 0


def run(folder: Path, urls: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    from wsgi import create_app

    app = create_app(Settings(data_dir=folder, base_url="http://127.0.0.1:5000", outgoing_loopback=True, **urls))
    services = app.extensions["portal"]
    with app.app_context():
        cast = Cast.play(services)
    moody = FailingReceiver(options.seed)
    environment = {
        **os.environ,
        "PORTAL_DATA_DIR": str(folder),
        "DATABASE_URL": urls["database_url"],
        "PORTAL_OUTGOING_LOOPBACK": "1",
        "PORTAL_BASE_URL": "http://127.0.0.1:5000",
        "LOG_LEVEL": "WARNING",
    }
    with receiving(moody) as here:
        with services.database.open(system(cast.acorn), write=True) as db:
            item = endpoints.create(db, services.outgoing, cast.acorn, here.url, filter_types=list(TYPES)).id
        expected = leave(services, cast, options.events)
        began, workers, kills = time.monotonic(), [start(environment)], 0
        try:
            while len(moody.taken) < len(expected) or not settled(services, item):
                time.sleep(0.5)
                hurry(services)
                if kills < options.kills and len(moody.taken) > len(expected) * (kills + 1) / (options.kills + 1):
                    kills += 1
                    workers[-1].send_signal(signal.SIGKILL)
                    workers[-1].wait()
                    workers.append(start(environment))
                    free(services)
                if time.monotonic() - began > 1800:
                    break
        finally:
            workers[-1].terminate()
            workers[-1].wait()
        seconds = time.monotonic() - began
        with services.database.open(system(cast.acorn)) as db:
            secret = secrets.secret_of(services.settings, endpoints.find(db, item))
            attempts = db.scalar(select(func.count(Attempt.id)))
            most = db.scalar(select(func.max(Delivery.attempts)))
        unsigned = sum(not verified(heard, secret) for heard in here.heard[-200:])
        received = len(here.heard)
    services.database.dispose()
    return {
        "engine": options.engine, "events": len(expected), "lost": len(expected - set(moody.taken)),
        "strange": len(set(moody.taken) - expected), "changed": sum(len(seen) > 1 for seen in moody.bodies.values()),
        "unsigned": unsigned, "requests": received, "attempts_recorded": attempts, "most_attempts": most,
        "taken_twice": sum(count > 1 for count in moody.taken.values()), "kills": kills, "moods": dict(moody.moods),
        "seconds": round(seconds, 1), "messages_per_second": round(len(expected) / seconds, 1),
    }  # fmt: skip


def leave(services: Any, cast: Cast, count: int) -> set[str]:
    """Emit `count` events about Ada's rows at Acorn. Returns the expected message ids."""
    ada, ids = cast.ada_at_acorn, set()
    with services.database.open(system(cast.acorn)) as db:
        from billing.model.licenses import LicenseKey

        key = db.scalar(select(LicenseKey.id).where(LicenseKey.customer_id == ada.customer_id))
    nouns = {
        "payment.succeeded": (ada.purchase_id, {"payment_id": ada.purchase_id}),
        "license_key.created": (key, {}),
        "subscription.renewed": (ada.subscription_id, {}),
    }
    for first in range(0, count, 500):
        with services.database.open(system(cast.acorn), write=True) as db:
            for number in range(first, min(first + 500, count)):
                noun, data = nouns[TYPES[number % 3]]
                event = emit(db, TYPES[number % 3], business_id=cast.acorn, customer_id=ada.customer_id, noun=noun, data=data)
                ids.add("msg_" + event.removeprefix("evt_"))
    with services.database.open(everything("emails are not measured here"), write=True) as db:
        for work in db.scalars(select(Outbox).where(Outbox.state == "pending")):
            work.done = ["portal.emails.purchases.PurchaseEmails.payment_succeeded"]
    return ids


def start(environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "flask", "--app", "wsgi", "worker"], cwd=ROOT, env=environment)


def hurry(services: Any) -> None:
    """Make waiting retries due now, and replay messages that failed eight times, as an owner would."""
    at = clock.wall()
    with services.database.open(everything("a harness lets time pass"), write=True) as db:
        for row in db.scalars(select(Endpoint).with_for_update()):
            waiting = list(db.scalars(select(Delivery).where(Delivery.endpoint_id == row.id, Delivery.due_at > at).limit(2000)))
            for item in waiting:
                item.due_at = at
            if waiting or (row.due_at and row.due_at > at):
                row.due_at = at
            if not row.due_at and db.scalar(select(Delivery.id).where(Delivery.state == "failed").limit(1)):
                row.due_at = None
                history.replay_since(db, row.id, at - timedelta(days=1))


def free(services: Any) -> None:
    """End the leases of the killed worker, to save the wait of two minutes."""
    with services.database.open(everything("a harness lets leases run out"), write=True) as db:
        for row in db.scalars(select(Endpoint).where(Endpoint.busy_until.is_not(None))):
            row.busy_until = clock.wall()
        for work in db.scalars(select(Outbox).where(Outbox.state == "pending", Outbox.due_at > clock.wall())):
            work.due_at = clock.wall()


def settled(services: Any, endpoint_id: str) -> bool:
    with services.database.open(everything("is all of it delivered")) as db:
        return db.scalar(select(Delivery.id).where(Delivery.endpoint_id == endpoint_id, Delivery.state != "delivered").limit(1)) is None


def verified(heard: ReceivedRequest, secret: str) -> bool:
    try:
        return bool(unwrap(heard, secret))
    except Exception:
        return False


if __name__ == "__main__":
    sys.exit(main())
