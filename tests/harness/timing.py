"""Measure whether the response time reveals that an address is known, at every form that takes an address.

    python -m tests.harness.timing [--tries 1000]

Known and unknown addresses are tried in turn, in this process. Prints one line per form: the area under the ROC curve of a classifier
that sees only the time (0.5 is chance), the two medians in milliseconds, and whether the answers were equal except for input and
tokens. The area must be below 0.55.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select

from auth.models import Challenge, RateLimitCount
from auth.oidc_client import flow
from auth.oidc_client.claims import ProviderClaims
from auth.oidc_client.flow import CallbackResult
from auth.recovery import Recovery
from billing.customers.customers import create_customer
from billing.model.invoices import Invoice
from billing.model.licenses import LicenseKey
from billing.model.parties import Customer
from core import ids
from core.oidc_settings import OidcProvider
from core.outbox import Outbox
from core.scope import everything, system
from core.settings import Settings
from tenants.memberships import invite
from tests.cast import Cast
from tests.engines import Sqlite
from tests.visitor import Visitor

TOKENS = re.compile(rb'(csrf_token" value="|nonce="|nonce-)[^"\';]+')
STATEMENT = re.compile(rb"S-[0-9]{6}-[0-9A-Z]{6}|stm_[0-9A-Za-z_-]+(/[0-9A-Za-z_.-]+)?|[0-9a-f]{64}|[0-9]{1,2}:[0-9]{2}:[0-9]{2}[^<\"]*")
"""What differs between two statements: number, address, SHA-256 and time."""
Door = Callable[[str], tuple[int, bytes]]
TOWN = OidcProvider("town", "Town", "https://id.town.example", "portal", "")  # trusted for no address: an email proves it


def auc(known: list[float], unknown: list[float]) -> float:
    """Return how often a random known try is slower than a random unknown one (Mann-Whitney), folded to 0.5 and above."""
    ranked = sorted([(t, 1) for t in known] + [(t, 0) for t in unknown])
    above = sum(rank for rank, (_, is_known) in enumerate(ranked, 1) if is_known)
    area = (above - len(known) * (len(known) + 1) / 2) / (len(known) * len(unknown))
    return max(area, 1 - area)


def tidy(body: bytes, typed: str) -> bytes:
    return TOKENS.sub(rb"\1", body).replace(typed.encode(), b"TYPED")


def forget(services: Any) -> None:
    """Reset rate limits and pending emails, so that every try takes the complete path."""
    with services.database.open(everything("a measurement begins anew"), write=True) as db:
        for table in (RateLimitCount, Challenge, Outbox, Recovery):
            db.execute(delete(table), execution_options={"synchronize_session": False})


def posts(visitor: Visitor, path: str, field: str, page: str = "", **more: Any) -> Door:
    """Submit a value in `field`, or in the path where it says {typed}."""
    visitor.get(page or path)
    token = visitor.token()
    client, headers = visitor.client, {**visitor.headers, "Origin": visitor.services.settings.base_url}

    def ask(typed: str) -> tuple[int, bytes]:
        data = {field: typed, "csrf_token": token, **more}
        answer = client.post(path.format(typed=typed), data=data, headers=headers, environ_base=visitor.environ)
        return answer.status_code, answer.get_data()

    return ask


def declares(visitor: Visitor, business_id: str, field: str, email: str, contract: str, page: str = "cancel") -> Door:
    """Declare a cancellation or withdrawal with a value in `field`, and open the page that answers. The numbers are not compared."""
    path = f"/{page}/{business_id}"
    send = {"name": "Ada Marlow", "type": "ordinary", "when": "earliest", "email": email, "contract": contract}
    visitor.get(path)
    token = visitor.token()
    client, headers = visitor.client, {**visitor.headers, "Origin": visitor.services.settings.base_url}

    def ask(typed: str) -> tuple[int, bytes]:
        answer = client.post(path, data={**send, "csrf_token": token, field: typed}, headers=headers, environ_base=visitor.environ)
        page = client.get(answer.headers["Location"], headers=visitor.headers, environ_base=visitor.environ)
        return answer.status_code, STATEMENT.sub(b"", page.get_data())

    return ask


def return_from_provider(visitor: Visitor) -> Door:
    """Return from a provider that names this address. The provider's answer is injected, because its time does not count."""

    def ask(typed: str) -> tuple[int, bytes]:
        subject = ids.new_id("sub")
        claims = ProviderClaims(subject, typed, True, None, None, "", {"sub": subject, "email": typed})
        flow.handle_callback = lambda *_: CallbackResult(claims, "sign_in", None, "")  # type: ignore[assignment]
        answer = visitor.client.get("/login/with/town/callback", headers=visitor.headers, environ_base=visitor.environ)
        return answer.status_code, answer.get_data()

    return ask


