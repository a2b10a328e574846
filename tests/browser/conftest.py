"""A real browser against a real server: the house served over HTTP with its worker running."""

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

from core.mailbox import MailboxLetter
from core.scope import everything
from core.settings import Settings
from core.web import House
from tests.cast import Cast
from tests.quick import Past

AXE_SCRIPT = AXE_FILE_PATH.read_text(encoding="utf-8")
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the cheapest first
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def launch(engine: BrowserType, *extra: str) -> Browser:
    """A new browser process: whichever Chromium the system has, with these command-line arguments on top of the usual ones."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert path, "The browser tests need Chromium: install the package 'chromium' (make test does, where it may)."
    return engine.launch(executable_path=path, args=[
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", *extra])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        one = launch(playwright.chromium)
        yield one
        one.close()


@pytest.fixture
def host() -> str:
    """The name in the base URL; a module may say `localhost` instead."""
    return "127.0.0.1"


@pytest.fixture
def served(settings: Settings, make_app: Callable[..., Any], host: str) -> Iterator[House]:
    """The house, listening on a free port of the loopback, worker included."""
    server = make_server("127.0.0.1", 0, lambda environ, start: app(environ, start), threaded=True)
    app = make_app(replace(settings, base_url=f"http://{host}:{server.port}"))
    house: House = app.extensions["portal"]
    stop = threading.Event()
    threads = [threading.Thread(target=server.serve_forever, daemon=True),
               threading.Thread(target=house.worker.run_forever, args=(stop,), daemon=True)]
    for thread in threads:
        thread.start()
    yield house
    stop.set()
    house.worker.wake()
    server.shutdown()
    for thread in threads:
        thread.join(10)


@pytest.fixture
def played(served: House, engine: Any, past: Callable[[Any], Past]) -> Cast:
    return past(engine).told_to(served)


@pytest.fixture
def person(browser: Browser, served: House) -> Iterator[Callable[..., Page]]:
    """`person()` opens a browser of their own; `person(scripts=False)` one without JavaScript."""
    contexts: list[BrowserContext] = []

    def open_browser(scripts: bool = True, width: int = 1280, **kwargs: Any) -> Page:
        context = browser.new_context(base_url=served.settings.base_url, java_script_enabled=scripts,
                                      viewport={"width": width, "height": 900}, **kwargs)
        context.set_default_timeout(15_000)
        contexts.append(context)
        return context.new_page()

    yield open_browser
    for context in contexts:
        context.close()


def sign_in(page: Page, email: str, door: str = "/login") -> None:
    """As a person does in a test deployment: type the address, open the mailbox, follow the link, press the button."""
    page.goto(door)
    by_letter(page, email)


def by_letter(page: Page, email: str) -> None:
    """On a page that asks for the address: the letter of this request, not one that lay there before."""
    mailbox = page.context.new_page()

    def newest() -> str | None:
        mailbox.goto(f"/mailbox?to={email}")
        row = mailbox.get_by_role("link", name="sign-in link").first
        return row.get_attribute("href") if row.count() else None

    before = newest()
    page.get_by_label("E-mail address").fill(email)
    page.get_by_role("button", name="Send me a link").click()
    page.wait_for_url("**/login/sent*")
    deadline = time.monotonic() + 30
    while (letter := newest()) in (None, before):
        assert time.monotonic() < deadline, f"no letter to {email}"
        mailbox.wait_for_timeout(100)
    mailbox.goto(str(letter))
    link = mailbox.locator("a[href*='/login/link/']").first.get_attribute("href")
    mailbox.close()
    assert link
    page.goto(link)
    page.locator("main form button.main").click()
    page.wait_for_url(lambda url: "/login/link/" not in url)


def told(house: House, words: str) -> list[str]:
    """Whom such a letter went to, once it is written: the worker is a thread of its own."""
    for _ in range(60):
        with house.database.open(everything("read the test mailbox")) as db:
            found = list(db.scalars(select(MailboxLetter.to).where(MailboxLetter.subject.contains(words))))
        if found:
            break
        time.sleep(0.2)
    return found


def axe(page: Page, *, contrast: bool | None = None) -> list[str]:
    """Serious and critical faults, in words. `contrast`: True asks for that alone (it is the dearest), False leaves it out.
    The page's CSP holds: axe comes through the debugger."""
    options: dict[str, Any] = {"runOnly": {"type": "tag", "values": AXE_TAGS}, "resultTypes": ["violations"]}
    if contrast:
        options["runOnly"] = {"type": "rule", "values": ["color-contrast"]}
    elif contrast is False:
        options["rules"] = {"color-contrast": {"enabled": False}}
    if page.locator("a[href*='stay=1']").count():  # looks again by itself, and says how to stop that (WCAG 2.2.2)
        options["rules"] = options.get("rules", {}) | {"meta-refresh": {"enabled": False}}
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("options => axe.run(options)", options)
    return [f"{one['id']}: {one['nodes'][0]['html'][:160]}" for one in found["violations"] if one["impact"] in ("serious", "critical")]
