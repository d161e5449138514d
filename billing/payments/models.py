"""Tables of the payments room."""

from decimal import Decimal

from django.db import models
from django.db.models import F, Q
from djmoney.models.fields import CurrencyField

from billing.accounts.fields import validate_currency
from billing.accounts.models import Account
from billing.accounts.text import Name, said_of
from billing.invoicing.models import MAX_MONEY, CreditNote, Invoice, MoneyAmountField
from billing.wording import amounts


class GatewayName(models.TextChoices):
    """Who moves money for us."""

    SANDBOX = "sandbox"
    STRIPE = "stripe"
    MANUAL = "manual", "Bank transfer"


class GatewayCustomer(models.Model):
    """An account as a gateway knows it: whom it keeps the account's methods for."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    gateway = models.CharField(max_length=20, choices=GatewayName.choices)
    reference = models.CharField(max_length=100)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("account", "gateway"), name="gateway_customer_one"),)

    def __str__(self) -> str:
        return self.reference


class PaymentMethod(models.Model):
    """A way to pay that a gateway keeps for an account. We hold its name at the gateway and what people tell it by."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="payment_methods")
    gateway = models.CharField(max_length=20, choices=GatewayName.choices)
    gateway_reference = models.CharField(max_length=100)
    customer_reference = models.CharField(max_length=100, blank=True, help_text="Whom the gateway keeps it for.")
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


