"""Nothing in the house speaks HTTP to the outside but core/outgoing.py."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.test_rules import calls, files

THE_CLIENT = ("core/outgoing.py", "core/wire.py", "core/reach.py")
FORBIDDEN = ("requests", "urllib.request", "urllib3", "httpx", "httpcore", "http.client", "aiohttp", "socket", "ftplib", "telnetlib",
             "xmlrpc", "asyncio", "websockets", "pycurl", "authlib.integrations.requests_client")
THE_SERVER = ("core/edge.py", "core/threads.py")  # they answer connections in an event loop, and open none
OPENS = ("open_connection", "open_unix_connection", "create_connection", "create_datagram_endpoint", "sock_connect", "getaddrinfo")
NO_CLIENT = {
    "core/replica.py socket": "closes a connection of the database driver",
    "tenants/elsewhere/dodo.py httpx": "names the errors of a client that was handed in",
}
HANDED = {"http_client": ("DodoPayments", "AsyncDodoPayments"), "transport": ("OAuth2Client", "AsyncOAuth2Client", "OAuth1Client")}
"""Clients of other packages that speak HTTP: the keyword that makes them speak through ours."""


def strangers(name: str, tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or "", *(f"{node.module}.{one.name}" for one in node.names)]
        found += [f"{name}:{node.lineno} {module}" for module in modules
                  for bad in FORBIDDEN if module == bad or module.startswith(bad + ".")]  # type: ignore[attr-defined]
    if name in THE_SERVER:
        found = [one for one in found if not one.endswith(" asyncio")]
        found += [f"{name}:{call.lineno} {func}" for func, call in calls(tree) if func.split(".")[-1] in OPENS]
    for func, call in calls(tree):
        for keyword, classes in HANDED.items():
            if func.split(".")[-1] in classes and keyword not in {one.arg for one in call.keywords}:
                found.append(f"{name}:{call.lineno} {func} without {keyword}=")
    return found


def test_nobody_else_opens_connections() -> None:
    bad = [one for name, _, tree in files() if name not in THE_CLIENT for one in strangers(name, tree)
           if re.sub(r":\d+", "", one) not in NO_CLIENT]
    assert not bad, "use house.outgoing (core/outgoing.py): " + ", ".join(bad)


@pytest.mark.parametrize("source", [
    "import requests", "from urllib import request", "import urllib.request", "from http.client import HTTPSConnection",
    "import httpx as h", "from socket import create_connection", "client = DodoPayments(bearer_token='x')", "OAuth2Client('id')",
])
def test_the_rule_finds_them(source: str) -> None:
    assert strangers("x.py", ast.parse(source))


@pytest.mark.parametrize("source", ["import asyncio\nasyncio.open_connection('a', 1)", "loop.create_connection(f)", "import socket"])
def test_the_server_opens_no_connection(source: str) -> None:
    assert strangers(THE_SERVER[0], ast.parse(source)) and not strangers(THE_SERVER[0], ast.parse("import asyncio\nasyncio.timeout(1)"))


def test_the_rule_lets_the_rest_pass() -> None:
    assert not strangers("x.py", ast.parse("from urllib.parse import urlsplit\nDodoPayments(http_client=c)\nOAuth2Client(transport=t)"))
    assert all(Path(__file__).parents[2].joinpath(name).is_file() for name in THE_CLIENT)
