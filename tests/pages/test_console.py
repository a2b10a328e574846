"""Who may do what in the console: every route by every role and by strangers; invites, the team, and looks at the portal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from auth import budgets
from auth.domains import binding
from auth.links import create_dynamic_link
from auth.models import BrowserSession, Budget, DynamicLink
from auth.provider import apps
from auth.provider.apps import Wish
from billing.catalogue import Collection, CollectionGroup
from billing.commands.addons import create_addon
from billing.commands.plan_quote import quote
from billing.licences import LicenseKey
from billing.parties import Business, Customer
from core import clock
from core.db import ScopedSession
from core.errors import ScopeError
from core.outbox import Event
from core.scope import Actor, everything, system
from portal.deeds import SENTENCES, STAFF_ONLY, UNTOLD
from portal.keys import masked
from tenants import exports, joining, views
from tenants.keys import new_key
from tenants.roles import ROLES, VERBS, may
from tenants.team import Membership
from tenants.views import CustomerView
from tenants.webhooks import endpoints, history
from tests.pages.staffed import Shop
from tests.visitor import Page, Visitor

ROUTES = {
    "lobby": "businesses accept_invitation new_business begin_business",
    "customers.read": "home customers customer",
    "customers.write": "block_customer unblock_customer new_customer add_customer customer_details change_customer",
    "customers.invite": "share invite_customer make_invite revoke_invite",
    "customers.export": "ask_export export export_file",
    "view_as": "view_as begin_view end_view",
    "subscriptions.read": "subscriptions subscription",
    "subscriptions.change": "pause_for resume_for staff_plan_change quote_plan_change staff_slip confirm_for keep_plan_for",
    "subscriptions.cancel": "cancellation cancel keep",
    "money.read": "payments payment refunds parked",
    "money.refund": "refund make_refund ask_again close_parked",
    "products.read": "products product addon collections collection",
    "products.write": "new_product create_product edit_product archive_product unarchive_product new_addon create_addon edit_addon"
    " archive_addon unarchive_addon new_collection create_collection edit_collection archive_collection unarchive_collection"
    " add_to_collection move_in_collection offer_in_collection remove_from_collection add_group rename_group"
    " move_group offer_group remove_group",
    "settings.read": "settings details languages languages_preview brand brand_preview domains",
    "settings.write": "change_settings change_details change_languages closing close_business",
    "brand.write": "change_brand change_logo remove_logo",
    "developers.read": "keys webhooks webhook deliveries delivery events event provider apps one_app elsewhere",
    "developers.keys": "new_key create_key revoke_key",
    "developers.webhooks": "new_webhook create_webhook edit_webhook switch_webhook show_secret remove_webhook test_webhook replay_failed"
    " replay_delivery",
    "provider.write": "save_provider test_provider switch_provider remove_provider new_app create_app change_app renew_app_secret"
    " remove_app",
    "domain.write": "add_domain check_domain remove_domain",
    "team.read": "team",
    "team.write": "invite revoke_invitation change_role remove_member",
    "activity.read": "activity",
}
"""Verb → the console's endpoints that are it. A new route needs its place here."""
FRESH = set("close_business close_parked closing make_refund refund change_role invite remove_member revoke_invitation"
            " new_key create_key revoke_key new_webhook create_webhook edit_webhook switch_webhook show_secret remove_webhook"
            " save_provider test_provider switch_provider remove_provider new_app create_app change_app renew_app_secret"
            " remove_app add_domain check_domain remove_domain".split())
VERB_OF = {endpoint: verb for verb, endpoints in ROUTES.items() for endpoint in endpoints.split()}


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    urls, drop = request.getfixturevalue("sqlite").fresh()
    one = Shop.open(urls, tmp_path_factory.mktemp("console"))
    one.app.extensions["domains"].resolve = lambda _name: []  # no test asks the world's DNS
    yield one
    one.house.database.dispose()
    drop()


@pytest.fixture(scope="module")
def people(shop: Shop) -> dict[str, Visitor]:
    found = {role: shop.staff(f"{role.replace('_', '.')}@acorn.example", role) for role in ROLES if role != "owner"}
    return found | {"owner": shop.sam, "Ada": shop.customer(shop.ADA), "anonymous": Visitor(shop.app), "link": _linked(shop)}


@pytest.fixture(scope="module")
def ids(shop: Shop) -> dict[str, str]:
    return _ids(shop, shop.acorn, shop.ada_at_acorn, shop.sam)


