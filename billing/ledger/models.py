"""Tables of the ledger room. Rows are written by `billing.ledger.posting` and `billing.ledger.holds` only."""

from decimal import Decimal

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from djmoney.models.fields import CurrencyField

from billing.accounts.models import Account, Member
from billing.accounts.text import Name
from billing.catalog.models import KEY_VALIDATOR, MAX_CREDITS, MAX_UNIT_PRICE, Meter


class CreditsField(models.DecimalField):
    """An amount of credits: numeric(24,6). Columns of it carry a CHECK with an upper bound, which refuses NaN."""

    def __init__(self, **options: object) -> None:
        options.setdefault("max_digits", 24)
        options.setdefault("decimal_places", 6)
        super().__init__(**options)  # type: ignore[arg-type]


class CreditPool(models.Model):
    """A balance of credits of an account. Its row is the lock for everything that happens to its lots.

    `balance` is the sum of its lots' remaining credits (also of expired lots not yet posted as such), `held` what open
    holds reserve on lots, `held_uncovered` what they reserve on the exhaustion policy, `overdraft` what has been spent
    beyond the lots and not been repaid. `low_balance_told`: it has fallen below `low_balance_below` and not been back.
    A subscription sets policy, cycles and `renews_at` (`pool_terms.apply`): what it rolls over, the expiry job leaves
    alone.
    """

    class Kind(models.TextChoices):
        MAIN = "main"
        TEAM = "team"

    class Policy(models.TextChoices):
        BLOCK = "block", "refuse charges"
        BURST = "burst", "bounded overdraft, repaid from the next grant"
        OVERAGE = "overage", "metered on, invoiced in arrears"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="pools")
    key = models.CharField(max_length=60, validators=[KEY_VALIDATOR])
    name = Name(max_length=120)
    kind = models.CharField(max_length=4, choices=Kind.choices, default=Kind.MAIN)
    policy = models.CharField(max_length=7, choices=Policy.choices, default=Policy.BLOCK)
    burst_limit = CreditsField(default=0, help_text="Largest overdraft under the burst policy.")
    overage_cap = CreditsField(null=True, blank=True, help_text="Largest overage in a cycle; empty: no cap.")
    balance = CreditsField(default=0, editable=False)
    held = CreditsField(default=0, editable=False)
    held_uncovered = CreditsField(default=0, editable=False)
    overdraft = CreditsField(default=0, editable=False)
    version = models.BigIntegerField(default=0, editable=False)
    last_posted_at = models.DateTimeField(editable=False)
    cycle_number = models.PositiveIntegerField(default=1, editable=False)
    cycle_starts_at = models.DateTimeField(editable=False)
    cycle_ends_at = models.DateTimeField(editable=False)
    last_cycle_starts_at = models.DateTimeField(
        null=True, editable=False, help_text="Start of the cycle before, if that ran its time."
    )
    cycle_interval = models.CharField(max_length=7, default="month", editable=False)
    cycle_interval_count = models.PositiveSmallIntegerField(default=1, editable=False)
    cycle_anchor_on = models.DateField(
        null=True, editable=False, help_text="Cycles are counted from this day; empty: calendar months."
    )
    renews_at = models.DateTimeField(
        null=True, editable=False, help_text="Allocations and rollovers that end from here on wait for the renewal."
    )
    cycle_allocation = CreditsField(default=0, editable=False)
    cycle_spent = CreditsField(default=0, editable=False)
    cycle_overage = CreditsField(default=0, editable=False)
    cycle_carried = CreditsField(default=0, editable=False, help_text="Overdraft for what this cycle has not spent.")
    cycle_rolled_spent = CreditsField(
        default=0, editable=False, help_text="What of the credits rolled over into the cycle its usage has spent."
    )
    alert_level = models.PositiveSmallIntegerField(default=0, editable=False)
    alert_arming = models.PositiveIntegerField(default=0, editable=False)
    low_balance_below = CreditsField(
        null=True, blank=True, help_text="Below this many credits its people are told; empty: never."
    )
    low_balance_told = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "key"), name="pool_key_unique"),
            models.UniqueConstraint(fields=("account",), condition=Q(kind="main"), name="pool_one_main"),
            models.CheckConstraint(
                name="pool_amounts_sane",
                condition=Q(balance__gte=0, balance__lt=MAX_CREDITS)
                & Q(held__gte=0, held__lte=F("balance"))
                & Q(held_uncovered__gte=0, held_uncovered__lt=MAX_CREDITS)
                & Q(overdraft__gte=0, overdraft__lt=MAX_CREDITS)
                & Q(burst_limit__gte=0, burst_limit__lt=MAX_CREDITS)
                & (Q(overage_cap=None) | Q(overage_cap__gte=0, overage_cap__lt=MAX_CREDITS))
                & Q(cycle_allocation__gte=0, cycle_allocation__lt=MAX_CREDITS)
                & Q(cycle_overage__gte=0, cycle_overage__lt=MAX_CREDITS)
                & Q(cycle_spent__lt=MAX_CREDITS, cycle_spent__gte=0)
                & (Q(low_balance_below=None) | Q(low_balance_below__gt=0, low_balance_below__lt=MAX_CREDITS)),
            ),
        )

    def __str__(self) -> str:
        return self.name


