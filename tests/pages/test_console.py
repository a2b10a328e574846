"""Access to the console: every route for every role and for others; invitations, the team, and impersonation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from auth import rate_limits
from auth.domains import verification
from auth.models import BrowserSession, DynamicLink, RateLimitCount
from auth.oidc_server import apps
from auth.oidc_server.apps import AppForm
from auth.portal_links import create_dynamic_link
from billing.catalogue.addons import create_addon
from billing.customers import tax_settings
from billing.model.catalogue import Collection, CollectionGroup
from billing.model.licenses import LicenseKey
from billing.model.parties import Business, Customer
from billing.model.payment_accounts import sandbox_account_id
from billing.plan_changes.quote import quote
from core import clock
from core.db import ScopedSession
from core.errors import ScopeError
from core.outbox import Event
from core.recurring_jobs import JobFailure
from core.scope import Actor, everything, system
from portal.event_sentences import HIDDEN_EVENTS, SENTENCES, STAFF_ONLY
from portal.license_keys import mask_key
from tenants import exports, impersonation
from tenants import memberships as team_memberships
from tenants.api_keys import new_key
from tenants.impersonation import ImpersonationSession
from tenants.roles import ROLES, VERBS, may
from tenants.team import Membership
from tenants.webhooks import endpoints, history
from tests.house.test_route_access import dispute_of, price_change_of, request_of, statement_of
from tests.pages.console_setup import Site
from tests.visitor import Page, Visitor

ROUTES = {
    "outside_business": "businesses accept_invitation new_business begin_business",
    "customers.read": "home customers customer",
    "customers.write": "block_customer unblock_customer new_customer add_customer customer_details change_customer",
    "customers.invite": "share invite_customer make_invite revoke_invite",
    "customers.export": "request_export export export_file",
    "impersonate": "impersonate start_impersonation end_impersonation",
    "subscriptions.read": "subscriptions subscription failing statements statement",
    "subscriptions.change": "pause_for resume_for staff_plan_change quote_plan_change staff_slip confirm_for keep_plan_for"
    " retry_failing collect_here",
    "subscriptions.cancel": "cancellation cancel keep close_copy carry_out_statement answer_statement",
    "money.read": "payments payment refunds reconciliation disputes dispute refund_requests refund_request",
    "money.refund": "refund make_refund check_exception close_exception carry_out_withdrawal settle_statement write_refund_request"
    " decline_refund_request",
    "products.read": "price_changes products product addon collections collection",
    "products.write": "order_price_change stop_price_change new_product create_product edit_product archive_product unarchive_product"
    " new_addon create_addon edit_addon"
    " archive_addon unarchive_addon new_collection create_collection edit_collection archive_collection unarchive_collection"
    " add_to_collection move_in_collection offer_in_collection remove_from_collection add_group rename_group"
    " move_group offer_group remove_group",
    "settings.read": "settings details languages languages_preview brand brand_preview brand_contrast domains taxes payment_accounts"
    " payment_account payment_account_test legal_pages refund_settings",
    "settings.write": "change_settings change_refund_settings change_details change_languages closing close_business change_taxes"
    " choose_tax_calculator"
    " new_tax_registration add_tax_registration tax_registration change_tax_registration remove_tax_registration new_tax_rate add_tax_rate"
    " tax_rate change_tax_rate remove_tax_rate new_payment_account connect_payment_account store_payment_webhook_secret"
    " make_default_payment_account stop_charges resume_charges close_payment_account payment_account_key replace_payment_account_key"
    " request_payment_account_test set_default_currencies payment_method_moves upload_payment_method_moves"
    " confirm_payment_method_moves discard_payment_method_moves change_legal_pages",
    "brand.write": "change_brand change_logo remove_logo",
    "developers.read": "keys webhooks webhook deliveries delivery events event provider apps one_app external_billing",
    "developers.keys": "new_key create_key revoke_key customer_api_origins save_customer_api_origins",
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
FRESH = set(
    "choose_tax_calculator carry_out_withdrawal close_business close_exception closing make_refund refund"
    " change_role invite remove_member revoke_invitation"
    " new_key create_key revoke_key customer_api_origins save_customer_api_origins"
    " new_webhook create_webhook edit_webhook switch_webhook show_secret remove_webhook"
    " save_provider test_provider switch_provider remove_provider new_app create_app change_app renew_app_secret"
    " remove_app add_domain check_domain remove_domain new_payment_account connect_payment_account store_payment_webhook_secret"
    " make_default_payment_account stop_charges resume_charges close_payment_account payment_account_key replace_payment_account_key"
    " request_payment_account_test set_default_currencies payment_method_moves upload_payment_method_moves"
    " confirm_payment_method_moves discard_payment_method_moves".split()
)
NOT_YET = {"export_file", "payment_account_key", "payment_account_test", "payment_method_moves"}
"""Pages of what does not exist here: a written file, the key and the test of a sandbox account, and methods of an account that is open."""
VERB_OF = {endpoint: verb for verb, endpoints in ROUTES.items() for endpoint in endpoints.split()}


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    urls, drop = request.getfixturevalue("sqlite").fresh()
    item = Site.open(urls, tmp_path_factory.mktemp("console"))
    item.app.extensions["domains"].resolve = lambda _name: []  # no test uses public DNS
    yield item
    item.services.database.dispose()
    drop()


@pytest.fixture(scope="module")
def people(site: Site) -> dict[str, Visitor]:
    found = {role: site.staff(f"{role.replace('_', '.')}@acorn.example", role) for role in ROLES if role != "owner"}
    return found | {"owner": site.sam, "Ada": site.customer(site.ADA), "anonymous": Visitor(site.app), "link": _linked(site)}


@pytest.fixture(scope="module")
def ids(site: Site) -> dict[str, str]:
    return _ids(site, site.acorn, site.ada_at_acorn, site.sam)


def _ids(site: Site, business_id: str, buyer: Any, member: Visitor | None) -> dict[str, str]:
    """Return a real row of this business for every argument of a console route."""
    services, name = site.services, "acorn" if business_id == site.acorn else "birch"
    with site.app.app_context(), services.database.open(system(business_id), write=True) as db:
        membership = db.scalar(select(Membership.id))
        if membership is None:
            with_identity = {"email": "sue@birch.example", "email_key": "sue@birch.example", "role": "owner"}
            row = Membership(business_id=business_id, id="mem_birch", identity_id="idn_sue", created_at=clock.wall(), **with_identity)
            db.add(row)
            db.flush()
            membership = row.id
        link, _url = create_dynamic_link(db, business_id, buyer.customer_id, actor=Actor("system"))
        item = team_memberships.invite(db, business_id, f"pat@{name}.example", "support")
        job = exports.request_export(db, business_id, "", by=membership)
        look = impersonation.begin(db, buyer.customer_id, "A question about an invoice", membership_id=membership, session_id="ses_other")
        return {
            "business_id": business_id,
            "customer_id": buyer.customer_id,
            "subscription_id": buyer.subscription_id,
            "payment_id": buyer.payment_id,
            "dispute_id": dispute_of(db, buyer),
            "statement_id": statement_of(db, business_id),
            "request_id": request_of(db, buyer),
            "product_id": site.products[f"{name}.plan"],
            "membership_id": membership,
            "invitation_id": item.id,
            "link_id": link.id,
            "export_id": job.id,
            "quote_id": quote(db, buyer.subscription_id, site.products[f"{name}.more"], customer=False).id,
            "view_id": look.id,
            "exception_id": buyer.payment_id,
            "failure_id": _failure(db, business_id, buyer.subscription_id),
            "collection_id": str(db.scalar(select(Collection.id))),
            "item_id": site.products[f"{name}.plan"],
            "group_id": str(db.scalar(select(CollectionGroup.id))),
            "addon_id": create_addon(db, business_id, name="More room", currency="EUR", price=500).id,
            "price_change_id": price_change_of(db, site.products[f"{name}.plan"]),
            **_technical(site, db, business_id),
        }


def _failure(db: ScopedSession, business_id: str, item: str) -> str:
    at = clock.wall()
    row = JobFailure(
        business_id=business_id,
        id=f"renewals:{item}",
        job="renewals",
        row_id=item,
        failures=1,
        error="RuntimeError: a test",
        began_at=at,
        failed_at=at,
        retry_at=at + timedelta(days=1),
    )
    db.add(row)
    return row.id


def _technical(site: Site, db: ScopedSession, business_id: str) -> dict[str, str]:
    """Create an API key, a webhook with a delivery, an event, an app, and a domain."""
    hook = endpoints.create(db, site.services.outgoing, business_id, "https://hooks.example/events").id
    sent = history.send_test(db, hook, "payment.succeeded")
    app, _secret = apps.add(
        db, site.services.settings, site.services.outgoing, business_id, AppForm("An app", "https://app.example/back", "", ""), public=True
    )
    domain = verification.add(db, site.services.settings, business_id, f"pay.{business_id[-4:].lower()}x.example")
    return {
        "app_id": app.id,
        "domain_id": domain.id,
        "account_id": sandbox_account_id(business_id),
        "registration_id": tax_settings.save_registration(db, {"country": "NO"})["id"],
        "rate_id": tax_settings.save_rate(db, {"country": "NO", "bps": 2500})["id"],
        "api_key_id": new_key(db, business_id, "A program")[0].id,
        "webhook_id": hook,
        "delivery_id": sent.id,
        "event_id": str(db.scalar(select(Event.id))),
    }


def _linked(site: Site) -> Visitor:
    """A browser with only Acorn's link for Ada."""
    with site.app.app_context(), site.services.database.open(system(site.acorn), write=True) as db:
        _row, url = create_dynamic_link(db, site.acorn, site.ada_at_acorn.customer_id, actor=Actor("system"))
    item, path = Visitor(site.app), url.removeprefix("http://localhost")
    item.get(path)
    item.submit(path.rsplit("/", 1)[-1][:10])
    return item


