"""Tables of the catalog room."""

from decimal import Decimal

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField, RangeBoundary, RangeOperators
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Func, Q
from django.utils.translation import gettext_lazy as _
from djmoney.models.fields import CurrencyField

from billing.accounts.models import Account, User
from billing.accounts.text import Name, said_of

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
    name = Name(max_length=120)
    unit = Name(max_length=40, help_text="Singular, e.g. token, request, GB-hour.")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.COUNTER)
    aggregation = models.CharField(max_length=10, choices=Aggregation.choices, default=Aggregation.SUM)
    series_property = Name(max_length=60, blank=True)
    gauge_unit_seconds = models.PositiveIntegerField(default=3600, validators=[MinValueValidator(1)])
    unique_property = Name(max_length=60, blank=True)
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
    name = Name(max_length=120)
    is_default = models.BooleanField(default=False, help_text="For accounts that have no other card.")
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("is_default",), condition=Q(is_default=True), name="rate_card_one_default"),
        )

    def __str__(self) -> str:
        return self.name


class RateCardVersion(models.Model):
    """One edition of a rate card: a draft, or published and immutable. In force from `effective_at` until the next.

    Its packages, tiers, free units and minimums count quantities by the period of the account's plan, or by calendar
    months of the account's time zone; an account without a plan has calendar months either way.
    """

    class CountsBy(models.TextChoices):
        BILLING_PERIOD = "billing_period", "Billing period"
        CALENDAR_MONTH = "calendar_month", "Calendar month"

    rate_card = models.ForeignKey(RateCard, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    effective_at = models.DateTimeField(null=True, blank=True)
    counts_by = models.CharField(
        max_length=14,
        choices=CountsBy.choices,
        default=CountsBy.BILLING_PERIOD,
        help_text="When tiers, packages, free units and minimums start again from zero. Accounts without a plan have "
        "calendar months either way.",
    )
    published_at = models.DateTimeField(null=True, blank=True)
    published_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    note = Name(max_length=200, blank=True)
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
        return f"{said_of(self, 'rate_card')}, version {self.number}"

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
        return f"{said_of(self, 'meter')}: {self.price.normalize():f} per {self.unit_size.normalize():f}"


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
        return f"{self.kind} card of {said_of(self, 'account')}"


class CatalogRevision(models.Model):
    """One row whose number rises with every change of meters, rate cards, versions and rates (by triggers).

    Processes keep prices in memory and reload them when the number they read with their locks has risen.
    """

    revision = models.BigIntegerField()

    def __str__(self) -> str:
        return str(self.revision)


class DunningPolicy(models.Model):
    """What happens when a recurring invoice is not paid: days after its first failure (or due date), in that order.

    On each of `retry_days` the payment method is charged again, on each of `reminder_days` a reminder is mailed, and
    after `final_days` the `final_act` ends it.
    """

    class FinalAct(models.TextChoices):
        PAUSE = "pause", "pause the subscription"
        DOWNGRADE = "downgrade", "change to another plan"
        CANCEL = "cancel", "end the subscription"
        KEEP = "keep", "keep it, and give the invoice up"

    key = models.CharField(max_length=60, unique=True, validators=[KEY_VALIDATOR])
    name = Name(max_length=120)
    retry_days = ArrayField(models.PositiveSmallIntegerField(), default=list, blank=True)
    reminder_days = ArrayField(models.PositiveSmallIntegerField(), default=list, blank=True)
    final_days = models.PositiveSmallIntegerField(default=21)
    final_act = models.CharField(max_length=9, choices=FinalAct.choices, default=FinalAct.CANCEL)
    downgrade_to = models.ForeignKey("Plan", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    is_default = models.BooleanField(default=False, help_text="For plans that name no other policy.")
    created_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "dunning policies"
        constraints = (
            models.UniqueConstraint(
                fields=("is_default",), condition=Q(is_default=True), name="dunning_policy_one_default"
            ),
            models.CheckConstraint(
                name="dunning_policy_downgrades_to_a_plan",
                condition=Q(final_act="downgrade", downgrade_to__isnull=False)
                | (~Q(final_act="downgrade") & Q(downgrade_to=None)),
                violation_error_message="Name the plan to downgrade to, and only then.",
            ),
        )

    def __str__(self) -> str:
        return self.name


class Plan(models.Model):
    """What recurs, by name; what it costs and includes is in its versions."""

    key = models.CharField(max_length=60, unique=True, validators=[KEY_VALIDATOR])
    name = Name(max_length=120)
    description = Name(max_length=300, blank=True)
    tax_category = Name(max_length=20, default="standard")
    position = models.PositiveSmallIntegerField(default=0, help_text="Where it stands among the plans on offer.")
    created_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True, help_text="Sold no longer; subscriptions go on.")

    class Meta:
        ordering = ("position", "id")

    def __str__(self) -> str:
        return self.name


class PlanVersion(models.Model):
    """One edition of a plan: a draft, or published and immutable (triggers). The newest published one is on sale.

    A period is `interval_count` intervals long. Its fee is charged in advance, its overage and the true-up to its
    minimum in arrears. `included_credits` are granted for each period, or, with `grants_monthly`, for each month of
    it. With seats, `included_credits` + seats x `credits_per_seat`.
    """

    class Interval(models.TextChoices):
        WEEK = "week", _("week")
        MONTH = "month", _("month")
        QUARTER = "quarter", _("quarter")
        YEAR = "year", _("year")

    class Rollover(models.TextChoices):
        NONE = "none", _("none")
        SHARE = "share", _("a share of what is included")
        AMOUNT = "amount", _("up to an amount")
        ALL = "all", _("all that is left")

    class Policy(models.TextChoices):
        BLOCK = "block", _("refuse charges")
        BURST = "burst", _("bounded overdraft, repaid from the next grant")
        OVERAGE = "overage", _("metered on, invoiced in arrears")

    class OverageModel(models.TextChoices):
        FLAT = "flat", _("one price")
        GRADUATED = "graduated", _("graduated: each slice at its own price")
        VOLUME = "volume", _("volume: the reached tier prices all of it")

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    interval = models.CharField(max_length=7, choices=Interval.choices, default=Interval.MONTH)
    interval_count = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1)])
    trial_days = models.PositiveSmallIntegerField(default=0)
    trial_credits = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    included_credits = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    grants_monthly = models.BooleanField(default=False, help_text="For periods that are longer than a month.")
    rollover = models.CharField(max_length=6, choices=Rollover.choices, default=Rollover.NONE)
    rollover_percent = models.DecimalField(max_digits=6, decimal_places=3, null=True, blank=True)
    rollover_amount = models.DecimalField(max_digits=24, decimal_places=6, null=True, blank=True)
    rollover_periods = models.PositiveSmallIntegerField(default=1, help_text="How often a credit may roll.")
    rollover_cap = models.DecimalField(
        max_digits=24, decimal_places=6, null=True, blank=True, help_text="Of all rolled credits together."
    )
    policy = models.CharField(max_length=7, choices=Policy.choices, default=Policy.BLOCK)
    burst_limit = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    overage_cap = models.DecimalField(
        max_digits=24, decimal_places=6, null=True, blank=True, help_text="Credits per period; empty: no cap."
    )
    overage_model = models.CharField(max_length=9, choices=OverageModel.choices, default=OverageModel.FLAT)
    overage_unit = models.DecimalField(
        max_digits=24, decimal_places=6, default=1, help_text="Credits that an overage price is for, e.g. 1000."
    )
    rate_card = models.ForeignKey(RateCard, null=True, blank=True, on_delete=models.PROTECT)
    seats_included = models.PositiveIntegerField(default=0)
    seats_max = models.PositiveIntegerField(null=True, blank=True)
    credits_per_seat = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    target_segments = ArrayField(models.CharField(max_length=40), default=list, blank=True, help_text="Empty: all.")
    dunning_policy = models.ForeignKey(DunningPolicy, null=True, blank=True, on_delete=models.PROTECT)
    loyalty_steps = models.JSONField(
        default=list, blank=True, help_text='Bonus credits: [{"from_period": 7, "percent": "5"}], of what is included.'
    )
    prices_include_tax = models.BooleanField(default=False)
    note = Name(max_length=200, blank=True)
    created_at = models.DateTimeField()
    published_at = models.DateTimeField(null=True, blank=True)
    published_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("plan", "number"), name="plan_version_number"),
            models.CheckConstraint(
                name="plan_version_sane",
                condition=Q(interval_count__gte=1, interval_count__lte=60)
                & Q(trial_credits__gte=0, trial_credits__lt=MAX_CREDITS)
                & Q(included_credits__gte=0, included_credits__lt=MAX_CREDITS)
                & Q(credits_per_seat__gte=0, credits_per_seat__lt=MAX_CREDITS)
                & Q(burst_limit__gte=0, burst_limit__lt=MAX_CREDITS)
                & Q(overage_unit__gt=0, overage_unit__lt=MAX_CREDITS)
                & (Q(overage_cap=None) | Q(overage_cap__gte=0, overage_cap__lt=MAX_CREDITS))
                & (Q(rollover_percent=None) | Q(rollover_percent__gte=0, rollover_percent__lte=100))
                & (Q(rollover_amount=None) | Q(rollover_amount__gte=0, rollover_amount__lt=MAX_CREDITS))
                & (Q(rollover_cap=None) | Q(rollover_cap__gte=0, rollover_cap__lt=MAX_CREDITS)),
            ),
            models.CheckConstraint(
                name="plan_version_rollover_whole",
                condition=Q(rollover__in=("none", "all"), rollover_percent=None, rollover_amount=None)
                | Q(rollover="share", rollover_percent__isnull=False, rollover_amount=None)
                | Q(rollover="amount", rollover_percent=None, rollover_amount__isnull=False),
                violation_error_message="State the percent of a share or the amount, whichever the rollover is by.",
            ),
        )

    def __str__(self) -> str:
        return f"{said_of(self, 'plan')}, version {self.number}"

    @property
    def is_published(self) -> bool:
        return self.published_at is not None

    @property
    def charges_in_trial(self) -> bool:
        """Whether usage in the trial is invoiced: of a plan that gives no credits to try it with."""
        return self.policy == self.Policy.OVERAGE and not self.trial_credits


