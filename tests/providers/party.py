"""`openid-client` in a separate process, called from Python. Its errors are `PartyError`."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from tests.providers import ROOM, free_port, node


class PartyError(Exception):
    def __init__(self, said: dict[str, Any]) -> None:
        self.error, self.message = said["error"], said["message"]
        super().__init__(f"{self.error}: {self.message}")


class Party:
    def __init__(self) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [node(), "party.mjs"],
            cwd=ROOM,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PARTY_PORT": str(self.port)},
        )
        assert self.process.stdout is not None and json.loads(self.process.stdout.readline()) == "ready", "run make setup-test"

    def __call__(self, act: str, **said: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"act": act, **said}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise PartyError(answer)
        return answer["ok"]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
