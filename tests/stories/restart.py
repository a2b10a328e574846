"""A process that dies at a chosen line, and the house as it starts again afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import event, update
from sqlalchemy.orm import Session

from billing import renewals
from billing.till import Till
from core import clock
from core.db import Database
from core.scope import everything
from core.turns import JobFailure
from core.web import House
from core.worker import Handlers, Tick, Worker
from gateways.sandbox import SandboxGateway
from tests.stories.shop import Shop


def start(house: Any, gateway: Any = None) -> House:
    """Everything anew on the same database and the same provider, as after a restart."""
    database = Database(house.settings)
    gateway = gateway or SandboxGateway(house.gateway.store.path, house.settings.base_url, "a secret for notifications")
    till = Till(database, gateway, house.settings)
    gateway.notify = till.notified
    handlers = Handlers()
    handlers.on("gateway.notified", lambda work: till.follow(work.data["key"]), "till.follow")
    ticks = [Tick("renewals", timedelta(0), lambda: renewals.run_due(till)), Tick("reconcile", timedelta(0), till.reconcile),
             Tick("sandbox", timedelta(0), gateway.deliver_due)]
    return House(house.settings, database, gateway=gateway, worker=Worker(database, handlers, ticks), till=till, handlers=handlers)


def dies(shop: Shop, deed: Callable[[Shop], object], moment: str = "", number: int = 0) -> bool:
    """Run `deed` in a child that is killed at its `number`-th commit, `before` or `after` it. False: it lived to the end."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            shop.database.engine.dispose(close=False)  # the parent's connections stay the parent's
            house = start(shop.house)
            _arm(house, moment, number)
            deed(Shop(house, shop.business_id, shop.customer_id, shop.subscription_id))
            house.database.dispose()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return False


def _arm(house: Any, moment: str, number: int) -> None:
    seen = 0

    def count(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    if moment == "before":
        event.listen(house.database.engine, "commit", count)
    elif moment == "after":
        event.listen(Session, "after_commit", count)


def recover(shop: Shop, settled: Callable[[Shop], bool]) -> Shop:
    """Start again and work until all is settled: a server may need a moment to see that its client died."""
    house = start(shop.house)
    again = Shop(house, shop.business_id, shop.customer_id, shop.subscription_id)
    try:
        until = time.monotonic() + 20  # slow answers of the gateway take seconds of real time
        while time.monotonic() < until:
            again.overdue()
            with house.database.open(everything("what failed is tried again at once"), write=True) as db:
                db.execute(update(JobFailure).values(retry_at=clock.wall()), execution_options={"synchronize_session": False})
            house.worker.drain()
            if settled(again):
                break
            time.sleep(0.05)
        assert settled(again)
        return shop
    finally:
        house.database.dispose()