def _ids(shop: Shop, business_id: str, buyer: Any, member: Visitor | None) -> dict[str, str]:
    """A real row of this business for every argument a console route has."""
    house, name = shop.house, "acorn" if business_id == shop.acorn else "birch"
    with shop.app.app_context(), house.database.open(system(business_id), write=True) as db:
        membership = db.scalar(select(Membership.id))
        if membership is None:
            with_identity = {"email": "sue@birch.example", "email_key": "sue@birch.example", "role": "owner"}
            row = Membership(business_id=business_id, id="mem_birch", identity_id="idn_sue", created_at=clock.wall(), **with_identity)
            db.add(row)
            db.flush()
            membership = row.id
        link, _url = create_dynamic_link(db, business_id, buyer.customer_id, actor=Actor("system"))
        one = joining.invite(db, business_id, f"pat@{name}.example", "support")
        job = exports.ask(db, business_id, "", by=membership)
        look = views.begin(db, buyer.customer_id, "A question about an invoice", membership_id=membership, session_id="ses_other")
        return {
            "business_id": business_id, "customer_id": buyer.customer_id, "subscription_id": buyer.subscription_id,
            "payment_id": buyer.payment_id, "product_id": shop.products[f"{name}.plan"], "membership_id": membership,
            "invitation_id": one.id, "link_id": link.id, "export_id": job.id,
            "quote_id": quote(db, buyer.subscription_id, shop.products[f"{name}.more"], customer=False).id,
            "view_id": look.id, "parked_id": buyer.payment_id,
            "collection_id": str(db.scalar(select(Collection.id))), "item_id": shop.products[f"{name}.plan"],
            "group_id": str(db.scalar(select(CollectionGroup.id))),
            "addon_id": create_addon(db, business_id, name="More room", currency="EUR", price=500).id, **_technical(shop, db, business_id),
        }


def _technical(shop: Shop, db: ScopedSession, business_id: str) -> dict[str, str]:
    """A key, a webhook with something sent to it, an event, an app that signs customers in, a domain."""
    hook = endpoints.create(db, shop.house.outgoing, business_id, "https://hooks.example/events").id
    sent = history.send_test(db, hook, "payment.succeeded")
    app, _secret = apps.add(db, shop.house.settings, shop.house.outgoing, business_id, Wish("An app", "https://app.example/back", "", ""),
                            public=True)
    domain = binding.add(db, shop.house.settings, business_id, f"pay.{business_id[-4:].lower()}x.example")
    return {"app_id": app.id, "domain_id": domain.id, "api_key_id": new_key(db, business_id, "A program")[0].id, "webhook_id": hook,
            "delivery_id": sent.id, "event_id": str(db.scalar(select(Event.id)))}


def _linked(shop: Shop) -> Visitor:
    """A browser with nothing but Acorn's own link for Ada."""
    with shop.app.app_context(), shop.house.database.open(system(shop.acorn), write=True) as db:
        _row, url = create_dynamic_link(db, shop.acorn, shop.ada_at_acorn.customer_id, actor=Actor("system"))
    one, path = Visitor(shop.app), url.removeprefix("http://localhost")
    one.get(path)
    one.submit(path.rsplit("/", 1)[-1][:10])
    return one


def routes(shop: Shop, values: dict[str, str]) -> Iterator[tuple[str, str, str, set[str]]]:
    """(endpoint, method, path, names of its arguments) of everything at the staff's door."""
    for rule in shop.app.url_map.iter_rules():
        if rule.endpoint.startswith("console."):
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda m: values[m[1]], rule.rule)
            for method in sorted(rule.methods & {"GET", "POST", "DELETE", "PUT", "PATCH"}):
                yield rule.endpoint.removeprefix("console."), method, path, set(rule.arguments)


def knock(who: Visitor, method: str, path: str, **form: str) -> Page:
    """One request, not followed; refusals look the same everywhere, so they are not read as pages each time."""
    sent = {} if method == "GET" else {"data": {"csrf_token": who.known, **form}}
    headers = {**who.headers, "Origin": "http://localhost"} | {name.title(): form[name] for name in ("referer",) if name in form}
    return Page(who.client.open(path, method=method, headers=headers, environ_base=who.environ, **sent))


