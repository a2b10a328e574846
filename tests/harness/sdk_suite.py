"""The official SDK's own test suite against this portal: `python -m tests.harness.sdk_suite FOLDER --extras DIR`.

FOLDER is the unpacked source archive of dodopayments in the locked version. DIR holds pytest-asyncio and respx, which its conftest
imports. The suite was written for a mock without memory: it deletes what it reads a moment later, and `payment_id` is refunded in one
case and retried in another. Each case therefore starts with the same rows and the payment it means, and its literal bearer token stands
for a real key. Values that a validating server refuses are refused (sdk_reasons.py). Both validation modes of the SDK (loose and strict)
run with its synchronous client. `--asynchronous` uses the asynchronous client, which needs httpx-aiohttp in DIR. The suite's invoice
cases call no server.
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
from core.services import Services
from core.settings import Settings
from tests.harness.sdk_reasons import ALONE, UNEXPECTED, why
from tests.harness.sdk_seed import bought, seed, unpaid

Rows = list[tuple[Path, bytes]]

PLUGIN = """
import os, urllib.request, urllib.parse, pytest

def pytest_collection_modifyitems(items):
    items[:] = [one for one in items if ("TestAsync" in one.nodeid) == bool(os.environ.get("ASYNCHRONOUS"))]

@pytest.fixture(autouse=True)
def same_beginning(request):
    where = os.environ["RESET"] + "?" + urllib.parse.quote(request.node.name)
    urllib.request.urlopen(urllib.request.Request(where, method="POST"), timeout=60).read()
"""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--extras", type=Path, required=True)
    asked.add_argument("-k", default="", help="as pytest's")
    asked.add_argument("--asynchronous", action="store_true")
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
    services = app.extensions["portal"]
    with app.app_context():
        key = seed(services)
        both = _kept(services, folder)
        bought(services)
        paid = _kept(services, folder)
        _put_back(services, both)
        unpaid(services)
        declined = _kept(services, folder)

    def front(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/reset":
            _put_back(services, declined if re.search("_retry(?!_state)", environ["QUERY_STRING"]) else paid)
            start("204 No Content", [])
            return [b""]
        if environ.get("HTTP_AUTHORIZATION") == "Bearer My Bearer Token":
            environ["HTTP_AUTHORIZATION"] = f"Bearer {key}"
        return app(environ, start)

    server = make_server("127.0.0.1", 0, front)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_port


def _kept(services: Services, folder: Path) -> Rows:
    services.database.dispose()
    return [(item, item.read_bytes()) for item in folder.glob("*") if item.suffix in (".db", ".sqlite3")]


def _put_back(services: Services, rows: Rows) -> None:
    services.database.dispose()
    for path, was in rows:
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        path.write_bytes(was)


def _run(wanted: argparse.Namespace, folder: Path, port: int) -> str:
    suite = folder / "suite"
    shutil.copytree(wanted.folder / "tests", suite / "tests")
    (suite / "same_beginning.py").write_text(PLUGIN, encoding="utf-8")
    places = [str(suite), str(wanted.extras)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "TEST_API_BASE_URL": f"http://127.0.0.1:{port}/api",
           "RESET": f"http://127.0.0.1:{port}/reset", "COLUMNS": "1000", "ASYNCHRONOUS": "1" if wanted.asynchronous else ""}  # fmt: skip
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
    reasons: Counter[str] = Counter()
    lines = []
    for case, words in failed:
        reason = why(case, words)
        reasons[reason] += 1
        lines.append(f"{reason}: {case} {words[:300]}")
    total, alone = len(passed) + len(failed) + skipped, sum(1 for case in passed if re.search(ALONE, case))
    print(f"{total} cases run, {len(passed)} pass ({alone} of them without a call), {skipped} skipped by the suite, {len(failed)} do not:")
    for reason, count in sorted(reasons.items(), key=lambda item: (item[0].split(":")[0], -item[1])):
        print(f"  {count:4}  {reason}")
    if show:
        print("\n".join(sorted(lines)))
    return 1 if reasons[UNEXPECTED] else 0


if __name__ == "__main__":
    sys.exit(main())
