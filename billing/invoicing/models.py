"""Tables of the invoicing room. Money is a decimal with at most three places, rounded to its currency's minor units."""

from decimal import Decimal

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from djmoney.models.fields import CurrencyField

from billing.accounts.fields import validate_currency
from billing.accounts.models import Account
from billing.accounts.text import Email, Lines, Name
from billing.catalog.models import MAX_CREDITS
from billing.catalog.pack_models import Pack
from billing.invoicing.transfers import validate_bic, validate_iban
from billing.ledger.models import CreditPool, CreditsField, GrantKind, Posting

MAX_MONEY = 10**14
COUNTRY_VALIDATOR = RegexValidator(r"^[A-Z]{2}\Z", "Use a two-letter code.")


class MoneyAmountField(models.DecimalField):
    """An amount of money: numeric(18,3). The currency stands once per document. CHECKs keep NaN out."""

    def __init__(self, **options: object) -> None:
        options.setdefault("max_digits", 18)
        options.setdefault("decimal_places", 3)
        super().__init__(**options)  # type: ignore[arg-type]


class Issuer(models.Model):
    """Who invoices: the seller as documents name it, and the numbers drawn. Its row is the lock for numbering.

    `is_test`: it issues what test accounts are sold, as a copy of the default issuer with a series of its own.
    """

    key = Name(max_length=40, unique=True)
    name = Name(max_length=200)
    address = Lines(max_length=500, blank=True)
    country = models.CharField(max_length=2, validators=[COUNTRY_VALIDATOR])
    tax_number = Name(max_length=32, blank=True)
    email = Email(max_length=254, blank=True)
    tax_countries = ArrayField(
        models.CharField(max_length=2, validators=[COUNTRY_VALIDATOR]),
        default=list,
        blank=True,
        help_text="Other countries where it is registered and charges tax, e.g. CH, GB. Its own country, and for an "
        "issuer in the EU all of the EU, need not be listed.",
    )
    payment_terms_days = models.PositiveSmallIntegerField(default=14)
    footer = Lines(max_length=500, blank=True, help_text="Register entry, directors: on every document.")
    iban = models.CharField(
        max_length=34, blank=True, validators=[validate_iban], help_text="Invoices to be paid name it, with a QR code."
    )
    bic = models.CharField(max_length=11, blank=True, validators=[validate_bic])
    bank_name = Name(max_length=80, blank=True)
    base_currency = CurrencyField(
        default="",
        blank=True,
        validators=[validate_currency],
        help_text="What its books are kept in: invoices in another currency also say their tax in it. Empty: none do.",
    )
    invoice_prefix = Name(max_length=12, default="INV-")
    last_invoice_number = models.PositiveIntegerField(default=0, editable=False)
    credit_note_prefix = Name(max_length=12, default="CN-")
    last_credit_note_number = models.PositiveIntegerField(default=0, editable=False)
    is_default = models.BooleanField(default=False)
    is_test = models.BooleanField(default=False, editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("is_default",), condition=Q(is_default=True), name="issuer_one_default"),
            models.UniqueConstraint(fields=("is_test",), condition=Q(is_test=True), name="issuer_one_test"),
            models.CheckConstraint(
                name="issuer_test_prefixes",
                condition=Q(is_test=True, is_default=False)
                | (
                    Q(is_test=False) & ~Q(invoice_prefix__startswith="TEST") & ~Q(credit_note_prefix__startswith="TEST")
                ),
                violation_error_message="Prefixes that begin with TEST are those of test accounts.",
            ),
            models.UniqueConstraint(
                fields=("invoice_prefix",),
                name="issuer_invoice_prefix_unique",
                violation_error_message="Another issuer has this prefix for invoices.",
            ),
            models.UniqueConstraint(
                fields=("credit_note_prefix",),
                name="issuer_credit_note_prefix_unique",
                violation_error_message="Another issuer has this prefix for credit notes.",
            ),
        )

    def __str__(self) -> str:
        return self.name