def routes(site: Site, values: dict[str, str]) -> Iterator[tuple[str, str, str, set[str]]]:
    """Yield (endpoint, method, path, argument names) of every console route."""
    for rule in site.app.url_map.iter_rules():
        if rule.endpoint.startswith("console."):
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda m: values[m[1]], rule.rule)
            for method in sorted(rule.methods & {"GET", "POST", "DELETE", "PUT", "PATCH"}):
                yield rule.endpoint.removeprefix("console."), method, path, set(rule.arguments)


def request_route(who: Visitor, method: str, path: str, **form: str) -> Page:
    """Send one request without following redirects. The result is not linted, because refusals look the same everywhere."""
    sent = {} if method == "GET" else {"data": {"csrf_token": who.known, **form}}
    headers = {**who.headers, "Origin": "http://localhost"} | {name.title(): form[name] for name in ("referer",) if name in form}
    return Page(who.client.open(path, method=method, headers=headers, environ_base=who.environ, **sent))


def with_token(who: Visitor, path: str) -> Visitor:
    """Open a page with a form and keep its CSRF token."""
    who.get(path, expect=None)
    who.known = who.token()  # type: ignore[attr-defined]
    return who


def test_every_route_names_its_permission_and_is_in_the_table(site: Site) -> None:
    functions = {name.removeprefix("console."): view for name, view in site.app.view_functions.items() if name.startswith("console.")}
    said = {
        name: "outside_business" if getattr(view, "_outside_business", False) else getattr(view, "_needs", None)
        for name, view in functions.items()
    }
    assert said == VERB_OF
    assert {name for name, view in functions.items() if getattr(view, "_fresh", False)} == FRESH