def with_token(who: Visitor, path: str) -> Visitor:
    """Open a page that has a form, and keep its token."""
    who.get(path, expect=None)
    who.known = who.token()  # type: ignore[attr-defined]
    return who


def test_every_route_says_its_verb_and_stands_in_the_table(shop: Shop) -> None:
    functions = {name.removeprefix("console."): view for name, view in shop.app.view_functions.items() if name.startswith("console.")}
    said = {name: "lobby" if getattr(view, "_lobby", False) else getattr(view, "_needs", None) for name, view in functions.items()}
    assert said == VERB_OF
    assert {name for name, view in functions.items() if getattr(view, "_fresh", False)} == FRESH


def test_the_table_of_roles_is_whole() -> None:
    """Owners may everything, everybody else less; who may change may also look; a misspelt verb is an error, not a no."""
    assert all(may("owner", verb) for verb in VERBS) and set(ROUTES) - {"lobby"} <= set(VERBS)
    assert {role for verb in VERBS for role in VERBS[verb].split()} == set(ROLES)
    assert {verb for verb in VERBS if may("read_only", verb)} == {verb for verb in VERBS if verb.endswith(".read")} - {"developers.read"}
    for verb in VERBS:
        looks = f"{verb.split('.')[0]}.read"
        assert looks not in VERBS or all(may(role, looks) for role in ROLES if may(role, verb))
    with pytest.raises(KeyError):
        may("owner", "customers.raed")


