"""Columns are written and read by paths that users take, settings have a control, and lifecycle transitions have a caller."""

from __future__ import annotations

import ast
import re

import pytest

import wsgi  # noqa: F401 - maps every table
from billing.model import lifecycle, policy
from core.models import Base
from tenants.imports.existing_rows import MODELS
from tests.house import template_reads
from tests.house.columns import Reader, Uses, columns_of, last_word
from tests.house.test_rules import ROOMS, ROOT, files, nodes, templates

OUT_OF_REACH = ("tenants/demo/",)  # what a real business never runs
MADE = "when the row was made: for operators who read the table"
EXCEPTIONS = {  # column → why nothing writes or reads it
    **dict.fromkeys(
        (
            f"{model}.created_at"
            for model in (
                "ApiOrigin",
                "AppSession",
                "AppSubject",
                "ConnectionLogin",
                "Deployment",
                "Document",
                "DomainSession",
                "EmailOptOut",
                "Identity",
                "Picture",
                "Quote",
            )
        ),
        MADE,
    ),
    "ConnectionLogin.last_used_at": "for operators who read the table: whether a login is in use",
    "ImpersonationSession.reason": "the customer reads it in the event that tells of the view",
    "ExternalWebhook.type": "for operators who read the table: the event name that the account sent",
    "GatewayNotification.payment_account_id": "for operators who read the table: the account that told of it",
    "GatewayNotification.reference": "for operators who read the table: the processor's id of the object",
    "Payment.gateway": "for operators who read the table: the kind of processor, also of imported payments",
    "GatewayNotification.key": "for operators who read the table: which payment the processor told of",
    "GatewayNotification.kind": "for operators who read the table: what the processor told",
    "IdentityEmail.verified_at": "for operators who read the table: when the proof was given",
    "InvoiceLine.unit_minor": "for operators who read the table: the price of one, which documents print from the snapshot",
    "TaxIdCheck.error": "for operators who read the table: why VIES gave no answer",
    "ProviderLogin.issuer": "for operators who read the table; the code finds a login by its id, a hash of issuer and subject",
}
SHAPED_ONCE = {"retry_schedule_hours": "retries", "refund_policy": "is_on"}  # setting → its control, where that has another name


@pytest.fixture(scope="module")
def uses() -> Uses:
    trees = {name: tree for name, _, tree in files(*ROOMS, "wsgi") if not name.startswith(OUT_OF_REACH)}
    return reader().read_all(trees, template_reads.READ)


def reader() -> Reader:
    homes = {mapper.class_.__name__: mapper.class_.__module__ for mapper in Base.registry.mappers}
    return Reader(columns_of(Base), homes, {kind: model.__name__ for kind, model in MODELS.items()})


@pytest.mark.parametrize("side", ["written", "read"])
def test_every_column_is_written_and_read_by_a_path_that_users_take(uses: Uses, side: str) -> None:
    found = getattr(uses, side)
    missing = {f"{model}.{column}" for model, columns in columns_of(Base).items() for column in columns if not found.get((model, column))}
    assert not missing - set(EXCEPTIONS), f"not {side} by any path that users take: write it, read it, or drop the column"


def test_every_listed_exception_is_still_needed(uses: Uses) -> None:
    def is_used(model: str, column: str) -> bool:
        return bool(uses.written.get((model, column)) and uses.read.get((model, column)))

    stale = {name for name in EXCEPTIONS if is_used(*name.split("."))}
    assert not stale, "these are written and read by now: take them out of EXCEPTIONS"


def test_columns_that_only_templates_read_are_read_there() -> None:
    assert not template_reads.stale(ROOT / "templates")


def test_a_column_read_by_a_template_needs_the_template(uses: Uses) -> None:
    """Without the entry nothing reads the column, so every entry is needed."""
    needless = {name for name in template_reads.READ if uses.read[tuple(name.split("."))] - {"a template"}}  # type: ignore[index]
    assert not needless, "code reads these by now: take them out of READ"


def test_template_text_is_not_a_read() -> None:
    said = "one.prefix {# one.prefix #} <a href='file.prefix'>{{ two.prefix }}{{ one.other }}</a>"
    assert set(template_reads.attributes(said)) == {("two", "prefix"), ("one", "other")}


@pytest.mark.parametrize(("source", "written", "read"), [
    ("from billing.model.parties import Customer\ndef f(customer: Customer): customer.tax_id = '1'", True, False),
    ("from billing.model.parties import Customer\ndef f(db): return db.scalar(select(Customer)).tax_id", False, True),
    ("from billing.model.parties import Customer\ndef f(): return Customer(tax_id='1')", True, False),
    ("from billing.model.parties import Customer\ndef f(db): db.execute(update(Customer).values(tax_id='1'))", True, False),
    ("from billing.model.parties import Customer\n"
     "def f(row: Customer, **given):\n for name in ('tax_id',): setattr(row, name, given[name])",
     True, False),
    # the same name in another table, a local class of the same name, and a parameter that nobody gives
    ("from billing.model.subscriptions import Subscription\ndef f(row: Subscription): row.tax_id = row.tax_id", False, False),
    ("from billing.model.parties import Customer\nfrom billing.model.subscriptions import Subscription\n"
     "def f(db, customer: Customer):\n row = db.scalar(select(Subscription))\n row.tax_id = row.tax_id", False, False),
    ("class Customer:\n tax_id: str\ndef f(): return dict(tax_id=1)", False, False),
    ("from billing.model.parties import Customer\ndef make(*, tax_id=None): return Customer(tax_id=tax_id)\nmake()", False, False),
    ("from billing.model.parties import Customer\ndef make(*, tax_id=None): return Customer(tax_id=tax_id)\nmake(tax_id='1')", True, False),
])  # fmt: skip
def test_the_reader_distinguishes_columns_of_the_same_name(source: str, written: bool, read: bool) -> None:
    """An unused column is found although another table has a used column of the same name."""
    found = reader().read_all({"billing/made_up.py": ast.parse(source)})
    assert (bool(found.written.get(("Customer", "tax_id"))), bool(found.read.get(("Customer", "tax_id")))) == (written, read)


