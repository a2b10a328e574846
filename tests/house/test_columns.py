"""What is kept is reachable: columns are written and read by paths that users take, settings have a control, verbs have a caller."""

from __future__ import annotations

import ast
import re

import pytest

import wsgi  # noqa: F401 - maps every table
from billing import lifecycle, policy
from core.models import Base
from tenants.loading.known import MODELS
from tests.house.columns import Reader, Uses, columns_of
from tests.house.test_rules import ROOMS, ROOT, files, templates

OUT_OF_REACH = ("tenants/demo/",)  # what a real business never runs
EXCEPTIONS = {  # column → why nothing writes or reads it
    "JobFailure.job": "for operators who read the table; the code finds a failure by its id, which begins with it",
    "KnownMailServer.asked_at": "for operators who read the table: how old the answer is",
}
SHAPED_ONCE = {"retry_schedule_hours": "retries"}  # setting → its control, where that has another name


@pytest.fixture(scope="module")
def uses() -> Uses:
    sources = {name: source for name, source, _ in files(*ROOMS, "wsgi") if not name.startswith(OUT_OF_REACH)}
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "templates").rglob("*") if path.is_file()]
    return reader().read_all(sources, texts)


def reader() -> Reader:
    homes = {one.class_.__name__: one.class_.__module__ for one in Base.registry.mappers}
    return Reader(columns_of(Base), homes, {kind: model.__name__ for kind, model in MODELS.items()})


@pytest.mark.parametrize("side", ["written", "read"])
def test_every_column_is_written_and_read_by_a_path_that_users_take(uses: Uses, side: str) -> None:
    found = getattr(uses, side)
    missing = {f"{model}.{column}" for model, columns in columns_of(Base).items() for column in columns if not found.get((model, column))}
    assert not missing - set(EXCEPTIONS), f"not {side} by any path that users take: write it, read it, or drop the column"


def test_no_exception_outlives_its_reason(uses: Uses) -> None:
    def is_used(model: str, column: str) -> bool:
        return bool(uses.written.get((model, column)) and uses.read.get((model, column)))

    stale = {name for name in EXCEPTIONS if is_used(*name.split("."))}
    assert not stale, "these are written and read by now: take them out of EXCEPTIONS"


@pytest.mark.parametrize(("source", "written", "read"), [
    ("from billing.parties import Customer\ndef f(customer: Customer): customer.tax_id = '1'", True, False),
    ("from billing.parties import Customer\ndef f(db): return db.scalar(select(Customer)).tax_id", False, True),
    ("from billing.parties import Customer\ndef f(): return Customer(tax_id='1')", True, False),
    ("from billing.parties import Customer\ndef f(db): db.execute(update(Customer).values(tax_id='1'))", True, False),
    ("from billing.parties import Customer\ndef f(row: Customer, **given):\n for name in ('tax_id',): setattr(row, name, given[name])",
     True, False),
    # the same name in another table, a local class of the same name, and a parameter that nobody gives
    ("from billing.subscriptions import Subscription\ndef f(row: Subscription): row.tax_id = row.tax_id", False, False),
    ("from billing.parties import Customer\nfrom billing.subscriptions import Subscription\n"
     "def f(db, customer: Customer):\n row = db.scalar(select(Subscription))\n row.tax_id = row.tax_id", False, False),
    ("class Customer:\n tax_id: str\ndef f(): return dict(tax_id=1)", False, False),
    ("from billing.parties import Customer\ndef make(*, tax_id=None): return Customer(tax_id=tax_id)\nmake()", False, False),
    ("from billing.parties import Customer\ndef make(*, tax_id=None): return Customer(tax_id=tax_id)\nmake(tax_id='1')", True, False),
])  # fmt: skip
def test_the_reader_tells_uses_from_namesakes(source: str, written: bool, read: bool) -> None:
    """What it was made to find: a column of one table whose namesake in another table is busy."""
    found = reader().read_all({"billing/made_up.py": source})
    assert (bool(found.written.get(("Customer", "tax_id"))), bool(found.read.get(("Customer", "tax_id")))) == (written, read)


# --- settings of a business


def controls() -> dict[str, set[str]]:
    """Names of form controls in the console's templates, by template; macros' first argument, or `name=` of a plain tag."""
    out = {}
    for path in templates():
        if "tenants/console" in path.as_posix():
            text = path.read_text(encoding="utf-8")
            named = re.findall(r"ui\.\w+\(\s*'(\w+)'", text) + re.findall(r'<(?:input|select|textarea)[^>]*\bname="(\w+)"', text)
            out[path.name] = set(named) | set(re.findall(r"tick\('(\w+)'", text))
    return out


def read_settings() -> set[str]:
    """Names that the code reads outside of the module that saves them and the page that shows them."""
    words: set[str] = set()
    for name, source, tree in files(*ROOMS):
        if name in ("billing/commands/rules.py", "tenants/console/settings.py", "billing/policy.py", "tenants/console/rule_words.py"):
            continue
        if not re.search(r"\b(setting|allows|default)\(|\.settings\b", source) and "policy" not in source:
            continue
        words |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        words |= {prefix + kind for prefix in re.findall(r'f"(\w+_on_){kind}"', source) for kind in ("upgrade", "downgrade")}
    source = (ROOT / "billing/policy.py").read_text(encoding="utf-8")
    return words | set(re.findall(r'setting\(business, "(\w+)"\)', source))


def test_every_business_setting_has_a_control_and_is_read() -> None:
    offered = set().union(*controls().values())
    assert not {name for name in policy.DEFAULTS if SHAPED_ONCE.get(name, name) not in offered}, "no form of the console has it"
    assert not set(policy.DEFAULTS) - read_settings(), "kept, and nothing goes by it"


def test_every_part_of_a_brand_has_a_control() -> None:
    from tenants.console.brand import FIELDS

    assert {*FIELDS, "logo"} <= controls()["brand.html"]
    stored = {node.slice.value for _, _, tree in files("billing") for node in ast.walk(tree)
              if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and ast.unparse(node.value).endswith("brand")}
    assert stored <= {*FIELDS, "logo"}


# --- lifecycles


@pytest.mark.parametrize("table", [name for name in vars(lifecycle) if isinstance(getattr(lifecycle, name), dict) and name.isupper()
                                   and not name.startswith("_")])
def test_every_move_of_a_lifecycle_has_a_caller(table: str) -> None:
    """A state and a verb that no code ever moves is a promise that nobody keeps."""
    verbs = {verb for _, verb in getattr(lifecycle, table)}
    called: set[str] = set()
    for _, _, tree in files("billing"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "move" and table in ast.unparse(node.args[0]):
                called |= {one.value for one in ast.walk(node.args[2]) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
                if isinstance(node.args[2], ast.Name):  # move(TABLE, state, verb): the words that the function is called with
                    called |= {one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    assert not verbs - called