@pytest.mark.parametrize("role", list(ROLES))
def test_every_route_by_every_role(shop: Shop, people: dict[str, Visitor], ids: dict[str, str], role: str) -> None:
    """Not enough of a role: 403 and a page that says so. Enough: every page opens. (What a form does is tested where its page is.)"""
    who, wrong = with_token(people[role], shop.at("/team")), []
    for endpoint, method, path, _names in routes(shop, ids):
        verb = VERB_OF[endpoint]
        if verb == "lobby":
            continue
        if may(role, verb):
            if method != "GET" or endpoint in ("export_file",):  # a file that nobody has written yet
                continue
            page = knock(who, "GET", path)
            if page.status not in (200, 303) or "/login" in page.location:
                wrong.append(f"{path} → {page.status} {page.location}")
        else:
            page = knock(who, method, path)
            if page.status != 403 or "role" not in page.text:
                wrong.append(f"{method} {path} → {page.status}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("who", "fine"), [("Ada", (404,)), ("anonymous", (303,)), ("link", (303,))])
def test_every_route_by_strangers(shop: Shop, people: dict[str, Visitor], ids: dict[str, str], who: str, fine: tuple[int, ...]) -> None:
    """Ada buys from Acorn and works nowhere. A merchant's link is no person: it leads to the sign-in page like nobody's browser."""
    one, wrong = with_token(people[who], "/profile" if who == "Ada" else "/login"), []
    for endpoint, method, path, _names in routes(shop, ids):
        if VERB_OF[endpoint] == "lobby" and who == "Ada":
            continue  # anybody signed in may come to the lobby
        page = knock(one, method, path)
        if page.status not in fine or (page.status == 303 and not page.location.startswith("/login")):
            wrong.append(f"{method} {path} → {page.status} {page.location}")
    assert not wrong, "\n".join(wrong)


def test_another_businesss_ids_do_not_exist(shop: Shop, ids: dict[str, str]) -> None:
    """Sam owns Acorn: in Acorn's URLs Birch's ids are nothing, and Birch's own URLs are nothing at all."""
    birch = _ids(shop, shop.birch, shop.ben, None)
    sam, wrong = with_token(shop.sam, shop.at("/team")), []
    for business_id in (shop.acorn, shop.birch):
        for endpoint, method, path, names in routes(shop, birch | {"business_id": business_id}):
            if "business_id" not in names or (business_id == shop.acorn and names == {"business_id"}):
                continue
            page = knock(sam, method, path, reason="A question", role="support", note="Settled at the provider")
            if page.status != 404 or b"Ben Hill" in page.body:
                wrong.append(f"{endpoint}: {method} {path} → {page.status}")
    assert not wrong, "\n".join(wrong)


def test_an_old_proof_asks_for_a_new_one_and_does_nothing(shop: Shop, ids: dict[str, str]) -> None:
    with shop.house.database.open(everything("an hour later"), write=True) as db:
        db.execute(update(BrowserSession).values(proved_at=clock.wall() - timedelta(minutes=31)))
    try:
        sam = with_token(shop.sam, shop.at("/team"))
        for endpoint, method, path, _names in routes(shop, ids):
            if endpoint in FRESH:
                page = knock(sam, method, path, role="support", email="new@acorn.example")
                assert page.status == 303 and page.location.startswith("/login?again=1&next=%2Fconsole"), path
        assert shop.row(Membership, Membership.business_id == shop.acorn, Membership.email == shop.SAM).role == "owner"
        page = knock(sam, "POST", shop.at("/team/invitations"), role="support", email="new@acorn.example",
                     referer=f"http://localhost{shop.at('/team')}")
        assert page.location.endswith(f"next=%2Fconsole%2F{shop.acorn}%2Fteam")  # back to the page with the form
        assert "new@acorn.example" not in sam.get(shop.at("/team")).text
    finally:
        with shop.house.database.open(everything("a fresh proof"), write=True) as db:
            db.execute(update(BrowserSession).values(proved_at=clock.wall()))


def test_sections_are_those_of_the_role(shop: Shop, people: dict[str, Visitor]) -> None:
    def seen(role: str) -> list[str]:
        page = people[role].get(shop.at("/team"))
        return [link.get_text() for link in page.soup.select("nav[aria-label=Console] a")]

    assert {"Customers", "Team", "Activity"} <= set(seen("read_only")) <= set(seen("support")) <= set(seen("owner"))
    page = people["read_only"].get(shop.at("/team"))
    assert "Invite somebody" not in page.text and not page.soup.select("main form")
    assert "New customer" not in people["developer"].get(shop.at("/sales/customers")).text


def test_somebody_of_two_businesses_chooses(shop: Shop) -> None:
    with shop.house.database.open(system(shop.birch), write=True) as db:
        joining.invite(db, shop.birch, shop.SAM, "read_only")
    page = shop.sam.get("/console")
    assert "Birch Hosting asks sam@acorn.example" in page.text
    shop.sam.submit("acceptance")
    names = [one.get_text() for one in shop.sam.get("/console").soup.select("main h3 a")]
    assert names == ["Acorn Notes", "Birch Hosting"]
    assert "Birch Hosting" in shop.sam.get(f"/console/{shop.birch}").text
    shop.sam.get(f"/console/{shop.birch}/sales/customers/new", expect=403)  # a role is a role at one business


def signed_in(shop: Shop, email: str, door: str = "/login") -> Visitor:
    """Once more, in another browser: the budget of letters begins anew, as if half a minute had passed."""
    with shop.house.database.open(everything("half a minute passes"), write=True) as db:
        db.execute(delete(Budget))
    one = Visitor(shop.app)
    one.sign_in(email, door=door)
    return one


# --- share invite


def test_a_dynamic_link_is_shown_once_opens_one_customer_once_and_can_be_taken_back(shop: Shop) -> None:
    sam, ada = shop.sam, shop.ada_at_acorn
    path = f"/sales/customers/{ada.customer_id}/invite"
    url = shop.at(path)
    page = sam.get(url)
    static = page.soup.select_one("#static-link")["value"]
    assert static == f"http://localhost/login/{shop.acorn}" and not page.soup.select_one("#dynamic-link")
    page = shop.save(path, how="show", return_url="javascript:alert(1)", expect=422)
    assert "https address" in page.text
    page = shop.save(path, how="show", return_url="https://app.acorn.example/account")
    link = page.soup.select_one("#dynamic-link")["value"]
    assert page.response.headers["Cache-Control"] == "no-store"
    assert link not in sam.get(url).body.decode()  # never again
    with shop.house.database.open(everything("what is kept of it")) as db:
        assert not [one for one in db.scalars(select(DynamicLink)) if link.rsplit("/", 1)[1] in one.token_hash]
    stranger = Visitor(shop.app)
    stranger.get(link)
    stranger.submit("/session/")
    page = stranger.get(f"/business/{shop.acorn}/")
    assert "Acorn Team" in page.text and "https://app.acorn.example/account" in page.body.decode()
    assert stranger.get("/", follow=False, expect=303).location.startswith("/login")
    again = Visitor(shop.app)
    again.get(link, expect=410)
    sam.get(url)
    page = shop.save(path, how="show")
    second = page.soup.select_one("#dynamic-link")["value"]
    sam.submit("/revocation")
    again.get(second, expect=410)
    rows = sam.get(url).text
    assert "taken back" in rows and "used " in rows and "sam@acorn.example" in rows


def test_an_invite_by_letter_and_the_static_link_let_the_customer_in(shop: Shop) -> None:
    path = f"/sales/customers/{shop.ada_at_acorn.customer_id}/invite"
    shop.sam.get(shop.at(path))
    shop.save(path, how="mail")
    letter = shop.sam.letters("ada@marlow.example")[-1]
    ada = Visitor(shop.app)
    ada.open_link(letter.text, "/session/")
    assert "Acorn Team" in ada.get(f"/business/{shop.acorn}/").text
    by_static = signed_in(shop, shop.ADA, door=f"/login/{shop.acorn}")
    assert "Acorn Team" in by_static.get(f"/business/{shop.acorn}/").text


# --- the team


def test_an_invitation_is_for_the_address_and_nobody_else(shop: Shop) -> None:
    sam = shop.sam
    sam.get(shop.at("/team"))
    page = shop.save("/team/invitations", email="pia@acorn.example", role="developer")
    assert "pia@acorn.example" in page.text
    letter = sam.letters("pia@acorn.example")[-1]
    assert "/console" in letter.text and "Developer" in letter.text and "sam@acorn.example" in letter.text
    with shop.house.database.open(everything("the invitation's id")) as db:
        one = db.scalar(select(joining.Invitation.id).where(joining.Invitation.email_key == "pia@acorn.example"))
    ada = signed_in(shop, shop.ADA)
    ada.get("/console")
    ada.post(f"/console/invitations/{one}/acceptance", expect=404)
    pia = Visitor(shop.app)
    pia.sign_in("pia@acorn.example")  # she bought nothing, and still gets a letter
    pia.get(shop.at("/team"), expect=404)
    assert "Acorn Notes asks pia@acorn.example" in pia.get("/console").text
    pia.submit("acceptance")
    pia.get(shop.at("/team"))
    pia.get("/console")
    pia.post(f"/console/invitations/{one}/acceptance", expect=404)  # used
    assert any("joined the team" in one.text for one in sam.letters("sam@acorn.example"))


def test_a_business_writes_to_so_many_strangers_a_day(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "PLANTED_A_DAY", 0)
    path = f"/sales/customers/{shop.ada_at_acorn.customer_id}/invite"
    shop.sam.get(shop.at("/team"))
    shop.save("/team/invitations", email="stranger@far.example", role="support")
    shop.sam.get(shop.at(path))
    before = len(shop.sam.letters(shop.ADA))
    shop.save(path, how="mail")
    assert not shop.sam.letters("stranger@far.example")
    assert len(shop.sam.letters(shop.ADA)) == before + 1, "who bought there is no stranger"


def test_a_role_changes_and_ends_with_the_next_click(shop: Shop) -> None:
    rob = shop.staff("rob@acorn.example", "support")
    rob.get(shop.at("/sales/customers/new"))
    row = shop.row(Membership, Membership.email == "rob@acorn.example")
    shop.sam.get(shop.at("/team"))
    shop.save(f"/team/{row.id}/role", role="read_only")
    rob.get(shop.at("/sales/customers/new"), expect=403)
    shop.sam.get(shop.at("/team"))
    shop.save(f"/team/{row.id}/removal")
    rob.get(shop.at("/team"), expect=404)
    assert "rob@acorn.example" not in shop.sam.get(shop.at("/team")).text
    assert "rob@acorn.example was removed" in shop.sam.get(shop.at("/activity?kind=business")).text  # history keeps the name


def test_links_of_somebody_who_left_open_nothing(shop: Shop) -> None:
    """They may have kept one for themselves; what went to the customer by letter stays good."""
    tess = shop.staff("tess@acorn.example", "support")
    url, outside, found = shop.at(f"/sales/customers/{shop.ada_at_acorn.customer_id}/invite"), Visitor(shop.app), []
    for _ in range(2):
        tess.get(url)
        found.append(tess.post(url, {"how": "show"}).soup.select_one("#dynamic-link")["value"])
    tess.post(url, {"how": "mail"})
    outside.get(found[0])
    outside.submit("/session/")
    row = shop.row(Membership, Membership.email == "tess@acorn.example")
    shop.sam.get(shop.at("/team"))
    shop.save(f"/team/{row.id}/removal")
    assert outside.get(f"/business/{shop.acorn}/", follow=False, expect=303).location.startswith(f"/login/{shop.acorn}")
    outside.get(found[1], expect=410)
    ada = Visitor(shop.app)
    ada.open_link(shop.sam.letters(shop.ADA)[-1].text, "/session/")
    assert "Acorn Team" in ada.get(f"/business/{shop.acorn}/").text


def test_the_last_owner_stays(shop: Shop) -> None:
    row = shop.row(Membership, Membership.business_id == shop.acorn, Membership.email == shop.SAM)
    shop.sam.get(shop.at("/team"))
    page = shop.save(f"/team/{row.id}/removal")
    assert "Somebody has to be the owner" in page.text
    page = shop.save(f"/team/{row.id}/role", role="support")
    assert "Somebody has to be the owner" in page.text and shop.row(Membership, Membership.id == row.id).role == "owner"


def test_a_person_begins_a_business_and_owns_it(shop: Shop) -> None:
    eve = signed_in(shop, shop.ADA)
    eve.get("/console/new")
    page = eve.submit("/console/new", expect=422)
    assert len(page.soup.select("p.err")) == 4
    page = eve.submit("/console/new", name="Larch Prints", currency="CHF", country="CH", zone="Europe/Zurich")
    assert page.h1 == "Customers" and "Larch Prints" in page.text and "No customer yet" in page.text
    made = shop.row(Business, Business.name == "Larch Prints")
    assert (made.currency, made.zone, made.address) == ("CHF", "Europe/Zurich", {"country": "CH"})
    assert made.support_email == "", "the owner's sign-in address is published where somebody types it, not before"
    assert shop.row(Membership, Membership.business_id == made.business_id).role == "owner"
    shop.sam.get(f"/console/{made.business_id}/team", expect=404)


def test_the_shell_names_an_owner(shop: Shop) -> None:
    import json

    done = shop.app.test_cli_runner().invoke(args=["business", "new", "--name", "Elm", "--currency", "EUR", "--owner", "eli@elm.example"])
    said = json.loads(done.output.splitlines()[-1])
    assert said["console"] == f"http://localhost/console/{said['business_id']}"
    eli = Visitor(shop.app)
    eli.sign_in("eli@elm.example")
    eli.get("/console")
    eli.submit("acceptance")
    assert "Invite somebody" in eli.get(f"/console/{said['business_id']}/team").text


# --- looking as the customer


def look(shop: Shop, who: Visitor, customer_id: str) -> str:
    """Begin a look. Returns the address of its door."""
    who.get(shop.at(f"/sales/customers/{customer_id}/view"))
    who.submit("/view", reason="short"[:3], expect=422)
    who.submit("/view", reason="You wrote that an invoice is missing.")
    return who.path


def test_staff_see_what_the_customer_sees_and_can_change_nothing(shop: Shop) -> None:
    helen, ada = shop.staff("helen@acorn.example", "support"), shop.ada_at_acorn
    door = look(shop, helen, ada.customer_id)
    key = shop.row(LicenseKey, LicenseKey.customer_id == ada.customer_id).key
    before = len(shop.rows(Event))
    shown = ["", "subscriptions", f"subscriptions/{ada.subscription_id}", "purchases", f"purchases/{ada.purchase_id}", "billing-history",
             "payment-methods", "license-keys", "profile", "activity"]
    for path in shown:
        page = helen.get(door + path)
        assert "You see what Ada Marlow sees." in page.text, path
        assert key not in page.body.decode() and "token=" not in page.body.decode().replace("csrf_token=", ""), path
        assert "helen@acorn.example" not in page.text and "Birch" not in page.text, path
        assert not [one["href"] for one in page.soup.select("main a[href^='/']") if not one["href"].startswith(door)], path
    assert masked(key) in helen.get(door + f"purchases/{ada.purchase_id}").text
    for path in ("search?q=team", *(f"subscriptions/{ada.subscription_id}/{act}" for act in ("cancellation", "payment-method"))):
        assert "only look" in helen.get(door + path, expect=403).text, path
    token = helen.token()
    for rule in shop.app.url_map.iter_rules():
        if rule.endpoint.startswith("view_as.") and rule.methods & {"POST", "DELETE"}:
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda m: getattr(ada, m[1], "x"), rule.rule.split("/view/<view_id>/")[1])
            answer = helen.client.post(door + path, data={"csrf_token": token}, headers={**helen.headers, "Origin": "http://localhost"})
            assert answer.status_code in (403, 405), path
    assert len(shop.rows(Event)) == before
    assert helen.get("/", expect=200).h1 and "Acorn Team" not in helen.get("/").text  # her own unified page is her own
    with pytest.raises(ScopeError), shop.app.test_request_context(method="POST"):
        from core.scope import customer_of
        from core.web import db, open_for_request

        open_for_request(customer_of(shop.acorn, ada.customer_id), reads_only=True)
        db().execute(update(Customer).values(name="Taken"))


