"""Documented reasons why a case of the SDK's own suite cannot pass here. A reason counts only with its matching answer.

Two kinds: a resource that is not offered (404 or 405), and a placeholder value that validation refuses by field name. Any other answer,
such as a 5xx or a reply of another shape, is UNEXPECTED.
"""

from __future__ import annotations

import re

UNEXPECTED = "UNEXPECTED"
ABSENT = (
    ("translations of names", r"test_translations|test_misc.*list_locales"),
    ("credit entitlements and their balances", r"credit_entitlements"),
    ("entitlements, their grants and files", r"entitlements"),
    ("meters and usage events", r"test_meters|test_usage_events"),
    ("checkout sessions", r"test_checkout_sessions"),
    ("balances and payouts", r"test_balances|payouts"),
    ("blocklist and moderation", r"blocklist|test_moderation"),
    ("letters sent to a customer", r"customers/test_emails"),
    ("localized prices", r"test_localized_prices"),
    ("short links", r"test_short_links"),
    ("brands beside the first", r"test_brands.*_(create|update|archive)"),
    ("files of a product", r"test_products.*update_files"),
    ("money put into wallets", r"test_ledger_entries.*_create"),
)
REFUSED = (  # reason, case, what the answer says
    ("a quantity of 0", r"test_(payments|subscriptions).*_(create|change_plan)", r"quantity': 'Input should be greater"),
    ("a discount of 0", r"test_discounts.*_(create|update)", r"'amount': 'Input should be greater"),
    ("no e-mail address, no telephone number", r"test_customers.*_(create|update)", r"'(email|phone_number)': "),
    ("no address on the web", r"test_customer_portal|update_payment_method|test_webhooks.*_(create|update)",
     r"'(url|return_url|rate_limit)': "),
    ("brands, add-ons and pictures that nobody made", r"test_(products|product_collections).*_(create|update)_with_all_params",
     r"'(brand_id|addons|digital_product_delivery.external_url)': "),
    ("parameters that are not offered", r"test_(payments|subscriptions|products|short_links)",
     r"Not supported|not supported"),
    ("status, pause and a cancellation in one change", r"test_subscriptions.*update_with_all_params", r"'(status|pause)': "),
    ("a charge on demand, where subscriptions pay by their dates", r"test_subscriptions.*_charge", r"SUBSCRIPTION_NOT_ON_DEMAND"),
    ("a currency that was not paid in", r"test_(refunds.*create|payments.*line_items)_with_all_params", r"'currency': "),
    ("a licence key that ended before it was made", r"test_license_keys.*create_with_all_params", r"'expires_at': "),
    ("a list that goes on from nowhere", r"test_webhooks.*list_with_all_params", r"'(limit|iterator)': "),
)  # fmt: skip
NOWHERE = r"Page not found|METHOD_NOT_ALLOWED|There is no product short_links"
ALONE = r"test_path_params|unwrap"
"""Cases that check the client by itself: no call leaves it."""


def why(case: str, words: str) -> str:
    """Return the reason of a failed case. `words`: the line that pytest prints about it."""
    status = re.search(r"Error code: (\d{3})", words)
    if status and status[1] in ("404", "405") and re.search(NOWHERE, words):
        return next((f"not offered: {reason}" for reason, pattern in ABSENT if re.search(pattern, case)), UNEXPECTED)
    if status and status[1] == "422":
        fitting = (reason for reason, pattern, said in REFUSED if re.search(pattern, case) and re.search(said, words))
        return next((f"sends {reason}" for reason in fitting), UNEXPECTED)
    return UNEXPECTED
