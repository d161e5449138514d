"""Money that came by bank transfer: recorded once, matched with invoices, or marked as returned.

What is matched is a payment like any other (`gateway` manual) and settles its invoice, wholly or in part. What is more
than the invoices owe stays on the transfer. Locks: the invoice's row, then the transfer's, then what settling locks.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import F, Q, QuerySet

from billing.accounts.models import Account
from billing.catalog import pricing
from billing.invoicing import settling
from billing.invoicing.models import Invoice, Issuer
from billing.payments.models import BankTransfer, Collection, GatewayName, Payment

ZERO = Decimal(0)
MAX_SUGGESTED = 10


class ReferenceTaken(Exception):
    """The reference names another transfer."""


class TooMuch(Exception):
    """More than is left of the transfer, or than the invoice owes."""

    def __init__(self, left: Decimal, currency: str) -> None:
        super().__init__(f"{left} {currency} is left")
        self.left = left
        self.currency = currency


class OtherCurrency(Exception):
    """The invoice is in another currency than the transfer."""


class NothingOwed(Exception):
    """Nothing is owed on the invoice: it is a draft, paid or void."""


class KeyTaken(Exception):
    """The key names another match."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An invoice that the transfer may be for. `is_named`: the payer wrote its number."""

    invoice: Invoice
    is_named: bool


def record(
    *,
    reference: str,
    received_on: date,
    amount: Decimal,
    currency: str,
    payer: str = "",
    payer_account: str = "",
    remittance: str = "",
    actor: str,
    now: datetime,
) -> tuple[BankTransfer, bool]:
    """Write down a transfer, once per reference, and whether this call did. Matches nothing.

    Raises ReferenceTaken when the reference names another day, amount or currency, and ValueError for an amount that
    is not positive or has more decimals than the currency.
    """
    if amount <= 0 or amount != pricing.round_money(amount, currency):
        raise ValueError("a transfer is of a positive amount in whole minor units")
    row, is_new = BankTransfer.objects.get_or_create(
        reference=reference,
        defaults={
            "received_on": received_on,
            "amount": amount,
            "currency": currency,
            "payer": payer[:200],
            "payer_account": payer_account.replace(" ", "")[:40],
            "remittance": remittance[:500],
            "recorded_at": now,
            "actor": actor,
        },
    )
    if (row.received_on, row.amount, row.currency) != (received_on, amount, currency):
        raise ReferenceTaken(reference)
    return row, is_new


def match(*, transfer_id: int, invoice_id: int, amount: Decimal | None = None, key: str, now: datetime) -> Payment:
    """Let a transfer, or `amount` of it (default: as much as both allow), pay what is owed on an invoice; once per key.
    A test account owes nothing that money could pay.

    Raises OtherCurrency, NothingOwed, TooMuch or KeyTaken; nothing is written then. A card payment of the invoice that
    is under way goes on: what it brings beyond what is then owed goes back by itself.
    """
    key = f"transfer:{transfer_id}:{key}"
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update(of=("self",)).select_related("account").get(pk=invoice_id)
        transfer = BankTransfer.objects.select_for_update().get(pk=transfer_id)
        known = Payment.objects.filter(idempotency_key=key).first()
        if known is not None:
            if known.invoice_id != invoice_id or (amount is not None and known.amount != amount):
                raise KeyTaken(key)
            return known
        if invoice.currency != transfer.currency:
            raise OtherCurrency(f"{transfer.currency} for {invoice} in {invoice.currency}")
        if not invoice.owed or invoice.account.is_test:
            raise NothingOwed(f"{invoice} is {invoice.state}")
        most = min(transfer.left, invoice.owed)
        paid = most if amount is None else amount
        if not 0 < paid <= most:
            raise TooMuch(most, transfer.currency)
        return _pay(invoice, transfer, paid, key, now=now)


def _pay(invoice: Invoice, transfer: BankTransfer, amount: Decimal, key: str, *, now: datetime) -> Payment:
    transfer.amount_matched += amount
    transfer.save(update_fields=["amount_matched"])
    payment = Payment.objects.create(
        invoice=invoice,
        transfer=transfer,
        gateway=GatewayName.MANUAL,
        gateway_reference=transfer.reference[:100],
        idempotency_key=key,
        amount=amount,
        currency=invoice.currency,
        state=Payment.State.SUCCEEDED,
        created_at=now,
        finished_at=now,
    )
    # Whoever collects the invoice without anyone's hand looks what that means for it.
    Collection.objects.filter(invoice=invoice, closed_at=None).update(next_at=now)
    settling.settle(invoice_id=invoice.pk, amount=amount, now=now)
    return payment


def choose(transfer: BankTransfer) -> list[Invoice]:
    """The invoices that a transfer pays without doubt; none where there is any.

    Without doubt are: the open invoice whose number the payer wrote; several such if the money reaches for all; else
    the one invoice that owes exactly this amount, of an account that this payer has paid for before, or bears the
    payer's name. Anything else is left to staff. Reads only.
    """
    if not transfer.left:
        return []
    chosen = _named(transfer)
    if len(chosen) > 1 and sum((invoice.owed for invoice in chosen), ZERO) > transfer.left:
        return []
    if chosen:
        return chosen
    known = _owed_in(transfer).filter(_owes(transfer.left), account__in=_accounts_of(transfer))[:2]
    return list(known) if len(known) == 1 else []