def test_a_look_ends_is_nobody_elses_and_the_customer_reads_of_it(shop: Shop) -> None:
    nora = shop.staff("nora@acorn.example", "support")
    door = look(shop, nora, shop.ada_at_acorn.customer_id)
    shop.sam.get(door, expect=404)  # another member's look
    anonymous = Visitor(shop.app)
    assert anonymous.get(door, follow=False, expect=303).location.startswith("/login")
    elsewhere = signed_in(shop, "nora@acorn.example")
    elsewhere.get(door, expect=404)  # another browser
    with shop.house.database.open(everything("half an hour later"), write=True) as db:
        db.execute(update(CustomerView).values(expires_at=clock.wall() - timedelta(seconds=1)))
    nora.get(door, expect=404)
    door = look(shop, nora, shop.ada_at_acorn.customer_id)
    nora.get(door)
    nora.submit("/end")
    nora.get(door, expect=404)
    door = look(shop, nora, shop.ada_at_acorn.customer_id)
    with shop.house.database.open(everything("she left the team"), write=True) as db:
        db.execute(update(Membership).where(Membership.email == "nora@acorn.example").values(removed_at=clock.wall()))
    nora.get(door, expect=404)
    ada = signed_in(shop, shop.ADA)
    ada.get(door, expect=404)  # the customer herself has her own door
    for path in ("/activity", f"/business/{shop.acorn}/activity"):
        page = ada.get(path)
        assert "Reason: You wrote that an invoice is missing." in page.text and "nora@" not in page.text, path
    assert "Birch" in ada.get("/activity").text and "Birch" not in ada.get(f"/business/{shop.acorn}/activity").text


