"""Staff's look at exchange rates."""

from django.contrib import admin

from billing.admin.rules import FactsAdmin
from billing.invoicing.tax_models import ExchangeRate


@admin.register(ExchangeRate)
class ExchangeRateAdmin(FactsAdmin):
    """Reference rates, imported by `manage.py import_exchange_rates`."""

    list_display = ("on", "currency", "rate")
    list_filter = ("currency", "on")
    ordering = ("-on", "currency")
    fields = readonly_fields = ("on", "currency", "rate")
