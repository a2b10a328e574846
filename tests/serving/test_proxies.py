"""The configurations in deploy/ in front of the real server: budgets per client, limits, slow clients.

They run where the proxy is installed (packages `nginx` and `caddy`). Where it is not, the file is only read, its directives are
checked, and the test prints that.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.quick import Past
from tests.serving.server import ROOT, Served, free_port, serving

NAME = "portal.example"
MALLORY, ADA, BEN = "127.0.0.7", "127.0.0.8", "127.0.0.9"
NGINX = (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8")
CADDY = (ROOT / "deploy/Caddyfile").read_text(encoding="utf-8")
NEEDED = {
    "nginx": (NGINX, (
        "limit_conn ", "limit_req ", "client_header_timeout ", "client_body_timeout ", "send_timeout ", "client_max_body_size 16m",
        "proxy_set_header Host $http_host", "proxy_set_header X-Forwarded-For $remote_addr", "proxy_request_buffering on",
        "keepalive_timeout 5s", "location = /metrics")),
    "caddy": (CADDY, (
        "read_header 10s", "read_body ", "write ", "idle ", "max_header_size 32KB", "max_size 16MB", "reverse_proxy 127.0.0.1:5000",
        "keepalive 5s", "respond /metrics 404")),
}


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), False).sign(key, hashes.SHA256()))
    pem, secret = folder / "portal.pem", folder / "portal.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return pem, secret


def nginx(folder: Path, port: int, to: int) -> list[str]:
    pem, key = certificate(folder)
    text = NGINX
    for old, new in (("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"), ("customer.example.com;", f"{NAME};"),
                     ("127.0.0.1:5000", f"127.0.0.1:{to}"),
                     ("/etc/ssl/portal.pem", str(pem)), ("/etc/ssl/portal.key", str(key))):
        assert old in text
        text = text.replace(old, new)
    paths = " ".join(f"{one}_temp_path {folder}/{one};" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root; " if os.getuid() == 0 else ""  # its own user could not write into the folder of the test
    (folder / "nginx.conf").write_text(
        f"{user}daemon off; pid {folder}/nginx.pid; error_log {folder}/proxy.log; worker_processes 1;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; {paths}\n{text}\n}}\n")
    return [str(shutil.which("nginx")), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, port: int, to: int) -> list[str]:
    pem, key = certificate(folder)
    text = CADDY
    for old, new in (("{\n\tservers", "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers"), ("127.0.0.1:5000", f"127.0.0.1:{to}"),
                     ("\ncustomer.example.com {", f"\nhttps://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {pem} {key}")):
        assert old in text
        text = text.replace(old, new)
    (folder / "Caddyfile").write_text(text)
    return [str(shutil.which("caddy")), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@contextmanager
def in_front(served: Served, folder: Path, start: Callable[[Path, int, int], list[str]], port: int) -> Iterator[Served]:
    with (folder / "proxy.out").open("wb") as out:
        process = subprocess.Popen(start(folder, port, served.port), stdout=out, stderr=subprocess.STDOUT, cwd=folder,
                                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), "XDG_DATA_HOME": str(folder)})
    served.through, served.tls = port, True
    try:
        for _ in range(100):
            assert process.poll() is None, (folder / "proxy.out").read_text()[-2000:]
            try:
                if served.ask("GET", "/healthz", proxied=True)[0] == 200:
                    break
            except OSError:
                time.sleep(0.1)
        yield served
    finally:
        process.terminate()
        process.wait(20)


def check_a_client(served: Served) -> None:
    """What one client does behind the proxy changes nothing for the others, whatever it writes into its headers."""
    forged = {"X-Forwarded-For": ADA, "X-Real-Ip": ADA, "Forwarded": f"for={ADA}", "X_Forwarded_For": ADA}
    for number in range(12):
        served.ask_for_email(f"stranger{number}@void.example", client=MALLORY, proxied=True)
    assert served.seconds_to_email("ada@marlow.example", client=ADA, proxied=True) < 15

    def license_check(client: str, headers: dict[str, str] | None = None) -> int:
        body = b'{"license_key": "no-such-key"}'
        return served.ask("POST", "/api/licenses/validate", body, {"Content-Type": "application/json", **(headers or {})},
                          client=client, proxied=True)[0]

    assert [license_check(MALLORY, forged) for _ in range(21)][-1] == 429
    assert license_check(ADA) == 200
    assert served.ask("GET", "/metrics", proxied=True)[0] == 404
    assert served.ask("POST", "/login", b"x" * (5 << 20), client=BEN, proxied=True)[0] == 413


@pytest.mark.parametrize(("name", "start"), [("nginx", nginx), ("caddy", caddy)])
def test_the_shipped_proxy_configuration(name: str, start: Any, tmp_path: Path, sqlite: Any, past: Callable[[Any], Past]) -> None:
    text, needed = NEEDED[name]
    plain = re.sub(r"#.*", "", text)
    assert not [one for one in needed if one not in plain] and plain.count("{") == plain.count("}")
    if shutil.which(name) is None:
        print(f"{name} is not installed: its configuration was read, not run")
        return
    port = free_port()
    urls, drop = past(sqlite).fresh(tmp_path)
    with serving(tmp_path, urls, base_url=f"https://{NAME}:{port}", PORTAL_TRUSTED_PROXIES="1", PORTAL_BOT_CHECK="none") as served, \
            in_front(served, tmp_path, start, port):
        check_a_client(served)
        for _ in range(100):
            served.connect(served.head("POST", "/login", "Content-Length: 1000") + b"email=")
        assert served.seconds_to_email("ben@hill.example", client=BEN, proxied=True) < 15
        for one in served.sockets:
            one.close()
    drop()
