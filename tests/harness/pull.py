"""Pull a large account with a process that is killed half way: `python -m tests.harness.pull --customers 20000`.

The account is a deployment of this portal, filled by `import` and served by `serve`. A second deployment runs `pull dodo`. Prints one
JSON object: seconds, the maximum memory of each command (MB), and whether counts and sums are equal. Exits with 1 where they are not.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SUMS = {
    "customers": "SELECT count(*) FROM customers", "products": "SELECT count(*) FROM products",
    "subscriptions": "SELECT status, count(*), sum(unit_minor * quantity) FROM subscriptions GROUP BY 1 ORDER BY 1",
    "payments": "SELECT currency, count(*), sum(amount_minor), sum(tax_minor), sum(refunded_minor) FROM payments GROUP BY 1 ORDER BY 1",
    "refunds": "SELECT status, count(*), sum(amount_minor) FROM refunds GROUP BY 1 ORDER BY 1",
    "keys": "SELECT status, count(*), count(DISTINCT key) FROM license_keys GROUP BY 1 ORDER BY 1",
    "totals": "SELECT currency, count(*), sum(paid_minor), sum(refunded_minor) FROM customer_totals GROUP BY 1 ORDER BY 1",
    "months": "SELECT month, sum(paid_minor), sum(refunded_minor) FROM spend_months GROUP BY 1 ORDER BY 1",
}  # fmt: skip
PROGRESS_SECONDS = 30
PLANS = [("Notes Solo", 900), ("Notes Team", 2400), ("Notes Max", 5900)]


def told(customers: int) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file: one year of an account, without randomness."""
    for n, (name, price) in enumerate(PLANS):
        yield {
            "type": "product",
            "data": {
                "product_id": f"pdt_{n}",
                "name": name,
                "price": {
                    "type": "recurring_price",
                    "currency": "EUR",
                    "price": price,
                    "payment_frequency_count": 1,
                    "payment_frequency_interval": "Month",
                },
            },
        }
    now = datetime.now(UTC).replace(microsecond=0)
    for n in range(customers):
        began = now - timedelta(days=n % 360 + 1, seconds=n % 86_400)
        who, plan = {"customer_id": f"cus_{n}"}, n % 3
        at = began.isoformat()
        yield {"type": "customer", "data": {**who, "email": f"buyer{n}@people.example", "name": f"Buyer {n}", "created_at": at}}
        status = ("active", "active", "active", "on_hold", "cancelled")[n % 5]
        yield {
            "type": "subscription",
            "data": {
                "subscription_id": f"sub_{n}",
                "customer": who,
                "product_id": f"pdt_{plan}",
                "status": status,
                "quantity": 1 + n % 2,
                "recurring_pre_tax_amount": PLANS[plan][1] * (1 + n % 2),
                "created_at": at,
                "payment_method_id": f"pm_{n}",
                "next_billing_date": (now + timedelta(days=1 + n % 30)).isoformat(),
            },
        }
        net = PLANS[plan][1] * (1 + n % 2)
        yield {
            "type": "payment",
            "data": {
                "payment_id": f"pay_{n}",
                "customer": who,
                "subscription_id": f"sub_{n}",
                "total_amount": net + net // 5,
                "tax": net // 5,
                "currency": "EUR",
                "charge_type": "new",
                "created_at": at,
                "card_last_four": f"{n % 10_000:04}",
                "card_network": "visa",
                "card_exp_month": 6,
                "card_exp_year": 2032,
                "payment_method_id": f"pm_{n}",
            },
        }
        if n % 10 == 0:
            yield {
                "type": "refund",
                "data": {
                    "refund_id": f"ref_{n}",
                    "payment_id": f"pay_{n}",
                    "amount": net // 2,
                    "currency": "EUR",
                    "created_at": (began + timedelta(days=1)).isoformat(),
                },
            }
        if n % 5 == 0:
            yield {
                "type": "license_key",
                "data": {
                    "id": f"lic_{n}",
                    **who,
                    "product_id": f"pdt_{plan}",
                    "key": f"KEY-{n:06}",
                    "subscription_id": f"sub_{n}",
                    "created_at": at,
                },
            }


