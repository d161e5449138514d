"""Tables of the metering room."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from billing.accounts.models import Account, ApiKey, Member
from billing.accounts.text import Name
from billing.catalog.models import MAX_CREDITS, Meter, Rate
from billing.ledger.models import CreditPool, CreditsField, Posting


class UsageEvent(models.Model):
    """A fact: an account used a quantity of a meter at a time. Append-only.

    Its identity is the account, the id and the `source` that gave the id (of a CloudEvent; empty where none was
    stated). This primary key is the table's only index on the ingest path; a BRIN index, which costs next
    to nothing, serves listings by arrival. Foreign keys are not checked row by row here: the same transaction writes
    a `DailyUsage` row for the pair of account and meter, and the posting, which are. `quantity` is what was reported,
    `counted` what it counts for (1 for a counting meter, 0 or 1 for a unique one, 0 for a gauge's reading).
    `burn_offset` is how many credits of the posting were burned before this event's, so a reversal finds its lots.
    `late`: it happened in a period that had closed, and was charged to the current one.
    """

    pk = models.CompositePrimaryKey("account_id", "event_id", "source")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_index=False, db_constraint=False)
    event_id = models.CharField(max_length=200)
    source = models.CharField(max_length=200, blank=True)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, db_index=False, db_constraint=False)
    pool = models.ForeignKey(CreditPool, on_delete=models.PROTECT, db_index=False, db_constraint=False)
    member = models.ForeignKey(Member, null=True, on_delete=models.PROTECT, db_index=False, db_constraint=False)
    quantity = models.DecimalField(max_digits=24, decimal_places=6)
    counted = models.DecimalField(max_digits=24, decimal_places=6)
    properties = models.JSONField(default=dict)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()
    late = models.BooleanField(default=False)
    credits = CreditsField()
    unit_cost = models.DecimalField(max_digits=24, decimal_places=12)
    rate = models.ForeignKey(Rate, null=True, on_delete=models.PROTECT, db_index=False, db_constraint=False)
    posting = models.ForeignKey(Posting, null=True, on_delete=models.PROTECT, db_index=False, db_constraint=False)
    burn_offset = CreditsField(default=0)
    period_starts_at = models.DateTimeField(help_text="Start of the period it was priced in.")
    fingerprint = models.BinaryField(max_length=16)

    class Meta:
        indexes = (
            BrinIndex(fields=("received_at",), name="usage_event_arrival", pages_per_range=32, autosummarize=True),
        )
        constraints = (
            models.CheckConstraint(
                name="usage_event_sane",
                condition=Q(quantity__gte=0, quantity__lt=MAX_CREDITS)
                & Q(counted__gte=0, counted__lt=MAX_CREDITS)
                & Q(credits__gte=0, credits__lt=MAX_CREDITS),
            ),
        )

    def __str__(self) -> str:
        return self.event_id


class EventReversal(models.Model):
    """That an event was reversed, once, and the `credits` that were given back. Append-only."""

    pk = models.CompositePrimaryKey("account_id", "event_id", "source")
    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_index=False)
    event_id = models.CharField(max_length=200)
    source = models.CharField(max_length=200, blank=True)
    posting = models.ForeignKey(Posting, null=True, on_delete=models.PROTECT, db_index=False)
    credits = CreditsField()
    reason = Name(max_length=200, blank=True)
    actor = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.event_id


class DailyUsage(models.Model):
    """Totals of one account, meter and member on one day of the account's time zone (by when it happened)."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, db_index=False)
    member = models.ForeignKey(Member, null=True, on_delete=models.PROTECT, db_index=False)
    day = models.DateField()
    events = models.BigIntegerField()
    quantity = models.DecimalField(max_digits=30, decimal_places=6)
    credits = models.DecimalField(max_digits=30, decimal_places=6)
    cost = models.DecimalField(max_digits=48, decimal_places=12, help_text="Our cost, in the meter's currency.")

    class Meta:
        # Rows come day after day, so a block's range of days is short; it costs the ingest next to nothing.
        indexes = (BrinIndex(fields=("day",), name="daily_usage_day", pages_per_range=16, autosummarize=True),)
        constraints = (
            models.UniqueConstraint(
                fields=("account", "day", "meter", "member"), nulls_distinct=False, name="daily_usage_unique"
            ),
        )

    def __str__(self) -> str:
        return f"{self.day} {self.meter_id}"


class UsageCounter(models.Model):
    """A period's quantity per account, meter and rate. What the rates of one dimension (`match`, canonical) count
    adds up: a new version of a rate goes on counting where the last one ended.

    `correction` sums over a dimension to what its live events were charged beyond what their quantities cost one after
    the other; below zero: what they were charged too little. Only reversals make one, and the next events use it up.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, db_index=False)
    dimension = models.CharField(max_length=500)
    rate = models.ForeignKey(Rate, on_delete=models.PROTECT, db_index=False)
    period_starts_at = models.DateTimeField()
    quantity = models.DecimalField(max_digits=30, decimal_places=6)
    correction = models.DecimalField(max_digits=30, decimal_places=6, default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("account", "period_starts_at", "meter", "rate"), name="usage_counter_unique"
            ),
        )

    def __str__(self) -> str:
        return f"{self.meter_id} {self.dimension}: {self.quantity}"


class UniqueValue(models.Model):
    """A value a unique meter has counted in a period, as a digest: how many events of the period carry it that are
    not reversed, and the event that was charged for it, reversed or not. The period is the one they happened in."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, db_index=False)
    period_starts_at = models.DateTimeField()
    value = models.BinaryField(max_length=16)
    events = models.BigIntegerField()
    event_id = models.CharField(max_length=200)
    source = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "period_starts_at", "meter", "value"), name="unique_value_once"),
        )

    def __str__(self) -> str:
        return self.event_id


