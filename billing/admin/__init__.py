"""The staff door, one file per room or page.

Promises: rows of the ledger and usage events can be looked at and by nobody added, changed or deleted; what staff do
to credits goes through `billing.ledger` with a reason, once per rendered form; a secret is shown once; every act of
staff is in the audit log.
"""

from billing.admin import (
    accounts,
    api_keys,
    approvals,
    catalog,
    collections,
    contracts,
    coupons,
    dunning_policies,
    exchange_rates,
    grants,
    invoicing,
    ledger,
    metering,
    notifications,
    packs,
    payments,
    pending_items,
    plans,
    pools,
    purchases,
    rate_cards,
    sandbox,
    staff_acts,
    subscriptions,
    tax,
    transfers,
)

__all__ = [
    "accounts",
    "api_keys",
    "approvals",
    "catalog",
    "collections",
    "contracts",
    "coupons",
    "dunning_policies",
    "exchange_rates",
    "grants",
    "invoicing",
    "ledger",
    "metering",
    "notifications",
    "packs",
    "payments",
    "pending_items",
    "plans",
    "pools",
    "purchases",
    "rate_cards",
    "sandbox",
    "staff_acts",
    "subscriptions",
    "tax",
    "transfers",
]