def match_by_itself(*, transfer_id: int, now: datetime) -> list[Payment]:
    """Match a transfer with the invoices that `choose` finds; the payments that made. Doing it again matches what is
    left, if any."""
    transfer = BankTransfer.objects.get(pk=transfer_id)
    payments = []
    for invoice in choose(transfer):
        try:
            payments.append(match(transfer_id=transfer_id, invoice_id=invoice.pk, key=f"invoice:{invoice.pk}", now=now))
        except (NothingOwed, TooMuch):
            continue
    return payments


def suggest(transfer: BankTransfer) -> list[Suggestion]:
    """Invoices that what is left of the transfer may be for, the likeliest first: those whose numbers the payer wrote,
    those of accounts the payer has paid for or bears the name of, those that owe exactly this amount."""
    if not transfer.left:
        return []
    named = _named(transfer)
    likely = _owed_in(transfer).filter(Q(account__in=_accounts_of(transfer)) | _owes(transfer.left))
    others = likely.exclude(pk__in=[invoice.pk for invoice in named]).order_by("due_at", "pk")[:MAX_SUGGESTED]
    return [Suggestion(invoice, True) for invoice in named] + [Suggestion(invoice, False) for invoice in others]


def list_named_settled(transfer: BankTransfer) -> list[Invoice]:
    """Invoices that the payer named and on which nothing is owed, the oldest first: void, paid or credited."""
    owed = [invoice.pk for invoice in _named(transfer)]
    rows = Invoice.objects.filter(number__in=_numbers_of(transfer), account__clock_at=None).exclude(pk__in=owed)
    return list(rows.order_by("issued_at", "pk")[:MAX_SUGGESTED])


def mark_returned(*, transfer_id: int, amount: Decimal | None = None, note: str, now: datetime) -> BankTransfer:
    """Write down that staff have sent `amount` (default: all that is left) of a transfer back. Raises TooMuch."""
    with transaction.atomic():
        transfer = BankTransfer.objects.select_for_update().get(pk=transfer_id)
        returned = transfer.left if amount is None else amount
        if not 0 < returned <= transfer.left:
            raise TooMuch(transfer.left, transfer.currency)
        transfer.amount_returned += returned
        transfer.note = note[:200]
        transfer.save(update_fields=["amount_returned", "note"])
        return transfer


def find_open_invoice(number: str) -> Invoice | None:
    """The invoice of this number on which something is owed; a test account owes no money."""
    found = Invoice.objects.filter(number=number.strip(), account__clock_at=None).select_related("account").first()
    return found if found is not None and found.owed else None


def _owed_in(transfer: BankTransfer) -> QuerySet[Invoice]:
    """Invoices of customers in the transfer's currency on which something is owed."""
    states = (Invoice.State.OPEN, Invoice.State.UNCOLLECTIBLE)
    rows = Invoice.objects.filter(currency=transfer.currency, state__in=states, account__clock_at=None).select_related(
        "account"
    )
    return rows.filter(total__gt=F("amount_credited") + F("amount_paid"))


def _owes(amount: Decimal) -> Q:
    """That exactly this is owed."""
    return Q(total=F("amount_credited") + F("amount_paid") + amount)


def _named(transfer: BankTransfer) -> list[Invoice]:
    """Invoices that the payer named and on which something is owed, the oldest first."""
    numbers = _numbers_of(transfer)
    return list(_owed_in(transfer).filter(number__in=numbers).order_by("issued_at", "pk")) if numbers else []


def _numbers_of(transfer: BankTransfer) -> set[str]:
    """The invoice numbers that the payer wrote."""
    prefixes = Issuer.objects.filter(is_test=False).values_list("invoice_prefix", flat=True)
    return numbers_in(transfer.remittance, prefixes)


def numbers_in(text: str, prefixes: "QuerySet[Issuer, str] | list[str]") -> set[str]:
    """The invoice numbers in what somebody wrote, however they separate the prefix from the digits.

    What is a number of a longer prefix (`INV-2026-000007`) is none of a shorter one (`INV-` and 2026).
    """
    found = set()
    for prefix in sorted(prefixes, key=len, reverse=True):
        letters = [re.escape(sign) for sign in prefix if sign.isalnum()]
        if not letters:
            continue
        # Digits that belong to the prefix end where something else stands.
        gap = r"[\W_]+" if letters[-1].isdigit() and not prefix[-1].isalnum() else r"[\W_]*"
        begins = r"(?<![A-Z0-9])" + r"[\W_]*".join(letters) + gap + r"0*([1-9][0-9]{0,9})(?![0-9])"
        pattern = re.compile(begins, re.IGNORECASE | re.ASCII)
        found |= {f"{prefix}{int(digits):06d}" for digits in pattern.findall(text)}
        text = pattern.sub("|", text)
    return found


def _accounts_of(transfer: BankTransfer) -> QuerySet[Account]:
    """The accounts that this payer has paid for before, by the bank account, or that bear the payer's name."""
    same = Q()
    if transfer.payer_account:
        paid = Payment.objects.filter(transfer__payer_account=transfer.payer_account)
        same |= Q(pk__in=paid.values("invoice__account"))
    if transfer.payer:
        same |= Q(name__iexact=transfer.payer)
    return Account.objects.filter(same) if same else Account.objects.none()
