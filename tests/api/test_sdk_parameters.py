"""Every parameter that the installed official SDK can send to a supported route is read or refused by name."""

from __future__ import annotations

import ast
import collections.abc
import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from dodopayments import DodoPayments
from dodopayments._resource import SyncAPIResource
from flask import Flask
from pydantic import BaseModel
from typing_extensions import is_typeddict

from core.errors import Invalid
from tenants.api.request_parsing import Body, body
from tenants.api.route_spec import RouteSpec, spec_of
from tenants.api.unknown_fields import NOT_OFFERED
from tests.api.conftest import Site

ROOT = Path(__file__).resolve().parents[2]
REQUEST = re.compile(r'self\._(get|post|put|patch|delete)(?:_api_list)?\(\s*(?:path_template\()?\s*f?"([^"]+)"')
PASSED_ON = {"self", "extra_headers", "extra_query", "extra_body", "timeout", "idempotency_key"}
REFUSED_WITH_THEIR_ROUTE = {"subscriptions.charge"}  # SUBSCRIPTION_NOT_ON_DEMAND, whatever is sent
ACCEPTED = {  # a parameter that no code reads → why both of its values are correct
    "CartItemInput.amount": "the contract: ignored unless customers choose the price, which is not supported",
    "NewPayment.adaptive_currency_fees_inclusive": "there are no currency conversion fees",
    "PlanChange.adaptive_currency_fees_inclusive": "there are no currency conversion fees",
    "NewPayment.redirect_immediately": "the hosted page always redirects at the end",
    "NewSubscription.redirect_immediately": "the hosted page always redirects at the end",
    "NewPayment.payment_link": "checked by its model: refused with a payment_method_id, otherwise a link is always returned",
    "NewSubscription.payment_link": "checked by its model: refused with a payment_method_id, otherwise a link is always returned",
    "Localized.locale": "nothing is translated, and the contract returns the untranslated text then",
    "BrandQuery.include_archived": "an archived business has no API key that works",
    "DigitalDelivery.*": "stored with the product as it was sent, and returned with it",
    "LedgerQuery.*": "a filter of a list that is always empty",
    "GrantQuery.*": "a filter of a list that is always empty",
    "UsageQuery.*": "a filter of a list that is always empty",
}


@dataclass(frozen=True)
class Call:
    """`name`: the SDK's method; `verb` and `path`: what it requests; `types`: the types of its parameters by name."""

    name: str
    verb: str
    path: str
    types: dict[str, Any]


def calls(resource: Any, prefix: str = "") -> Iterator[Call]:
    for name in dir(type(resource)):
        member = getattr(type(resource), name, None)
        if name.startswith(("_", "with_")):
            continue
        if isinstance(resource, SyncAPIResource) and inspect.isfunction(member):
            found = REQUEST.search(inspect.getsource(member))
            if found:
                yield Call(f"{prefix}{name}", found[1], re.sub(r"{\w+}", "{}", found[2]), _types(member))
        elif not inspect.isfunction(member):
            child = getattr(resource, name)
            if isinstance(child, SyncAPIResource):
                yield from calls(child, f"{prefix}{name}.")


def _types(method: Any) -> dict[str, Any]:
    """Parameters of the body or the query, without those of the path."""
    module = inspect.getmodule(method)
    hints = typing.get_type_hints(method, vars(module), {"httpx": __import__("httpx")})
    in_path = set(re.findall(r"\b(\w+)=\1\b", "".join(re.findall(r"path_template\((.*?)\),\n", inspect.getsource(method), re.DOTALL))))
    return {name: hints[name] for name in inspect.signature(method).parameters if name not in PASSED_ON | in_path and name in hints}


@dataclass(frozen=True)
class Leaf:
    """`name`: dotted, as `product_cart.amount`. `probe`: a body that has this parameter, and only constants beside it."""

    name: str
    probe: dict[str, Any]


def leaves(hint: Any, name: str) -> Iterator[Leaf]:
    """Yield every value that this type can contain."""
    inner = list(_typed_dicts(hint))
    if not inner:
        yield Leaf(name, {name: {"no": "such value"}})
    for item in inner:
        hints = typing.get_type_hints(item)
        literals = {field: get_args(below) for field, below in hints.items() if get_origin(below) is Literal}
        constants = {field: values[0] for field, values in literals.items() if len(values) == 1}
        for field, below in hints.items():
            for leaf in leaves(below, field):
                value = {**constants, **leaf.probe}
                yield Leaf(f"{name}.{leaf.name}", {name: [value] if "Iterable" in str(hint) else value})


