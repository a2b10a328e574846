"""Hosts that may get a TLS certificate: the portal's own and verified domains. Only the proxy itself may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from core.settings import Settings
from tests.harness.database_proxy import database_proxy
from tests.pages.console_setup import Site
from tests.pages.test_domains import HOST, Dns, Served

pytestmark = pytest.mark.one_engine  # what people see and type; other tests run these statements on both


@pytest.fixture(scope="module")
def site(sqlite: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    urls, drop = sqlite.fresh()
    item = Served.open(urls, tmp_path_factory.mktemp("certificates"))
    item.dns = item.binding.resolve = Dns()
    yield item
    item.services.database.dispose()
    drop()


def ask(site: Site, domain: str | None, *, peer: str = "127.0.0.1", host: str = "127.0.0.1:5000", **headers: str) -> int:
    """Return the status of the proxy's request. The answer has no body and is not cached."""
    answer = site.app.test_client().get(
        "/tls-allowed",
        query_string={} if domain is None else {"domain": domain},
        environ_base={"REMOTE_ADDR": peer},
        headers={"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}},
    )
    assert answer.data == b"" and answer.headers["Cache-Control"] == "no-store" and "Set-Cookie" not in answer.headers
    return answer.status_code


def listed(site: Site) -> list[str]:
    return site.app.test_cli_runner().invoke(args=["domains"]).output.split()


def test_certificates_are_allowed_for_verified_domains_only(site: Served) -> None:
    site.sam.get(site.at("/domain"))
    site.save("/domain", host="unproved.acorn.example")
    assert (ask(site, HOST), ask(site, "unproved.acorn.example"), listed(site)) == (404, 404, [])
    domain = site.bind()
    assert (ask(site, HOST), ask(site, HOST.upper()), listed(site)) == (200, 200, [HOST])
    assert ask(site, "localhost") == 200, "the portal's own host"
    for other in ("unproved.acorn.example", "x." + HOST, "acorn.example", "", None, "a" * 300, "xn--a.example", "a..b", "../etc"):
        assert ask(site, other) == 404, other
    site.sam.get(site.at("/domain"))
    site.save(f"/domain/{domain.id}/removal", confirmed="yes")
    assert (ask(site, HOST), listed(site)) == (404, [])


def test_only_the_proxy_itself_may_ask_about_certificates(site: Served) -> None:
    """Forwarded requests and requests from the internet get no information."""
    site.bind()
    assert [ask(site, HOST, peer=peer) for peer in ("127.0.0.1", "10.0.0.4", "172.18.0.3", "::1", "::ffff:172.18.0.3")] == [200] * 5
    assert [ask(site, HOST, peer=peer) for peer in ("203.0.114.7", "2a01:4f8::7")] == [404] * 2
    assert ask(site, HOST, X_Forwarded_For="127.0.0.1") == ask(site, HOST, Forwarded="for=127.0.0.1") == 404
    assert ask(site, HOST, host=HOST, X_Forwarded_For="203.0.114.7") == 404


def test_no_certificate_is_allowed_while_the_database_is_down(postgres: Any, make_app: Callable[..., Flask], tmp_path: Path) -> None:
    """Caddy accepts only status 200."""
    urls, drop = postgres.fresh()
    with database_proxy(urls["database_url"]) as proxy:
        app = make_app(Settings(data_dir=tmp_path, base_url="http://localhost", database_url=proxy.url(urls["database_url"])))
        ask = lambda: app.test_client().get("/tls-allowed?domain=" + HOST).status_code  # noqa: E731
        assert ask() == 404
        proxy.cut()
        assert ask() == 503
        proxy.restore()
        assert ask() == 404
    drop()
