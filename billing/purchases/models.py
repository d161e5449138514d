"""Tables of the purchases room."""

from django.db import models
from django.db.models import Q

from billing.accounts.models import Account, User
from billing.catalog.models import MAX_CREDITS
from billing.catalog.pack_models import Pack
from billing.invoicing.models import MAX_MONEY, Invoice, MoneyAmountField
from billing.ledger.models import CreditPool, CreditsField
from billing.payments.models import PaymentMethod


class Purchase(models.Model):
    """A pack bought by a person, or by a program, through one rendered form: `token` is that form's."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="purchases")
    token = models.UUIDField(unique=True)
    fingerprint = models.BinaryField(max_length=32, help_text="Of what was asked for, to tell a repeat from another.")
    pack = models.ForeignKey(Pack, on_delete=models.PROTECT)
    pool = models.ForeignKey(CreditPool, on_delete=models.PROTECT)
    credits = CreditsField()
    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="purchase")
    buyer = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(name="purchase_sane", condition=Q(credits__gt=0, credits__lt=MAX_CREDITS)),
        )

    def __str__(self) -> str:
        return f"{self.credits.normalize():f} credits"


class TopUpRule(models.Model):
    """When a pool buys credits by itself: whenever fewer than `threshold` are available.

    The caps count by calendar month of the account's zone; `max_money` is gross, in the pack's currency. Until
    `capped_until` the month's caps leave no room for another. `failures` counts declines since the last success; until
    `waits_until` the card that failed (`failed_method`) is not tried again, another one may be. `switched_off_at` tells
    a rule that switched itself off from one that its owner did (`is_active` false).
    """

    pool = models.OneToOneField(CreditPool, on_delete=models.CASCADE, related_name="top_up_rule")
    is_active = models.BooleanField(default=True)
    threshold = CreditsField()
    pack = models.ForeignKey(Pack, on_delete=models.PROTECT)
    credits = CreditsField()
    method = models.ForeignKey(
        PaymentMethod, null=True, blank=True, on_delete=models.PROTECT, help_text="Empty: the account's default."
    )
    max_count = models.PositiveSmallIntegerField(help_text="Top-ups a month.")
    max_money = MoneyAmountField(help_text="Money a month, tax included.")
    failures = models.PositiveSmallIntegerField(default=0, editable=False)
    waits_until = models.DateTimeField(null=True, blank=True, editable=False)
    switched_off_at = models.DateTimeField(null=True, blank=True, editable=False)
    switched_off_reason = models.CharField(max_length=200, blank=True, editable=False)
    failed_method = models.ForeignKey(
        PaymentMethod, null=True, blank=True, on_delete=models.PROTECT, related_name="+", editable=False
    )
    capped_until = models.DateTimeField(null=True, blank=True, editable=False)
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name = "top-up rule"
        indexes = (models.Index(fields=("pool",), name="top_up_rule_active", condition=Q(is_active=True)),)
        constraints = (
            models.CheckConstraint(
                name="top_up_rule_sane",
                condition=Q(threshold__gt=0, threshold__lt=MAX_CREDITS, credits__gt=0, credits__lt=MAX_CREDITS)
                & Q(max_count__gt=0, max_money__gt=0, max_money__lt=MAX_MONEY),
            ),
        )

    def __str__(self) -> str:
        return f"below {self.threshold.normalize():f}: {self.credits.normalize():f}"


class TopUp(models.Model):
    """One automatic purchase; open until its payment has succeeded or failed."""

    class State(models.TextChoices):
        OPEN = "open"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    rule = models.ForeignKey(TopUpRule, on_delete=models.CASCADE, related_name="top_ups")
    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="top_up")
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    month = models.DateField(help_text="First day of the month it counts in.")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "top-up"
        constraints = (
            models.UniqueConstraint(fields=("rule",), condition=Q(state="open"), name="top_up_one_under_way"),
        )

    def __str__(self) -> str:
        return f"{self.month} ({self.state})"