class PlanPrice(models.Model):
    """What a plan version costs in one currency: per period, net or, with `prices_include_tax`, with tax in it.

    `overage_tiers` price overage credits of a period, per `overage_unit` of them, as the version's `overage_model`
    says: `[{"up_to": "10000", "price": "2"}, {"up_to": null, "price": "1.5"}]`, `up_to` in credits; one tier is flat.
    """

    version = models.ForeignKey(PlanVersion, on_delete=models.CASCADE, related_name="prices")
    currency = CurrencyField(default="USD")
    fee = models.DecimalField(max_digits=18, decimal_places=3, default=0)
    seat_price = models.DecimalField(max_digits=18, decimal_places=3, default=0, help_text="Per extra seat.")
    minimum = models.DecimalField(
        max_digits=18, decimal_places=3, default=0, help_text="Least that fee, seats and overage of a period come to."
    )
    overage_tiers = models.JSONField(default=list, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("version", "currency"), name="plan_price_currency"),
            models.CheckConstraint(
                name="plan_price_sane",
                condition=Q(fee__gte=0, fee__lt=MAX_UNIT_PRICE)
                & Q(seat_price__gte=0, seat_price__lt=MAX_UNIT_PRICE)
                & Q(minimum__gte=0, minimum__lt=MAX_UNIT_PRICE),
            ),
        )

    def __str__(self) -> str:
        return f"{self.fee.normalize():f} {self.currency}"


