"""Only core/outgoing.py sends HTTP requests to other hosts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.test_rules import calls, files, nodes

THE_CLIENT = ("core/outgoing.py", "core/pinned_sockets.py", "core/address_policy.py")
FORBIDDEN = (
    "requests",
    "urllib.request",
    "urllib3",
    "httpx",
    "httpcore",
    "http.client",
    "aiohttp",
    "socket",
    "ftplib",
    "telnetlib",
    "xmlrpc",
    "asyncio",
    "websockets",
    "pycurl",
    "authlib.integrations.requests_client",
)
THE_SERVER = ("core/edge.py", "core/serving.py", "core/request_threads.py")  # they answer connections in an event loop, and open none
OPENS = ("open_connection", "open_unix_connection", "create_connection", "create_datagram_endpoint", "sock_connect", "getaddrinfo")
NO_CLIENT = {
    "core/metrics/listener.py socket": "names a family of addresses that it listens on",
    "core/replica.py socket": "closes a connection of the database driver",
    "core/pooler.py socket": "closes a connection of the database driver",
    "core/serving.py socket": "listens for the server",
}
HANDED = {"http_client": ("DodoPayments", "AsyncDodoPayments"), "transport": ("OAuth2Client", "AsyncOAuth2Client", "OAuth1Client")}
"""Clients of other packages that speak HTTP: the keyword that makes them speak through ours."""


def strangers(name: str, tree: ast.Module) -> list[str]:
    found = []
    for node in nodes(tree):
        modules = [item.name for item in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or "", *(f"{node.module}.{item.name}" for item in node.names)]
        found += [
            f"{name}:{node.lineno} {module}" for module in modules for bad in FORBIDDEN if module == bad or module.startswith(bad + ".")
        ]  # type: ignore[attr-defined]
    if name in THE_SERVER:
        found = [item for item in found if not item.endswith(" asyncio")]
        found += [f"{name}:{call.lineno} {func}" for func, call in calls(tree) if func.split(".")[-1] in OPENS]
    for func, call in calls(tree):
        for keyword, classes in HANDED.items():
            if func.split(".")[-1] in classes and keyword not in {item.arg for item in call.keywords}:
                found.append(f"{name}:{call.lineno} {func} without {keyword}=")
    return found


def test_only_the_outgoing_client_opens_connections() -> None:
    bad = [
        stranger
        for name, _, tree in files()
        if name not in THE_CLIENT
        for stranger in strangers(name, tree)
        if re.sub(r":\d+", "", stranger) not in NO_CLIENT
    ]
    assert not bad, "use house.outgoing (core/outgoing.py): " + ", ".join(bad)


@pytest.mark.parametrize(
    "source",
    [
        "import requests",
        "from urllib import request",
        "import urllib.request",
        "from http.client import HTTPSConnection",
        "import httpx as h",
        "from socket import create_connection",
        "client = DodoPayments(bearer_token='x')",
        "OAuth2Client('id')",
    ],
)
def test_the_rule_finds_other_clients(source: str) -> None:
    assert strangers("x.py", ast.parse(source))


@pytest.mark.parametrize("source", ["import asyncio\nasyncio.open_connection('a', 1)", "loop.create_connection(f)", "import socket"])
def test_the_server_opens_no_connection(source: str) -> None:
    assert strangers(THE_SERVER[0], ast.parse(source)) and not strangers(THE_SERVER[0], ast.parse("import asyncio\nasyncio.timeout(1)"))


def test_the_rule_accepts_other_code() -> None:
    assert not strangers("x.py", ast.parse("from urllib.parse import urlsplit\nDodoPayments(http_client=c)\nOAuth2Client(transport=t)"))
    assert all(Path(__file__).parents[2].joinpath(name).is_file() for name in THE_CLIENT)
