"""The merchant console: sales, catalog, settings, developers, team and activity. Each module adds its pages to `access.bp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenants.console import (
    activity,
    addons,
    api_keys,
    apps,
    blocking,
    brand,
    businesses,
    collection_groups,
    collections,
    create_business,
    customers,
    deliveries,
    disputes,
    domains,
    events,
    exports,
    external_billing,
    failed_jobs,
    home,
    identity_provider,
    impersonation,
    languages,
    legal_pages,
    payment_account_keys,
    payment_account_test,
    payment_accounts,
    payment_method_moves,
    payments,
    portal_links,
    price_changes,
    products,
    reconciliation,
    refund_policy,
    refund_requests,
    refunds,
    settings,
    staff_changes,
    statements,
    subscriptions,
    taxes,
    team,
    webhooks,
    withdrawals,
)
from tenants.console.access import bp

if TYPE_CHECKING:
    from flask import Flask

    from core.services import Services

__all__ = [
    "activity", "addons", "api_keys", "apps", "blocking", "bp", "brand", "businesses", "collection_groups", "collections",
    "create_business", "customers", "deliveries", "disputes", "domains", "events", "exports", "external_billing", "failed_jobs", "home",
    "identity_provider", "impersonation", "languages", "legal_pages", "payment_account_keys", "payment_account_test", "payment_accounts",
    "payment_method_moves", "payments", "portal_links", "price_changes", "products", "reconciliation", "refund_policy", "refund_requests",
    "refunds", "register", "settings", "staff_changes", "statements", "subscriptions", "taxes", "team", "webhooks", "withdrawals",
]  # fmt: skip


def register(app: Flask, services: Services) -> None:
    import auth
    from tenants import account_closing, emails, team
    from tenants import exports as files
    from tenants.console.access import current_member
    from tenants.console.nav import sections

    app.register_blueprint(bp)
    app.register_blueprint(impersonation.door)
    emails.register(services)
    files.register(services)
    services.handlers.on(
        "auth.accounts_merged", lambda work: team.follow(services.database, work.data["from"], work.data["into"]), "team.follow"
    )
    services.leave_teams, services.only_owner_of = (
        account_closing.leave_all,
        lambda visit: account_closing.only_owner_of(services.database, visit),
    )
    app.jinja_env.globals.update(console_sections=sections, member=current_member)
    auth.also_known(app, lambda address_key: team.invited_address(services.database, address_key))
