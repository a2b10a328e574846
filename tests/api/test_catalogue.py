"""A business manages its catalog with the official SDK, with strict validation of every answer."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest
from dodopayments import APIStatusError
from PIL import Image

from tests.api.conftest import BILLING, MONTHLY, ONCE, Site


def refused(status: int, code: str, call: Any, /, *args: Any, **kwargs: Any) -> None:
    with pytest.raises(APIStatusError) as error:
        call(*args, **kwargs)
    assert (error.value.status_code, error.value.response.json()["code"]) == (status, code), error.value.response.text


def test_a_product_is_created_changed_and_archived(api_site: Site) -> None:
    acorn = api_site.sdk()
    addon = acorn.addons.create(name="Backups", currency="EUR", price=300, tax_category="saas", description="Every night")
    product = acorn.products.create(name="Acorn Team", price=MONTHLY, tax_category="saas", description="For a few", metadata={"a": 1})
    item = product.product_id
    acorn.products.update(item, name="Acorn Crew", price={**MONTHLY, "price": 2600}, addons=[addon.id], description=None, metadata={})
    now = acorn.products.retrieve(item)
    assert (now.name, now.price.price, now.addons, now.description, now.metadata) == ("Acorn Crew", 2600, [addon.id], None, {})
    refused(422, "INVALID_REQUEST_BODY", acorn.products.update, item, price={**MONTHLY, "currency": "USD"})
    refused(422, "INVALID_REQUEST_BODY", acorn.products.update, item, price=ONCE)
    refused(404, "NOT_FOUND", acorn.products.update, item, addons=["adn_nobody"])
    acorn.products.archive(item)
    assert item not in {row.product_id for row in acorn.products.list(page_size=100).items}
    assert item in {row.product_id for row in acorn.products.list(page_size=100, archived=True).items}
    refused(410, "PRODUCT_IS_DELETED", acorn.products.archive, item)
    refused(
        404,
        "NOT_FOUND",
        acorn.subscriptions.create,
        billing=BILLING,
        customer={"email": "x@y.example", "name": "X"},
        product_id=item,
        quantity=1,
    )
    acorn.products.unarchive(item)
    assert item in {row.product_id for row in acorn.products.list(page_size=100).items}
    changed = acorn.addons.update(addon.id, price=350, name="Copies")
    assert (changed.price, changed.name, changed.description) == (350, "Copies", "Every night")
    assert acorn.addons.retrieve(addon.id) == changed
    acorn.addons.delete(addon.id)
    assert addon.id not in {row.id for row in acorn.addons.list(page_size=100).items}


def test_a_sold_product_keeps_its_agreed_price(api_site: Site) -> None:
    acorn = api_site.sdk()
    product = acorn.products.create(name="Acorn Team", price=MONTHLY, tax_category="saas")
    began = acorn.subscriptions.create(
        billing=BILLING,
        customer={"email": "ada@marlow.example", "name": "Ada"},
        payment_link=True,
        product_id=product.product_id,
        quantity=1,
    )
    acorn.products.update(product.product_id, price={**MONTHLY, "price": 9900})
    assert acorn.subscriptions.retrieve(began.subscription_id).recurring_pre_tax_amount == 2417


def test_a_product_has_a_successor(api_site: Site) -> None:
    acorn = api_site.sdk()
    old, new = (acorn.products.create(name=name, price=MONTHLY, tax_category="saas") for name in ("Old", "New"))
    acorn.products.update(old.product_id, extra_body={"successor_product_id": new.product_id})
    raw = acorn.products.with_raw_response.retrieve(old.product_id).json()
    assert raw["successor_product_id"] == new.product_id
    for wrong, status in ((old.product_id, 422), ("pdt_unknown", 404)):
        with pytest.raises(APIStatusError) as refused_change:
            acorn.products.update(old.product_id, extra_body={"successor_product_id": wrong})
        assert refused_change.value.status_code == status
    acorn.products.update(old.product_id, name="Old one")
    assert acorn.products.with_raw_response.retrieve(old.product_id).json()["successor_product_id"] == new.product_id, "not sent: kept"
    acorn.products.update(old.product_id, extra_body={"successor_product_id": None})
    assert acorn.products.with_raw_response.retrieve(old.product_id).json()["successor_product_id"] is None


def test_a_picture_is_uploaded_and_shown(api_site: Site) -> None:
    acorn, raw = api_site.sdk(), io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(raw, "JPEG")
    product = acorn.products.create(name="Acorn Team", price=ONCE, tax_category="saas")
    place = acorn.products.images.update(product.product_id)
    assert acorn.products.retrieve(product.product_id).image is None
    assert httpx.put(place.url, content=b"<svg onload=alert(1)>").status_code == 422
    assert httpx.put(place.url + "x", content=raw.getvalue()).status_code == 404
    assert httpx.put(place.url, content=raw.getvalue()).status_code == 204
    acorn.products.update(product.product_id, image_id=place.image_id)
    shown = httpx.get(acorn.products.retrieve(product.product_id).image or "")
    assert shown.status_code == 200 and shown.content.startswith(b"\x89PNG") and shown.headers["content-type"] == "image/png"
    refused(404, "NOT_FOUND", api_site.sdk(api_site.other_key).products.images.update, product.product_id)
    other = acorn.products.create(name="Another", price=ONCE, tax_category="saas")
    refused(404, "NOT_FOUND", acorn.products.update, other.product_id, image_id=place.image_id)
    acorn.products.update(product.product_id, image_id=None)
    assert acorn.products.retrieve(product.product_id).image is None and httpx.get(str(shown.url)).status_code == 404


def test_a_collection_its_groups_and_their_order(api_site: Site) -> None:
    acorn = api_site.sdk()
    a, b, c, d = (acorn.products.create(name=name, price=MONTHLY, tax_category="saas").product_id for name in "ABCD")
    made = acorn.product_collections.create(
        name="Plans",
        groups=[
            {"group_name": "Small", "products": [{"product_id": a}, {"product_id": b, "status": False}]},
            {"products": [{"product_id": c}]},
        ],
    )
    small, rest = made.groups
    assert [(product.product_id, product.status) for product in small.products] == [(a, True), (b, False)] and rest.group_name is None
    refused(409, "PRODUCT_ALREADY_IN_COLLECTION", acorn.product_collections.create, name="More", groups=[{"products": [{"product_id": a}]}])
    refused(422, "INVALID_REQUEST_BODY", acorn.product_collections.groups.create, made.id, products=[{"product_id": d}])
    more = acorn.product_collections.groups.create(made.id, products=[{"product_id": d}], group_name="Big", status=False)
    acorn.product_collections.update(
        made.id, group_order=[more.group_id, rest.group_id, small.group_id], name="Our plans", effective_at_on_downgrade="immediately"
    )
    acorn.product_collections.groups.update(
        small.group_id, id=made.id, product_order=[product.id for product in reversed(small.products)], group_name="Little"
    )
    now = acorn.product_collections.retrieve(made.id)
    assert (now.name, now.effective_at_on_downgrade, now.effective_at_on_upgrade) == ("Our plans", "immediately", None)
    assert [(item.group_name, item.status) for item in now.groups] == [("Big", False), (None, True), ("Little", True)]
    assert [product.product_id for product in now.groups[2].products] == [b, a]
    items = acorn.product_collections.groups.items
    items.update(small.products[1].id, id=made.id, group_id=small.group_id, status=True)
    items.delete(small.products[0].id, id=made.id, group_id=small.group_id)
    [back] = items.create(rest.group_id, id=made.id, products=[{"product_id": a}])
    assert back.product_id == a
    refused(404, "NOT_FOUND", items.delete, back.id, id=made.id, group_id=small.group_id)
    for group in (more, small):
        acorn.product_collections.groups.delete(group.group_id, id=made.id)
    refused(422, "PRODUCT_COLLECTION_MUST_HAVE_PRODUCTS", acorn.product_collections.groups.delete, rest.group_id, id=made.id)
    assert [(item.name, item.products_count) for item in acorn.product_collections.list(page_size=100).items if item.id == made.id] == [
        ("Our plans", 2)
    ]
    acorn.product_collections.delete(made.id)
    refused(410, "PRODUCT_COLLECTION_IS_DELETED", acorn.product_collections.update, made.id, name="X")
    acorn.products.archive(c)
    again = acorn.product_collections.unarchive(made.id)
    assert (again.collection_id, again.excluded_product_ids) == (made.id, [c])


def test_a_discount_code_is_created_used_and_deleted(api_site: Site) -> None:
    acorn = api_site.sdk()
    product = acorn.products.create(name="Acorn Team", price=MONTHLY, tax_category="saas")
    made = acorn.discounts.create(amount=2000, type="percentage", code="half-off", subscription_cycles=2, name="For beginners")
    assert (made.code, made.times_used, made.restricted_to, made.customer_eligibility) == ("HALF-OFF", 0, [], "any")
    assert acorn.discounts.retrieve_by_code("half-off") == made == acorn.discounts.retrieve(made.discount_id)
    refused(409, "DISCOUNT_CODE_ALREADY_EXISTS", acorn.discounts.create, amount=1, type="percentage", code="HALF-OFF")
    refused(422, "INVALID_PERCENTAGE", acorn.discounts.create, amount=10_001, type="percentage")
    refused(404, "NOT_FOUND", acorn.discounts.create, amount=1, type="percentage", restricted_to=["pdt_nobody"])
    assert len(acorn.discounts.create(amount=500, type="flat").code) == 16
    began = acorn.subscriptions.create(
        billing=BILLING,
        customer={"email": "ada@marlow.example", "name": "Ada"},
        payment_link=True,
        product_id=product.product_id,
        quantity=1,
        discount_code="half-off",
    )
    assert began.discount_id == made.discount_id
    held = acorn.subscriptions.retrieve(began.subscription_id)
    assert held.discounts and (held.discounts[0].code, held.discounts[0].cycles_remaining, held.discounts[0].position) == ("HALF-OFF", 2, 0)
    [row] = [item for item in acorn.subscriptions.list(page_size=100).items if item.subscription_id == began.subscription_id]
    assert row.discounts[0].discount_id == made.discount_id and row.discount_cycles_remaining == 2
    paid = acorn.payments.retrieve(began.payment_id)
    assert paid.total_amount == 2321 and paid.discounts and paid.discounts[0].code == "HALF-OFF"  # (2417 − 483) + 20 % tax
    assert acorn.discounts.retrieve(made.discount_id).times_used == 1
    changed = acorn.discounts.update(made.discount_id, amount=100, subscription_cycles=None, usage_limit=1)
    assert (changed.amount, changed.subscription_cycles, changed.usage_limit) == (100, None, 1)
    assert [item.discount_id for item in acorn.discounts.list(active=False, code="half").items] == [made.discount_id]
    refused(
        422,
        "DISCOUNT_CODE_USAGE_LIMIT_EXCEEDED",
        acorn.payments.create,
        billing=BILLING,
        discount_codes=["HALF-OFF"],
        customer={"email": "ada@marlow.example", "name": "Ada"},
        product_cart=[{"product_id": acorn.products.create(name="Once", price=ONCE, tax_category="saas").product_id, "quantity": 1}],
    )
    acorn.discounts.delete(made.discount_id)
    refused(404, "NOT_FOUND", acorn.discounts.retrieve_by_code, "HALF-OFF")
    refused(404, "NOT_FOUND", api_site.sdk(api_site.other_key).discounts.retrieve, made.discount_id)


def test_a_license_key_of_another_system_is_imported(api_site: Site) -> None:
    acorn = api_site.sdk()
    ada = acorn.customers.create(email="ada@marlow.example", name="Ada").customer_id
    product = acorn.products.create(name="Acorn", price=ONCE, tax_category="saas").product_id
    made = acorn.license_keys.create(customer_id=ada, key="OAK-1234", product_id=product, activations_limit=2)
    assert (made.source, made.status, made.instances_count) == ("import", "active", 0)
    refused(409, "LICENSE_KEY_ALREADY_EXISTS", acorn.license_keys.create, customer_id=ada, key="OAK-1234", product_id=product)
    refused(404, "NOT_FOUND", acorn.license_keys.create, customer_id="cus_nobody", key="OAK-2", product_id=product)
    place = acorn.licenses.activate(license_key="OAK-1234", name="Laptop")
    acorn.licenses.activate(license_key="OAK-1234", name="Phone")
    assert acorn.license_key_instances.update(place.id, name="Desk").name == "Desk"
    with pytest.warns(DeprecationWarning):
        refused(422, "ACTIVATION_LIMIT_LESS_THAN_CURRENT_AMOUNT", acorn.license_keys.update, made.id, activations_limit=1)
    with pytest.warns(DeprecationWarning):
        assert acorn.license_keys.update(made.id, activations_limit=None, disabled=True).status == "disabled"
    refused(403, "INACTIVE_LICENSE_KEY", acorn.licenses.activate, license_key="OAK-1234", name="Third")
    assert not acorn.licenses.validate(license_key="OAK-1234").valid
    waits = acorn.license_keys.create(customer_id=ada, key="OAK-2", product_id=product, activations_limit=0)
    refused(422, "LICENSE_KEY_LIMIT_REACHED", acorn.licenses.activate, license_key="OAK-2", name="Laptop")
    with pytest.warns(DeprecationWarning):
        acorn.license_keys.update(waits.id, activations_limit=1)
    assert acorn.licenses.activate(license_key="OAK-2", name="Laptop").license_key_id == waits.id


def test_lists_without_rows_are_empty(api_site: Site) -> None:
    acorn = api_site.sdk()
    ada = acorn.customers.create(email="ada@marlow.example", name="Ada").customer_id
    assert acorn.customers.wallets.list(ada).items == [] and acorn.customers.wallets.ledger_entries.list(ada).items == []
    assert acorn.customers.list_entitlements(ada).items == [] and acorn.customers.list_credit_entitlements(ada).items == []
    assert acorn.customers.list_entitlement_grants(ada).items == []
