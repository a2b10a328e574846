"""Pull a large account of Stripe with a process that is killed half way: `python -m tests.harness.stripe_pull --customers 20000`.

The account is at the stand-in for Stripe, in this process. A portal in a folder of its own runs `pull stripe`. Prints one JSON object:
seconds, the memory of the command (MB) on its way, and whether what was pulled is what the account has. Exits with 1 where it is not.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.harness.pull import Services, _port, watch
from tests.harness.stripe_standin import running
from tests.stories.stripe_mirror import account_with

KEY = "rk_test_large"


def run(customers: int, folder: Path) -> dict[str, Any]:
    with running() as stand_in:
        began = time.monotonic()
        account = account_with(stand_in, customers, KEY).account
        made = time.monotonic() - began
        here = Services(folder / "portal", _port())
        words = ("pull", "stripe", "--business", here.business, "--base-url", stand_in.base_url)
        key = {"STRIPE_BILLING_API_KEY": KEY}
        first, before, _out = watch(here.start(*words, **key), here, until=customers // 2)
        killed_at = {name: here.ask(f"SELECT count(*) FROM {name}")[0][0] for name in ("customers", "subscriptions", "payments")}  # noqa: S608
        second, after, out = watch(here.start(*words, **key), here)
        paid = [item for item in account.every("charge") if item["status"] == "succeeded"]
        there = {
            "customers": sum(1 for item in account.every("customer") if item["email"]),
            "subscriptions": len(account.every("subscription")), "paid": sum(item["amount"] for item in paid),
            "refunded": sum(item["amount"] for item in account.every("refund")),
        }  # fmt: skip
        ours = {
            "customers": here.ask("SELECT count(*) FROM customers")[0][0],
            "subscriptions": here.ask("SELECT count(*) FROM subscriptions")[0][0],
            "paid": here.ask("SELECT sum(amount_minor) FROM payments WHERE status = 'succeeded'")[0][0],
            "refunded": here.ask("SELECT sum(refunded_minor) FROM payments")[0][0],
        }
        return {
            "customers": customers, "seconds_to_make_the_account": round(made), "seconds_until_killed": round(first),
            "killed_at": killed_at, "seconds_to_the_end": round(second), "mb_before": [round(item) for item in before],
            "mb_after": [round(item) for item in after], "second_pull": json.loads(out or "{}"), "mistakes": stand_in.mistakes[:3],
            "equal": ours == there, "here": ours, "there": there,
        }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=20_000)
    with tempfile.TemporaryDirectory() as where:
        result = run(parser.parse_args().customers, Path(where))
    print(json.dumps(result, indent=1))
    sys.exit(0 if result["equal"] else 1)