def test_the_table_of_roles_is_complete() -> None:
    """Owners may do everything and others less. A role that may change may also read. An unknown permission is an error."""
    assert all(may("owner", verb) for verb in VERBS) and set(ROUTES) - {"outside_business"} <= set(VERBS)
    assert {role for verb in VERBS for role in VERBS[verb].split()} == set(ROLES)
    assert {verb for verb in VERBS if may("read_only", verb)} == {verb for verb in VERBS if verb.endswith(".read")} - {"developers.read"}
    for verb in VERBS:
        looks = f"{verb.split('.')[0]}.read"
        assert looks not in VERBS or all(may(role, looks) for role in ROLES if may(role, verb))
    with pytest.raises(KeyError):
        may("owner", "customers.raed")


@pytest.mark.parametrize("role", list(ROLES))
def test_every_route_answers_each_role_by_the_table(site: Site, people: dict[str, Visitor], ids: dict[str, str], role: str) -> None:
    """A role without permission gets a 403 page. With permission every page opens. (Forms are tested with their pages.)"""
    who, wrong = with_token(people[role], site.at("/team")), []
    for endpoint, method, path, _names in routes(site, ids):
        verb = VERB_OF[endpoint]
        if verb == "outside_business":
            continue
        if may(role, verb):
            if method != "GET" or endpoint in NOT_YET:
                continue
            page = request_route(who, "GET", path)
            if page.status not in (200, 303) or "/login" in page.location:
                wrong.append(f"{path} → {page.status} {page.location}")
        else:
            page = request_route(who, method, path)
            if page.status != 403 or "role" not in page.text:
                wrong.append(f"{method} {path} → {page.status}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("who", "fine"), [("Ada", (404,)), ("anonymous", (303,)), ("link", (303,))])
def test_every_route_is_closed_to_strangers(
    site: Site, people: dict[str, Visitor], ids: dict[str, str], who: str, fine: tuple[int, ...]
) -> None:
    """Ada is a customer without memberships. A portal link identifies nobody, so it leads to the sign-in page."""
    item, wrong = with_token(people[who], "/profile" if who == "Ada" else "/login"), []
    for endpoint, method, path, _names in routes(site, ids):
        if VERB_OF[endpoint] == "outside_business" and who == "Ada":
            continue  # anybody signed in may open these pages
        page = request_route(item, method, path)
        if page.status not in fine or (page.status == 303 and not page.location.startswith("/login")):
            wrong.append(f"{method} {path} → {page.status} {page.location}")
    assert not wrong, "\n".join(wrong)


def test_another_businesss_ids_do_not_exist(site: Site, ids: dict[str, str]) -> None:
    """Sam owns Acorn. Birch's ids are not found in Acorn's URLs, and Birch's URLs are not found at all."""
    birch = _ids(site, site.birch, site.ben, None)
    sam, wrong = with_token(site.sam, site.at("/team")), []
    for business_id in (site.acorn, site.birch):
        for endpoint, method, path, names in routes(site, birch | {"business_id": business_id}):
            if "business_id" not in names or (business_id == site.acorn and names == {"business_id"}):
                continue
            page = request_route(sam, method, path, reason="A question", role="support", note="Settled at the provider")
            if page.status != 404 or b"Ben Hill" in page.body:
                wrong.append(f"{endpoint}: {method} {path} → {page.status}")
    assert not wrong, "\n".join(wrong)


def test_an_old_sign_in_is_asked_to_confirm_first(site: Site, ids: dict[str, str]) -> None:
    with site.services.database.open(everything("an hour later"), write=True) as db:
        db.execute(update(BrowserSession).values(proved_at=clock.wall() - timedelta(minutes=31)))
    try:
        sam = with_token(site.sam, site.at("/team"))
        for endpoint, method, path, _names in routes(site, ids):
            if endpoint in FRESH:
                page = request_route(sam, method, path, role="support", email="new@acorn.example")
                assert page.status == 303 and page.location.startswith("/login?again=1&next=%2Fconsole"), path
        assert site.row(Membership, Membership.business_id == site.acorn, Membership.email == site.SAM).role == "owner"
        page = request_route(
            sam,
            "POST",
            site.at("/team/invitations"),
            role="support",
            email="new@acorn.example",
            referer=f"http://localhost{site.at('/team')}",
        )
        assert page.location.endswith(f"next=%2Fconsole%2F{site.acorn}%2Fteam")  # back to the page with the form
        assert "new@acorn.example" not in sam.get(site.at("/team")).text
    finally:
        with site.services.database.open(everything("a fresh proof"), write=True) as db:
            db.execute(update(BrowserSession).values(proved_at=clock.wall()))


def test_sections_are_those_of_the_role(site: Site, people: dict[str, Visitor]) -> None:
    def seen(role: str) -> list[str]:
        page = people[role].get(site.at("/team"))
        return [link.get_text() for link in page.soup.select("nav[aria-label=Console] a")]

    assert {"Customers", "Team", "Activity"} <= set(seen("read_only")) <= set(seen("support")) <= set(seen("owner"))
    page = people["read_only"].get(site.at("/team"))
    assert "Invite a person" not in page.text and not page.soup.select("main form")
    assert "New customer" not in people["developer"].get(site.at("/sales/customers")).text


def test_a_member_of_two_businesses_chooses_one(site: Site) -> None:
    with site.services.database.open(system(site.birch), write=True) as db:
        team_memberships.invite(db, site.birch, site.SAM, "read_only")
    page = site.sam.get("/console")
    assert "Birch Hosting invites sam@acorn.example" in page.text
    site.sam.submit("acceptance")
    names = [row.get_text() for row in site.sam.get("/console").soup.select("main h3 a")]
    assert names == ["Acorn Notes", "Birch Hosting"]
    assert "Birch Hosting" in site.sam.get(f"/console/{site.birch}").text
    site.sam.get(f"/console/{site.birch}/sales/customers/new", expect=403)  # a role applies to one business


def signed_in(site: Site, email: str, door: str = "/login") -> Visitor:
    """Sign in again in another browser, with reset limits of sign-in emails."""
    with site.services.database.open(everything("half a minute passes"), write=True) as db:
        db.execute(delete(RateLimitCount))
    visitor = Visitor(site.app)
    visitor.sign_in(email, door=door)
    return visitor


# --- share invite


def test_a_dynamic_link_is_shown_once_works_once_and_can_be_revoked(site: Site) -> None:
    sam, ada = site.sam, site.ada_at_acorn
    path = f"/sales/customers/{ada.customer_id}/invite"
    url = site.at(path)
    page = sam.get(url)
    static = page.soup.select_one("#static-link")["value"]
    assert static == f"http://localhost/login/{site.acorn}" and not page.soup.select_one("#dynamic-link")
    page = site.save(path, how="show", return_url="javascript:alert(1)", expect=422)
    assert "This must be an https URL." in page.text
    page = site.save(path, how="show", return_url="https://app.acorn.example/account")
    link = page.soup.select_one("#dynamic-link")["value"]
    assert page.response.headers["Cache-Control"] == "no-store"
    assert link not in sam.get(url).body.decode()  # never again
    with site.services.database.open(everything("what is kept of it")) as db:
        assert not [dynamic_link for dynamic_link in db.scalars(select(DynamicLink)) if link.rsplit("/", 1)[1] in dynamic_link.token_hash]
    stranger = Visitor(site.app)
    stranger.get(link)
    stranger.submit("/session/")
    page = stranger.get(f"/business/{site.acorn}/")
    assert "Acorn Team" in page.text and "https://app.acorn.example/account" in page.body.decode()
    assert stranger.get("/", follow=False, expect=303).location.startswith("/login")
    again = Visitor(site.app)
    again.get(link, expect=410)
    sam.get(url)
    page = site.save(path, how="show")
    second = page.soup.select_one("#dynamic-link")["value"]
    sam.submit("/revocation")
    again.get(second, expect=410)
    rows = sam.get(url).text
    assert "revoked" in rows and "used " in rows and "sam@acorn.example" in rows


def test_an_emailed_invitation_and_the_static_link_open_the_portal(site: Site) -> None:
    path = f"/sales/customers/{site.ada_at_acorn.customer_id}/invite"
    site.sam.get(site.at(path))
    site.save(path, how="mail")
    message = site.sam.emails("ada@marlow.example")[-1]
    ada = Visitor(site.app)
    ada.open_link(message.text, "/session/")
    assert "Acorn Team" in ada.get(f"/business/{site.acorn}/").text
    by_static = signed_in(site, site.ADA, door=f"/login/{site.acorn}")
    assert "Acorn Team" in by_static.get(f"/business/{site.acorn}/").text


# --- the team


def test_a_team_invitation_works_for_its_address_only(site: Site) -> None:
    sam = site.sam
    sam.get(site.at("/team"))
    page = site.save("/team/invitations", email="pia@acorn.example", role="developer")
    assert "pia@acorn.example" in page.text
    message = sam.emails("pia@acorn.example")[-1]
    assert "/console" in message.text and "Developer" in message.text and "sam@acorn.example" in message.text
    with site.services.database.open(everything("the invitation's id")) as db:
        row = db.scalar(select(team_memberships.Invitation.id).where(team_memberships.Invitation.email_key == "pia@acorn.example"))
    ada = signed_in(site, site.ADA)
    ada.get("/console")
    ada.post(f"/console/invitations/{row}/acceptance", expect=404)
    pia = Visitor(site.app)
    pia.sign_in("pia@acorn.example")  # she bought nothing, and still gets an email
    pia.get(site.at("/team"), expect=404)
    assert "Acorn Notes invites pia@acorn.example" in pia.get("/console").text
    pia.submit("acceptance")
    pia.get(site.at("/team"))
    pia.get("/console")
    pia.post(f"/console/invitations/{row}/acceptance", expect=404)  # used
    assert any("joined the team" in item.text for item in sam.emails("sam@acorn.example"))


def test_invitations_per_business_and_day_are_limited(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "ACCEPTANCE_EMAILS_A_DAY", 0)
    path = f"/sales/customers/{site.ada_at_acorn.customer_id}/invite"
    site.sam.get(site.at("/team"))
    site.save("/team/invitations", email="stranger@far.example", role="support")
    site.sam.get(site.at(path))
    before = len(site.sam.emails(site.ADA))
    site.save(path, how="mail")
    assert not site.sam.emails("stranger@far.example")
    assert len(site.sam.emails(site.ADA)) == before + 1, "who bought there is no stranger"


def test_role_changes_apply_to_the_next_request(site: Site) -> None:
    rob = site.staff("rob@acorn.example", "support")
    rob.get(site.at("/sales/customers/new"))
    row = site.row(Membership, Membership.email == "rob@acorn.example")
    site.sam.get(site.at("/team"))
    site.save(f"/team/{row.id}/role", role="read_only")
    rob.get(site.at("/sales/customers/new"), expect=403)
    site.sam.get(site.at("/team"))
    site.save(f"/team/{row.id}/removal")
    rob.get(site.at("/team"), expect=404)
    assert "rob@acorn.example" not in site.sam.get(site.at("/team")).text
    assert "rob@acorn.example was removed" in site.sam.get(site.at("/activity?kind=business")).text  # history keeps the name


def test_links_of_a_former_member_are_revoked(site: Site) -> None:
    """A former member may have kept a link. Links emailed to the customer stay valid."""
    tess = site.staff("tess@acorn.example", "support")
    url, outside, found = site.at(f"/sales/customers/{site.ada_at_acorn.customer_id}/invite"), Visitor(site.app), []
    for _ in range(2):
        tess.get(url)
        found.append(tess.post(url, {"how": "show"}).soup.select_one("#dynamic-link")["value"])
    tess.post(url, {"how": "mail"})
    outside.get(found[0])
    outside.submit("/session/")
    row = site.row(Membership, Membership.email == "tess@acorn.example")
    site.sam.get(site.at("/team"))
    site.save(f"/team/{row.id}/removal")
    assert outside.get(f"/business/{site.acorn}/", follow=False, expect=303).location.startswith(f"/login/{site.acorn}")
    outside.get(found[1], expect=410)
    ada = Visitor(site.app)
    ada.open_link(site.sam.emails(site.ADA)[-1].text, "/session/")
    assert "Acorn Team" in ada.get(f"/business/{site.acorn}/").text


def test_the_last_owner_cannot_be_removed(site: Site) -> None:
    row = site.row(Membership, Membership.business_id == site.acorn, Membership.email == site.SAM)
    site.sam.get(site.at("/team"))
    page = site.save(f"/team/{row.id}/removal")
    assert "A business needs an owner." in page.text
    page = site.save(f"/team/{row.id}/role", role="support")
    assert "A business needs an owner." in page.text and site.row(Membership, Membership.id == row.id).role == "owner"


def test_a_person_creates_a_business_and_owns_it(site: Site) -> None:
    eve = signed_in(site, site.ADA)
    eve.get("/console/new")
    page = eve.submit("/console/new", expect=422)
    assert len(page.soup.select("p.err")) == 4
    page = eve.submit("/console/new", name="Larch Prints", currency="CHF", country="CH", zone="Europe/Zurich")
    assert page.h1 == "Home" and "Set up Larch Prints" in page.text and "No payments yet" in page.text
    made = site.row(Business, Business.name == "Larch Prints")
    assert (made.currency, made.zone, made.address) == ("CHF", "Europe/Zurich", {"country": "CH"})
    assert made.support_email == "", "the owner's sign-in address is published where somebody types it, not before"
    assert site.row(Membership, Membership.business_id == made.business_id).role == "owner"
    site.sam.get(f"/console/{made.business_id}/team", expect=404)


def test_a_command_names_an_owner(site: Site) -> None:
    import json

    done = site.app.test_cli_runner().invoke(args=["business", "new", "--name", "Elm", "--currency", "EUR", "--owner", "eli@elm.example"])
    said = json.loads(done.output.splitlines()[-1])
    assert said["console"] == f"http://localhost/console/{said['business_id']}"
    eli = Visitor(site.app)
    eli.sign_in("eli@elm.example")
    eli.get("/console")
    eli.submit("acceptance")
    assert "Invite a person" in eli.get(f"/console/{said['business_id']}/team").text


# --- impersonation


def look(site: Site, who: Visitor, customer_id: str) -> str:
    """Start an impersonation session. Returns its URL."""
    who.get(site.at(f"/sales/customers/{customer_id}/view"))
    who.submit("/view", reason="short"[:3], expect=422)
    who.submit("/view", reason="You wrote that an invoice is missing.")
    return who.path


def test_impersonation_shows_the_customers_pages_read_only(site: Site) -> None:
    helen, ada = site.staff("helen@acorn.example", "support"), site.ada_at_acorn
    door = look(site, helen, ada.customer_id)
    key = site.row(LicenseKey, LicenseKey.customer_id == ada.customer_id).key
    before = len(site.rows(Event))
    shown = [
        "",
        "subscriptions",
        f"subscriptions/{ada.subscription_id}",
        "purchases",
        f"purchases/{ada.purchase_id}",
        "billing-history",
        "payment-methods",
        "license-keys",
        "profile",
        "activity",
    ]
    for path in shown:
        page = helen.get(door + path)
        assert "You’re viewing the portal as Ada Marlow." in page.text, path
        assert key not in page.body.decode() and "token=" not in page.body.decode().replace("csrf_token=", ""), path
        assert "helen@acorn.example" not in page.text and "Birch" not in page.text, path
        assert not [entry["href"] for entry in page.soup.select("main a[href^='/']") if not entry["href"].startswith(door)], path
    assert mask_key(key) in helen.get(door + f"purchases/{ada.purchase_id}").text
    for path in ("search?q=team", *(f"subscriptions/{ada.subscription_id}/{act}" for act in ("cancellation", "payment-method"))):
        assert "You are viewing as a customer" in helen.get(door + path, expect=403).text, path
    token = helen.token()
    for rule in site.app.url_map.iter_rules():
        if rule.endpoint.startswith("impersonation.") and rule.methods & {"POST", "DELETE"}:
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda m: getattr(ada, m[1], "x"), rule.rule.split("/view/<view_id>/")[1])
            answer = helen.client.post(door + path, data={"csrf_token": token}, headers={**helen.headers, "Origin": "http://localhost"})
            assert answer.status_code in (403, 405), path
    assert len(site.rows(Event)) == before
    assert helen.get("/", expect=200).h1 and "Acorn Team" not in helen.get("/").text  # her own unified page is her own
    with pytest.raises(ScopeError), site.app.test_request_context(method="POST"):
        from core.request_context import db, open_for_request
        from core.scope import customer_of

        open_for_request(customer_of(site.acorn, ada.customer_id), reads_only=True)
        db().execute(update(Customer).values(name="Taken"))


