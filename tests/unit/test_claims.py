"""Tokens of providers, forged in every way we know of: none of them proves anybody, and a logout token works once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from sqlalchemy import delete, update

from auth.models import Budget
from auth.providers import claims, ending
from auth.providers.discovery import Discovery, Known
from auth.providers.mistakes import Mistake
from auth.providers.parties import Party
from core import clock
from core.db import Database
from core.errors import TooMany
from core.outgoing import Outgoing
from core.scope import everything
from core.settings import Settings
from tests.engines import Sqlite

ISSUER, CLIENT, NONCE = "https://id.town.example", "portal", "n-1"
TOWN = Party("op/town", "Town", ISSUER, CLIENT, "", "/login/with/town", trust=("*",))
KEY = RSAKey.generate_key(2048, parameters={"kid": "theirs"})
OTHER = RSAKey.generate_key(2048, parameters={"kid": "theirs"})  # the same name, not the same key
CURVE = ECKey.generate_key("P-256", parameters={"kid": "curve"})


@pytest.fixture(scope="module")
def discovery() -> Discovery:
    """Knows the town's public keys, and has looked for new ones just now; nothing is fetched."""
    one = Discovery(Outgoing(Settings(base_url="http://localhost")))
    keys = KeySet([RSAKey.import_key(KEY.as_dict(private=False)), ECKey.import_key(CURVE.as_dict(private=False))])
    one._known[ISSUER] = Known({"issuer": ISSUER}, keys, time.monotonic(), time.monotonic())
    return one


def said(**changes: Any) -> dict[str, Any]:
    now = int(clock.wall().timestamp())
    out = {"iss": ISSUER, "aud": CLIENT, "sub": "ada", "iat": now, "exp": now + 300, "nonce": NONCE, "email": "ada@marlow.example"}
    out |= changes
    return {name: value for name, value in out.items() if value is not None}


def signed(payload: dict[str, Any], key: Any = KEY, **header: Any) -> str:
    head = {"alg": "RS256", "kid": "theirs"} | header
    return jwt.encode({name: value for name, value in head.items() if value is not None}, payload, key, algorithms=[head["alg"]])


