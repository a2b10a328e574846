"""`bin/pictures`: screenshots of the demo's overview for README.md, on a desktop and on a phone.

Fills a new test deployment in a temporary folder with the demo, serves it on the loopback, signs in as Ada in Chromium and writes
`docs/pictures/overview-desktop.png` and `docs/pictures/overview-phone.png`. Exits with 1 when a picture is larger than LIMIT.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tenants.demo.year import ADA
from tests.browser.conftest import launch, sign_in

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "pictures"
FLASK = [sys.executable, "-m", "flask", "--app", "wsgi"]
SIZES = {"overview-desktop": (1280, 900, 1), "overview-phone": (390, 844, 2)}  # width, height, pixels per CSS pixel
LIMIT = 200_000  # bytes of a picture
COLORS = 128


@contextmanager
def served_demo(folder: str) -> Iterator[str]:
    """Serve the demo from an empty data folder. Yields the base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PORTAL_", "DATABASE_", "MAIL_"))}
    environment = kept | {"PORTAL_DATA_DIR": folder, "PORT": str(port), "PORTAL_MODE": "test"}
    for command in ("upgrade", "demo"):
        subprocess.run([*FLASK, command], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = subprocess.Popen(
        [*FLASK, "serve", "--port", str(port)], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        base = f"http://127.0.0.1:{port}"
        wait_until_ready(base)
        yield base
    finally:
        server.terminate()
        server.wait(30)


def wait_until_ready(base: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{base}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def draw(browser: Browser, base: str, name: str, state: str) -> int:
    """Write one picture of what fits on the screen. Returns its size in bytes."""
    width, height, scale = SIZES[name]
    context = browser.new_context(
        base_url=base,
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        storage_state=state,
        locale="en",
        timezone_id="UTC",
        color_scheme="light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto("/")
    page.wait_for_load_state("networkidle")
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    context.close()
    path = FOLDER / f"{name}.png"
    picture.save(path, optimize=True)
    return path.stat().st_size


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, served_demo(folder) as base, sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        context = browser.new_context(base_url=base)
        context.set_default_timeout(30_000)
        sign_in(context.new_page(), ADA.email)
        state = str(Path(folder) / "state.json")
        context.storage_state(path=state)
        sizes = {name: draw(browser, base, name, state) for name in SIZES}
        browser.close()
    for name, size in sizes.items():
        print(f"docs/pictures/{name}.png: {size:,} bytes")
    return int(max(sizes.values()) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