class Coupon(models.Model):
    """A discount on what a subscription pays in advance: a percentage, or an amount of one currency.

    For `duration_periods` paid periods (1: once), or permanently. `times_redeemed` never exceeds `max_redemptions`,
    however many redeem at once: redeeming raises it under its own row lock.
    """

    code = models.CharField(max_length=40, unique=True, validators=[RegexValidator(r"^[A-Z0-9_-]{2,40}\Z")])
    name = Name(max_length=120)
    percent = models.DecimalField(max_digits=6, decimal_places=3, null=True, blank=True)
    amount = models.DecimalField(max_digits=18, decimal_places=3, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, help_text="Of the amount.")
    duration_periods = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Empty: no end.")
    max_redemptions = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: no limit.")
    times_redeemed = models.PositiveIntegerField(default=0, editable=False)
    plans = models.ManyToManyField(Plan, blank=True, help_text="Empty: all plans.")
    valid_from = models.DateTimeField(null=True, blank=True)
    valid_to = models.DateTimeField(null=True, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="coupon_percent_or_amount",
                # A CHECK lets NULL pass, so that one of them must be given is to be said outright.
                condition=Q(percent__isnull=False, percent__gt=0, percent__lte=100, amount=None, currency="")
                | (Q(percent=None, amount__isnull=False, amount__gt=0, amount__lt=MAX_UNIT_PRICE) & ~Q(currency="")),
                violation_error_message="State a percentage from 0 to 100, or an amount and its currency.",
            ),
            models.CheckConstraint(
                name="coupon_not_overdrawn",
                condition=Q(max_redemptions=None) | Q(times_redeemed__lte=F("max_redemptions")),
            ),
            models.CheckConstraint(
                name="coupon_duration_positive", condition=Q(duration_periods=None) | Q(duration_periods__gte=1)
            ),
        )

    def __str__(self) -> str:
        return self.code