# --- settings of a business


def controls() -> dict[str, set[str]]:
    """Return the names of form controls in the console's templates, by template."""
    out = {}
    for path in templates():
        if "tenants/console" in path.as_posix():
            text = path.read_text(encoding="utf-8")
            named = re.findall(r"ui\.\w+\(\s*'(\w+)'", text) + re.findall(r'<(?:input|select|textarea)[^>]*\bname="(\w+)"', text)
            out[path.name] = set(named) | set(re.findall(r"tick\('(\w+)'", text))
    return out


def read_settings() -> set[str]:
    """Return the settings that the code reads outside of the module that saves them and the page that shows them."""
    words: set[str] = set()
    for name, source, tree in files(*ROOMS):
        if name in (
            "billing/customers/portal_settings.py",
            "tenants/console/settings.py",
            "billing/model/policy.py",
            "tenants/console/setting_labels.py",
        ):
            continue
        if not re.search(r"\b(setting|allows|default)\(|\.settings\b", source) and "policy" not in source:
            continue
        words |= {node.value for node in nodes(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        words |= {prefix + kind for prefix in re.findall(r'f"(\w+_on_){kind}"', source) for kind in ("upgrade", "downgrade")}
    source = (ROOT / "billing/model/policy.py").read_text(encoding="utf-8")
    return words | set(re.findall(r'setting\(business, "(\w+)"\)', source))


def test_every_business_setting_has_a_control_and_is_read() -> None:
    offered = set().union(*controls().values())
    assert not {name for name in policy.DEFAULTS if SHAPED_ONCE.get(name, name) not in offered}, "no form of the console has it"
    assert not set(policy.DEFAULTS) - read_settings(), "kept, and nothing goes by it"


def test_every_part_of_a_brand_has_a_control() -> None:
    from tenants.console.brand import FIELDS

    assert {*FIELDS, "logo"} <= controls()["brand.html"]
    stored = {
        node.slice.value
        for _, _, tree in files("billing")
        for node in nodes(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and ast.unparse(node.value).endswith("brand")
    }
    assert stored <= {*FIELDS, "logo"}


# --- lifecycles


def _given(call: ast.Call, name: str) -> set[str]:
    """Return the values passed to the parameter `name` of the function around a call: its default, and those of its callers."""
    trees = [tree for _, _, tree in files("billing")]
    around = [
        item for tree in trees for item in nodes(tree) if isinstance(item, ast.FunctionDef) and any(node is call for node in ast.walk(item))
    ]
    words: set[str] = set()
    for function in around:
        places = [item.arg for item in function.args.args]
        values = dict(zip(reversed(places), reversed(function.args.defaults), strict=False))
        given = [values[name]] if name in values else []
        for node in (item for tree in trees for item in nodes(tree) if isinstance(item, ast.Call)):
            if last_word(node.func) == function.name and name in places:
                place = places.index(name)
                given += node.args[place : place + 1] + [keyword.value for keyword in node.keywords if keyword.arg == name]
        given += [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and name in {item.id for item in ast.walk(node.targets[0]) if isinstance(item, ast.Name)}
        ]
        words |= {
            item.value for value in given for item in ast.walk(value) if isinstance(item, ast.Constant) and isinstance(item.value, str)
        }
    return words


@pytest.mark.parametrize(
    "table",
    [name for name in vars(lifecycle) if isinstance(getattr(lifecycle, name), dict) and name.isupper() and not name.startswith("_")],
)
def test_every_lifecycle_transition_has_a_caller(table: str) -> None:
    """A transition in the table that no code makes is a broken promise to readers of the table."""
    moves = getattr(lifecycle, table)
    verbs, called = {verb for _, verb in moves}, set[str]()
    marks = {verb for verb in verbs if all(targets == (state,) for (state, item), targets in moves.items() if item == verb)}
    for _, _, tree in files("billing"):
        for node in nodes(tree):
            if isinstance(node, ast.Call) and last_word(node.func) == "move" and table in ast.unparse(node.args[0]):
                called |= {item.value for item in ast.walk(node.args[2]) if isinstance(item, ast.Constant) and isinstance(item.value, str)}
                if isinstance(node.args[2], ast.Name):  # move(TABLE, state, verb): the words that its function is called with
                    called |= _given(node, node.args[2].id)
            elif isinstance(node, ast.Call) and last_word(node.func) == "may" and table in ast.unparse(node.args[0]):
                asked = {item.value for item in ast.walk(node.args[2]) if isinstance(item, ast.Constant)}
                called |= asked & marks  # a verb that leaves the state as it is has only to be allowed
    assert not verbs - called
