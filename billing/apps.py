"""The billing app, and the list of tables that only ever grow."""

from django.apps import AppConfig

# Usage and ledger rows, credit notes, what staff did and noted, what became of
# subscriptions are facts. The runtime role may SELECT and INSERT here,
# and nothing else; triggers refuse UPDATE, DELETE and TRUNCATE to everybody.
APPEND_ONLY_TABLES = (
    "billing_posting",
    "billing_ledgerentry",
    "billing_usageevent",
    "billing_eventreversal",
    "billing_ledgerseal",
    "billing_sealedrange",
    "billing_creditnote",
    "billing_creditnoteline",
    "billing_staffact",
    "billing_accountnote",
    "billing_subscriptionchange",
)


class BillingConfig(AppConfig):
    """The one Django app of Florin."""

    name = "billing"
    label = "billing"
    verbose_name = "Billing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from billing import checks  # noqa: F401
