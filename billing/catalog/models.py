"""Tables of the catalog room."""

from decimal import Decimal

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, RangeBoundary, RangeOperators
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Func, Q
from djmoney.models.fields import CurrencyField

from billing.accounts.models import Account, User

# Upper bounds in CHECKs. PostgreSQL holds NaN for greater than every number, so these refuse it too.
MAX_CREDITS = Decimal(10**18 - 1)
MAX_UNIT_PRICE = Decimal(10**12 - 1)

KEY_VALIDATOR = RegexValidator(
    r"^[a-z0-9][a-z0-9._-]{0,59}\Z", "Use 1 to 60 lower-case letters, digits or . _ - and start with a letter or digit."
)


class Meter(models.Model):
    """Something countable.

    `counter`: each event's quantity adds up, or with `aggregation` count each event counts 1.
    `gauge`: each event states a level from its time on; level x time is accrued in `unit` x `gauge_unit_seconds`
    (3600: GB-hours). Series are told apart by the property `series_property`.
    `unique`: an event counts 1 when the value of `unique_property` is new in the account's period, else 0.
    `unit_cost` is our own infrastructure cost per unit, for margins.
    """

    class Kind(models.TextChoices):
        COUNTER = "counter"
        GAUGE = "gauge"
        UNIQUE = "unique"

    class Aggregation(models.TextChoices):
        SUM = "sum"
        COUNT = "count"

    key = models.CharField(max_length=60, unique=True, validators=[KEY_VALIDATOR])
    name = models.CharField(max_length=120)
    unit = models.CharField(max_length=40, help_text="Singular, e.g. token, request, GB-hour.")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.COUNTER)
    aggregation = models.CharField(max_length=10, choices=Aggregation.choices, default=Aggregation.SUM)
    series_property = models.CharField(max_length=60, blank=True)
    gauge_unit_seconds = models.PositiveIntegerField(default=3600, validators=[MinValueValidator(1)])
    unique_property = models.CharField(max_length=60, blank=True)
    unit_cost = models.DecimalField(max_digits=24, decimal_places=12, default=0, validators=[MinValueValidator(0)])
    unit_cost_currency = CurrencyField(default="USD")
    created_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True, blank=True, help_text="An archived meter refuses new events.")

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="meter_unique_has_property",
                condition=~Q(kind="unique") | ~Q(unique_property=""),
                violation_error_message="A unique meter needs the property whose values it counts.",
            ),
            models.CheckConstraint(name="meter_cost_sane", condition=Q(unit_cost__gte=0, unit_cost__lt=MAX_UNIT_PRICE)),
        )

    def __str__(self) -> str:
        return self.name


class RateCard(models.Model):
    """A named price list for usage; what it says is in its versions."""

    key = models.CharField(max_length=60, unique=True, validators=[KEY_VALIDATOR])
    name = models.CharField(max_length=120)
    is_default = models.BooleanField(default=False, help_text="For accounts that have no other card.")
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("is_default",), condition=Q(is_default=True), name="rate_card_one_default"),
        )

    def __str__(self) -> str:
        return self.name


class RateCardVersion(models.Model):
    """One edition of a rate card: a draft, or published and immutable. In force from `effective_at` until the next."""

    rate_card = models.ForeignKey(RateCard, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    effective_at = models.DateTimeField(null=True, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)
    published_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    note = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("rate_card", "number"), name="rate_card_version_number"),
            models.UniqueConstraint(
                fields=("rate_card", "effective_at"),
                condition=Q(published_at__isnull=False),
                name="rate_card_version_one_per_moment",
            ),
            models.CheckConstraint(
                name="rate_card_version_published_has_start",
                condition=Q(published_at=None) | Q(effective_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.rate_card_id} v{self.number}"

    @property
    def is_published(self) -> bool:
        return self.published_at is not None


class Rate(models.Model):
    """How one meter's usage becomes credits on one rate-card version.

    `per_unit`: quantity x price / unit_size. `per_package`: ceil(quantity / unit_size) x price, the ceiling taken once
    over the period. `graduated`: each slice of the period's quantity at its tier's price / unit_size; tiers are
    `[{"up_to": "1000", "price": "2"}, {"up_to": null, "price": "1"}]`, `up_to` in the meter's units.
    `match` narrows a rate to events whose properties have these values; the rate with most matching entries wins.
    `minimum` is the least the period costs once anything was used. Results are rounded on the cumulative amount.
    """

    class Model(models.TextChoices):
        PER_UNIT = "per_unit"
        PER_PACKAGE = "per_package"
        GRADUATED = "graduated"

    class Rounding(models.TextChoices):
        HALF_EVEN = "half_even"
        HALF_UP = "half_up"
        UP = "up"
        DOWN = "down"

    version = models.ForeignKey(RateCardVersion, on_delete=models.CASCADE, related_name="rates")
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="rates")
    match = models.JSONField(default=dict, blank=True)
    model = models.CharField(max_length=12, choices=Model.choices, default=Model.PER_UNIT)
    price = models.DecimalField(max_digits=24, decimal_places=12, default=0, help_text="Credits per unit size.")
    unit_size = models.DecimalField(max_digits=24, decimal_places=6, default=1, help_text="e.g. 1000 tokens.")
    tiers = models.JSONField(default=list, blank=True)
    minimum = models.DecimalField(max_digits=24, decimal_places=6, default=0, help_text="Credits per period.")
    rounding = models.CharField(max_length=10, choices=Rounding.choices, default=Rounding.HALF_EVEN)
    decimals = models.PositiveSmallIntegerField(default=6, help_text="Credits are rounded to this many decimals.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("version", "meter", "match"), name="rate_unique"),
            models.CheckConstraint(
                name="rate_numbers_sane",
                condition=Q(price__gte=0, price__lt=MAX_UNIT_PRICE)
                & Q(unit_size__gt=0, unit_size__lt=MAX_CREDITS)
                & Q(minimum__gte=0, minimum__lt=MAX_CREDITS)
                & Q(decimals__lte=6),
            ),
        )

    def __str__(self) -> str:
        return f"{self.meter_id}: {self.price} per {self.unit_size}"