class GaugeSeries(models.Model):
    """One gauge of one account, e.g. one volume's size, and how much of it has been charged.

    The integral of level x seconds up to `base_at` is `base_level_seconds` (exact, so that it can be rounded once),
    with `base_level` in force there; what follows is integrated from `GaugeReading` rows. `charged_quantity`, in the
    meter's units, has been turned into usage events up to `charged_until`; `sequence` numbers them.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, db_index=False)
    pool = models.ForeignKey(CreditPool, on_delete=models.PROTECT, db_index=False)
    series = models.CharField(max_length=200, blank=True)
    base_at = models.DateTimeField()
    base_level = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    base_level_seconds = models.DecimalField(max_digits=40, decimal_places=12, default=0)
    charged_quantity = models.DecimalField(max_digits=30, decimal_places=6, default=0)
    charged_until = models.DateTimeField()
    sequence = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "meter", "series"), name="gauge_series_unique"),)

    def __str__(self) -> str:
        return f"{self.meter_id} {self.series}"


class GaugeReading(models.Model):
    """The level of a series from a moment on, as an event reported it."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, db_index=False)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, db_index=False)
    series = models.CharField(max_length=200, blank=True)
    occurred_at = models.DateTimeField()
    event_id = models.CharField(max_length=200)
    source = models.CharField(max_length=200, blank=True)
    level = models.DecimalField(max_digits=24, decimal_places=6)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("account", "meter", "series", "occurred_at", "event_id", "source"), name="gauge_reading_unique"
            ),
        )

    def __str__(self) -> str:
        return f"{self.level} at {self.occurred_at}"


class RejectedEvent(models.Model):
    """An event that could not be taken, as it came (ASCII JSON), kept for replay after the cause is fixed.

    `bound_account` is the one account of the key it came with, if that had but one: it is never taken for another.
    While it is open, sending the same again (`digest`: door, key, body) adds no row; like a replay it counts as one
    of the `attempts` after the first.
    """

    class State(models.TextChoices):
        OPEN = "open"
        REPLAYED = "replayed"
        DISMISSED = "dismissed"

    account = models.ForeignKey(Account, null=True, on_delete=models.PROTECT)
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL)
    bound_account = models.ForeignKey(Account, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    event_id = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=200, blank=True)
    body = models.TextField()
    digest = models.BinaryField(max_length=16, null=True)
    code = models.CharField(max_length=40)
    detail = models.CharField(max_length=300)
    door = models.CharField(max_length=20, default="api", help_text="How it came in, such as api or import.")
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    received_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, help_text="When it was replayed or dismissed.")
    attempts = models.PositiveIntegerField(default=0)

    class Meta:
        indexes = (models.Index(fields=("id",), name="rejected_open", condition=Q(state="open")),)
        constraints = (
            models.UniqueConstraint(fields=("digest",), name="rejected_open_once", condition=Q(state="open")),
        )

    def __str__(self) -> str:
        return f"{self.event_id or '(no id)'}: {self.code}"


class ImportRun(models.Model):
    """How far the import of one file has come; committed with each batch, so a restart goes on exactly there.

    `digest` is the SHA-256 of the file's content and the import's options.
    """

    digest = models.BinaryField(max_length=32, unique=True)
    name = Name(max_length=200)
    rows_done = models.BigIntegerField(default=0)
    accepted = models.BigIntegerField(default=0)
    duplicates = models.BigIntegerField(default=0)
    conflicts = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name
