"""A scope is a value: what each constructor opens, and what it cannot be made to say."""

from dataclasses import FrozenInstanceError

import pytest

from core import scope
from core.errors import ScopeError
from core.models import Base, CustomerOwned, kind_of
from core.rls import enter, policy
from core.scope import Actor


def test_nobody_opens_nothing():
    one = scope.nobody()
    assert (one.business_ids, one.customer_ids, one.identity_id, one.is_everything) == ((), (), None, False)


def test_a_person_has_the_pairs_of_every_business_once():
    one = scope.person("idn_ada", [("bus_a", "cus_1"), ("bus_b", "cus_2"), ("bus_a", "cus_3")])
    assert one.business_ids == ("bus_a", "bus_b")
    assert one.customer_ids == ("cus_1", "cus_2", "cus_3")
    assert one.joined_pairs == ("bus_a/cus_1", "bus_b/cus_2", "bus_a/cus_3")
    assert one.is_customer and one.actor == Actor("customer", "idn_ada")


def test_a_person_who_bought_nothing_has_no_rows():
    assert scope.person("idn_new", []).pairs == ()


def test_a_merchants_link_names_one_customer_and_no_person():
    one = scope.customer_of("bus_a", "cus_1")
    assert one.pairs == (("bus_a", "cus_1"),) and one.identity_id is None
    assert one.actor == Actor("customer", "cus_1")


def test_staff_keys_and_system_are_one_business():
    for one, actor in ((scope.staff("bus_a", "stf_1"), "staff"), (scope.api_key("bus_a", "key_1"), "api_key"),
                       (scope.system("bus_a"), "system")):
        assert one.business_ids == ("bus_a",) and one.pairs == () and one.actor.type == actor
        assert not one.is_customer and not one.is_everything


def test_everything_says_why():
    with pytest.raises(ValueError):
        scope.everything("")
    assert scope.everything("renewals due").why == "renewals due"


def test_a_scope_does_not_change():
    with pytest.raises(FrozenInstanceError):
        scope.nobody().business = "bus_a"  # type: ignore[misc]


@pytest.mark.parametrize("one", [
    scope.staff("bus_a,bus_b", "stf_1"),
    scope.customer_of("bus_a", "cus_1,cus_2"),
    scope.person("idn", [("bus_a", "cus_1\ncus_2")]),
    scope.resolving(["ada@marlow.example\nben@hill.example"]),
])
def test_one_id_cannot_read_as_two(one):
    with pytest.raises(ScopeError):
        enter(None, one)  # type: ignore[arg-type]


def test_policies_differ_by_kind():
    using, check = policy("invoices", CustomerOwned)
    assert "addresses" not in using and using == check
    using, check = policy("customers", CustomerOwned)
    assert "addresses" in using and "addresses" not in check  # found by address, never written by address


def test_a_plain_class_has_no_kind():
    class Plain:
        pass

    assert kind_of(Plain) is None and Base.metadata is not None
