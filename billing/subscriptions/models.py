"""Tables of the subscriptions room."""

from decimal import Decimal

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeBoundary, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.utils.translation import gettext_lazy as _
from djmoney.models.fields import CurrencyField

from billing.accounts import ids
from billing.accounts.fields import validate_currency
from billing.accounts.models import Account
from billing.accounts.text import Name, said_of
from billing.catalog.models import MAX_CREDITS, MAX_UNIT_PRICE, Coupon, Plan, PlanVersion
from billing.invoicing.models import MAX_MONEY, Invoice, MoneyAmountField
from billing.ledger.models import CreditGrant, CreditsField, GrantKind, Posting
from billing.payments.models import Dispute, PaymentMethod


class Subscription(models.Model):
    """That an account has a plan, period after period from `anchor_on`, a day in the account's time zone.

    incomplete (its first invoice waits for payment) -> trialing or active; active <-> past_due (an invoice of it is
    overdue); paused (does not renew); cancelled (runs until its period ends, may be taken back); ended.
    `next_due_at` is when a period or a cycle of monthly credits ends next: what `renewals.run_due` looks for. A
    subscription that failed to renew is parked (`parked_at`, `problem`) until staff release it.
    """

    class State(models.TextChoices):
        INCOMPLETE = "incomplete", _("waiting for its first payment")
        TRIALING = "trialing", _("in trial")
        ACTIVE = "active", _("active")
        PAST_DUE = "past_due", _("payment overdue")
        PAUSED = "paused", _("paused")
        CANCELLED = "cancelled", _("cancelled, runs out")
        ENDED = "ended", _("ended")

    class Collection(models.TextChoices):
        AUTOMATIC = "automatic", _("charge the payment method")
        MANUAL = "manual", _("send an invoice to be paid by bank transfer")

    RENEWING = ("trialing", "active", "past_due")

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="subscriptions")
    reference = models.CharField(max_length=250, unique=True, help_text="Of the request that made it.")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="subscriptions")
    currency = CurrencyField(validators=[validate_currency])
    seats = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=10, choices=State.choices)
    collection = models.CharField(max_length=9, choices=Collection.choices, default=Collection.AUTOMATIC)
    method = models.ForeignKey(PaymentMethod, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    payment_terms_days = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Days to pay an invoice by transfer. Empty: the issuer's."
    )
    anchor_on = models.DateField(help_text="Periods are counted from this day, in the account's time zone.")
    anchor_number = models.PositiveIntegerField(default=1, help_text="Number of the period that begins on the anchor.")
    period_number = models.PositiveIntegerField(default=1, help_text="0 is the trial.")
    period_starts_at = models.DateTimeField()
    period_ends_at = models.DateTimeField()
    next_due_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField()
    trial_ends_at = models.DateTimeField(null=True, blank=True)
    trial_reminded_at = models.DateTimeField(null=True, blank=True)
    past_due_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)
    cancel_reason = Name(max_length=200, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    parked_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(
                fields=("next_due_at",),
                name="subscription_due",
                condition=Q(next_due_at__isnull=False, parked_at=None),
            ),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("account",), condition=~Q(state="ended"), name="subscription_one_live_per_account"
            ),
            models.CheckConstraint(
                name="subscription_period_order", condition=Q(period_ends_at__gt=F("period_starts_at"))
            ),
            models.CheckConstraint(
                name="subscription_ended_is_over",
                condition=Q(state="ended", ended_at__isnull=False, next_due_at=None)
                | (~Q(state="ended") & Q(ended_at=None)),
            ),
        )

    def __str__(self) -> str:
        return ids.encode(ids.SUBSCRIPTION, self.pk)

    @property
    def charges_overage(self) -> bool:
        """Whether usage beyond the credits is invoiced in the period that runs. Needs the plan version."""
        version = self.plan_version
        return version.charges_in_trial if self.period_number == 0 else version.policy == PlanVersion.Policy.OVERAGE

    @property
    def is_live(self) -> bool:
        return self.state != self.State.ENDED