def doors(app: Any, cast: Cast) -> dict[str, tuple[Door, list[str], list[str]]]:
    """Map each form to (how to submit it, known values, unknown values)."""
    services, people = cast.services, [f"known{n}@street.example" for n in range(50)]
    with services.database.open(system(cast.acorn), write=True) as db:
        for email in people:
            create_customer(db, cast.acorn, email=email, name="Somebody")
    for email in people[:5]:  # some have an account already
        Visitor(app).sign_in(email)
        forget(services)
    strangers = [f"other{n}@street.example" for n in range(50)]
    ada = Visitor(app)
    ada.sign_in(cast.ADA)
    forget(services)
    with services.database.open(everything("what stands on receipts")) as db:
        numbers = list(db.scalars(select(Invoice.number).where(Invoice.number.is_not(None))))
        keys = list(db.scalars(select(LicenseKey.key)))
    own, other = (_number(services, cast.acorn, buyer) for buyer in (cast.ada_at_acorn.customer_id, None))
    guesses, misses = [number[:-4] + "9" + number[-3:] for number in numbers], [key[::-1] for key in keys]
    with services.database.open(system(cast.acorn), write=True) as db:
        invite(db, cast.acorn, cast.SAM, "owner")
        invited = [invite(db, cast.acorn, f"guest{n}@street.example", "support").id for n in range(50)]
    sam = Visitor(app)
    sam.sign_in(cast.SAM)
    sam.get("/console")
    sam.submit("acceptance")
    forget(services)
    team, accept = f"/console/{cast.acorn}/team", "/console/invitations/{typed}/acceptance"
    return {
        "/login": (posts(Visitor(app), "/login", "email"), people, strangers),
        "/login/<business>": (posts(Visitor(app), f"/login/{cast.acorn}", "email"), people, strangers),
        "/login/<another business>": (posts(Visitor(app), f"/login/{cast.birch}", "email"), people, strangers),
        "/login/recovery": (posts(Visitor(app), "/login/recovery", "receipt"), numbers, guesses),
        "/login/recovery, by key": (posts(Visitor(app), "/login/recovery", "receipt"), keys, misses),
        "/login/<business>/recovery": (posts(Visitor(app), f"/login/{cast.acorn}/recovery", "receipt"), keys, misses),
        "/profile/addresses": (posts(ada, "/profile/addresses", "email"), people, strangers),
        "/profile/email": (posts(ada, "/profile/email", "email", to=[cast.ada_at_acorn.customer_id]), people, strangers),
        "/login/with/<provider>": (return_from_provider(Visitor(app)), people, strangers),
        "/cancel/<business>, address": (declares(Visitor(app), cast.acorn, "email", "", own), [cast.ADA], ["eda@marlow.example"]),
        "/cancel/<business>, contract": (declares(Visitor(app), cast.acorn, "contract", cast.ADA, ""), [own], [own[:-4] + "9" + own[-3:]]),
        "/cancel/<business>, others'": (declares(Visitor(app), cast.acorn, "contract", cast.ADA, ""), [own], [other]),
        "/withdraw/<business>, address": (
            declares(Visitor(app), cast.acorn, "email", "", own, "withdraw"),
            [cast.ADA],
            ["eda@marlow.example"],
        ),
        "/withdraw/<business>, contract": (
            declares(Visitor(app), cast.acorn, "contract", cast.ADA, "", "withdraw"),
            [own],
            [own[:-4] + "9" + own[-3:]],
        ),
        "/withdraw/<business>, others'": (declares(Visitor(app), cast.acorn, "contract", cast.ADA, "", "withdraw"), [own], [other]),
        "/console/<business>/team": (posts(sam, f"{team}/invitations", "email", team, role="support"), people, strangers),
        "/console/invitations/<id>": (posts(ada, accept, "id", "/profile"), invited, [ids.new_id("inv") for _ in invited]),
    }


def _number(services: Any, business_id: str, customer_id: str | None) -> str:
    """Return an invoice number of a customer of the business; None: of a customer who is not Ada."""
    with services.database.open(system(business_id)) as db:
        found = select(Invoice.number).join(Customer, Customer.customer_id == Invoice.customer_id).order_by(Invoice.number)
        found = found.where(Customer.customer_id == customer_id if customer_id else Customer.email != Cast.ADA)
        return db.scalars(found).first() or "INV-0000"


def measure(services: Any, ask: Door, known: list[str], unknown: list[str], tries: int) -> dict[str, Any]:
    """Run known and unknown tries in random pairs, so that other load affects both alike."""
    times: dict[bool, list[float]] = {True: [], False: []}
    shapes: dict[bool, set[tuple[int, bytes]]] = {True: set(), False: set()}
    for number in range(tries + 10):
        if number % 25 == 0:
            forget(services)
        order = [True, False]
        random.shuffle(order)
        for is_known in order:
            typed = random.choice(known if is_known else unknown)
            forget_one(services)
            began = time.perf_counter()
            status, body = ask(typed)
            took = time.perf_counter() - began
            assert status < 500 and b"again=1" not in body and b"That did not work" not in body, "this is not the door that was meant"
            if number >= 10:  # the first ones warm caches up
                times[is_known].append(took)
                shapes[is_known].add((status, tidy(body, typed)))
    return {
        "auc": auc(times[True], times[False]),
        "known": statistics.median(times[True]) * 1000,
        "unknown": statistics.median(times[False]) * 1000,
        "equal": shapes[True] == shapes[False],
        "statuses": sorted({status for status, _ in shapes[True] | shapes[False]}),
    }


def forget_one(services: Any) -> None:
    with services.database.open(everything("a measurement begins anew"), write=True) as db:
        for table in (RateLimitCount, Challenge):
            db.execute(delete(table), execution_options={"synchronize_session": False})


def main() -> None:
    from wsgi import create_app

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=1000)
    parser.add_argument("--form", default="", help="only forms whose name contains this")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        urls, drop = Sqlite(Path(name)).fresh()
        app = create_app(
            Settings(
                data_dir=Path(name), base_url="http://localhost", log_level="WARNING", bot_check="none", oidc_providers=(TOWN,), **urls
            )
        )
        with app.app_context():
            cast = Cast.play(app.extensions["portal"])
        for door, (ask, known, unknown) in doors(app, cast).items():
            if asked.form not in door:
                continue
            found = measure(cast.services, ask, known, unknown, asked.tries)
            print(
                f"{door:28} AUC {found['auc']:.3f}  known {found['known']:.2f} ms  unknown {found['unknown']:.2f} ms  "
                f"{'equal' if found['equal'] else 'DIFFERENT'} answers {found['statuses']}",
                flush=True,
            )
        cast.services.database.dispose()
        drop()


if __name__ == "__main__":
    main()
