"""The official SDK's own test suite against this portal: `python -m tests.harness.sdk_suite FOLDER --extras DIR`.

FOLDER is the unpacked source archive of dodopayments in the locked version. DIR holds pytest-asyncio and respx, which
its conftest imports. The suite was written for a mock without memory: it deletes what it reads a moment later. So each
of its cases starts on the same database, and its literal bearer token stands for a real key; nothing else is bent:
what a server that validates refuses, this one refuses. Both of the SDK's ways to read (loose and strict) are run,
on its synchronous client; the asynchronous one sends the same bytes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from werkzeug.serving import make_server

from core import schema
from core.settings import Settings
from tests.harness.sdk_seed import seed

PLUGIN = """
import os, urllib.request, pytest

def pytest_collection_modifyitems(items):
    items[:] = [one for one in items if "TestAsync" not in one.nodeid]

@pytest.fixture(autouse=True)
def same_beginning():
    urllib.request.urlopen(urllib.request.Request(os.environ["RESET"], method="POST"), timeout=60).read()
"""
ABSENT = (
    "test_balances|test_checkout_sessions|test_credit_entitlements|test_disputes|test_entitlements|test_meters|test_moderation|test_payouts"
    "|test_usage_events|test_emails|test_short_links|test_localized_prices|test_translations|test_breakup|test_details|test_files|test_grants"
    "|test_notes|blocklist|credit_entitlements/|entitlements/|payouts/|meters/"
)
WHY = (  # the first that matches says why a case does not apply here
    ("a resource that is not offered here", ABSENT),
    ("not offered here: a business has one brand", r"test_brands.*_(create|update|archive|update_images|retrieve)"),
    ("not offered here: wallets are empty and stay so", r"test_ledger_entries.*_create"),
    ("not offered here: files of a product", r"test_products.*update_files"),
    ("not offered here: languages of names", r"list_locales"),
    ("names a picture that this row was not given", r"(addons|products|product_collections).*update_with_all_params"),
)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--extras", type=Path, required=True)
    asked.add_argument("-k", default="", help="as pytest's")
    asked.add_argument("--show", action="store_true", help="print every case that fails")
    wanted = asked.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server, port = _serve(folder)
        try:
            report = _run(wanted, folder, port)
        finally:
            server.shutdown()
    return _tell(report, wanted.show)


def _serve(folder: Path) -> tuple[Any, int]:
    from wsgi import create_app

    settings = Settings(data_dir=folder, base_url="http://127.0.0.1", database_url=f"sqlite:///{folder / 'now.db'}", api_rate=0,
                        log_level="CRITICAL", worker="off", outgoing_loopback=True)  # fmt: skip
    schema.upgrade(settings)
    app = create_app(settings)
    app.testing = False
    house = app.extensions["portal"]
    with app.app_context():
        key = seed(house)
    house.database.dispose()
    kept = [(one, one.read_bytes()) for one in folder.glob("*") if one.suffix in (".db", ".sqlite3")]

    def reset() -> None:
        house.database.dispose()
        for path, was in kept:
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            path.write_bytes(was)

    def front(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/reset":
            reset()
            start("204 No Content", [])
            return [b""]
        if environ.get("HTTP_AUTHORIZATION") == "Bearer My Bearer Token":
            environ["HTTP_AUTHORIZATION"] = f"Bearer {key}"
        return app(environ, start)

    server = make_server("127.0.0.1", 0, front)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_port


def _run(wanted: argparse.Namespace, folder: Path, port: int) -> str:
    suite = folder / "suite"
    shutil.copytree(wanted.folder / "tests", suite / "tests")
    (suite / "same_beginning.py").write_text(PLUGIN, encoding="utf-8")
    places = [str(suite), str(wanted.extras)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "TEST_API_BASE_URL": f"http://127.0.0.1:{port}/api",
           "RESET": f"http://127.0.0.1:{port}/reset", "COLUMNS": "1000"}  # fmt: skip
    command = [sys.executable, "-m", "pytest", "tests/api_resources", "-p", "same_beginning", "-p", "no:cacheprovider", "-rA", "-q",
               "--tb=line",
               "-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=session", "--ignore", "tests/api_resources/invoices",
               "-W", "ignore", *(["-k", wanted.k] if wanted.k else [])]  # fmt: skip
    done = subprocess.run(command, cwd=suite, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def _tell(report: str, show: bool) -> int:
    passed = re.findall(r"^PASSED (\S+)", report, re.MULTILINE)
    skipped = sum(int(count) for count in re.findall(r"^SKIPPED \[(\d+)\]", report, re.MULTILINE))
    failed = [(case, words) for case, words in re.findall(r"^(?:FAILED|ERROR) (\S+)(?: - (.*))?$", report, re.MULTILINE)]
    if not passed:
        print(report[-3000:])
        return 1
    why: Counter[str] = Counter()
    lines = []
    for case, words in failed:
        reason = next((reason for reason, pattern in WHY if re.search(pattern, case)), None) or _refused(words)
        why[reason] += 1
        lines.append(f"{reason}: {case} {words[:300]}")
    total = len(passed) + len(failed) + skipped
    print(f"{total} cases run, {len(passed)} pass, {skipped} skipped by the suite, {len(failed)} do not apply:")
    for reason, count in why.most_common():
        print(f"  {count:4}  {reason}")
    if show:
        print("\n".join(sorted(lines)))
    return 1 if why["UNEXPECTED"] else 0


def _refused(words: str) -> str:
    """A refusal with a code is this server's rule; anything else (5xx, an answer off its shape) is a fault of ours."""
    if re.search(r"(UnprocessableEntity|BadRequest|Conflict)Error", words):
        return "sends values that a server which validates refuses"
    return "UNEXPECTED"


if __name__ == "__main__":
    sys.exit(main())