def test_every_event_of_a_business_has_words(shop: Shop) -> None:
    """An event that docs/events.md names and that concerns a business is told in a sentence, not by its type."""
    from pathlib import Path

    documented = dict(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|(.*)$", Path("docs/events.md").read_text(encoding="utf-8"), re.MULTILINE))
    inner = {one for one in documented if one.startswith(("auth.", "gateway.", "person."))} | UNTOLD
    assert len(documented) > 80 and sorted(set(documented) - inner - set(SENTENCES)) == []
    assert sorted(set(SENTENCES) - set(documented)) == [] and set(SENTENCES) > STAFF_ONLY
    said = {type: set(re.findall(r"%\((\w+)\)s", str(words))) - {"amount", "card", "day"} for type, words in SENTENCES.items()}
    assert {type: names for type, names in said.items() if not all(f"`{name}`" in documented[type] for name in names)} == {}


def test_a_secondary_address_opens_what_it_was_invited_to_and_no_more(shop: Shop) -> None:
    """The weakest mailbox of a person is not the way to everything they work on (safety 2.2)."""
    from auth.sessions import Visit
    from tenants.team import memberships

    at = clock.wall()
    with shop.house.database.open(everything("one person with two addresses"), write=True) as db:
        db.add(Membership(business_id=shop.birch, id="mem_kim", identity_id="idn_kim", email="kim@a.example", email_key="kim@a.example",
                          role="owner", created_at=at))
        db.add(Membership(business_id=shop.acorn, id="mem_kim", identity_id="idn_kim", email="kim@b.example", email_key="kim@b.example",
                          role="support", created_at=at))
    emails = (("kim@a.example", "kim@a.example", True), ("kim@b.example", "kim@b.example", False))

    def works_at(*proved: str, identity: str | None = "idn_kim") -> set[str]:
        visit = Visit("ses_kim", identity, at, at, addresses=proved, emails=emails)
        return {one.business_id for one in memberships(shop.house.database, visit)}

    assert works_at("kim@a.example", "kim@b.example") == {shop.acorn, shop.birch}
    assert works_at("kim@b.example") == {shop.acorn} and works_at() == set() and works_at("kim@a.example", identity=None) == set()