# A rate, its day and the tax in the base currency stand together or not at all.
_BASE_WHOLE = Q(base_currency="", base_rate=None, base_rate_on=None, tax_in_base=None) | (
    ~Q(base_currency="")
    & Q(base_rate__gt=0, base_rate__lt=MAX_MONEY, base_rate_on__isnull=False)
    & Q(tax_in_base__gte=0, tax_in_base__lt=MAX_MONEY)
)


class Invoice(models.Model):
    """What an account owes for some lines. A draft has no number; an issued one never changes but in its state.

    `reference` says what it is for and makes it unique (`purchase:<token>`, `top-up:<id>`). `seller` and `customer` are
    the parties as they were when it was issued. `amount_paid` less `amount_refunded` is what the seller has.
    `base_rate` is what one unit of `currency` was worth in the issuer's `base_currency` on `base_rate_on`, where the
    two differ and a rate was known. `content_hash` proves what the document said when it was issued (`contents`).
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        OPEN = "open"
        PAID = "paid"
        VOID = "void"
        UNCOLLECTIBLE = "uncollectible"

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="invoices")
    issuer = models.ForeignKey(Issuer, on_delete=models.PROTECT)
    reference = models.CharField(max_length=250, unique=True)
    number = models.CharField(max_length=40, null=True, blank=True, unique=True)
    state = models.CharField(max_length=13, choices=State.choices, default=State.DRAFT)
    currency = CurrencyField(validators=[validate_currency])
    subtotal = MoneyAmountField(default=0)
    tax_total = MoneyAmountField(default=0)
    total = MoneyAmountField(default=0)
    amount_paid = MoneyAmountField(default=0)
    amount_credited = MoneyAmountField(default=0)
    amount_refunded = MoneyAmountField(default=0)
    seller = models.JSONField(default=dict)
    customer = models.JSONField(default=dict)
    tax_note = Name(max_length=400, blank=True)
    base_currency = CurrencyField(default="", blank=True)
    base_rate = models.DecimalField(max_digits=24, decimal_places=12, null=True, blank=True)
    base_rate_on = models.DateField(null=True, blank=True)
    tax_in_base = MoneyAmountField(null=True, blank=True)
    content_hash = models.CharField(max_length=70, blank=True)
    created_at = models.DateTimeField()
    issued_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)
    uncollectible_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (models.Index(fields=("account", "-id"), name="invoice_of_account"),)
        constraints = (
            models.CheckConstraint(
                name="invoice_totals_sane",
                condition=Q(total=F("subtotal") + F("tax_total"))
                & Q(subtotal__gte=0, tax_total__gte=0, total__lt=MAX_MONEY)
                & Q(amount_paid__gte=0, amount_paid__lte=F("total"))
                & Q(amount_credited__gte=0, amount_credited__lte=F("total"))
                & Q(amount_refunded__gte=0, amount_refunded__lte=F("amount_paid")),
            ),
            models.CheckConstraint(
                name="invoice_number_when_issued",
                condition=Q(state="draft", number=None, issued_at=None)
                | (~Q(state="draft") & Q(number__isnull=False, issued_at__isnull=False)),
            ),
            models.CheckConstraint(
                name="invoice_paid_in_full",
                condition=~Q(state="paid") | Q(amount_paid__gte=F("total") - F("amount_credited")),
            ),
            models.CheckConstraint(name="invoice_base_whole", condition=_BASE_WHOLE),
        )

    def __str__(self) -> str:
        return self.number or f"draft {self.pk}"

    @property
    def owed(self) -> Decimal:
        """What is still to be paid, in `currency`: nothing unless the invoice is open or was given up."""
        if self.state not in (self.State.OPEN, self.State.UNCOLLECTIBLE):
            return Decimal(0)
        return max(self.total - self.amount_credited - self.amount_paid, Decimal(0))


class InvoiceLine(models.Model):
    """A line of an invoice: net `amount`, tax apart. It may carry a fulfilment: credits to grant once it is paid.

    With `includes_tax` the price was agreed with tax in it: `amount` + `tax_amount` is that price, exactly.

    What takes away (a discount, unused time) has a negative quantity and amount. `recognition` says when its revenue is
    earned; `[starts_at, ends_at)` is the time it is for. Lines of one subscription period share `period_reference`.
    `cost_basis` is the net money per credit of the lot it grants (L11). `posting` is the grant, once made.
    """

    class Treatment(models.TextChoices):
        TAXED = "taxed"
        REVERSE_CHARGE = "reverse_charge", "reverse charge"
        EXEMPT = "exempt", "exempt"
        UNTAXED = "untaxed", "not taxed"

    class Recognition(models.TextChoices):
        AT_ONCE = "at_once", "when invoiced"
        PERIOD = "period", "day by day over its service period"
        CREDITS = "credits", "as the credits it pays for are used or expire"

    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    position = models.PositiveSmallIntegerField()
    description = Name(max_length=200)
    quantity = models.DecimalField(max_digits=24, decimal_places=6)
    unit_price = models.DecimalField(max_digits=24, decimal_places=12)
    amount = MoneyAmountField()
    category = Name(max_length=20, default="standard")
    includes_tax = models.BooleanField(default=False)
    tax_name = Name(max_length=40, blank=True)
    tax_percent = models.DecimalField(max_digits=6, decimal_places=3, default=0)
    tax_amount = MoneyAmountField(default=0)
    tax_treatment = models.CharField(max_length=14, choices=Treatment.choices, default=Treatment.UNTAXED)
    pack = models.ForeignKey(Pack, null=True, blank=True, on_delete=models.PROTECT)
    pool = models.ForeignKey(CreditPool, null=True, blank=True, on_delete=models.PROTECT)
    credits = CreditsField(null=True, blank=True)
    grant_kind = models.CharField(max_length=10, choices=GrantKind.choices, blank=True)
    validity_days = models.PositiveIntegerField(null=True, blank=True)
    recognition = models.CharField(max_length=8, choices=Recognition.choices, default=Recognition.AT_ONCE)
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    period_reference = models.CharField(max_length=80, blank=True)
    cost_basis = models.DecimalField(max_digits=24, decimal_places=12, null=True, blank=True)
    amount_credited = MoneyAmountField(default=0)
    tax_credited = MoneyAmountField(default=0)
    credits_refunded = CreditsField(default=0)
    fulfilled_at = models.DateTimeField(null=True, blank=True)
    posting = models.ForeignKey(Posting, null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=("invoice", "position"), name="invoice_line_position"),
            models.CheckConstraint(
                name="invoice_line_sane",
                condition=(
                    Q(quantity__gt=0, quantity__lt=MAX_CREDITS)
                    & Q(amount__gte=0, amount__lt=MAX_MONEY, tax_amount__gte=0, tax_amount__lt=MAX_MONEY)
                    & Q(amount_credited__gte=0, amount_credited__lte=F("amount"))
                    & Q(tax_credited__gte=0, tax_credited__lte=F("tax_amount"))
                )
                | Q(
                    quantity__lt=0,
                    quantity__gt=-MAX_CREDITS,
                    amount__lte=0,
                    amount__gt=-MAX_MONEY,
                    tax_amount__lte=0,
                    tax_amount__gt=-MAX_MONEY,
                    amount_credited=0,
                    tax_credited=0,
                    credits=None,
                ),
            ),
            models.CheckConstraint(
                name="invoice_line_time_whole",
                condition=Q(starts_at=None, ends_at=None) | Q(ends_at__gt=F("starts_at")),
            ),
            models.CheckConstraint(
                name="invoice_line_fulfilment_whole",
                condition=Q(credits=None, pool=None, grant_kind="")
                | Q(
                    credits__gt=0,
                    credits__lt=MAX_CREDITS,
                    pool__isnull=False,
                    cost_basis__gte=0,
                    credits_refunded__gte=0,
                    credits_refunded__lte=F("credits"),
                )
                & ~Q(grant_kind=""),
            ),
        )

    def __str__(self) -> str:
        return self.description


class CreditNote(models.Model):
    """Takes back a part of an issued invoice, at the exchange rate of that. Issued at once, immutable. `account` is the
    invoice's: callers name their refunds per account."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="credit_notes", db_index=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    reference = models.CharField(max_length=250)
    number = models.CharField(max_length=40, unique=True)
    reason = Name(max_length=200)
    currency = CurrencyField()
    subtotal = MoneyAmountField()
    tax_total = MoneyAmountField()
    total = MoneyAmountField()
    seller = models.JSONField(default=dict)
    customer = models.JSONField(default=dict)
    base_currency = CurrencyField(default="", blank=True)
    base_rate = models.DecimalField(max_digits=24, decimal_places=12, null=True, blank=True)
    base_rate_on = models.DateField(null=True, blank=True)
    tax_in_base = MoneyAmountField(null=True, blank=True)
    content_hash = models.CharField(max_length=70, blank=True)
    issued_at = models.DateTimeField()
    actor = models.CharField(max_length=80, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("account", "reference"), name="credit_note_reference"),
            models.CheckConstraint(name="credit_note_base_whole", condition=_BASE_WHOLE),
            models.CheckConstraint(
                name="credit_note_totals_sane",
                condition=Q(total=F("subtotal") + F("tax_total"), subtotal__gte=0, tax_total__gte=0, total__gt=0)
                & Q(total__lt=MAX_MONEY),
            ),
        )

    def __str__(self) -> str:
        return self.number