class GrantKind(models.TextChoices):
    """Why a lot exists. `overage` and `overdraft` lots are created and spent in the same posting."""

    ALLOCATION = "allocation", _("Allocation")
    PURCHASE = "purchase", _("Purchase")
    BONUS = "bonus", _("Bonus")
    LOYALTY = "loyalty", _("Loyalty")
    STREAK = "streak", _("Streak")
    REFERRAL = "referral", _("Referral")
    MILESTONE = "milestone", _("Milestone")
    GOODWILL = "goodwill", _("Goodwill")
    ADJUSTMENT = "adjustment", _("Adjustment")
    ROLLOVER = "rollover", _("Rollover")
    TRANSFER = "transfer", _("Transfer")
    OVERAGE = "overage", _("Overage")
    OVERDRAFT = "overdraft", _("Overdraft")


class CreditGrant(models.Model):
    """A lot of credits in a pool, valid in `[effective_at, expires_at)`.

    `cost_basis` is the money paid per credit (zero: promotional). The counters from `spent` to `transferred` add up by
    the identity L4, which the database checks on each row. An overdraft lot stays open until it is repaid: what of it
    is outstanding is `amount - revoked`.
    """

    pool = models.ForeignKey(CreditPool, on_delete=models.PROTECT, related_name="grants", db_index=False)
    kind = models.CharField(max_length=10, choices=GrantKind.choices)
    amount = CreditsField()
    remaining = CreditsField()
    held = CreditsField(default=0)
    spent = CreditsField(default=0)
    reversed = CreditsField(default=0)
    expired = CreditsField(default=0)
    revoked = CreditsField(default=0)
    transferred = CreditsField(default=0)
    is_open = models.BooleanField(default=True)
    priority = models.SmallIntegerField(default=50, help_text="Lower burns first.")
    effective_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    cost_basis = models.DecimalField(max_digits=24, decimal_places=12, default=Decimal(0))
    currency = CurrencyField(default="USD")
    meter = models.ForeignKey(Meter, null=True, blank=True, on_delete=models.PROTECT, db_index=False)
    rollovers = models.PositiveSmallIntegerField(default=0, help_text="How many periods this has rolled over already.")
    source_id = models.BigIntegerField(null=True, blank=True, help_text="Where a transferred or rolled lot came from.")
    note = Name(max_length=200, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        permissions = (("grant_any_kind", "Can grant credits of every kind, with a cost basis, and adjust balances"),)
        indexes = (
            models.Index(fields=("pool",), name="grant_open_of_pool", condition=Q(is_open=True)),
            models.Index(fields=("expires_at",), name="grant_open_expiry", condition=Q(is_open=True)),
            models.Index(fields=("pool", "-id"), name="grant_of_pool"),
            models.Index(fields=("pool", "created_at"), name="grant_overage_of_pool", condition=Q(kind="overage")),
        )
        constraints = (
            models.CheckConstraint(
                name="grant_identity",
                condition=Q(
                    remaining=F("amount") - F("spent") + F("reversed") - F("expired") - F("revoked") - F("transferred")
                ),
            ),
            models.CheckConstraint(
                name="grant_amounts_sane",
                condition=Q(amount__gt=0, amount__lt=MAX_CREDITS)
                & Q(remaining__gte=0, remaining__lt=MAX_CREDITS)
                & Q(held__gte=0, held__lte=F("remaining"))
                & Q(spent__gte=0, reversed__gte=0, expired__gte=0, revoked__gte=0, transferred__gte=0)
                & Q(reversed__lte=F("spent"))
                & Q(cost_basis__gte=0, cost_basis__lt=MAX_UNIT_PRICE),
            ),
            models.CheckConstraint(
                name="grant_validity_order", condition=Q(expires_at=None) | Q(expires_at__gt=F("effective_at"))
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} of {self.amount.normalize():f}"


class Posting(models.Model):
    """One act on the ledger, unique by (pool, reference). Append-only.

    `credits` is what the act moved, never negative. `amount` is the signed change of the pool's balance. A charge that
    outran the lots moved more `credits` than the balance shows; the difference is in `overdraft_after` or overage lots.
    """

    class Act(models.TextChoices):
        GRANT = "grant", _("Grant")
        SPEND = "spend", _("Spend")
        EXPIRE = "expire", _("Expire")
        REVERSE = "reverse", _("Reverse")
        REVOKE = "revoke", _("Revoke")
        TRANSFER = "transfer", _("Transfer")
        REPAY = "repay", _("Repay")
        ROLLOVER = "rollover", _("Rollover")

    pool = models.ForeignKey(CreditPool, on_delete=models.PROTECT, related_name="postings", db_index=False)
    version = models.BigIntegerField()
    act = models.CharField(max_length=8, choices=Act.choices)
    reference = models.CharField(max_length=420)
    fingerprint = models.BinaryField(null=True, help_text="Digest of the request, to tell a repeat from a conflict.")
    credits = CreditsField()
    amount = CreditsField()
    balance_before = CreditsField()
    balance_after = CreditsField()
    overdraft_after = CreditsField()
    posted_at = models.DateTimeField()
    occurred_at = models.DateTimeField()
    meter = models.ForeignKey(Meter, null=True, on_delete=models.PROTECT, db_index=False, related_name="+")
    member = models.ForeignKey(Member, null=True, on_delete=models.PROTECT, db_index=False, related_name="+")
    hold = models.ForeignKey("Hold", null=True, on_delete=models.PROTECT, db_index=False, related_name="postings")
    reverses = models.ForeignKey("self", null=True, on_delete=models.PROTECT, db_index=False, related_name="reversals")
    counterpart_id = models.BigIntegerField(null=True, help_text="The posting of the other pool of a transfer.")
    actor = models.CharField(max_length=80, blank=True, help_text="key:<id>, user:<id> or system.")
    note = Name(max_length=200, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("pool", "reference"), name="posting_once"),
            models.UniqueConstraint(fields=("pool", "version"), name="posting_version_unique"),
            models.CheckConstraint(
                name="posting_adds_up",
                condition=Q(balance_after=F("balance_before") + F("amount"))
                & Q(credits__gte=0, credits__lt=MAX_CREDITS)
                & Q(balance_after__gte=0, balance_after__lt=MAX_CREDITS),
            ),
        )
        indexes = (
            models.Index(fields=("reverses",), name="posting_reverses", condition=Q(reverses__isnull=False)),
            models.Index(fields=("hold",), name="posting_hold", condition=Q(hold__isnull=False)),
            # Finds the few other acts among very many spends; a spend, the hot path, adds nothing to it.
            models.Index(fields=("pool", "version"), name="posting_not_spend", condition=~Q(act="spend")),
        )

    def __str__(self) -> str:
        return f"{self.act} {self.reference}"


class LedgerEntry(models.Model):
    """One signed line of a posting against one lot. Append-only.

    `flow` is the lot's counter that the line raises; `amount` the signed change of the lot's remaining credits. Lines
    stand in the order the credits were burned, with a new line whenever the lot changes.
    """

    class Flow(models.TextChoices):
        GRANT = "grant"
        SPEND = "spend"
        EXPIRE = "expire"
        REVERSE = "reverse"
        REVOKE = "revoke"
        TRANSFER = "transfer"

    pk = models.CompositePrimaryKey("posting_id", "line")
    posting = models.ForeignKey(Posting, on_delete=models.PROTECT, related_name="entries", db_index=False)
    line = models.PositiveIntegerField()
    grant = models.ForeignKey(CreditGrant, on_delete=models.PROTECT, related_name="entries", db_index=False)
    flow = models.CharField(max_length=8, choices=Flow.choices)
    amount = CreditsField()
    reverses_line = models.PositiveIntegerField(null=True, help_text="Which line of the reversed posting this undoes.")
    repays_id = models.BigIntegerField(null=True, help_text="The overdraft lot that this spend repays.")

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="entry_sign",
                condition=(Q(flow__in=("grant", "reverse")) & Q(amount__gt=0, amount__lt=MAX_CREDITS))
                | (Q(flow__in=("spend", "expire", "revoke", "transfer")) & Q(amount__lt=0)),
            ),
        )
        indexes = (models.Index(fields=("repays_id",), name="entry_repays", condition=Q(repays_id__isnull=False)),)

    def __str__(self) -> str:
        return f"{self.flow} {self.amount.normalize():f}"


