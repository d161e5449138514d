"""What the sandbox, our own gateway for trying out, keeps as a bank would."""

from django.db import models
from django.db.models import F, Q
from djmoney.models.fields import CurrencyField

from billing.invoicing.models import MoneyAmountField


class SandboxCard(models.Model):
    """The sandbox's memory of a card: how it behaves. Card numbers are not kept."""

    class Behaviour(models.TextChoices):
        SUCCESS = "success"
        DECLINE = "decline"
        INSUFFICIENT = "insufficient"
        EXPIRED = "expired"
        ACTION = "action"
        OFF_SESSION = "off_session", "Declined off-session"
        SLOW = "slow"
        SLOW_DECLINE = "slow_decline"
        LOST_ANSWER = "lost_answer"
        BLACKOUT = "blackout"
        LATE = "late"
        VERY_LATE = "very_late"
        REFUND_FAILS = "refund_fails"
        WEARS_OUT = "wears_out"
        DISPUTED = "disputed"

    reference = models.CharField(max_length=100, unique=True)
    behaviour = models.CharField(max_length=20, choices=Behaviour.choices)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.reference


class SandboxCharge(models.Model):
    """The sandbox's memory of a charge, by idempotency key. What it will report, and when, stands here from the start.

    Until `settles_at` it is `processing` whoever asks; until `answers_at` nobody who asks gets an answer. A charge that
    waits for the customer (`requires_action`) fails at `action_until`. `dispute_state` is that of the one dispute that
    a charge can have.
    """

    idempotency_key = models.CharField(max_length=250, unique=True)
    reference = models.CharField(max_length=100, unique=True)
    card = models.ForeignKey(SandboxCard, on_delete=models.CASCADE, related_name="charges")
    amount = MoneyAmountField()
    currency = CurrencyField()
    description = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=15)
    failure_code = models.CharField(max_length=40, blank=True)
    return_url = models.CharField(max_length=500, blank=True)
    refunded = MoneyAmountField(default=0)
    created_at = models.DateTimeField()
    settles_at = models.DateTimeField()
    answers_at = models.DateTimeField()
    action_until = models.DateTimeField(null=True, blank=True)
    dispute_reference = models.CharField(max_length=100, blank=True)
    dispute_amount = MoneyAmountField(default=0)
    dispute_state = models.CharField(max_length=7, blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="sandbox_charge_sane", condition=Q(amount__gt=0, refunded__gte=0, refunded__lte=F("amount"))
            ),
        )

    def __str__(self) -> str:
        return f"{self.reference} ({self.state})"


class SandboxRefund(models.Model):
    """The sandbox's memory of a refund, by idempotency key."""

    idempotency_key = models.CharField(max_length=250, unique=True)
    reference = models.CharField(max_length=100, unique=True)
    charge = models.ForeignKey(SandboxCharge, on_delete=models.CASCADE, related_name="refunds")
    amount = MoneyAmountField()
    state = models.CharField(max_length=15)
    failure_message = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    answers_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.reference


class SandboxEvent(models.Model):
    """A webhook of the sandbox's: sent `sends_left` more times, the next at `due_at`; tried again until it is taken."""

    event_id = models.CharField(max_length=120, unique=True)
    charge = models.ForeignKey(SandboxCharge, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=60)
    payload = models.JSONField()
    created_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, blank=True)
    sends_left = models.PositiveSmallIntegerField(default=1)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True)

    class Meta:
        indexes = (models.Index(fields=("due_at",), name="sandbox_event_due", condition=Q(due_at__isnull=False)),)

    def __str__(self) -> str:
        return f"{self.kind} ({self.event_id})"
