"""The outgoing client with hostile servers: private addresses, rebinding, dripping, floods, redirects."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import address_policy
from core.outgoing import HostUnreachable, Outgoing, RequestRefused
from core.settings import Misconfigured, Settings
from tests.hostile_server import receiving

TEST = Settings(outgoing_loopback=True)


def named(*answers: str) -> Callable[[str, int, float], list[str]]:
    """A resolver with one answer for every name."""
    return lambda name, port, seconds: list(answers)


PRIVATE = """127.0.0.1 127.8.8.8 10.0.0.1 172.16.5.4 172.31.255.255 192.168.1.1 169.254.169.254 0.0.0.0 100.64.0.1 100.127.255.255
    192.0.0.8 192.0.2.1 198.18.0.1 198.51.100.7 203.0.113.9 192.88.99.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
    ::1 :: fe80::1 fe80::1%lo fc00::1 fd12:3456::1 ff02::1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::808:808
    64:ff9b:1::1 2002:7f00:1:: 2002:808:808::1 2001::1 2001:db8::1 3fff::1 100::1 5f00::1 fec0::1 4000::1""".split()


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert not address_policy.is_public(address)
    with pytest.raises(address_policy.NotPublic):
        address_policy.choose([address], loopback=False)


def test_public_addresses_are_accepted() -> None:
    for address in ("8.8.8.8", "1.1.1.1", "185.199.108.153", "2606:4700::1111", "2a00:1450:4001::200e"):
        assert address_policy.is_public(address)
    assert [item for item in PRIVATE if address_policy.is_loopback(item)] == ["127.0.0.1", "127.8.8.8", "::1"]


@pytest.mark.parametrize(
    "url, code",
    [
        ("ftp://example.com/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://127.0.0.1:6379/_x", "scheme"),
        ("", "scheme"),
        ("//x", "scheme"),
        ("https://", "url"),
        ("https:///x", "url"),
        ("http://[::1", "url"),
        ("https://exa mple.com/", "url"),
        ("https://x.example/#a", "url"),
        ("https://ada:pw@example.com/", "userinfo"),
        ("https://ada@example.com/", "userinfo"),
        ("https://example.com:22/", "port"),
        ("http://example.com:6379/", "port"),
        ("https://example.com:25/", "port"),
        ("http://127.0.0.1/", "not_public"),
        ("http://[::1]/", "not_public"),
        ("http://[::ffff:10.0.0.1]/", "not_public"),
        ("http://10.1.2.3/", "not_public"),
    ],
)
def test_invalid_urls_are_refused_before_any_look_up(url: str, code: str) -> None:
    asked: list[str] = []
    outgoing = Outgoing(Settings(), resolve=lambda name, port, seconds: asked.append(name) or ["8.8.8.8"])
    with pytest.raises(RequestRefused) as refused:
        outgoing.request("GET", url)
    assert refused.value.code == code and not asked


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "localhost.", "127。0。0。1"])
def test_other_spellings_of_loopback_are_refused(host: str) -> None:
    with receiving() as here, pytest.raises((RequestRefused, HostUnreachable)) as no:
        Outgoing(Settings()).request("GET", f"http://{host}:8080/")
    assert not here.heard and getattr(no.value, "sent", False) is False


def test_one_private_address_among_public_ones_is_refused() -> None:
    with pytest.raises(RequestRefused) as refused:
        Outgoing(Settings(), resolve=named("8.8.8.8", "10.0.0.5")).request("GET", "http://rebind.example/")
    assert refused.value.code == "not_public" and "10.0.0.5" in str(refused.value)


def test_a_name_is_resolved_once_and_pinned() -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.5"], ["10.0.0.6"]])
    asked: list[str] = []

    def rebinding(name: str, port: int, seconds: float) -> list[str]:
        asked.append(name)
        return next(answers)

    with receiving() as here:
        outgoing = Outgoing(TEST, resolve=rebinding)
        answer = outgoing.request("POST", f"http://rebind.example:{here.port}/x", content=b"hello")
        assert (answer.status, answer.body, asked) == (200, b"ok", ["rebind.example"])
        assert here.heard[0].headers["host"] == f"rebind.example:{here.port}" and here.heard[0].body == b"hello"
        with pytest.raises(RequestRefused):  # the next request resolves again and gets the private address
            outgoing.request("POST", f"http://rebind.example:{here.port}/x")
        assert len(here.heard) == 1


def test_invalid_ports_are_refused() -> None:
    for url in ("http://127.0.0.1:0/", "http://127.0.0.1:65536/", "http://127.0.0.1:-1/"):
        with pytest.raises(RequestRefused):
            Outgoing(TEST).request("GET", url)


def test_loopback_needs_test_mode_and_a_setting() -> None:
    live = Settings(
        mode="live", base_url="https://portal.example", secret_keys=("s" * 40,), gateway="none", mail_server="m", allow_sqlite=True
    )
    with receiving() as here:
        assert Outgoing(TEST).request("GET", here.url).status == 200
        for settings, allow in ((Settings(), None), (TEST, False)):
            with pytest.raises(RequestRefused):
                Outgoing(settings).request("GET", here.url, allow_loopback=allow)
        with pytest.raises(RequestRefused) as refused:
            Outgoing(live).request("GET", f"https://127.0.0.1:{here.port}/", allow_loopback=True)
        assert refused.value.code == "not_public" and len(here.heard) == 1
    with pytest.raises(RequestRefused) as plain:
        Outgoing(live).request("GET", "http://example.com/")
    assert plain.value.code == "scheme"
    with pytest.raises(Misconfigured):
        Settings(**{**vars(live), "outgoing_loopback": True}).checked()


def test_redirects_are_not_followed() -> None:
    with receiving() as inside, receiving(lambda wire, _: wire.say(302, Location=f"{inside.url}/secret", Set_Cookie="a=b")) as here:
        answer = Outgoing(TEST).request("GET", here.url)
        with Outgoing(TEST).client() as client:
            assert client.get(here.url).status_code == client.get(here.url).status_code == 302
            assert not client.cookies and "cookie" not in here.heard[-1].headers
    assert answer.status == 302 and answer.headers["location"].endswith("/secret") and "set-cookie" not in answer.headers
    assert len(here.heard) == 3 and not inside.heard


def test_a_body_over_the_limit_is_not_read() -> None:
    sent: list[int] = []
    with receiving(lambda wire, _: sent.append(wire.flood(10_000_000))) as here:
        answer = Outgoing(TEST).request("GET", here.url, max_bytes=4096)
        assert answer.truncated and answer.body == b"x" * 4096
        with Outgoing(TEST).client(max_bytes=4096) as client, pytest.raises(httpx.ReadError, match="longer than 4096"):
            client.get(here.url)
        until = time.monotonic() + 30
        while len(sent) < 2 and time.monotonic() < until:
            time.sleep(0.01)
    assert len(sent) == 2 and max(sent) < 10_000_000, "the server could send it all: somebody read on"


def test_an_answer_of_exactly_the_limit_is_read() -> None:
    with receiving(lambda wire, _: wire.say(200, b"y" * 100)) as here:
        assert Outgoing(TEST).request("GET", here.url, max_bytes=100).truncated is False
        assert Outgoing(TEST).request("GET", here.url, max_bytes=99).truncated is True


def test_a_dripping_server_is_stopped_by_the_total_timeout() -> None:
    with receiving(lambda wire, _: wire.drip(30)) as here:
        for ask in (lambda: Outgoing(TEST).request("GET", here.url, timeout=0.8), lambda: Outgoing(TEST).client(timeout=0.8).get(here.url)):
            began = time.monotonic()
            with pytest.raises((HostUnreachable, httpx.TimeoutException)) as late:
                ask()
            assert 0.7 < time.monotonic() - began < 20 and getattr(late.value, "sent", True)


def test_stalling_servers_and_resolvers_time_out() -> None:
    free = threading.Event()
    with receiving(lambda wire, _: bool(free.wait(30))) as here:
        began = time.monotonic()
        with pytest.raises(HostUnreachable) as late:
            Outgoing(TEST).request("GET", here.url, timeout=0.8)
        assert time.monotonic() - began < 20 and late.value.sent
        free.set()

    def never(*_: object, **__: object) -> list[str]:
        over.wait(30)
        return []

    over, real = threading.Event(), address_policy.socket.getaddrinfo
    address_policy.socket.getaddrinfo = never  # type: ignore[assignment]
    try:
        began = time.monotonic()
        with pytest.raises(HostUnreachable) as unknown:
            Outgoing(TEST).request("GET", "http://slow.example/", timeout=0.2)
        assert time.monotonic() - began < 20 and unknown.value.sent is False
    finally:
        over.set()
        address_policy.socket.getaddrinfo = real


def test_a_request_that_was_not_sent_is_marked() -> None:
    with receiving() as gone:
        pass
    with pytest.raises(HostUnreachable) as closed:
        Outgoing(TEST).request("POST", gone.url, content=b"x")
    assert closed.value.sent is False
    with receiving(lambda wire, _: wire.connection.shutdown(socket.SHUT_RDWR)) as rude, pytest.raises(HostUnreachable) as cut:
        Outgoing(TEST).request("POST", rude.url, content=b"x")
    assert cut.value.sent is True
    with receiving(lambda wire, _: wire.say(200, b"\x1f\x8b", Content_Encoding="gzip")) as bomb:
        with pytest.raises(HostUnreachable, match="compressed"):
            Outgoing(TEST).request("GET", bomb.url)
    assert bomb.heard[0].headers["accept-encoding"] == "identity"


def test_headers_cannot_inject_other_headers() -> None:
    with receiving() as here:
        for headers in ({"X-A": "a\r\nX-B: b"}, {"X A": "a"}, {"X-A": "a\0"}):
            with pytest.raises((RequestRefused, HostUnreachable)) as no:
                Outgoing(TEST).request("GET", here.url, headers=headers)
            assert getattr(no.value, "sent", False) is False
        assert not here.heard


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as here:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert Outgoing(TEST).request("GET", here.url).status == 200
        with Outgoing(TEST).client() as client:
            assert client.get(here.url).status_code == 200
    assert len(here.heard) == 2 and not proxy.heard


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return (server's context for hooks.example, client's context that trusts its authority)."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path: Path = tmp_path_factory.mktemp("tls") / "both.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=path)


def test_the_certificate_must_match_the_name(authority: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, known = authority
    with receiving(tls=server) as here:
        ours = Outgoing(TEST, resolve=named("127.0.0.1"), tls=known)
        assert ours.request("GET", f"https://hooks.example:{here.port}/").status == 200
        assert here.names == ["hooks.example"] and here.heard[0].headers["host"] == f"hooks.example:{here.port}"
        for outgoing, host in ((ours, "other.example"), (Outgoing(TEST, resolve=named("127.0.0.1")), "hooks.example")):
            with pytest.raises(HostUnreachable) as refused:
                outgoing.request("POST", f"https://{host}:{here.port}/", content=b"secret")
            assert refused.value.sent is False
        assert len(here.heard) == 1


def test_the_next_address_is_tried_when_the_first_is_closed() -> None:
    with receiving() as here:
        outgoing = Outgoing(TEST, resolve=named("127.9.9.9", "127.0.0.1"))
        assert outgoing.request("GET", f"http://two.example:{here.port}/", timeout=2).status == 200