def _typed_dicts(hint: Any) -> Iterator[Any]:
    if is_typeddict(hint):
        yield hint
    elif get_origin(hint) not in (dict, Literal, collections.abc.Mapping):
        for item in get_args(hint):
            yield from _typed_dicts(item)


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Return the models in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, list, typing.Annotated) or hasattr(annotation, "__metadata__"):
        for item in get_args(annotation):
            yield from models(item)


def owners(model: type[BaseModel], path: list[str]) -> list[tuple[type[BaseModel], str]]:
    """Return (declaring model, field) of a dotted name; empty if a part of it is not declared."""
    field = model.model_fields.get(path[0])
    if field is None:
        return []
    if len(path) == 1:
        return [(next(item for item in reversed(model.__mro__) if path[0] in getattr(item, "__annotations__", {})), path[0])]
    below = list(models(field.annotation)) or [item for extra in field.metadata for item in models(extra)]
    return [found for item in below for found in owners(item, path[1:])]


CALLS = [entry for entry in calls(DodoPayments(bearer_token="x")) if entry.types]


@pytest.fixture(scope="module")
def app(api_site: Site) -> Flask:
    from wsgi import create_app

    return create_app(api_site.services.settings)


@pytest.fixture(scope="module")
def routes(app: Flask) -> dict[tuple[str, str], RouteSpec]:
    """Map (verb, path) to the RouteSpec of the view."""
    return {
        (verb.lower(), re.sub(r"<[^>]+>", "{}", rule.rule.removeprefix("/api"))): spec_of(app.view_functions[rule.endpoint])
        for rule in app.url_map.iter_rules() if rule.endpoint.startswith("api.")
        for verb in rule.methods or () if verb not in ("HEAD", "OPTIONS")
    }  # fmt: skip


def declared_in(said: RouteSpec, name: str) -> list[tuple[type[BaseModel], str]]:
    return [found for model in (said.body, said.query) if model for found in owners(model, name.split("."))]


def refused(app: Flask, api_site: Site, call: Call, said: RouteSpec, leaf: Leaf) -> bool:
    """Whether the parameter, or an object that contains it, is refused by name. Other errors of the probe are named beside it."""
    if call.verb == "get" or said.body is None:
        answer = api_site.raw(call.verb.upper(), re.sub("{}", "x", call.path) + f"?{leaf.name}=x", api_site.key)
        return answer.status_code == 422 and leaf.name in answer.json()["fields"]
    with app.test_request_context(json=leaf.probe, method="POST"), pytest.raises(Invalid) as said_no:
        body(said.body)  # type: ignore[type-var]
    parts = leaf.name.split(".")
    prefixes = {".".join(parts[: n + 1]) for n in range(len(parts))}
    named = {re.sub(r"\.\d+", "", name): words for name, words in said_no.value.fields.items()}
    refusals = ("usage-based billing is not supported", "This field was removed", NOT_OFFERED)
    return any(any(refusal in words for refusal in refusals) for name, words in named.items() if name in prefixes)


def test_the_parameters_of_the_sdk_are_found() -> None:
    """Known parameters are found, so that a renamed internal of the SDK cannot empty this test."""
    by_name = {item.name: item for item in CALLS}
    assert len(CALLS) > 80
    assert {"force_3ds", "short_link", "require_phone_number", "allowed_payment_method_types"} <= set(by_name["payments.create"].types)
    assert by_name["payments.create"].path == "/payments" and by_name["customers.update"].path == "/customers/{}"
    assert "customer_id" not in by_name["customers.update"].types and "customer_id" in by_name["license_keys.create"].types
    every = {leave.name for leave in leaves(by_name["products.create"].types["price"], "price")}
    assert {"price.meters.meter_id", "price.trial_amount", "price.suggested_price", "price.fixed_price"} <= every


