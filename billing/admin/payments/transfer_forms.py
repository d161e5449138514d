"""What staff say about bank transfers."""

import uuid
from datetime import date
from decimal import Decimal

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy

from billing.accounts.fields import validate_currency
from billing.accounts.text import PlainText
from billing.admin.asking import OnceForm
from billing.invoicing.models import MAX_MONEY, Invoice
from billing.payments import transfers
from billing.payments.transfer_files import FIELDS, Reading

MAX_FILE_BYTES = 2 * 1024 * 1024
WIDE = {"class": "vTextField"}


class RecordForm(forms.Form):
    """A transfer as the statement shows it."""

    reference = PlainText(
        max_length=100,
        label=lazy("Bank's reference"),
        widget=forms.TextInput(attrs=WIDE),
        help_text=lazy("What the bank calls this movement; the same one is recorded once."),
    )
    received_on = forms.DateField(
        label=lazy("Received on"), initial=date.today, widget=forms.DateInput(attrs={"type": "date"})
    )
    amount = forms.DecimalField(
        label=lazy("Amount"), min_value=Decimal("0.001"), max_value=MAX_MONEY, max_digits=17, decimal_places=3
    )
    currency = PlainText(label=lazy("Currency"), max_length=3, validators=[validate_currency])
    payer = PlainText(label=lazy("Payer"), max_length=200, required=False, widget=forms.TextInput(attrs=WIDE))
    payer_account = PlainText(label=lazy("Payer's IBAN or account"), max_length=40, required=False)
    remittance = PlainText(
        label=lazy("What the payer wrote"), max_length=500, required=False, widget=forms.TextInput(attrs=WIDE)
    )


class MatchForm(OnceForm):
    """Which invoice a transfer pays, and how much of it."""

    reason = PlainText(label=lazy("Why"), max_length=200, required=False, widget=forms.TextInput(attrs=WIDE))
    invoice = PlainText(label=lazy("Invoice"), max_length=40)
    amount = forms.DecimalField(
        label=lazy("Amount"),
        required=False,
        max_digits=17,
        decimal_places=3,
        help_text=lazy("Empty: as much as the transfer has and the invoice owes."),
    )
    field_order = ("token", "invoice", "amount", "reason")

    def clean_invoice(self) -> Invoice:
        found = transfers.find_open_invoice(self.cleaned_data["invoice"])
        if found is None:
            raise forms.ValidationError(_("No invoice of this number has anything to be paid."))
        return found


class ReturnForm(OnceForm):
    """How much of a transfer was sent back."""

    amount = forms.DecimalField(
        label=lazy("Amount"),
        required=False,
        max_digits=17,
        decimal_places=3,
        help_text=lazy("Empty: all that is left."),
    )
    reason = PlainText(label=lazy("Why"), max_length=200, widget=forms.TextInput(attrs=WIDE))
    field_order = ("token", "amount", "reason")


class ImportForm(forms.Form):
    """A bank statement, and how to read it."""

    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)

    file = forms.FileField(label=lazy("CSV file"))
    currency = PlainText(
        label=lazy("Currency"), max_length=3, required=False, validators=[validate_currency],
        help_text=lazy("Of rows that say none."),
    )  # fmt: skip
    decimal_comma = forms.BooleanField(label=lazy("Amounts are written 1.234,56"), required=False)
    is_signed = forms.BooleanField(
        label=lazy("The sign of the amount alone says which way the money went"),
        required=False,
        help_text=lazy("Whatever other columns look like."),
    )
    columns = PlainText(
        label=lazy("Columns"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 50}),
        help_text=lazy("Where the file has other names, one a line: payer=Sender. Ours: ") + ", ".join(FIELDS),
    )

    def clean_file(self) -> UploadedFile:
        file: UploadedFile = self.cleaned_data["file"]
        if (file.size or 0) > MAX_FILE_BYTES:
            raise forms.ValidationError(_("The file is too large for a page: use manage.py import_transfers."))
        return file

    def clean_columns(self) -> dict[str, str]:
        columns = {}
        for line in self.cleaned_data["columns"].splitlines():
            name, _sign, column = (part.strip() for part in line.partition("="))
            if line.strip() and (name not in FIELDS or not column):
                raise forms.ValidationError(_("Not one of our columns: %(line)s") % {"line": line})
            if line.strip():
                columns[name] = column
        return columns

    @property
    def reading(self) -> Reading:
        """How a valid form says to read the file."""
        typed = self.cleaned_data
        return Reading(typed["columns"], typed["currency"], typed["decimal_comma"], typed["is_signed"])
