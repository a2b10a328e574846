"""A served portal for a module of tests: Ada signed in once, a new subscription per test, and both ledgers to compare."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import func, select
from werkzeug.serving import make_server

from billing.model.subscriptions import Subscription
from billing.subscriptions.subscribe import subscribe
from core.mailbox import MailboxEmail
from core.outbox import Outbox
from core.scope import everything, system
from core.services import Services
from core.settings import Settings
from tests.browser.conftest import sign_in
from tests.cast import Buyer, Cast

GOOD, POOR, BANK_ASKS, LOST = "4242 4242 4242 4242", "4000 0000 0000 9995", "4000 0025 0000 3155", "4000 0000 0000 6975"


@dataclass
class Town:
    services: Services
    cast: Cast
    browser: Browser
    door: str = "/"
    state: Any = None
    open: list[BrowserContext] = field(default_factory=list)
    visited: list[str] = field(default_factory=list)

    def page(self, who: str | None = None, width: int = 1280, scripts: bool = True, **more: Any) -> Page:
        """A browser window of Ada, signed in; with `who=""` of nobody."""
        context = self.browser.new_context(
            base_url=self.services.settings.base_url,
            viewport={"width": width, "height": 900},
            java_script_enabled=scripts,
            storage_state=self.signed_in() if who is None else None,
            **more,
        )
        context.set_default_timeout(15_000)
        self.open.append(context)
        page = context.new_page()
        page.on("framenavigated", lambda frame: self.visited.append(frame.url))
        return page

    def signed_in(self) -> Any:
        if self.state is None:
            page = self.page("")
            sign_in(page, self.cast.ADA)
            expect(page.get_by_text("Acorn Team").first).to_be_visible()
            self.state = page.context.storage_state()
        return self.state

    def close_windows(self) -> None:
        while self.open:
            self.open.pop().close()
        self.visited.clear()

    def subscribe(self, product: str = "acorn.plan", card: str = "4242424242424242") -> Buyer:
        """Create another subscription of Ada at Acorn, with a separate card."""
        ada = self.cast.ada_at_acorn
        method = self.cast.card(ada, card)
        began = subscribe(
            self.services.processor,
            system(ada.business_id),
            customer_id=ada.customer_id,
            product_id=self.cast.products[product],
            billing={"country": "GB"},
            payment_method_id=method,
        )
        assert began.status == "succeeded"
        return Buyer(ada.business_id, ada.customer_id, ada.email, began.subscription_id or "", began.payment_id, method_id=method)

    def subscription(self, buyer: Buyer) -> Subscription:
        with self.services.database.open(system(buyer.business_id)) as db:
            return db.scalars(select(Subscription).where(Subscription.id == buyer.subscription_id)).one()

    def at(self, buyer: Buyer, act: str = "") -> str:
        return f"{self.door}subscriptions/{buyer.subscription_id}{act}"

    def took(self) -> list[int]:
        """Return the amounts that the gateway charged so far, oldest first."""
        return [money.minor for kind, _key, money in self.services.gateway.movements() if kind != "refund"]

    def subjects(self) -> list[str]:
        """Return the subjects of Ada's emails, oldest first, after all pending emails were sent."""
        pending = select(Outbox.id).where(Outbox.state.in_(("pending", "mail")), Outbox.attempts == 0).limit(1)
        for _ in range(100):
            with self.services.database.open(everything("is the worker at rest")) as db:
                if db.scalar(pending) is None:
                    break
            time.sleep(0.1)
        with self.services.database.open(everything("read the test mailbox")) as db:
            mine = select(MailboxEmail.subject).where(func.lower(MailboxEmail.to) == self.cast.ADA)
            return list(db.scalars(mine.order_by(MailboxEmail.created_at, MailboxEmail.id)))


@contextmanager
def built(engine: Any, folder: Path, browser: Browser, door: str = "/") -> Iterator[Town]:
    """Serve the cast on a free loopback port, with its worker. `door`: `/`, or `business` for Acorn's portal."""
    from wsgi import create_app

    urls, drop = engine.fresh()
    server = make_server("127.0.0.1", 0, lambda environ, start: app(environ, start), threaded=True)
    app = create_app(Settings(data_dir=folder, base_url=f"http://127.0.0.1:{server.port}", **urls))
    services: Services = app.extensions["portal"]
    with app.app_context():
        cast = Cast.play(services)
    town = Town(services, cast, browser, f"/business/{cast.acorn}/" if door == "business" else "/")
    stop = threading.Event()
    threads = [
        threading.Thread(target=server.serve_forever, daemon=True),
        threading.Thread(target=services.worker.run_forever, args=(stop,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    yield town
    town.close_windows()
    stop.set()
    services.worker.wake()
    server.shutdown()
    for thread in threads:
        thread.join(10)
    services.database.dispose()
    drop()


def minor(text: str) -> int:
    """`€55.26` → 5526."""
    return int(re.sub(r"\D", "", text))


def type_card(page: Page, number: str) -> None:
    """Fill the card form of the hosted page by its labels."""
    page.get_by_label("Name on the card").fill("Ada Marlow")
    page.get_by_label("Card number").fill(number)
    page.get_by_label("Expires").fill("06/38")
    page.get_by_label("Security code").fill("123")
    page.locator("form.decide button.main").click()