@pytest.mark.parametrize("call", CALLS, ids=lambda item: item.name)
def test_every_sdk_parameter_is_read_or_refused(app: Flask, api_site: Site, routes: dict[tuple[str, str], RouteSpec], call: Call) -> None:
    said = routes.get((call.verb, call.path))
    if call.name in REFUSED_WITH_THEIR_ROUTE:
        return
    if said is None:
        assert api_site.raw(call.verb.upper(), re.sub("{}", "x", call.path), api_site.key, json={}).status_code in (404, 405)
        return
    ignored = []
    for parameter, hint in call.types.items():
        for leaf in leaves(hint, parameter):
            if call.name == "subscriptions.update_payment_method":  # the SDK sends this one parameter as the whole body
                leaf = Leaf(leaf.name.partition(".")[2], leaf.probe["payment_method"])
            found = declared_in(said, leaf.name)
            if not found and not refused(app, api_site, call, said, leaf):
                ignored.append(leaf.name)
            ignored += [f"{model.__name__}.{field}" for model, field in found if not accounted(call, model, field)]
    assert not ignored, "neither read nor refused"


def test_every_route_that_describes_a_body_reads_it_as_described() -> None:
    """A refusal by the model is therefore a refusal by the route."""
    found = 0
    for path in (ROOT / "tenants/api").rglob("*.py"):
        for view in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(view, ast.FunctionDef):
                continue
            for says in view.decorator_list:
                for word in says.keywords if isinstance(says, ast.Call) else ():
                    if word.arg in ("body", "query") and path.stem != "route_spec":
                        model, found = ast.unparse(word.value), found + 1
                        reads = [ast.unparse(node) for node in ast.walk(view) if isinstance(node, ast.Call)]
                        is_read = any(re.fullmatch(rf"(read_)?(body|query)\({model}\)", read) for read in reads)
                        assert is_read or model == "TokenQuery", f"{path.stem}.{view.name} does not read its {model}"
    assert found > 40


def accounted(call: Call, model: type[BaseModel], field: str) -> bool:
    names = {f"{model.__name__}.{field}", f"{model.__name__}.*"}
    return bool(names & set(ACCEPTED)) or is_read(model, field)


def is_read(model: type[BaseModel], field: str) -> bool:
    """Whether a module that uses the model reads the field: by attribute, by name in a table, or as a part of a dumped model."""
    sources = [path for path in (ROOT / "tenants/api").rglob("*.py") if re.search(rf"\b{model.__name__}\b", path.read_text())]
    texts = [_read_names(path) for path in [Path(inspect.getfile(model)), *sources]]
    if any(field in names for names, _ in texts):
        return True
    is_dumped = any(dumps for _, dumps in texts)
    return is_dumped and any(field in _read_names(path)[0] | _keywords(path) for path in (ROOT / "billing").rglob("*.py"))


def _read_names(path: Path) -> tuple[set[str], bool]:
    """(attributes and strings that are read, whether a model is dumped whole)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    answers = {id(word) for call in ast.walk(tree) if isinstance(call, ast.Call) for word in call.keywords}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in answers:
            names.add(node.value)
    return names, "model_dump" in names


def _keywords(path: Path) -> set[str]:
    """Return the parameters of functions into which a dumped model is unpacked."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {item.arg for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for item in (*node.args.args, *node.args.kwonlyargs)}