class _TstzRange(Func):
    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class RateCardAssignment(models.Model):
    """Which rate card an account has for a while, and why; half-open `[starts_at, ends_at)`."""

    class Kind(models.TextChoices):
        CONTRACT = "contract"
        GRANDFATHERED = "grandfathered"
        EXPERIMENT = "experiment"
        PLAN = "plan"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="rate_card_assignments")
    rate_card = models.ForeignKey(RateCard, on_delete=models.PROTECT)
    kind = models.CharField(max_length=14, choices=Kind.choices)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="rate_card_assignment_order", condition=Q(ends_at=None) | Q(ends_at__gt=F("starts_at"))
            ),
            ExclusionConstraint(
                name="rate_card_assignment_no_overlap",
                expressions=[
                    (_TstzRange("starts_at", "ends_at", RangeBoundary()), RangeOperators.OVERLAPS),
                    ("account", RangeOperators.EQUAL),
                    ("kind", RangeOperators.EQUAL),
                ],
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} card of {self.account_id}"


class CatalogRevision(models.Model):
    """One row whose number rises with every change of meters, rate cards, versions and rates (by triggers).

    Processes keep prices in memory and reload them when the number they read with their locks has risen.
    """

    revision = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.revision)


class Pack(models.Model):
    """A one-off amount of credits for sale, priced by volume (`PackTier`): the tier of the amount prices all of it.

    The buyer chooses an amount of credits from `min_credits` to `max_credits` in steps of `step_credits`. A pack is a
    draft until it is put on sale (`is_active`), which fixes its amounts and prices, and is retired for good.
    """

    key = models.CharField(max_length=60, unique=True, validators=[KEY_VALIDATOR])
    name = models.CharField(max_length=120)
    description = models.CharField(max_length=300, blank=True)
    currency = CurrencyField(default="USD")
    min_credits = models.DecimalField(max_digits=24, decimal_places=6)
    max_credits = models.DecimalField(max_digits=24, decimal_places=6)
    step_credits = models.DecimalField(max_digits=24, decimal_places=6, default=1)
    validity_days = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the credits never expire.")
    target_segments = ArrayField(models.CharField(max_length=40), default=list, blank=True, help_text="Empty: all.")
    is_active = models.BooleanField(default=True, help_text="On sale.")
    created_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(name="pack_retired_is_not_sold", condition=Q(retired_at=None) | Q(is_active=False)),
            models.CheckConstraint(
                name="pack_amounts_sane",
                condition=Q(min_credits__gt=0)
                & Q(max_credits__gte=F("min_credits"))
                & Q(max_credits__lt=MAX_CREDITS)
                & Q(step_credits__gt=0, step_credits__lt=MAX_CREDITS),
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        """draft, on sale or retired."""
        if self.is_active:
            return "on sale"
        return "retired" if self.retired_at else "draft"


class PackTier(models.Model):
    """The price of one credit when at least `from_credits` are bought at once."""

    pack = models.ForeignKey(Pack, on_delete=models.CASCADE, related_name="tiers")
    from_credits = models.DecimalField(max_digits=24, decimal_places=6)
    unit_price = models.DecimalField(max_digits=18, decimal_places=9, help_text="Money per credit, pack's currency.")

    class Meta:
        ordering = ("from_credits",)
        constraints = (
            models.UniqueConstraint(fields=("pack", "from_credits"), name="pack_tier_unique"),
            models.CheckConstraint(
                name="pack_tier_sane",
                condition=Q(from_credits__gt=0, from_credits__lt=MAX_CREDITS)
                & Q(unit_price__gte=0, unit_price__lt=Decimal(999_999_999)),
            ),
        )

    def __str__(self) -> str:
        return f"from {self.from_credits.normalize():f}: {self.unit_price.normalize():f}"
