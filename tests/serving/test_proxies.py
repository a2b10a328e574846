"""The configurations in deploy/ in front of the real server: rate limits per client, size limits, slow clients.

They run where the proxy is installed (packages `nginx` and `caddy`). Elsewhere only the directives of the file are checked, and the test
prints that.
"""

from __future__ import annotations

import datetime
import http.client
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from auth.domains.models import Domain
from core import clock
from core.scope import everything
from tests.harness.database_proxy import DatabaseProxy
from tests.serving.server import ROOT, Served, free_port, serving
from tests.shared_applications import Past

Start = Callable[[Path, int, int], list[str]]
"""(folder, the proxy's port, the portal's port) → the command that starts the proxy."""
NAME = "portal.example"
MALLORY, ADA, BEN = "127.0.0.7", "127.0.0.8", "127.0.0.9"
NGINX = (ROOT / "deploy/nginx.conf").read_text(encoding="utf-8")
CADDY = (ROOT / "deploy/Caddyfile").read_text(encoding="utf-8")
NEEDED = {
    "nginx": (
        NGINX,
        (
            "limit_conn ",
            "limit_req ",
            "client_header_timeout ",
            "client_body_timeout ",
            "send_timeout ",
            "client_max_body_size 16m",
            "proxy_set_header Host $http_host",
            "proxy_set_header X-Forwarded-For $remote_addr",
            "proxy_request_buffering on",
            "keepalive_timeout 5s",
            "location = /metrics",
            "location = /tls-allowed",
        ),
    ),
    "caddy": (
        CADDY,
        (
            "read_header 10s",
            "read_body ",
            "write ",
            "idle ",
            "max_header_size 32KB",
            "max_size 16MB",
            "reverse_proxy {$PORTAL_WEB:127.0.0.1:5000}",
            "keepalive 5s",
            "@inside path /metrics /tls-allowed",
            "health_uri /healthz",
            "ask http://{$PORTAL_ASK:127.0.0.1:5000}/tls-allowed",
        ),
    ),
}


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), False)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "portal.pem", folder / "portal.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return pem, secret