class CardSetup(models.Model):
    """That a customer was sent to a gateway's own page to type a card there. Once per `key`, a rendered form's.

    open -> done (`method` is the card) | expired (nobody finished it).
    """

    class State(models.TextChoices):
        OPEN = "open"
        DONE = "done"
        EXPIRED = "expired"

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="card_setups")
    key = models.CharField(max_length=250, unique=True)
    gateway = models.CharField(max_length=20, choices=GatewayName.choices)
    gateway_reference = models.CharField(max_length=200, blank=True)
    url = models.CharField(max_length=2000, blank=True)
    make_default = models.BooleanField(default=False)
    state = models.CharField(max_length=7, choices=State.choices, default=State.OPEN)
    method = models.ForeignKey(PaymentMethod, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (models.Index(fields=("gateway", "gateway_reference"), name="card_setup_at_gateway"),)

    def __str__(self) -> str:
        return f"{self.gateway_reference or self.key} ({self.state})"


class BankTransferQuerySet(models.QuerySet["BankTransfer"]):
    """What lists of transfers are narrowed by."""

    def unmatched(self) -> "BankTransferQuerySet":
        """Transfers of which something is neither matched nor returned."""
        return self.filter(amount__gt=F("amount_matched") + F("amount_returned"))


class BankTransfer(models.Model):
    """Money that came to the bank account, recorded by staff or imported; `reference` is the bank's, or a form's.

    What of it is matched with invoices has become payments (`gateway` manual); the rest is kept until it is matched or
    marked as returned.
    """

    reference = models.CharField(max_length=250, unique=True)
    received_on = models.DateField()
    amount = MoneyAmountField()
    currency = CurrencyField(validators=[validate_currency])
    payer = Name(max_length=200, blank=True)
    payer_account = Name(max_length=40, blank=True, help_text="IBAN or account number.")
    remittance = Name(max_length=500, blank=True, help_text="What the payer wrote.")
    amount_matched = MoneyAmountField(default=0)
    amount_returned = MoneyAmountField(default=0)
    note = Name(max_length=200, blank=True)
    recorded_at = models.DateTimeField()
    actor = models.CharField(max_length=80, blank=True)

    objects = BankTransferQuerySet.as_manager()

    class Meta:
        indexes = (
            models.Index(
                fields=("received_on",),
                name="bank_transfer_unmatched",
                condition=Q(amount__gt=F("amount_matched") + F("amount_returned")),
            ),
            models.Index(fields=("payer_account",), name="bank_transfer_payer", condition=~Q(payer_account="")),
        )
        constraints = (
            models.CheckConstraint(
                name="bank_transfer_sane",
                condition=Q(amount__gt=0, amount__lt=MAX_MONEY)
                & Q(amount_matched__gte=0, amount_returned__gte=0)
                & Q(amount__gte=F("amount_matched") + F("amount_returned")),
                violation_error_message="A transfer is of a positive amount.",
            ),
        )

    def __str__(self) -> str:
        return f"{amounts.money_text(self.amount, self.currency)} from {self.payer or '?'} on {self.received_on}"

    @property
    def left(self) -> Decimal:
        """What is neither matched nor returned, in `currency`."""
        return self.amount - self.amount_matched - self.amount_returned


class InvoiceCredit(models.Model):
    """Money of a credit note that the account keeps to pay its next invoices with: its invoice balance.

    The money stays with the payments of the credited invoice. What pays another invoice goes from there: a refund of
    the one and a payment of the other, both naming this row.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="invoice_credits")
    credit_note = models.OneToOneField(CreditNote, on_delete=models.PROTECT, related_name="invoice_credit")
    currency = CurrencyField(validators=[validate_currency])
    amount = MoneyAmountField()
    amount_used = MoneyAmountField(default=0)
    created_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(
                fields=("account", "currency"),
                name="invoice_credit_left",
                condition=Q(amount__gt=F("amount_used")),
            ),
        )
        constraints = (
            models.CheckConstraint(
                name="invoice_credit_sane",
                condition=Q(amount__gt=0, amount__lt=MAX_MONEY, amount_used__gte=0, amount_used__lte=F("amount")),
            ),
        )

    def __str__(self) -> str:
        return f"{amounts.money_text(self.amount, self.currency)} of {self.credit_note}"

    @property
    def left(self) -> Decimal:
        """What has not paid an invoice yet, in `currency`."""
        return self.amount - self.amount_used


class Payment(models.Model):
    """One attempt to collect an invoice.

    created -> processing -> succeeded | failed | requires_action | unknown; from requires_action and unknown on to
    succeeded or failed. `idempotency_key` is what the gateway tells a repeat by. `next_check_at` is when the gateway is
    asked next; a processing payment whose worker died comes up by it too. What a bank transfer paid has succeeded from
    the start and names its `transfer`; so has what the account's invoice balance paid, which names its
    `invoice_credit`, and is of the charge that brought the money. `amount_disputed` is what the bank holds back while a
    dispute goes on.
    """

    class State(models.TextChoices):
        CREATED = "created"
        PROCESSING = "processing"
        REQUIRES_ACTION = "requires_action", "Waiting for confirmation"
        UNKNOWN = "unknown", "Outcome unknown"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    LIVE = ("created", "processing", "requires_action", "unknown")

    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="payments")
    method = models.ForeignKey(PaymentMethod, null=True, blank=True, on_delete=models.PROTECT)
    transfer = models.ForeignKey(BankTransfer, null=True, blank=True, on_delete=models.PROTECT, related_name="payments")
    invoice_credit = models.ForeignKey(
        InvoiceCredit, null=True, blank=True, on_delete=models.PROTECT, related_name="payments"
    )
    gateway = models.CharField(max_length=20, choices=GatewayName.choices)
    idempotency_key = models.CharField(max_length=250, unique=True)
    gateway_reference = models.CharField(max_length=100, blank=True)
    amount = MoneyAmountField()
    currency = CurrencyField()
    off_session = models.BooleanField(default=False)
    state = models.CharField(max_length=15, choices=State.choices, default=State.CREATED)
    failure_code = models.CharField(max_length=40, blank=True)
    failure_message = models.CharField(max_length=300, blank=True)
    failure_is_hard = models.BooleanField(default=False, help_text="Another try with this method cannot succeed.")
    action_url = models.CharField(max_length=500, blank=True)
    return_url = models.CharField(max_length=500, blank=True)
    problem = models.CharField(max_length=300, blank=True, help_text="What staff should look at.")
    amount_refunded = MoneyAmountField(default=0)
    amount_disputed = MoneyAmountField(default=0)
    next_check_at = models.DateTimeField(null=True, blank=True)
    checks = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    submitted_at = models.DateTimeField(null=True, blank=True)
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
                & Q(amount_refunded__gte=0, amount_disputed__gte=0)
                & Q(amount__gte=F("amount_refunded") + F("amount_disputed")),
            ),
            models.CheckConstraint(
                name="payment_live_is_checked",
                condition=Q(state__in=("succeeded", "failed"), finished_at__isnull=False, next_check_at=None)
                | Q(
                    state__in=("created", "processing", "requires_action", "unknown"),
                    finished_at=None,
                    next_check_at__isnull=False,
                ),
            ),
        )

    def __str__(self) -> str:
        return f"{amounts.money_text(self.amount, self.currency)} ({self.state})"

    @property
    def refundable(self) -> Decimal:
        """What of it neither has gone back nor is disputed, in `currency`; of a payment that succeeded."""
        return self.amount - self.amount_refunded - self.amount_disputed


class Refund(models.Model):
    """Money that goes back for a payment; `credit_note` is the document that says why, and empty when the money was
    never needed: its invoice had been paid or cancelled meanwhile. With `invoice_credit` it has not left: it pays
    another invoice of the account.

    created -> processing -> succeeded | failed | unknown; from unknown on to succeeded or failed; a failed one can be
    retried by staff: `attempt` counts, and the gateway gets a key of its own for each.
    """

    class State(models.TextChoices):
        CREATED = "created"
        PROCESSING = "processing"
        UNKNOWN = "unknown", "Outcome unknown"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    credit_note = models.OneToOneField(
        CreditNote, null=True, blank=True, on_delete=models.PROTECT, related_name="refund"
    )
    invoice_credit = models.ForeignKey(
        InvoiceCredit, null=True, blank=True, on_delete=models.PROTECT, related_name="refunds"
    )
    idempotency_key = models.CharField(max_length=250, unique=True)
    gateway_reference = models.CharField(max_length=100, blank=True)
    amount = MoneyAmountField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.CREATED)
    attempt = models.PositiveSmallIntegerField(default=1)
    failure_message = models.CharField(max_length=300, blank=True)
    next_check_at = models.DateTimeField(null=True, blank=True)
    checks = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("next_check_at",), name="refund_due", condition=Q(next_check_at__isnull=False)),
        )
        constraints = (
            models.CheckConstraint(name="refund_sane", condition=Q(amount__gt=0, amount__lt=MAX_MONEY)),
            models.CheckConstraint(
                name="refund_live_is_checked",
                condition=Q(state__in=("succeeded", "failed"), finished_at__isnull=False, next_check_at=None)
                | Q(state__in=("created", "processing", "unknown"), finished_at=None, next_check_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{amounts.money_text(self.amount, self.currency)} ({self.state})"

    @property
    def currency(self) -> str:
        """Its payment's."""
        return self.payment.currency

    @property
    def gateway_key(self) -> str:
        """What the gateway tells a repeat of this attempt by."""
        return self.idempotency_key if self.attempt == 1 else f"{self.idempotency_key}#{self.attempt}"


class Dispute(models.Model):
    """That money of a payment was taken back without us: a payer had the bank do so, or somebody refunded it in the
    gateway's own dashboard (`kind` refund), which is a dispute that is lost from the start.

    inquiry (the bank asks, and has taken nothing) -> open (it has taken the money: what it paid for is taken back too)
    -> won (both come back) | lost (a credit note and a refund say so); an inquiry may also be `closed` without more.
    `respond_by` is until when staff can send evidence, at the gateway.
    """

    class State(models.TextChoices):
        INQUIRY = "inquiry"
        OPEN = "open"
        WON = "won"
        LOST = "lost"
        CLOSED = "closed"

    class Kind(models.TextChoices):
        DISPUTE = "dispute", "Disputed by the payer"
        REFUND = "refund", "Refunded at the gateway"

    ENDED = ("won", "lost", "closed")

    kind = models.CharField(max_length=7, choices=Kind.choices, default=Kind.DISPUTE)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="disputes")
    gateway = models.CharField(max_length=20, choices=GatewayName.choices)
    gateway_reference = models.CharField(max_length=100)
    amount = MoneyAmountField()
    reason = models.CharField(max_length=60, blank=True)
    state = models.CharField(max_length=7, choices=State.choices)
    respond_by = models.DateTimeField(null=True, blank=True)
    taken_back_at = models.DateTimeField(null=True, blank=True, help_text="When what it paid for was taken back.")
    refund = models.OneToOneField(Refund, null=True, blank=True, on_delete=models.PROTECT, related_name="dispute")
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("gateway", "gateway_reference"), name="dispute_unique"),
            models.CheckConstraint(name="dispute_sane", condition=Q(amount__gt=0, amount__lt=MAX_MONEY)),
            models.CheckConstraint(
                name="dispute_over_is_closed",
                condition=Q(state__in=("inquiry", "open"), closed_at=None)
                | Q(state__in=("won", "lost", "closed"), closed_at__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.gateway_reference} ({self.state})"

    @property
    def currency(self) -> str:
        """Its payment's."""
        return self.payment.currency


class GatewayEvent(models.Model):
    """A webhook as a gateway sent it, its signature checked; kept until it has been acted upon, and after."""

    gateway = models.CharField(max_length=20, choices=GatewayName.choices)
    event_id = models.CharField(max_length=120)
    kind = models.CharField(max_length=60)
    payload = models.JSONField()
    received_at = models.DateTimeField()
    processed_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("next_try_at",), name="gateway_event_due", condition=Q(next_try_at__isnull=False)),
        )
        constraints = (models.UniqueConstraint(fields=("gateway", "event_id"), name="gateway_event_once"),)

    def __str__(self) -> str:
        return f"{self.kind} ({self.event_id})"


