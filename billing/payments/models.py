"""Tables of the payments room."""

from django.db import models
from django.db.models import F, Q
from djmoney.models.fields import CurrencyField

from billing.accounts.models import Account
from billing.invoicing.models import MAX_MONEY, CreditNote, Invoice, MoneyAmountField


class Gateway(models.TextChoices):
    """Who moves money for us."""

    SANDBOX = "sandbox"


class PaymentMethod(models.Model):
    """A way to pay that a gateway keeps for an account. We hold its name at the gateway and what people tell it by."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="payment_methods")
    gateway = models.CharField(max_length=20, choices=Gateway.choices)
    gateway_reference = models.CharField(max_length=100)
    brand = models.CharField(max_length=20)
    last4 = models.CharField(max_length=4)
    exp_month = models.PositiveSmallIntegerField()
    exp_year = models.PositiveSmallIntegerField()
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("gateway", "gateway_reference"), name="payment_method_unique"),
            models.UniqueConstraint(
                fields=("account",), condition=Q(is_default=True, removed_at=None), name="payment_method_one_default"
            ),
            models.CheckConstraint(
                name="payment_method_default_is_kept", condition=Q(is_default=False) | Q(removed_at=None)
            ),
        )

    def __str__(self) -> str:
        return f"{self.brand} \N{BULLET}\N{BULLET}\N{BULLET}\N{BULLET} {self.last4}"


class Payment(models.Model):
    """One attempt to collect an invoice.

    created -> processing -> succeeded | failed | requires_action | unknown; from requires_action and unknown on to
    succeeded or failed. `idempotency_key` is what the gateway tells a repeat by. `next_check_at` is when the gateway is
    asked next; a processing payment whose worker died comes up by it too.
    """

    class State(models.TextChoices):
        CREATED = "created"
        PROCESSING = "processing"
        REQUIRES_ACTION = "requires_action", "waiting for confirmation"
        UNKNOWN = "unknown", "outcome unknown"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    LIVE = ("created", "processing", "requires_action", "unknown")

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="payments")
    method = models.ForeignKey(PaymentMethod, null=True, blank=True, on_delete=models.PROTECT)
    gateway = models.CharField(max_length=20, choices=Gateway.choices)
    idempotency_key = models.CharField(max_length=120, unique=True)
    gateway_reference = models.CharField(max_length=100, blank=True)
    amount = MoneyAmountField()
    currency = CurrencyField()
    off_session = models.BooleanField(default=False)
    state = models.CharField(max_length=15, choices=State.choices, default=State.CREATED)
    failure_code = models.CharField(max_length=40, blank=True)
    failure_message = models.CharField(max_length=300, blank=True)
    action_url = models.CharField(max_length=500, blank=True)
    amount_refunded = MoneyAmountField(default=0)
    next_check_at = models.DateTimeField(null=True, blank=True)
    checks = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("next_check_at",), name="payment_due", condition=Q(next_check_at__isnull=False)),
            models.Index(fields=("gateway", "gateway_reference"), name="payment_at_gateway"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("invoice",),
                condition=Q(state__in=("created", "processing", "requires_action", "unknown")),
                name="payment_one_under_way",
            ),
            models.CheckConstraint(
                name="payment_sane",
                condition=Q(amount__gt=0, amount__lt=MAX_MONEY)
                & Q(amount_refunded__gte=0, amount_refunded__lte=F("amount")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.amount} {self.currency} ({self.state})"


class Refund(models.Model):
    """Money that goes back for a payment; `credit_note` is the document that says why."""

    class State(models.TextChoices):
        CREATED = "created"
        PROCESSING = "processing"
        UNKNOWN = "unknown", "outcome unknown"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    credit_note = models.OneToOneField(CreditNote, on_delete=models.PROTECT, related_name="refund")
    idempotency_key = models.CharField(max_length=120, unique=True)
    gateway_reference = models.CharField(max_length=100, blank=True)
    amount = MoneyAmountField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.CREATED)
    failure_message = models.CharField(max_length=300, blank=True)
    next_check_at = models.DateTimeField(null=True, blank=True)
    checks = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("next_check_at",), name="refund_due", condition=Q(next_check_at__isnull=False)),
        )
        constraints = (models.CheckConstraint(name="refund_sane", condition=Q(amount__gt=0, amount__lt=MAX_MONEY)),)

    def __str__(self) -> str:
        return f"{self.amount} ({self.state})"


class GatewayEvent(models.Model):
    """A webhook as a gateway sent it, its signature checked; kept until it has been acted upon, and after."""

    gateway = models.CharField(max_length=20, choices=Gateway.choices)
    event_id = models.CharField(max_length=120)
    kind = models.CharField(max_length=60)
    payload = models.JSONField()
    received_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("next_try_at",), name="gateway_event_due", condition=Q(next_try_at__isnull=False)),
        )
        constraints = (models.UniqueConstraint(fields=("gateway", "event_id"), name="gateway_event_once"),)

    def __str__(self) -> str:
        return f"{self.kind} ({self.event_id})"


class SandboxCard(models.Model):
    """The sandbox's memory of a card: how it behaves. Card numbers are not kept."""

    reference = models.CharField(max_length=100, unique=True)
    behaviour = models.CharField(max_length=20)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.reference


class SandboxCharge(models.Model):
    """The sandbox's memory of a charge, by idempotency key. What it will report, and when, stands here from the start.

    `settles_at`: until then it is `processing` whoever asks; `webhook_due_at`: when its webhook goes out.
    """

    idempotency_key = models.CharField(max_length=120, unique=True)
    reference = models.CharField(max_length=100, unique=True)
    card = models.ForeignKey(SandboxCard, on_delete=models.CASCADE)
    amount = MoneyAmountField()
    currency = CurrencyField()
    state = models.CharField(max_length=15)
    failure_code = models.CharField(max_length=40, blank=True)
    return_url = models.CharField(max_length=500, blank=True)
    refunded = MoneyAmountField(default=0)
    created_at = models.DateTimeField()
    settles_at = models.DateTimeField()
    webhook_due_at = models.DateTimeField(null=True, blank=True)
    webhook_attempts = models.PositiveSmallIntegerField(default=0)

    class Meta:
        indexes = (
            models.Index(
                fields=("webhook_due_at",), name="sandbox_webhook_due", condition=Q(webhook_due_at__isnull=False)
            ),
        )
        constraints = (
            models.CheckConstraint(
                name="sandbox_charge_sane", condition=Q(amount__gt=0, refunded__gte=0, refunded__lte=F("amount"))
            ),
        )

    def __str__(self) -> str:
        return f"{self.reference} ({self.state})"


class SandboxRefund(models.Model):
    """The sandbox's memory of a refund, by idempotency key."""

    idempotency_key = models.CharField(max_length=120, unique=True)
    reference = models.CharField(max_length=100, unique=True)
    charge = models.ForeignKey(SandboxCharge, on_delete=models.CASCADE, related_name="refunds")
    amount = MoneyAmountField()
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.reference