class CreditNoteLine(models.Model):
    """What a credit note takes back of one line."""

    credit_note = models.ForeignKey(CreditNote, on_delete=models.CASCADE, related_name="lines")
    invoice_line = models.ForeignKey(InvoiceLine, on_delete=models.PROTECT, related_name="credit_note_lines")
    description = Name(max_length=200)
    credits = CreditsField(null=True, blank=True)
    amount = MoneyAmountField()
    tax_amount = MoneyAmountField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("credit_note", "invoice_line"), name="credit_note_line_once"),
            models.CheckConstraint(
                name="credit_note_line_sane",
                condition=Q(amount__gte=0, amount__lt=MAX_MONEY, tax_amount__gte=0, tax_amount__lt=MAX_MONEY),
            ),
        )

    def __str__(self) -> str:
        return self.description


class PendingItem(models.Model):
    """Something to stand on the account's next invoice of its currency; a credit is negative. Once per `reference`.

    An invoice takes as much of the credits as it has to pay; what is left of one stays pending as an item of its own.
    One of what was charged at another tax is passed over (`passed_over_at`), and becomes a credit note.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="pending_items")
    currency = CurrencyField(validators=[validate_currency])
    reference = models.CharField(max_length=250, unique=True)
    description = Name(max_length=200)
    quantity = models.DecimalField(max_digits=24, decimal_places=6, default=1)
    unit_price = models.DecimalField(max_digits=24, decimal_places=12)
    amount = MoneyAmountField()
    includes_tax = models.BooleanField(default=False, help_text="The amount has its tax in it.")
    category = Name(max_length=20, default="standard")
    recognition = models.CharField(
        max_length=8, choices=InvoiceLine.Recognition.choices, default=InvoiceLine.Recognition.AT_ONCE
    )
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    period_reference = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField()
    actor = models.CharField(max_length=80, blank=True)
    invoice_line = models.OneToOneField(InvoiceLine, null=True, blank=True, on_delete=models.PROTECT)
    passed_over_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(
                fields=("account",), name="pending_item_open", condition=Q(invoice_line=None, cancelled_at=None)
            ),
        )
        constraints = (
            models.CheckConstraint(
                name="pending_item_sane",
                condition=Q(quantity__gt=0, amount__gte=0, amount__lt=MAX_MONEY)
                | Q(quantity__lt=0, amount__lte=0, amount__gt=-MAX_MONEY),
            ),
            models.CheckConstraint(
                name="pending_item_taken_or_cancelled", condition=Q(invoice_line=None) | Q(cancelled_at=None)
            ),
        )

    def __str__(self) -> str:
        return self.description