class SubscriptionPeriod(models.Model):
    """One period of a subscription as it was billed in advance; unique by number, so that none is billed twice.

    `fee` and `seats_fee` are what was billed in advance: a change within it adds what it charges and subtracts what it
    gives back. `discounts` were taken off them, in this order: `{"coupon": 7, "name": "SPRING",
    "percent": "20", "amount": null}`, `coupon` null for a contract's. `invoice` is empty where there was nothing to
    bill. `overage_amount` (net) and `true_up_amount` are written when it has ended and its arrears are billed.
    """

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="periods")
    number = models.PositiveIntegerField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="+")
    seats = models.PositiveIntegerField(default=0)
    fee = MoneyAmountField(default=0)
    seats_fee = MoneyAmountField(default=0)
    discounts = models.JSONField(default=list, blank=True)
    overage_credits = CreditsField(default=0)
    overage_amount = MoneyAmountField(default=0)
    true_up_amount = MoneyAmountField(default=0)
    invoice = models.ForeignKey(Invoice, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True, help_text="When its arrears were billed.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("subscription", "number"), name="subscription_period_once"),
            models.CheckConstraint(name="subscription_period_lasts", condition=Q(ends_at__gt=F("starts_at"))),
        )

    def __str__(self) -> str:
        return f"period {self.number} of sub_{self.subscription_id}"


class Allocation(models.Model):
    """Credits that a subscription includes for `[starts_at, ends_at)`: granted once, when that time comes.

    With `waits_for_payment` not before `invoice` is paid, and not as long as a `dispute` of its money holds it back.
    `cost_basis` is the net money per credit that the fee pays. Its posting's reference is `allocation:<id>`.
    """

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="allocations")
    reference = models.CharField(max_length=250, unique=True, help_text="<subscription>:<period>:<part>")
    kind = models.CharField(max_length=10, choices=GrantKind.choices, default=GrantKind.ALLOCATION)
    credits = CreditsField()
    cost_basis = models.DecimalField(max_digits=24, decimal_places=12, default=Decimal(0))
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    invoice = models.ForeignKey(Invoice, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    waits_for_payment = models.BooleanField(default=False)
    dispute = models.ForeignKey(Dispute, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    granted_at = models.DateTimeField(null=True, blank=True)
    posting = models.ForeignKey(Posting, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("starts_at",), name="allocation_due", condition=Q(granted_at=None, cancelled_at=None)),
        )
        constraints = (
            models.CheckConstraint(
                name="allocation_sane",
                condition=Q(credits__gt=0, credits__lt=MAX_CREDITS)
                & Q(cost_basis__gte=0, cost_basis__lt=MAX_UNIT_PRICE)
                & Q(ends_at__gt=F("starts_at")),
            ),
        )

    def __str__(self) -> str:
        return self.reference


class OverageCharge(models.Model):
    """Overage credits of a lot that stand on an invoice. What of the lot goes beyond them is still to be billed."""

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="overage_charges")
    grant = models.ForeignKey(CreditGrant, on_delete=models.PROTECT, related_name="+")
    number = models.PositiveIntegerField(default=1, help_text="Counted by lot: a late reversal makes a further one.")
    credits = CreditsField(help_text="Negative where credits that were billed have been reversed.")
    amount = MoneyAmountField()
    invoice = models.ForeignKey(Invoice, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("grant", "number"), name="overage_charge_once"),)

    def __str__(self) -> str:
        return f"overage of {self.credits.normalize():f}"


class SubscriptionChange(models.Model):
    """What was done to a subscription, when and by whom: its history. Append-only."""

    class Act(models.TextChoices):
        SUBSCRIBE = "subscribe", _("subscribed")
        ACTIVATE = "activate", _("became active")
        RENEW = "renew", _("renewed")
        CHANGE = "change", _("plan or seats changed")
        SCHEDULE = "schedule", _("change scheduled")
        UNSCHEDULE = "unschedule", _("scheduled change withdrawn")
        PAST_DUE = "past_due", _("payment overdue")
        RECOVER = "recover", _("overdue payment arrived")
        PAUSE = "pause", _("paused")
        RESUME = "resume", _("resumed")
        CANCEL = "cancel", _("cancelled")
        REACTIVATE = "reactivate", _("cancellation withdrawn")
        END = "end", _("ended")
        COUPON = "coupon", _("coupon redeemed")
        CONTRACT = "contract", _("contract terms set")
        DISPUTE = "dispute", _("payment disputed")
        RESTORE = "restore", _("disputed payment came back")

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="changes")
    act = models.CharField(max_length=10, choices=Act.choices)
    reference = models.CharField(max_length=250, unique=True)
    at = models.DateTimeField()
    from_version = models.ForeignKey(PlanVersion, null=True, on_delete=models.PROTECT, related_name="+")
    to_version = models.ForeignKey(PlanVersion, null=True, on_delete=models.PROTECT, related_name="+")
    from_seats = models.PositiveIntegerField(null=True)
    to_seats = models.PositiveIntegerField(null=True)
    invoice = models.ForeignKey(Invoice, null=True, on_delete=models.PROTECT, related_name="+")
    details = models.JSONField(default=dict)
    actor = models.CharField(max_length=80, blank=True, help_text="key:<id>, user:<id> or system.")

    def __str__(self) -> str:
        return self.reference


