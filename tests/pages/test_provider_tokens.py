"""Forged or misused tokens: no page redirects because of them, and no endpoint answers them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import RSAKey

from auth import session_lifecycle
from auth.identities import identity_of
from auth.oidc_server import apps, consents, id_tokens, keys, subject
from auth.oidc_server.apps import AppForm
from auth.oidc_server.clients import Client
from auth.oidc_server.models import AppSession
from auth.sessions import load
from core import clock
from core.scope import everything, system
from tests.conftest import Street
from tests.visitor import Visitor

pytestmark = pytest.mark.parametrize("street", ["sqlite"], indirect=True, scope="module")
VERIFIER, BACK, BYE = "v" * 64, "https://notes.example/in", "https://notes.example/bye"
OTHER = RSAKey.generate_key(2048)


@dataclass
class Held:
    """Ada's browser, an app of Acorn that she gave access to, and the app's tokens."""

    ada: Visitor
    app: str
    auth: tuple[str, str]
    tokens: dict[str, str]
    key: RSAKey
    claims: dict[str, Any]
    logout_token: str

    @property
    def free(self) -> RSAKey:
        """Our signing key without the fields that limit its use."""
        return RSAKey.import_key({name: value for name, value in self.key.as_dict(private=True).items() if name not in ("alg", "use")})

    def ask(self, **more: str) -> str:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
        return "/oauth/authorize?" + urlencode(
            {
                "client_id": self.app,
                "redirect_uri": BACK,
                "response_type": "code",
                "scope": "openid offline_access",
                "state": "s",
                "code_challenge": challenge,
                "code_challenge_method": "S256",
                **more,
            }
        )

    def sign(self, key: RSAKey | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Sign one of our tokens again, with changes."""
        head = {"alg": "RS256", "kid": self.key.kid, "typ": "JWT"} | (header or {})
        return jwt.encode(
            {name: value for name, value in head.items() if value is not None},
            {name: value for name, value in (self.claims | claims).items() if value is not None},
            key or self.free,
            algorithms=[head["alg"]],
        )

    def bare(self, header: dict[str, Any], signature: bytes = b"") -> str:
        return ".".join(_part(item) for item in (json.dumps(header).encode(), json.dumps(self.claims).encode(), signature))

    def signed_as_it_is(self, header: dict[str, Any]) -> str:
        """Sign a header that no library would write. The signature is valid."""
        unsigned = self.bare({"alg": "RS256", "kid": self.key.kid, "typ": "JWT"} | header).rpartition(".")[0]
        return f"{unsigned}.{_part(self.free.private_key.sign(unsigned.encode(), PKCS1v15(), SHA256()))}"

    def mac(self, secret: bytes) -> str:
        """Sign by HMAC with our public key."""
        unsigned = self.bare({"alg": "HS256", "kid": self.key.kid, "typ": "JWT"}).rpartition(".")[0]
        return f"{unsigned}.{_part(hmac.new(secret, unsigned.encode(), hashlib.sha256).digest())}"


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.fixture(scope="module")
def held(street: Street) -> Held:
    services = street.services
    with services.database.open(system(street.acorn), write=True) as db:
        row, secret = apps.add(db, services.settings, services.outgoing, street.acorn, AppForm("Notes", BACK, BYE, ""), public=False)
    with services.database.open(everything("Ada proved her address"), write=True) as db:
        cookie = session_lifecycle.open_session(
            db,
            services.settings,
            identity_of(db, street.ADA, street.ADA),
            None,
            "",
            sign_in_method="email",
            address_key=street.ADA,
            is_known=True,
        )
    ada = Visitor(street.app)
    ada.client.set_cookie("signed-in-test", cookie)
    item = subject.of_visit(services.database, load(services.database, services.settings, cookie), street.acorn)
    assert item and secret
    consents.give(services.database, Client(row, services.settings), item, "openid offline_access")
    held = Held(ada, row.id, (row.id, secret), {}, keys.ring(services.database, services.settings).signing(services.settings), {}, "")
    code = parse_qs(urlsplit(ada.get(held.ask(), follow=False, expect=302).location).query)["code"][0]
    held.tokens = ada.client.post(
        "/oauth/token",
        auth=held.auth,
        data={"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER},
    ).json | {"code": code}
    held.claims = dict(jwt.decode(held.tokens["id_token"], held.key, algorithms=["RS256"]).claims)
    with services.database.open(everything("which family")) as db:
        family = db.get(AppSession, (street.acorn, held.claims["sid"]))
    held.logout_token = id_tokens.logout_token(services.database, services.settings, family)
    return held


FORGED: dict[str, Callable[[Held], str]] = {
    "no signature": lambda held: held.bare({"alg": "none", "typ": "JWT"}),
    "no signature, in odd letters": lambda held: held.bare({"alg": "nOnE", "kid": held.key.kid, "typ": "JWT"}),
    "no signature under a real name": lambda held: held.bare({"alg": "RS256", "kid": held.key.kid, "typ": "JWT"}),
    "no algorithm": lambda held: held.bare({"kid": held.key.kid, "typ": "JWT"}, b"x" * 256),
    "an algorithm that is none": lambda held: held.bare({"alg": ["RS256"], "kid": held.key.kid}, b"x" * 256),
    "HMAC with our public key": lambda held: held.mac(held.key.as_pem(private=False)),
    "HMAC with our public key in binary": lambda held: held.mac(held.key.as_der(private=False)),
    "HMAC with our public key as published": lambda held: held.mac(json.dumps(held.key.as_dict(private=False)).encode()),
    "HMAC with nothing": lambda held: held.mac(b""),
    "another key of the same name": lambda held: held.sign(OTHER),
    "a key nobody knows": lambda held: held.sign(OTHER, {"kid": "theirs"}),
    "a key without a name": lambda held: held.sign(OTHER, {"kid": None}),
    "a number as a key": lambda held: held.bare({"alg": "RS256", "kid": 1, "typ": "JWT"}, b"x" * 256),
    "a key of its own in the header": lambda held: held.sign(OTHER, {"jwk": OTHER.as_dict(private=False)}),
    "keys from elsewhere": lambda held: held.sign(OTHER, {"jku": "https://mallory.example/keys"}),
    "another algorithm of the right key": lambda held: held.sign(header={"alg": "RS512"}),
    "the signature of another": lambda held: (
        held.bare({"alg": "RS256", "kid": held.key.kid}).rpartition(".")[0] + "." + held.tokens["id_token"].rpartition(".")[2]
    ),
    "one character more": lambda held: held.tokens["id_token"] + "A",
    "a critical part nobody knows": lambda held: held.signed_as_it_is({"crit": ["hop"], "hop": 1}),
    "another issuer": lambda held: held.sign(iss="https://mallory.example"),
    "no issuer": lambda held: held.sign(iss=None),
    "an issuer with a slash more": lambda held: held.sign(iss=held.claims["iss"] + "/"),
    "several audiences": lambda held: held.sign(aud=[held.app, "app_other"]),
    "no subject": lambda held: held.sign(sub=None),
    "a list as subject": lambda held: held.sign(sub=[held.claims["sub"]]),
    "a logout token": lambda held: held.logout_token,
    "no type": lambda held: held.signed_as_it_is({"typ": None}),
    "another type": lambda held: held.signed_as_it_is({"typ": "at+jwt"}),
    "an access token": lambda held: held.tokens["access_token"],
    "encrypted": lambda held: "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAA.AAAA.AAAA",
    "a header that is a list": lambda held: "W10.e30.AAAA",
    "a header that is no JSON": lambda held: "AAAA.e30.AAAA",
    "not a token": lambda held: "not.a.token",
    "dots": lambda held: "..",
    "other letters": lambda held: "é.ü.ß",
}


def test_a_forged_id_token_hint_is_ignored(held: Held) -> None:
    """Forged hints at sign-in and at logout sign nobody in or out, and cause no redirect."""
    held.ada.get("/profile")
    sure, stranger = {"data": {"csrf_token": held.ada.token()}, "headers": {"Origin": held.claims["iss"]}}, Visitor(held.ada.app)
    for name, make in FORGED.items():
        hint = make(held)
        told = held.ada.client.get(held.ask(id_token_hint=hint)).headers.get("Location", "")
        assert parse_qs(urlsplit(told).query).get("error") == ["invalid_request"] and "code=" not in told, f"{name}: {told}"
        leave = [urlencode({"id_token_hint": hint, "post_logout_redirect_uri": BYE, **more}) for more in ({}, {"client_id": held.app})]
        answers = [held.ada.client.post(f"/oauth/logout/confirmation?{item}", **sure) for item in leave]
        answers += [browser.client.get(f"/oauth/logout?{item}") for item in leave for browser in (held.ada, stranger)]
        assert {(answer.status_code, answer.headers.get("Location")) for answer in answers} == {(400, None)}, name
    held.ada.get("/profile", follow=False)


def test_an_expired_id_token_is_accepted_as_a_hint(held: Held) -> None:
    """ID tokens have often expired at logout (RP-Initiated Logout 1.0 §2)."""
    hour = int(clock.wall().timestamp()) - 3600
    for hint in (held.tokens["id_token"], held.signed_as_it_is({}), held.sign(iat=hour, exp=hour + 600)):
        assert "code=" in held.ada.get(held.ask(id_token_hint=hint), follow=False, expect=302).location
        leave = urlencode({"id_token_hint": hint, "post_logout_redirect_uri": BYE})
        assert held.ada.get(f"/oauth/logout?{leave}").h1 == "Sign out here too?"
        assert Visitor(held.ada.app).get(f"/oauth/logout?{leave}", follow=False, expect=303).location == BYE
    somebody = held.ada.get(held.ask(id_token_hint=held.sign(aud="app_other")), follow=False, expect=302).location
    assert "error=invalid_request" in somebody  # of another app
    outside = urlencode({"id_token_hint": held.sign(aud="app_other"), "post_logout_redirect_uri": BYE})
    assert Visitor(held.ada.app).get(f"/oauth/logout?{outside}", follow=False).status == 200  # asks for confirmation, and does not redirect


def test_only_an_access_token_opens_userinfo(held: Held) -> None:
    access, client = held.tokens["access_token"], held.ada.client
    assert client.get("/oauth/userinfo", headers={"Authorization": f"Bearer {access}"}).json["sub"] == held.claims["sub"]
    changed = [access[:at] + ("A" if access[at] != "A" else "B") + access[at + 1 :] for at in (0, len(access) // 2, len(access) - 1)]
    forged = [make(held) for name, make in FORGED.items() if name != "an access token"]
    wrong = [
        *changed,
        *forged,
        access[:-1],
        access + "A",
        access.swapcase(),
        access + "." + access,
        "x" * 5000,
        "",
        held.tokens["refresh_token"],
        held.tokens["id_token"],
        held.tokens["code"],
    ]
    for token in wrong:
        header = f"Bearer {token}".encode().decode("latin-1")
        answer = client.get("/oauth/userinfo", headers={"Authorization": header})
        assert answer.status_code == 401 and "sub" not in answer.json, token
        assert answer.headers["WWW-Authenticate"].lower().startswith("bearer"), token
        if token != held.tokens["refresh_token"]:
            assert client.post("/oauth/introspection", auth=held.auth, data={"token": token}).json.get("active", False) is False, token
    assert client.get("/oauth/userinfo", headers={"Authorization": f"Basic {access}"}).status_code == 401


def test_no_token_authenticates_an_app(held: Held) -> None:
    """Apps authenticate with secrets. Signed or unsigned assertions are refused as authentication and as grants."""
    ours = {"iss": held.app, "sub": held.app, "aud": f"{held.claims['iss']}/oauth/token"}
    code = {"grant_type": "authorization_code", "code": "x", "redirect_uri": BACK, "code_verifier": VERIFIER}
    for assertion in (held.sign(**ours), held.bare({"alg": "none"}), held.mac(held.auth[1].encode())):
        shown = {"client_assertion": assertion, "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
        assert held.ada.client.post("/oauth/token", data=code | shown | {"client_id": held.app}).json["error"] == "invalid_client"
        grant = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        assert held.ada.client.post("/oauth/token", auth=held.auth, data=grant).json["error"] == "unsupported_grant_type"
        asked = held.ada.client.post("/oauth/token", auth=held.auth, data=code | {"code": assertion})
        assert asked.json["error"] == "invalid_grant"
        again = {"grant_type": "refresh_token", "refresh_token": assertion}
        assert held.ada.client.post("/oauth/token", auth=held.auth, data=again).json["error"] == "invalid_grant"