def nginx(folder: Path, port: int, to: int) -> list[str]:
    pem, key = certificate(folder)
    text = NGINX
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("listen 80;", f"listen unix:{folder}/http.sock;"),
        ("customer.example.com;", f"{NAME};"),
        ("127.0.0.1:5000", f"127.0.0.1:{to}"),
        ("/etc/ssl/portal.pem", str(pem)),
        ("/etc/ssl/portal.key", str(key)),
    ):
        assert old in text
        text = text.replace(old, new)
    paths = " ".join(f"{item}_temp_path {folder}/{item};" for item in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root; " if os.getuid() == 0 else ""  # its own user could not write into the folder of the test
    (folder / "nginx.conf").write_text(
        f"{user}daemon off; pid {folder}/nginx.pid; error_log {folder}/proxy.log; worker_processes 1;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; {paths}\n{text}\n}}\n"
    )
    return [str(shutil.which("nginx")), "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, port: int, to: int) -> list[str]:
    pem, key = certificate(folder)
    text = CADDY
    for old, new in (
        ("\tservers {", "\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n\tservers {"),
        ("127.0.0.1:5000", f"127.0.0.1:{to}"),
        ("\n{$PORTAL_HOST:customer.example.com} {", f"\nhttps://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {pem} {key}"),
        ("\nhttps:// {\n\ttls {", f"\nhttps://:{port} {{\n\tbind 127.0.0.1\n\ttls {{\n\t\tissuer internal"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "Caddyfile").write_text(text)
    return [str(shutil.which("caddy")), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@contextmanager
def in_front(served: Served, folder: Path, start: Start, port: int) -> Iterator[Served]:
    with (folder / "proxy.out").open("wb") as out:
        process = subprocess.Popen(
            start(folder, port, served.port),
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
        )
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
    """Check that one client behind the proxy does not affect others, whatever headers it sends."""
    forged = {"X-Forwarded-For": ADA, "X-Real-Ip": ADA, "Forwarded": f"for={ADA}", "X_Forwarded_For": ADA}
    for number in range(12):
        served.ask_for_email(f"stranger{number}@void.example", client=MALLORY, proxied=True)
    assert served.seconds_to_email("ada@marlow.example", client=ADA, proxied=True) < 15

    def license_check(client: str, headers: dict[str, str] | None = None) -> int:
        body = b'{"license_key": "no-such-key"}'
        return served.ask(
            "POST", "/api/licenses/validate", body, {"Content-Type": "application/json", **(headers or {})}, client=client, proxied=True
        )[0]

    assert [license_check(MALLORY, forged) for _ in range(21)][-1] == 429
    assert license_check(ADA) == 200
    assert served.ask("GET", "/metrics", proxied=True)[0] == served.ask("GET", "/tls-allowed?domain=" + NAME, proxied=True)[0] == 404
    assert served.ask("GET", "/tls-allowed?domain=" + NAME)[0] == 200, "the proxy itself may ask"
    assert served.ask("POST", "/login", b"x" * (5 << 20), client=BEN, proxied=True)[0] == 413


def check_certificates(served: Served, business_id: str) -> None:
    """Check that Caddy gets a certificate for a verified domain at its first request, and for no other name."""
    domain, other = "billing.acorn.example", "stranger.example"
    now = clock.wall()
    with served.database.open(everything("a verified domain"), write=True) as db:
        db.add(
            Domain(
                business_id=business_id,
                id="dom_verified",
                host=domain,
                token="t",
                created_at=now,
                verified_at=now,
                checked_at=now,
                removed_at=None,
            )
        )

    def ask(host: str, path: str) -> tuple[int, str]:
        plain = socket.create_connection(("127.0.0.1", served.through), 30)
        connection = http.client.HTTPConnection("127.0.0.1", served.through, timeout=30)
        connection.sock = ssl._create_unverified_context().wrap_socket(plain, server_hostname=host)
        names = (
            x509.load_der_x509_certificate(connection.sock.getpeercert(True) or b"")
            .extensions.get_extension_for_class(x509.SubjectAlternativeName)
            .value.get_values_for_type(x509.DNSName)
        )
        assert names == [host]
        connection.request("GET", path, headers={"Host": f"{host}:{served.through}"})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, answer.headers.get("Location", "")

    assert ask(domain, "/") == (303, f"/business/{business_id}/")
    assert ask(domain, f"/tls-allowed?domain={domain}")[0] == 404
    with pytest.raises(ssl.SSLError):
        ask(other, "/")


@pytest.mark.parametrize(("name", "start"), [("nginx", nginx), ("caddy", caddy)])
def test_the_shipped_proxy_configuration_works(name: str, start: Any, tmp_path: Path, sqlite: Any, past: Callable[[Any], Past]) -> None:
    text, needed = NEEDED[name]
    plain = re.sub(r"#.*", "", text)
    assert not [item for item in needed if item not in plain] and plain.count("{") == plain.count("}")
    if shutil.which(name) is None:
        print(f"{name} is not installed: its configuration was read, not run")
        return
    port = free_port()
    urls, drop = past(sqlite).fresh(tmp_path)
    with (
        serving(tmp_path, urls, base_url=f"https://{NAME}:{port}", PORTAL_TRUSTED_PROXIES="1", PORTAL_BOT_CHECK="none") as served,
        in_front(served, tmp_path, start, port),
    ):
        check_a_client(served)
        if name == "nginx":
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "http.sock"))) as plain_http:
                assert plain_http.get(f"http://{NAME}/login?a=b").headers["Location"] == f"https://{NAME}/login?a=b"
        if name == "caddy":
            check_certificates(served, past(sqlite).cast.acorn)
        for _ in range(100):
            served.connect(served.head("POST", "/login", "Content-Length: 1000") + b"email=")
        assert served.seconds_to_email("ben@hill.example", client=BEN, proxied=True) < 15
        for socket in served.sockets:
            socket.close()
    drop()


def behind_two(start: Start, database_proxy: DatabaseProxy, other: DatabaseProxy) -> Start:
    """The same proxy with two portal processes behind it, added as the configurations describe."""

    def started(folder: Path, port: int, _to: int) -> list[str]:
        command = start(folder, port, database_proxy.port)
        for file, old, new in (
            (
                "nginx.conf",
                f"server 127.0.0.1:{database_proxy.port} max_fails=0;",
                "server 127.0.0.1:{} max_fails=0; server 127.0.0.1:{} max_fails=0;",
            ),
            ("Caddyfile", f"{{$PORTAL_WEB:127.0.0.1:{database_proxy.port}}}", "127.0.0.1:{} 127.0.0.1:{}"),
        ):
            if (folder / file).exists():
                text = (folder / file).read_text()
                assert old in text
                (folder / file).write_text(text.replace(old, new.format(database_proxy.port, other.port)))
        return command

    return started


@pytest.mark.parametrize(("name", "start"), [("nginx", nginx), ("caddy", caddy)])
def test_a_rolling_restart_fails_no_request(name: str, start: Any, tmp_path: Path, running: Served) -> None:
    """The second process stops at the moment when the first one is back."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    port = free_port()
    item, other = DatabaseProxy(("127.0.0.1", running.port)), DatabaseProxy(("127.0.0.1", running.port))
    try:
        with in_front(replace(running, host=f"{NAME}:{port}"), tmp_path, behind_two(start, item, other), port) as served:
            for stops, back in ((item, other), (other, item), (item, other)):
                back.restore()
                stops.cut()
                assert [served.ask("GET", "/healthz", proxied=True)[0] for _ in range(6)] == [200] * 6
    finally:
        item.close()
        other.close()