class Services:
    """One deployment in a separate folder, controlled by its commands."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir(parents=True)
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        self.port = port
        self.env = {
            **os.environ,
            "PORTAL_DATA_DIR": str(folder),
            "PORT": str(port),
            "PORTAL_WORKER": "off",
            "LOG_LEVEL": "WARNING",
            "PORTAL_OUTGOING_LOOPBACK": "1",
            "PORTAL_MODE": "test",
        }
        self.flask("upgrade")
        made = json.loads(self.flask("business", "new", "--name", "Acorn Notes", "--currency", "EUR"))
        self.business, self.key = made["business_id"], made["api_key"]

    def start(self, *words: str, **env: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *words]
        return subprocess.Popen(command, env=self.env | env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def flask(self, *words: str) -> bytes:
        done = subprocess.run([sys.executable, "-m", "flask", "--app", "wsgi", *words], env=self.env, stdout=subprocess.PIPE, check=True)
        return done.stdout

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(f"file:{self.folder}/portal-test.sqlite3?mode=ro", uri=True) as db:
            return db.execute(sql).fetchall()

    def sums(self) -> dict[str, Any]:
        return {name: self.ask(sql) for name, sql in SUMS.items()}


def watch(running: subprocess.Popen[bytes], services: Services, until: int | None = None) -> tuple[float, list[float], str]:
    """Wait for the end, or until that many payments were written. Returns seconds, MB at each tenth of the way, the output.

    Prints the number of payments and the memory to the standard error stream every 30 seconds.
    """
    began, memory, printed = time.monotonic(), [], time.monotonic()
    while running.poll() is None:
        time.sleep(0.5)
        memory.append(_rss(running.pid))
        payments = services.ask("SELECT count(*) FROM payments")[0][0]
        if time.monotonic() - printed >= PROGRESS_SECONDS:
            printed = time.monotonic()
            print(f"{printed - began:.0f} s: {payments} payments, {memory[-1]:.0f} MB", file=sys.stderr, flush=True)
        if until is not None and payments >= until:
            running.send_signal(signal.SIGKILL)
            running.wait()
            break
    out = running.stdout.read().decode() if running.stdout else ""
    memory = [item for item in memory if item]
    return time.monotonic() - began, memory[:: max(len(memory) // 10, 1)], out


def _rss(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmRSS")), 0.0)


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def run(customers: int, folder: Path) -> dict[str, Any]:
    there, here = Services(folder / "account", _port()), Services(folder / "portal", _port())
    file, lines = folder / "account.jsonl", 0
    with file.open("w", encoding="utf-8") as out:
        for item in told(customers):
            out.write(json.dumps(item) + "\n")
            lines += 1
    loading, memory, said = watch(there.start("import", str(file), "--business", there.business), there)
    figures: dict[str, Any] = {
        "lines": lines,
        "import_seconds": round(loading),
        "import_mb": [round(item) for item in memory],
        "import": json.loads(said or "{}"),
    }
    serving = there.start("serve", "--port", str(there.port))
    try:
        for _ in range(60):
            try:
                urllib.request.urlopen(there.url + "/healthz", timeout=1).close()  # noqa: S310
                break
            except OSError:
                time.sleep(0.5)
        words = ("pull", "dodo", "--business", here.business, "--base-url", there.url + "/api")
        key = {"DODO_PAYMENTS_API_KEY": there.key}
        first, before, _said = watch(here.start(*words, **key), here, until=customers // 2)
        killed_at = {name: here.ask(f"SELECT count(*) FROM {name}")[0][0] for name in ("customers", "subscriptions", "payments")}  # noqa: S608
        second, after, said = watch(here.start(*words, **key), here)
    finally:
        serving.terminate()
        serving.wait()
    figures |= {
        "seconds_until_killed": round(first),
        "killed_at": killed_at,
        "seconds_to_the_end": round(second),
        "mb_before": [round(item) for item in before],
        "mb_after": [round(item) for item in after],
        "second_pull": json.loads(said or "{}"),
        "equal": here.sums() == there.sums(),
        "sums": here.sums(),
    }
    figures["sums"].pop("months")
    if not figures["equal"]:
        figures["theirs"] = there.sums()
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000)
    with tempfile.TemporaryDirectory() as where:
        result = run(parser.parse_args().customers, Path(where))
    print(json.dumps(result, indent=1))
    sys.exit(0 if result["equal"] else 1)
