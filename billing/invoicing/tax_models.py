"""What tax is worked out from: rates, exemptions, checked numbers, an engine's answers, exchange rates."""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, RangeBoundary, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.utils.translation import gettext_lazy as _
from djmoney.models.fields import CurrencyField

from billing.accounts.fields import validate_currency
from billing.accounts.models import Account
from billing.accounts.text import Name
from billing.invoicing.models import COUNTRY_VALIDATOR, MAX_MONEY


class _DateRange(Func):
    function = "DATERANGE"
    output_field = DateRangeField()


class TaxRate(models.Model):
    """What part of a net price is tax, for buyers of a country (and region) and a category of goods, for a while:
    `[valid_from, valid_to)` by the date of supply.

    `source` says who states the rate, and `source_on` when that was looked up; both are empty for rates of staff.
    """

    country = models.CharField(max_length=2, validators=[COUNTRY_VALIDATOR])
    region = Name(max_length=10, blank=True, help_text="ISO 3166-2 code without the country; empty: all.")
    category = Name(max_length=20, default="standard")
    name = Name(max_length=40, default="VAT", help_text="As the invoice calls it: VAT, GST, sales tax.")
    percent = models.DecimalField(max_digits=6, decimal_places=3)
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)
    source = Name(max_length=200, blank=True)
    source_on = models.DateField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="tax_rate_sane",
                condition=Q(percent__gte=0, percent__lte=100),
                violation_error_message="A rate is from 0 to 100 percent.",
            ),
            models.CheckConstraint(
                name="tax_rate_order",
                condition=Q(valid_to=None) | Q(valid_to__gt=F("valid_from")),
                violation_error_message="A rate must end after it begins.",
            ),
            ExclusionConstraint(
                name="tax_rate_no_overlap",
                expressions=[
                    (_DateRange("valid_from", "valid_to", RangeBoundary()), RangeOperators.OVERLAPS),
                    ("country", RangeOperators.EQUAL),
                    ("region", RangeOperators.EQUAL),
                    ("category", RangeOperators.EQUAL),
                ],
                violation_error_message="Another rate of this place and category is in force in that time.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.country} {self.percent.normalize():f} %"


class TaxExemption(models.Model):
    """A certificate that an account need not pay tax in a country, or only a region of it: `[valid_from, valid_to)`.

    Invoices of that time name it. One that turned out wrong is withdrawn, never deleted; documents keep what they say.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="tax_exemptions")
    country = models.CharField(max_length=2, validators=[COUNTRY_VALIDATOR])
    region = Name(max_length=10, blank=True, help_text="ISO 3166-2 code without the country; empty: all.")
    number = Name(max_length=60, help_text="As the certificate has it; invoices name it.")
    note = Name(max_length=200, blank=True, help_text="Who issued it, why: for staff.")
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True, help_text="The first day it does not count any more.")
    created_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (models.Index(fields=("account",), name="tax_exemption_good", condition=Q(withdrawn_at=None)),)
        constraints = (
            models.CheckConstraint(
                name="tax_exemption_order",
                condition=Q(valid_to=None) | Q(valid_to__gt=F("valid_from")),
                violation_error_message="A certificate must end after it begins.",
            ),
            models.CheckConstraint(name="tax_exemption_numbered", condition=~Q(number="")),
        )

    def __str__(self) -> str:
        return f"{self.number} ({self.country}{'-' if self.region else ''}{self.region})"


class TaxNumberCheck(models.Model):
    """What the EU's register (VIES) says about an account's tax number, as the account had it then.

    `unknown` until an answer has come; an answer stands until the next one, whatever happens in between (`problem`).
    `reference` is the register's proof of the consultation.
    """

    class State(models.TextChoices):
        VALID = "valid", _("confirmed")
        INVALID = "invalid", _("not registered")
        UNKNOWN = "unknown", _("not known yet")

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="tax_number_checks")
    country = models.CharField(max_length=2)
    tax_number = models.CharField(max_length=32)
    vat_id = models.CharField(max_length=16, help_text="As it was asked about.")
    state = models.CharField(max_length=7, choices=State.choices, default=State.UNKNOWN)
    name = models.CharField(max_length=200, blank=True, help_text="Of the business, as the register has it.")
    address = models.CharField(max_length=500, blank=True)
    reference = models.CharField(max_length=60, blank=True)
    problem = models.CharField(max_length=200, blank=True, help_text="Why the last try gave no answer.")
    tries = models.PositiveSmallIntegerField(default=0, help_text="Since the last answer.")
    created_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    next_check_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "country", "tax_number"), name="tax_number_check_once"),
            models.CheckConstraint(
                name="tax_number_check_answered",
                condition=Q(state="unknown", answered_at=None) | (~Q(state="unknown") & Q(answered_at__isnull=False)),
            ),
        )

    def __str__(self) -> str:
        return f"{self.vat_id}: {self.get_state_display()}"


class TaxCalculation(models.Model):
    """What a tax engine of others answered about a sale, kept by the fingerprint of the sale, so that issuing can read
    it inside its transaction. `lines` are the taxes of the sale's lines in their order."""

    fingerprint = models.CharField(max_length=64, unique=True)
    engine = models.CharField(max_length=10)
    reference = models.CharField(max_length=80, blank=True, help_text="The engine's own id.")
    sale = models.JSONField()
    lines = models.JSONField()
    created_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.reference or f"calculation {self.pk}"


class ExchangeRate(models.Model):
    """What one euro was worth in a currency on a day, as the European Central Bank published it."""

    currency = CurrencyField(validators=[validate_currency])
    on = models.DateField()
    rate = models.DecimalField(max_digits=24, decimal_places=12)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("currency", "on"), name="exchange_rate_once"),
            models.CheckConstraint(name="exchange_rate_sane", condition=Q(rate__gt=0, rate__lt=MAX_MONEY)),
        )

    def __str__(self) -> str:
        return f"1 EUR = {self.rate.normalize():f} {self.currency} ({self.on})"
