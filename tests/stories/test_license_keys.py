"""License keys are found without surrounding space and case. One function gives the state shown everywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, select

from billing.customers import queries as console
from billing.licenses import queries as license_queries
from billing.licenses.manage import bring_key
from billing.model.licenses import LicenseKey
from core import clock, guard
from core.revisions import MIGRATIONS
from core.scope import customer_of, everything, system
from tenants.api_keys import new_key
from tests.cast import Cast
from tests.visitor import Visitor


def call(visitor: Visitor, path: str, key: str | None = None, **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return visitor.client.post(f"/api{path}", json=body, headers=headers)


def issued(cast: Cast) -> LicenseKey:
    with cast.services.database.open(system(cast.acorn)) as db:
        mine = (LicenseKey.customer_id == cast.ada_at_acorn.customer_id, LicenseKey.source == "auto")
        return db.scalars(select(LicenseKey).where(*mine)).one()


def issued_id(cast: Cast) -> str:
    return issued(cast).id


def bring(cast: Cast, text: str, **more: Any) -> str:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        return bring_key(db, customer_id=cast.ada_at_acorn.customer_id, product_id=cast.products["acorn.once"], key=text, **more).id


def test_keys_are_matched_without_surrounding_space_and_case(cast: Cast, visitor: Callable[..., Visitor]) -> None:
    ada, key = visitor(), issued(cast).key
    ways = [key, f"  {key}\n", key.lower(), f"\t{key.title()} ", f"\u00a0{key.lower()}\u200b"]
    for typed in ways:
        assert call(ada, "/licenses/validate", license_key=typed).json == {"valid": True}, typed
    for typed in ways[1:4]:
        place = call(ada, "/licenses/activate", license_key=typed, name="Laptop")
        assert place.status_code == 201
        assert call(ada, "/licenses/deactivate", license_key=typed, license_key_instance_id=place.json["id"]).status_code == 200
    assert not call(ada, "/licenses/validate", license_key=key.replace("-", " ")).json["valid"]  # only around it, not within
    assert not call(ada, "/licenses/validate", license_key=key[:-1]).json["valid"]

    with cast.services.database.open(customer_of(cast.acorn, cast.ada_at_acorn.customer_id)) as db:
        for prefix in (key[:7], key[:7].lower(), key.lower()):
            assert [item.key for item in license_queries.keys(db, prefix=prefix)] == [key]
    with cast.services.database.open(system(cast.acorn)) as db:
        for typed in ways:
            assert [line.customer_id for line in console.lines(db, typed)] == [cast.ada_at_acorn.customer_id]
        assert console.lines(db, "nobody-has-this-key") == []


def test_existing_keys_that_differ_only_in_case_are_kept(cast: Cast, visitor: Callable[..., Visitor]) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        api_key = new_key(db, cast.acorn, "programs", settings=cast.services.settings)[1]
    ada = visitor()
    first, second = bring(cast, "oak-Ab12"), bring(cast, "OAK-aB12", expires_at=clock.now() + timedelta(days=5))
    places = {typed: call(ada, "/licenses/activate", api_key, license_key=typed, name="Desk") for typed in ("oak-Ab12", " OAK-aB12 ")}
    assert [place.json["license_key_id"] for place in places.values()] == [first, second]
    assert call(ada, "/licenses/validate", api_key, license_key="oak-ab12").json == {"valid": False}  # ambiguous: neither is returned
    bring(cast, "ELM-1")
    assert call(ada, "/licenses/validate", api_key, license_key=" elm-1 ").json == {"valid": True}


def test_a_key_past_its_end_is_expired_everywhere(cast: Cast, visitor: Callable[..., Visitor]) -> None:
    with cast.services.database.open(system(cast.acorn), write=True) as db:
        api_key = new_key(db, cast.acorn, "programs", settings=cast.services.settings)[1]
    item = bring(cast, "OAK-ENDS-SOON-1", expires_at=clock.now() + timedelta(hours=1))
    ada = visitor()
    headers = {"Authorization": f"Bearer {api_key}"}

    def states() -> set[str]:
        listed = {
            status: [row["id"] for row in ada.client.get(f"/api/license_keys?status={status}", headers=headers).json["items"]]
            for status in ("active", "expired", "disabled")
        }
        with cast.services.database.open(customer_of(cast.acorn, cast.ada_at_acorn.customer_id)) as db:
            held = next(row.status for row in license_queries.keys(db) if row.id == item)
        with cast.services.database.open(system(cast.acorn)) as db:
            seen = next(row.status for row in console.keys(db, cast.ada_at_acorn.customer_id) if row.id == item)
        shown = ada.client.get(f"/api/license_keys/{item}", headers=headers).json["status"]
        valid = call(ada, "/licenses/validate", api_key, license_key="OAK-ENDS-SOON-1").json["valid"]
        return {shown, held, seen, "active" if valid else "expired", *(status for status, ids in listed.items() if item in ids)}

    assert states() == {"active"}
    clock.turn(timedelta(hours=2))
    assert states() == {"expired"}
    ada.sign_in(cast.ADA)
    assert "Expired" in ada.get("/license-keys").text
    assert "Expired" in ada.get("/").text
    assert call(ada, "/licenses/activate", api_key, license_key="OAK-ENDS-SOON-1", name="x").json["code"] == "INACTIVE_LICENSE_KEY"


def test_the_migration_folds_stored_keys(cast: Cast) -> None:
    """Revision 0021 on existing rows."""
    item = bring(cast, " Straße-Key ")
    with cast.services.database.open(everything("rows of before the revision"), write=True) as db:
        for row in db.scalars(select(LicenseKey)):
            row.match_key = ""
    engine = create_engine(cast.services.settings.owner_url)
    with engine.begin() as connection, guard.raw_sql():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT set_config('portal.kind', 'everything', true)")
        with Operations.context(MigrationContext.configure(connection)):
            ScriptDirectory(MIGRATIONS).get_revision("0021").module._fold_keys()
    engine.dispose()
    with cast.services.database.open(system(cast.acorn)) as db:
        found = {row.id: row.match_key for row in db.scalars(select(LicenseKey))}
    assert found == {item: "strasse-key", issued_id(cast): found[issued_id(cast)]} and found[issued_id(cast)] == issued(cast).key.lower()
