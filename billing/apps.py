"""The billing app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """The one Django app of Florin."""

    name = "billing"
    label = "billing"
    verbose_name = "Billing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        from billing import checks  # noqa: F401
