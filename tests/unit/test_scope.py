"""Scopes are values: what each constructor opens, and which values are refused."""

from dataclasses import FrozenInstanceError

import pytest

from core import scope
from core.errors import ScopeError
from core.models import Base, CustomerOwned, kind_of
from core.rls import enter, policy
from core.scope import Actor


def test_the_nobody_scope_opens_nothing():
    item = scope.nobody()
    assert (item.business_ids, item.customer_ids, item.identity_id, item.is_everything) == ((), (), None, False)


def test_a_person_has_the_pairs_of_every_business_once():
    item = scope.person("idn_ada", [("bus_a", "cus_1"), ("bus_b", "cus_2"), ("bus_a", "cus_3")])
    assert item.business_ids == ("bus_a", "bus_b")
    assert item.customer_ids == ("cus_1", "cus_2", "cus_3")
    assert item.joined_pairs == ("bus_a/cus_1", "bus_b/cus_2", "bus_a/cus_3")
    assert item.is_customer and item.actor == Actor("customer", "idn_ada")


def test_a_person_who_bought_nothing_has_no_rows():
    assert scope.person("idn_new", []).pairs == ()


def test_a_portal_link_scope_has_one_customer_and_no_identity():
    item = scope.customer_of("bus_a", "cus_1")
    assert item.pairs == (("bus_a", "cus_1"),) and item.identity_id is None
    assert item.actor == Actor("customer", "cus_1")


def test_staff_keys_and_system_are_one_business():
    for item, actor in (
        (scope.staff("bus_a", "stf_1"), "staff"),
        (scope.api_key("bus_a", "key_1"), "api_key"),
        (scope.system("bus_a"), "system"),
    ):
        assert item.business_ids == ("bus_a",) and item.pairs == () and item.actor.type == actor
        assert not item.is_customer and not item.is_everything


def test_an_unrestricted_scope_needs_a_reason():
    with pytest.raises(ValueError):
        scope.everything("")
    assert scope.everything("renewals due").why == "renewals due"


def test_a_scope_is_immutable():
    with pytest.raises(FrozenInstanceError):
        scope.nobody().business = "bus_a"  # type: ignore[misc]


@pytest.mark.parametrize(
    "item",
    [
        scope.staff("bus_a,bus_b", "stf_1"),
        scope.customer_of("bus_a", "cus_1,cus_2"),
        scope.person("idn", [("bus_a", "cus_1\ncus_2")]),
        scope.resolving(["ada@marlow.example\nben@hill.example"]),
    ],
)
def test_an_id_cannot_be_read_as_two(item):
    with pytest.raises(ScopeError):
        enter(None, item)  # type: ignore[arg-type]


def test_policies_differ_by_kind():
    using, check = policy("invoices", CustomerOwned)
    assert "addresses" not in using and using == check
    using, check = policy("customers", CustomerOwned)
    assert "addresses" in using and "addresses" not in check  # found by address, never written by address


def test_a_plain_class_has_no_kind():
    class Plain:
        pass

    assert kind_of(Plain) is None and Base.metadata is not None
