"""Kill a process at a chosen commit, and start the application again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import event, update
from sqlalchemy.orm import Session

from billing.renewals import renew
from core import clock
from core.db import Database
from core.handlers import Handlers
from core.recurring_jobs import JobFailure
from core.scope import everything
from core.services import Services
from core.worker import Tick, Worker
from gateways.sandbox import SandboxGateway
from tests.processors import on_sandbox
from tests.stories.business_and_buyer import Site


def start(services: Any, gateway: Any = None) -> Services:
    """Create the application again on the same database and provider, as after a restart."""
    database = Database(services.settings)
    gateway = gateway or SandboxGateway(services.gateway.store.path, services.settings.base_url, "a secret for notifications")
    handlers = Handlers()
    processor = on_sandbox(database, gateway, services.settings, handlers)
    ticks = [
        Tick("renewals", timedelta(0), lambda: renew.run_due(processor)),
        Tick("reconcile", timedelta(0), processor.reconcile),
        Tick("sandbox", timedelta(0), gateway.deliver_due),
    ]
    return Services(
        services.settings, database, gateway=gateway, worker=Worker(database, handlers, ticks), processor=processor, handlers=handlers
    )


def is_killed(site: Site, operation: Callable[[Site], object], moment: str = "", number: int = 0) -> bool:
    """Run `deed` in a child that is killed at its `number`-th commit, `before` or `after` it. Returns False if it ran to the end."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            site.database.engine.dispose(close=False)  # the parent's connections stay the parent's
            services = start(site.services)
            _arm(services, moment, number)
            operation(Site(services, site.business_id, site.customer_id, site.subscription_id))
            services.database.dispose()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed by itself"
    return False


def _arm(services: Any, moment: str, number: int) -> None:
    seen = 0

    def count(*_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    if moment == "before":
        event.listen(services.database.engine, "commit", count)
    elif moment == "after":
        event.listen(Session, "after_commit", count)


def recover(site: Site, settled: Callable[[Site], bool]) -> Site:
    """Start again and work until all is settled. The database server may need a moment to notice that its client died."""
    services = start(site.services)
    again = Site(services, site.business_id, site.customer_id, site.subscription_id)
    try:
        until = time.monotonic() + 20  # slow answers of the gateway take seconds of real time
        while time.monotonic() < until:
            again.overdue()
            with services.database.open(everything("what failed is tried again at once"), write=True) as db:
                db.execute(update(JobFailure).values(retry_at=clock.wall()), execution_options={"synchronize_session": False})
            services.worker.drain()
            if settled(again):
                break
            time.sleep(0.05)
        assert settled(again)
        return site
    finally:
        services.database.dispose()
