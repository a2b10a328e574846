"""A real browser with a real server: the portal served over HTTP with its worker running."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Browser, BrowserContext, BrowserType, Page, sync_playwright
from sqlalchemy import select
from werkzeug.serving import make_server

from core.mailbox import MailboxEmail
from core.scope import everything
from core.services import Services
from core.settings import Settings
from tests.cast import Cast
from tests.shared_applications import Past

AXE_SCRIPT = AXE_FILE_PATH.read_text(encoding="utf-8")
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the cheapest first
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def launch(engine: BrowserType, *extra: str) -> Browser:
    """Start a browser process of the system's Chromium, with additional command-line arguments."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert path, "The browser tests need Chromium: install the package 'chromium' (make test does, where it may)."
    return engine.launch(
        executable_path=path,
        args=[
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            *extra,
        ],
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        item = launch(playwright.chromium)
        yield item
        item.close()


@pytest.fixture
def host() -> str:
    """The host name of the base URL. A module may override it with `localhost`."""
    return "127.0.0.1"


@pytest.fixture
def served(settings: Settings, make_app: Callable[..., Any], host: str) -> Iterator[Services]:
    """The portal on a free loopback port, with its worker."""
    server = make_server("127.0.0.1", 0, lambda environ, start: app(environ, start), threaded=True)
    app = make_app(replace(settings, base_url=f"http://{host}:{server.port}"))
    services: Services = app.extensions["portal"]
    stop = threading.Event()
    threads = [
        threading.Thread(target=server.serve_forever, daemon=True),
        threading.Thread(target=services.worker.run_forever, args=(stop,), daemon=True),
    ]
    for thread in threads:
        thread.start()
    yield services
    stop.set()
    services.worker.wake()
    server.shutdown()
    for thread in threads:
        thread.join(10)


@pytest.fixture
def played(served: Services, engine: Any, past: Callable[[Any], Past]) -> Cast:
    return past(engine).for_services(served)


@pytest.fixture
def person(browser: Browser, served: Services) -> Iterator[Callable[..., Page]]:
    """`person()` opens a separate browser; `person(scripts=False)` one without JavaScript."""
    contexts: list[BrowserContext] = []

    def open_browser(scripts: bool = True, width: int = 1280, **kwargs: Any) -> Page:
        context = browser.new_context(
            base_url=served.settings.base_url, java_script_enabled=scripts, viewport={"width": width, "height": 900}, **kwargs
        )
        context.set_default_timeout(15_000)
        contexts.append(context)
        return context.new_page()

    yield open_browser
    for context in contexts:
        context.close()


def sign_in(page: Page, email: str, door: str = "/login") -> None:
    """Sign in on a test deployment: enter the address, open the mailbox, follow the link, press the button."""
    page.goto(door)
    by_email(page, email)


def by_email(page: Page, email: str) -> None:
    """On a page that asks for the address: use the email of this request, not an earlier one."""
    mailbox = page.context.new_page()

    def newest() -> str | None:
        mailbox.goto(f"/mailbox?to={email}")
        row = mailbox.get_by_role("link", name="sign-in link").first
        return row.get_attribute("href") if row.count() else None

    before = newest()
    page.get_by_label("Email address").fill(email)
    page.get_by_role("button", name="Send me a link").click()
    page.wait_for_url("**/login/sent*")
    deadline = time.monotonic() + 30
    while (message := newest()) in (None, before):
        assert time.monotonic() < deadline, f"no letter to {email}"
        mailbox.wait_for_timeout(100)
    mailbox.goto(str(message))
    link = mailbox.locator("a[href*='/login/link/']").first.get_attribute("href")
    mailbox.close()
    assert link
    page.goto(link)
    page.locator("main form button.main").click()
    page.wait_for_url(lambda url: "/login/link/" not in url)


def told(services: Services, words: str) -> list[str]:
    """Wait for such an email and return its recipient. The worker runs in a separate thread."""
    for _ in range(60):
        with services.database.open(everything("read the test mailbox")) as db:
            found = list(db.scalars(select(MailboxEmail.to).where(MailboxEmail.subject.contains(words))))
        if found:
            break
        time.sleep(0.2)
    return found


def axe(page: Page, *, contrast: bool | None = None) -> list[str]:
    """Return serious and critical accessibility faults. `contrast`: True checks only contrast (the slowest rule), False leaves it out.

    axe is injected through the debugger, so the page's CSP stays in force.
    """
    page.wait_for_load_state()  # after a click, elements can be there before the style sheet is
    options: dict[str, Any] = {"runOnly": {"type": "tag", "values": AXE_TAGS}, "resultTypes": ["violations"]}
    if contrast:
        options["runOnly"] = {"type": "rule", "values": ["color-contrast"]}
    elif contrast is False:
        options["rules"] = {"color-contrast": {"enabled": False}}
    if page.locator("a[href*='stay=1']").count():  # refreshes automatically, and offers to stop that (WCAG 2.2.2)
        options["rules"] = options.get("rules", {}) | {"meta-refresh": {"enabled": False}}
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("options => axe.run(options)", options)
    return [f"{item['id']}: {item['nodes'][0]['html'][:160]}" for item in found["violations"] if item["impact"] in ("serious", "critical")]