class Collection(models.Model):
    """That an invoice is collected without anyone's hand, and how far dunning has gone with it.

    open (to be charged, or waiting for a transfer) -> paid | overdue (a try failed, or it is past its due date) ->
    paid | exhausted (the policy's days are over); stopped: the invoice was voided or given up. `next_at` is when it is
    looked at next. `has_news` is for the room that opened it, which reads it and takes it away. The policy is kept as
    it was.
    """

    class State(models.TextChoices):
        OPEN = "open"
        OVERDUE = "overdue"
        PAID = "paid"
        EXHAUSTED = "exhausted"
        STOPPED = "stopped"

    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="collection")
    purpose = Name(max_length=80, help_text="Who opened it and for what, e.g. subscription:5.")
    method = models.ForeignKey(PaymentMethod, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    is_automatic = models.BooleanField(default=True, help_text="Charge a method; otherwise it waits for a transfer.")
    policy = models.JSONField(help_text="retry_days, reminder_days, final_days, final_act, downgrade_to (plan id).")
    state = models.CharField(max_length=9, choices=State.choices, default=State.OPEN)
    tries = models.PositiveSmallIntegerField(default=0, help_text="Automatic ones.")
    retries_stopped = models.BooleanField(default=False, help_text="A hard decline: until there is another method.")
    overdue_at = models.DateTimeField(null=True, blank=True, help_text="Days of the policy count from here.")
    reminders_sent = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True, blank=True)
    has_news = models.BooleanField(default=False)
    last_error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("next_at",), name="collection_due", condition=Q(next_at__isnull=False)),
            models.Index(fields=("purpose",), name="collection_news", condition=Q(has_news=True)),
        )
        constraints = (
            models.CheckConstraint(
                name="collection_over_is_closed",
                condition=Q(state__in=("open", "overdue"), closed_at=None)
                | Q(state__in=("paid", "exhausted", "stopped"), closed_at__isnull=False, next_at=None),
            ),
        )

    def __str__(self) -> str:
        return f"collection of {said_of(self, 'invoice')} ({self.state})"
