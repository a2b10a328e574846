"""One function turns a domain name into ASCII, and nothing lets a library do it with another table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.test_rules import files, nodes

THE_ENCODER = "core/domain_names.py"
MODULES = ("idna", "encodings.idna", "encodings.punycode", "flask_mail", "stringprep")
CODECS = {"idna", "punycode"}
CASELESS = (
    "auth",
    "billing/model/email_address.py",
    "core/mail.py",
    "core/mime.py",
    "core/mail_server.py",
    "tenants/memberships.py",
    "tenants/team.py",
)
"""Where addresses are compared: `casefold` makes one of `ß` and `ss`, `NFKC` one of `ﬃ` and `ffi`."""


def other_encoders(name: str, tree: ast.Module) -> list[str]:
    found = []
    for node in nodes(tree):
        modules = [item.name for item in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or "", *(f"{node.module}.{item.name}" for item in node.names)]
        found += [f"{name}:{node.lineno} {item}" for item in modules for bad in MODULES if item == bad or item.startswith(bad + ".")]  # type: ignore[attr-defined]
        if isinstance(node, ast.Call):
            words = [item.value for item in (*node.args, *(given.value for given in node.keywords)) if isinstance(item, ast.Constant)]
            found += [f"{name}:{node.lineno} codec {word}" for word in words if isinstance(word, str) and word.lower() in CODECS]
    return found


def folds(name: str, tree: ast.Module) -> list[str]:
    found = []
    for node in nodes(tree):
        if isinstance(node, ast.Attribute) and node.attr == "casefold":
            found.append(f"{name}:{node.lineno} casefold")
        if isinstance(node, ast.Constant) and node.value in ("NFKC", "NFKD"):
            found.append(f"{name}:{node.lineno} {node.value}")
    return found


def test_one_function_turns_a_domain_into_ascii() -> None:
    rooms = ("core", "billing", "gateways", "auth", "portal", "unified", "tenants", "wsgi")
    bad = [other_encoder for name, _, tree in files(*rooms) if name != THE_ENCODER for other_encoder in other_encoders(name, tree)]
    assert not bad, "use core.domain_names.ascii_domain: " + ", ".join(bad)


@pytest.mark.parametrize(
    "source",
    [
        "import idna",
        "from idna import encode",
        "import encodings.idna",
        "from encodings import idna",
        "from flask_mail import Message",
        "host.encode('idna')",
        "bytes(host, encoding='idna')",
        "codecs.encode(host, 'punycode')",
    ],
)
def test_the_rule_finds_other_encoders(source: str) -> None:
    assert other_encoders("x.py", ast.parse(source))


def test_the_rule_accepts_other_code() -> None:
    assert not other_encoders("x.py", ast.parse("from core.domain_names import ascii_domain\nascii_domain('fass.de').encode('ascii')"))
    assert Path(__file__).parents[2].joinpath(THE_ENCODER).is_file()


def test_addresses_are_never_folded_beyond_ascii() -> None:
    bad = [fold for room in CASELESS for name, _, tree in files(room.removesuffix(".py")) for fold in folds(name, tree)]
    assert not bad and folds("x.py", ast.parse("text.casefold()")) and folds("x.py", ast.parse("normalize('NFKC', text)"))