class Hold(models.Model):
    """Credits reserved now, captured or released later; `[created_at, expires_at)`, 24 h at most at a time.

    `amount` is reserved: first on lots (its `HoldLine`s), what is uncovered on the pool's exhaustion policy. A hold for
    usage also has the `quantity` that its work is expected to take of the meter, with `properties` as JSON (text, so
    that decimals stay exact); its captures are usage events.
    """

    class State(models.TextChoices):
        OPEN = "open"
        CAPTURED = "captured"
        RELEASED = "released"
        EXPIRED = "expired"

    pool = models.ForeignKey(CreditPool, on_delete=models.PROTECT, related_name="holds", db_index=False)
    reference = models.CharField(max_length=200)
    fingerprint = models.BinaryField(null=True)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    amount = CreditsField()
    uncovered = CreditsField(default=0)
    captured = CreditsField(default=0)
    meter = models.ForeignKey(Meter, null=True, on_delete=models.PROTECT, db_index=False, related_name="+")
    quantity = models.DecimalField(max_digits=24, decimal_places=6, null=True)
    properties = models.TextField(default="{}")
    member = models.ForeignKey(Member, null=True, on_delete=models.PROTECT, db_index=False, related_name="+")
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    note = Name(max_length=200, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("pool", "reference"), name="hold_once"),
            models.CheckConstraint(
                name="hold_amounts_sane",
                condition=(Q(amount__gt=0) | Q(amount=0, quantity__isnull=False))
                & Q(amount__lt=MAX_CREDITS)
                & Q(uncovered__gte=0, uncovered__lte=F("amount"))
                & Q(captured__gte=0, captured__lt=MAX_CREDITS),
            ),
            models.CheckConstraint(
                name="hold_quantity_of_a_meter",
                condition=Q(quantity=None) | Q(quantity__gte=0, quantity__lt=MAX_CREDITS, meter__isnull=False),
            ),
            models.CheckConstraint(
                name="hold_closed_when_not_open",
                condition=Q(state="open", closed_at=None) | (~Q(state="open") & Q(closed_at__isnull=False)),
            ),
        )
        indexes = (
            models.Index(fields=("expires_at",), name="hold_open_expiry", condition=Q(state="open")),
            models.Index(fields=("member",), name="hold_open_of_member", condition=Q(state="open")),
            models.Index(fields=("pool", "-id"), name="hold_of_pool"),
        )

    def __str__(self) -> str:
        return f"hold of {self.amount.normalize():f} ({self.state})"