def test_impersonation_ends_is_bound_to_its_member_and_is_disclosed(site: Site) -> None:
    nora = site.staff("nora@acorn.example", "support")
    door = look(site, nora, site.ada_at_acorn.customer_id)
    site.sam.get(door, expect=404)  # another member's session
    anonymous = Visitor(site.app)
    assert anonymous.get(door, follow=False, expect=303).location.startswith("/login")
    outside = signed_in(site, "nora@acorn.example")
    outside.get(door, expect=404)  # another browser
    with site.services.database.open(everything("half an hour later"), write=True) as db:
        db.execute(update(ImpersonationSession).values(expires_at=clock.wall() - timedelta(seconds=1)))
    nora.get(door, expect=404)
    door = look(site, nora, site.ada_at_acorn.customer_id)
    nora.get(door)
    nora.submit("/end")
    nora.get(door, expect=404)
    door = look(site, nora, site.ada_at_acorn.customer_id)
    with site.services.database.open(everything("she left the team"), write=True) as db:
        db.execute(update(Membership).where(Membership.email == "nora@acorn.example").values(removed_at=clock.wall()))
    nora.get(door, expect=404)
    ada = signed_in(site, site.ADA)
    ada.get(door, expect=404)  # the customer uses her own portal
    for path in ("/activity", f"/business/{site.acorn}/activity"):
        page = ada.get(path)
        assert "Reason: You wrote that an invoice is missing." in page.text and "nora@" not in page.text, path
    assert "Birch" in ada.get("/activity").text and "Birch" not in ada.get(f"/business/{site.acorn}/activity").text


