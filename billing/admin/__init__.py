"""The staff door, one folder or file per room.

Promises: rows of the ledger and usage events can be looked at and by nobody added, changed or deleted; what staff do
to credits goes through `billing.ledger` with a reason, once per rendered form; a secret is shown once; every act of
staff is in the audit log.
"""

from billing.admin import (
    accounts,
    approvals,
    catalog,
    invoicing,
    ledger,
    metering,
    notifications,
    payments,
    purchases,
    subscriptions,
)

__all__ = [
    "accounts",
    "approvals",
    "catalog",
    "invoicing",
    "ledger",
    "metering",
    "notifications",
    "payments",
    "purchases",
    "subscriptions",
]