def by_hand(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    def part(raw: bytes) -> str:
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    return ".".join((part(json.dumps(header).encode()), part(json.dumps(payload).encode()), part(signature)))


def hmac_with_the_public_key(secret: bytes) -> str:
    unsigned = by_hand({"alg": "HS256", "kid": "theirs"}, said()).rpartition(".")[0]
    mac = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
    return unsigned + "." + base64.urlsafe_b64encode(mac).decode().rstrip("=")


def test_the_true_ones_are_read(discovery: Discovery) -> None:
    assert claims.id_token(discovery, TOWN, signed(said()), NONCE).subject == "ada"
    curve = signed(said(), CURVE, alg="ES256", kid="curve")
    assert claims.id_token(discovery, TOWN, curve, NONCE).email == "ada@marlow.example"
    assert claims.id_token(discovery, TOWN, signed(said(aud=[CLIENT, "other"], azp=CLIENT)), NONCE).subject == "ada"


FORGED = {
    "no signature": lambda: by_hand({"alg": "none"}, said()),
    "no signature, in capitals": lambda: by_hand({"alg": "NoNe", "kid": "theirs"}, said()),
    "no signature under a real name": lambda: by_hand({"alg": "RS256", "kid": "theirs"}, said()),
    "no algorithm": lambda: by_hand({"kid": "theirs"}, said(), b"x" * 256),
    "HMAC with the public key": lambda: hmac_with_the_public_key(KEY.as_pem(private=False)),
    "HMAC with the public key in binary": lambda: hmac_with_the_public_key(KEY.as_der(private=False)),
    "another key of the same name": lambda: signed(said(), OTHER),
    "a key of its own in the header": lambda: signed(said(), OTHER, jwk=OTHER.as_dict(private=False)),
    "keys from elsewhere": lambda: signed(said(), OTHER, jku="https://evil.example/keys"),
    "an unknown key": lambda: signed(said(), OTHER, kid="unknown"),
    "a path as a key": lambda: signed(said(), OTHER, kid="../../dev/null"),
    "the signature of another token": lambda: ".".join([*by_hand({"alg": "RS256", "kid": "theirs"}, said(sub="ben")).split(".")[:2],
                                                        signed(said()).split(".")[2]]),
    "a weaker algorithm of the right key": lambda: signed(said(), KEY, alg="RS512"),
    "a critical part nobody knows": lambda: by_hand({"alg": "RS256", "kid": "theirs", "crit": ["b64"], "b64": False}, said(), b"x" * 256),
    "another issuer": lambda: signed(said(iss="https://evil.example")),
    "an issuer with a slash more": lambda: signed(said(iss=ISSUER + "/")),
    "another audience": lambda: signed(said(aud="somebody")),
    "several audiences without a party": lambda: signed(said(aud=[CLIENT, "other"])),
    "another authorized party": lambda: signed(said(azp="somebody")),
    "another nonce": lambda: signed(said(nonce="n-2")),
    "no nonce": lambda: signed(said(nonce=None)),
    "no subject": lambda: signed(said(sub=None)),
    "a list as subject": lambda: signed(said(sub=["ada"])),
    "no end": lambda: signed(said(exp=None)),
    "over": lambda: signed(said(exp=int(clock.wall().timestamp()) - 600)),
    "from the future": lambda: signed(said(iat=int(clock.wall().timestamp()) + 600)),
    "not a token": lambda: "not.a.token", "empty": lambda: "", "a list": lambda: ["x"], "endless": lambda: "x" * 30_000,
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_ones_prove_nobody(name: str, discovery: Discovery) -> None:
    with pytest.raises(Mistake, match="wrong_token"):
        claims.id_token(discovery, TOWN, FORGED[name](), NONCE)


# --- logout tokens

def leaving(**changes: Any) -> dict[str, Any]:
    return said(**{"nonce": None, "email": None, "jti": "j-1", "events": {claims.EVENT: {}}} | changes)


FORGED_LOGOUTS = {
    "an id token": lambda: signed(said(), typ="JWT"), "an id token that says it is one": lambda: signed(said(), typ="logout+jwt"),
    "no type": lambda: signed(leaving()), "another type": lambda: signed(leaving(), typ="JWT"),
    "with a nonce": lambda: signed(leaving(nonce=NONCE), typ="logout+jwt"),
    "no number": lambda: signed(leaving(jti=None), typ="logout+jwt"),
    "no event": lambda: signed(leaving(events={}), typ="logout+jwt"), "nobody": lambda: signed(leaving(sub=None), typ="logout+jwt"),
    "an old one": lambda: signed(leaving(iat=int(clock.wall().timestamp()) - 600), typ="logout+jwt"),
    "no signature": lambda: by_hand({"alg": "none", "typ": "logout+jwt"}, leaving()),
    "another key": lambda: signed(leaving(), OTHER, typ="logout+jwt"),
}


@pytest.fixture(scope="module")
def house(sqlite: Sqlite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Settings]]:
    urls, drop = sqlite.fresh()
    settings = Settings(data_dir=tmp_path_factory.mktemp("claims"), base_url="http://localhost", **urls)
    database = Database(settings)
    yield database, settings
    database.dispose()
    drop()


@pytest.mark.parametrize("name", FORGED_LOGOUTS)
def test_forged_logouts_end_nothing(name: str, discovery: Discovery, house: tuple[Database, Settings]) -> None:
    with pytest.raises(Mistake, match="wrong_token"):
        ending.back_channel(*house, discovery, TOWN, FORGED_LOGOUTS[name](), None)


def test_a_logout_token_works_once(discovery: Discovery, house: tuple[Database, Settings]) -> None:
    token = signed(leaving(jti="j-2"), typ="logout+jwt")
    assert ending.back_channel(*house, discovery, TOWN, token, None) == 0
    for again in (token, signed(leaving(jti="j-2", sub="somebody else"), typ="logout+jwt")):
        with pytest.raises(Mistake, match="used before"):
            ending.back_channel(*house, discovery, TOWN, again, None)


def test_a_flood_of_forged_logouts_is_not_read_and_the_providers_own_is(discovery: Discovery, house: tuple[Database, Settings]) -> None:
    """A source runs out, then the provider's door for everybody unknown; who brought a true one before goes on being heard."""
    def bring(source: str, token: str = "forged", party: Party = TOWN) -> str:  # noqa: S107
        try:
            return f"{ending.back_channel(*house, discovery, party, token, source)} ended"
        except (Mistake, TooMany) as refused:
            return type(refused).__name__

    def true(jti: str) -> str:
        return signed(leaving(jti=jti), typ="logout+jwt")

    with house[0].open(everything("budgets as new"), write=True) as db:
        db.execute(delete(Budget))
    assert bring("192.0.2.1", true("f-0")) == "0 ended"
    assert [bring("198.51.100.7") for _ in range(61)] == ["Mistake"] * 60 + ["TooMany"]
    assert bring("198.51.100.7", party=replace(TOWN, key="op/other")) == "TooMany", "a source is one source at every provider's door"
    assert bring("203.0.113.9", true("f-1")) == "0 ended", "another source is heard, and a true one counts for nothing"
    with house[0].open(everything("more of them came from elsewhere"), write=True) as db:
        db.execute(update(Budget).where(Budget.key == f"logout:of:{TOWN.key}").values(count=120))
    assert bring("203.0.113.10", true("f-2")) == "TooMany"
    assert bring("192.0.2.1", true("f-3")) == bring("203.0.113.9", true("f-4")) == "0 ended"
    assert bring("203.0.113.10", party=replace(TOWN, key="op/other")) == "Mistake", "another provider's door is open"