def test_every_event_has_a_sentence(site: Site) -> None:
    """Every event in docs/events.md that concerns a business is shown as a sentence, not by its type."""
    from pathlib import Path

    documented = dict(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|(.*)$", Path("docs/events.md").read_text(encoding="utf-8"), re.MULTILINE))
    inner = {item for item in documented if item.startswith(("auth.", "gateway.", "person."))} | HIDDEN_EVENTS
    assert len(documented) > 80 and sorted(set(documented) - inner - set(SENTENCES)) == []
    assert sorted(set(SENTENCES) - set(documented)) == [] and set(SENTENCES) > STAFF_ONLY
    said = {type: set(re.findall(r"%\((\w+)\)s", str(words))) - {"amount", "card", "day"} for type, words in SENTENCES.items()}
    assert {type: names for type, names in said.items() if not all(f"`{name}`" in documented[type] for name in names)} == {}


def test_a_secondary_address_opens_only_its_own_memberships(site: Site) -> None:
    """A secondary mailbox gives no access to the person's other memberships (safety 2.2)."""
    from auth.sessions import Visit
    from tenants.team import memberships

    at = clock.wall()
    with site.services.database.open(everything("one person with two addresses"), write=True) as db:
        db.add(
            Membership(
                business_id=site.birch,
                id="mem_kim",
                identity_id="idn_kim",
                email="kim@a.example",
                email_key="kim@a.example",
                role="owner",
                created_at=at,
            )
        )
        db.add(
            Membership(
                business_id=site.acorn,
                id="mem_kim",
                identity_id="idn_kim",
                email="kim@b.example",
                email_key="kim@b.example",
                role="support",
                created_at=at,
            )
        )
    emails = (("kim@a.example", "kim@a.example", True), ("kim@b.example", "kim@b.example", False))

    def works_at(*proved: str, identity: str | None = "idn_kim") -> set[str]:
        visit = Visit("ses_kim", identity, at, at, addresses=proved, emails=emails)
        return {membership.business_id for membership in memberships(site.services.database, visit)}

    assert works_at("kim@a.example", "kim@b.example") == {site.acorn, site.birch}
    assert works_at("kim@b.example") == {site.acorn} and works_at() == set() and works_at("kim@a.example", identity=None) == set()