class ScheduledChange(models.Model):
    """A change of plan or seats that waits for the end of the period. At most one waits."""

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="scheduled_changes")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="+")
    seats = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    actor = models.CharField(max_length=80, blank=True)
    applied_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("subscription",),
                condition=Q(applied_at=None, withdrawn_at=None),
                name="scheduled_change_one_waits",
            ),
        )

    def __str__(self) -> str:
        return f"change of sub_{self.subscription_id}"


class CouponRedemption(models.Model):
    """That a subscription has a coupon, for so many more paid periods (empty: no end). Once per coupon."""

    subscription = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="redemptions")
    coupon = models.ForeignKey(Coupon, on_delete=models.PROTECT, related_name="redemptions")
    periods_left = models.PositiveSmallIntegerField(null=True, blank=True)
    created_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("subscription", "coupon"), name="coupon_once_per_subscription"),)

    def __str__(self) -> str:
        return f"{said_of(self, 'coupon')} of sub_{self.subscription_id}"


class _TstzRange(Func):
    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class ContractTerms(models.Model):
    """What was agreed with one account instead of a plan's terms, whatever its version, for periods that begin in
    `[starts_at, ends_at)`. Other plans cost the account what they cost everyone.

    An empty field leaves the plan's. Money is of `currency`, with or without tax as the plan's prices are;
    `overage_tiers` are as `PlanPrice` has them.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="contract_terms")
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="contract_terms")
    currency = CurrencyField(validators=[validate_currency])
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)
    fee = MoneyAmountField(null=True, blank=True)
    seat_price = MoneyAmountField(null=True, blank=True)
    minimum = MoneyAmountField(null=True, blank=True)
    included_credits = CreditsField(null=True, blank=True)
    seats_included = models.PositiveIntegerField(null=True, blank=True)
    overage_tiers = models.JSONField(null=True, blank=True)
    discount_percent = models.DecimalField(max_digits=6, decimal_places=3, null=True, blank=True)
    note = Name(max_length=200, blank=True)
    created_at = models.DateTimeField()
    actor = models.CharField(max_length=80, blank=True)

    class Meta:
        verbose_name_plural = "contract terms"
        constraints = (
            models.CheckConstraint(
                name="contract_terms_sane",
                condition=(Q(ends_at=None) | Q(ends_at__gt=F("starts_at")))
                & (Q(fee=None) | Q(fee__gte=0, fee__lt=MAX_MONEY))
                & (Q(seat_price=None) | Q(seat_price__gte=0, seat_price__lt=MAX_MONEY))
                & (Q(minimum=None) | Q(minimum__gte=0, minimum__lt=MAX_MONEY))
                & (Q(included_credits=None) | Q(included_credits__gte=0, included_credits__lt=MAX_CREDITS))
                & (Q(discount_percent=None) | Q(discount_percent__gte=0, discount_percent__lte=100)),
            ),
            ExclusionConstraint(
                name="contract_terms_no_overlap",
                expressions=[
                    (_TstzRange("starts_at", "ends_at", RangeBoundary()), RangeOperators.OVERLAPS),
                    ("account", RangeOperators.EQUAL),
                    ("plan", RangeOperators.EQUAL),
                    ("currency", RangeOperators.EQUAL),
                ],
                violation_error_message="Other terms of this account and plan are agreed for that time.",
            ),
        )

    def __str__(self) -> str:
        return f"terms of {said_of(self, 'account')} for {said_of(self, 'plan')}"
