"""The client's address behind trusted proxies, and invalid settings."""

from __future__ import annotations

import pytest

from core.proxies import TrustedProxies
from core.settings import Misconfigured, Settings


@pytest.mark.parametrize(
    ("setting", "forwarded", "client"),
    [
        # no trusted proxy: the header is ignored
        ("", "203.0.113.7", "10.0.0.1"),
        ("0", "203.0.113.7", "10.0.0.1"),
        # a number of proxies
        ("1", "203.0.113.7", "203.0.113.7"),
        ("1", "198.51.100.9, 203.0.113.7", "203.0.113.7"),  # the client wrote the first entry itself
        ("1", " 203.0.113.7 ", "203.0.113.7"),
        ("1", "203.0.113.7:4711", "203.0.113.7"),
        ("1", "2001:db8::7", "2001:db8::7"),
        ("1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("1", "not an address", "10.0.0.1"),
        ("1", "203.0.113.7,", "10.0.0.1"),
        ("1", "", "10.0.0.1"),
        ("2", "203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("2", "198.51.100.9, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("2", "203.0.113.7", "203.0.113.7"),
        # networks
        ("10.0.0.0/8", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.0/8", "198.51.100.9, 203.0.113.7, 10.0.0.2, 10.9.9.9", "203.0.113.7"),
        ("10.0.0.0/8", "10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "198.51.100.9, 203.0.113.7", "203.0.113.7"),
        ("10.0.0.1, 2001:db8:1::/48", "198.51.100.9, 203.0.113.7, 2001:db8:1::5", "203.0.113.7"),
        ("192.0.2.0/24", "203.0.113.7", "10.0.0.1"),  # the peer is no trusted proxy, so its header is ignored
        ("10.0.0.0/8", "nonsense, 10.0.0.2", "10.0.0.2"),
    ],
)
def test_the_client_is_the_last_address_that_a_trusted_proxy_wrote(setting: str, forwarded: str, client: str) -> None:
    assert TrustedProxies.parse(setting).client("10.0.0.1", forwarded.split(",") if forwarded else []) == client


@pytest.mark.parametrize(
    "nonsense",
    [
        "-1",
        "+1",
        "11",
        "1.5",
        "²",
        "one",
        "yes",
        "true",
        "*",
        "all",
        "0.0.0.0/0",
        "::/0",
        "0.0.0.0/1",
        "8000::/1",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/8,",
        ",",
        "10.0.0.0/8,1",
        "1,2",
        "proxy.internal",
        "http://10.0.0.1",
        "10.0.0.1:80",
        "224.0.0.0/8",
        "0.0.0.0",
        "::",
    ],
)
@pytest.mark.parametrize("mode", ["test", "live"])
def test_invalid_settings_are_refused_at_start(nonsense: str, mode: str) -> None:
    live = {
        "PORTAL_BASE_URL": "https://portal.example",
        "SECRET_KEY": "k" * 40,
        "MAIL_SERVER": "mail.example",
        "DATABASE_URL": "postgresql://portal@db.example/portal",
    }
    with pytest.raises(Misconfigured, match="PORTAL_TRUSTED_PROXIES"):
        Settings.from_env({"PORTAL_MODE": mode, "PORTAL_TRUSTED_PROXIES": nonsense, **live})


def test_valid_settings_are_read() -> None:
    assert Settings.from_env({}).trusted_proxies == TrustedProxies()
    assert Settings.from_env({"PORTAL_TRUSTED_PROXIES": " 2 "}).trusted_proxies.count == 2
    assert len(Settings.from_env({"PORTAL_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8, ::1"}).trusted_proxies.networks) == 3