@pytest.mark.parametrize(("path", "name", "value"), [
    ("/payments", "force_3ds", True), ("/payments", "short_link", True), ("/payments", "require_phone_number", True),
    ("/payments", "show_saved_payment_methods", True), ("/payments", "allowed_payment_method_types", ["credit"]),
    ("/subscriptions", "on_demand", {"mandate_only": True}), ("/subscriptions", "one_time_product_cart", []),
    ("/subscriptions", "mandate_min_amount_inr_paise", 1), ("/products", "pricing_mode", "country_based"),
    ("/products", "entitlements", []), ("/products", "credit_entitlements", [{"credit_entitlement_id": "x"}]),
    ("/products", "price.purchasing_power_parity", True), ("/products", "price.trial_payment_method_optional", True),
    ("/products", "price.suggested_price", 100), ("/products", "digital_product_delivery.files", ["x"]),
    ("/customers", "typed_wrong", "x"),
])  # fmt: skip
def test_unsupported_parameters_are_refused_by_name(api_site: Site, path: str, name: str, value: Any) -> None:
    ada = api_site.sdk().customers.create(email="ada@marlow.example", name="Ada Marlow").customer_id
    once = {"type": "one_time_price", "currency": "EUR", "price": 4900}
    product = api_site.sdk().products.create(name="Acorn for desktop", price=once, tax_category="saas").product_id  # type: ignore[arg-type]
    bought = {"billing": {"country": "GB"}, "customer": {"customer_id": ada}}
    bodies: dict[str, dict[str, Any]] = {
        "/payments": {**bought, "product_cart": [{"product_id": product, "quantity": 1}]},
        "/subscriptions": {**bought, "product_id": product, "quantity": 1},
        "/products": {"name": "A", "tax_category": "saas", "price": dict(once), "digital_product_delivery": {}},
        "/customers": {"email": "x@y.example", "name": "X"},
    }
    sent = bodies[path]
    *parents, last = name.split(".")
    place = sent
    for part in parents:
        place = place[part]
    for idle in (None, False):
        place[last] = idle
        assert "UNSUPPORTED_ACTION" not in api_site.raw("POST", path, api_site.key, json=sent).text, f"{idle} asks for nothing"
    place[last] = value
    answer = api_site.raw("POST", path, api_site.key, json=sent)
    assert (answer.status_code, answer.json()["code"]) == (422, "UNSUPPORTED_ACTION"), answer.text
    assert set(answer.json()["fields"]) == {name} and name in answer.json()["message"]


@pytest.mark.parametrize("path", ["/customers?emial=x", "/products/pdt_x?expand=y", "/brands?page=1", "/payments?status=failed&state=x"])
def test_an_unknown_query_parameter_is_refused(api_site: Site, path: str) -> None:
    answer = api_site.raw("GET", path, api_site.key)
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_QUERY_PARAMS"), answer.text
    assert len(answer.json()["fields"]) == 1


def test_a_saved_method_and_a_payment_link_exclude_each_other(api_site: Site) -> None:
    body = {"billing": {"country": "GB"}, "customer": {"customer_id": "cus_x"}, "payment_link": True, "payment_method_id": "pm_x"}
    item = {"product_id": "x", "quantity": 1}
    for path, more in (("/payments", {"product_cart": [item]}), ("/subscriptions", item)):
        answer = api_site.raw("POST", path, api_site.key, json={**body, **more})
        assert answer.status_code == 422 and "payment_link" in answer.json()["message"]


@pytest.mark.parametrize("more", [{"email": "x@y.example"}, {"name": "X"}, {"phone_number": "+44 1632 960961"}])
def test_a_customer_is_named_by_id_or_by_address(api_site: Site, more: dict[str, Any]) -> None:
    cart = [{"product_id": "x", "quantity": 1}]
    body = {"billing": {"country": "GB"}, "customer": {"customer_id": "cus_x", **more}, "product_cart": cart}
    answer = api_site.raw("POST", "/payments", api_site.key, json=body)
    assert (answer.status_code, set(answer.json()["fields"])) == (422, {"customer"})


def test_the_check_finds_a_field_that_is_declared_and_not_read() -> None:
    class Unread(Body):
        nobody_reads_this_field: str | None = None

    assert not is_read(Unread, "nobody_reads_" + "this_field")


def test_a_usage_based_price_is_refused_by_name(api_site: Site) -> None:
    recurring = {
        "currency": "EUR",
        "payment_frequency_count": 1,
        "payment_frequency_interval": "Month",
        "subscription_period_count": 10,
        "subscription_period_interval": "Year",
    }
    monthly: Any = {**recurring, "type": "recurring_price", "price": 1}
    prices = ({**recurring, "type": "usage_based_price", "fixed_price": 0}, {**monthly, "meters": [{}]})
    known = api_site.sdk().products.create(name="A", price=monthly, tax_category="saas")
    for price, word in zip(prices, ("usage_based_price", "meters"), strict=True):
        for verb, path in (("POST", "/products"), ("PATCH", f"/products/{known.product_id}")):
            answer = api_site.raw(verb, path, api_site.key, json={"name": "By use", "tax_category": "saas", "price": price})
            assert (answer.status_code, answer.json()["code"]) == (422, "UNSUPPORTED_ACTION"), answer.text
            assert word in answer.json()["fields"]["price"]