class HoldLine(models.Model):
    """What a hold reserves, or reserved, of one lot, in burn order."""

    hold = models.ForeignKey(Hold, on_delete=models.CASCADE, related_name="lines")
    grant = models.ForeignKey(CreditGrant, on_delete=models.PROTECT, related_name="hold_lines")
    position = models.PositiveIntegerField()
    amount = CreditsField()
    captured = CreditsField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("hold", "position"), name="hold_line_unique"),
            models.CheckConstraint(
                name="hold_line_sane",
                condition=Q(amount__gt=0, amount__lt=MAX_CREDITS, captured__gte=0, captured__lte=F("amount")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.amount} of {self.grant_id}"


class MemberLimit(models.Model):
    """The most a member may spend in a calendar month of the account's time zone, over all pools."""

    member = models.OneToOneField(Member, on_delete=models.CASCADE, related_name="limit")
    amount = CreditsField()
    period_starts_at = models.DateTimeField()
    spent = CreditsField(default=0)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="member_limit_sane",
                condition=Q(amount__gte=0, amount__lt=MAX_CREDITS, spent__gte=0, spent__lt=MAX_CREDITS),
            ),
        )

    def __str__(self) -> str:
        return f"{self.spent} of {self.amount}"


class LedgerSeal(models.Model):
    """A link of the hash chain: SHA-256 of the previous digest and the digests of the seal's ranges. Append-only."""

    previous = models.OneToOneField("self", null=True, on_delete=models.PROTECT)
    digest = models.BinaryField(max_length=32, unique=True)
    postings = models.PositiveIntegerField()
    sealed_at = models.DateTimeField()

    def __str__(self) -> str:
        return bytes(self.digest).hex()


class SealedRange(models.Model):
    """Which versions of one pool a seal covers, both ends included, and the SHA-256 of their postings. Append-only."""

    seal = models.ForeignKey(LedgerSeal, on_delete=models.PROTECT, related_name="ranges")
    pool = models.ForeignKey(CreditPool, on_delete=models.PROTECT, related_name="+", db_index=False)
    first_version = models.BigIntegerField()
    last_version = models.BigIntegerField()
    digest = models.BinaryField(max_length=32)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("pool", "first_version"), name="sealed_range_unique"),
            models.CheckConstraint(name="sealed_range_order", condition=Q(last_version__gte=F("first_version"))),
        )

    def __str__(self) -> str:
        return f"{self.pool_id}: {self.first_version}-{self.last_version}"
