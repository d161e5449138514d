"""The lines of an invoice to be: as asked for, with those that are pending, with their tax, and as rows.

Reads pools only, to see whose they are; writes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from moneyed import get_currency

from billing.accounts.models import Account
from billing.catalog import pricing
from billing.invoicing import pending, tax
from billing.invoicing.models import Invoice, InvoiceLine, PendingItem
from billing.ledger.models import CreditPool

ZERO = Decimal(0)
MOST_SUB_UNITS = 1000


@dataclass(frozen=True, slots=True)
class LineDraft:
    """A line to be: `amount` is money in the invoice's currency, rounded to its minor units; net, as `unit_price` is,
    or with `includes_tax` what is to be paid, whatever tax is in it.

    With `pool_id`, `credits` and `grant_kind` it carries a fulfilment: that many credits are granted once the invoice
    is paid, valid for `validity_days` from then (None: no end). What takes away has a negative quantity and amount.
    `recognition` (`InvoiceLine.Recognition`), `[starts_at, ends_at)` and `period_reference` stand on the line as given.
    """

    description: str
    quantity: Decimal
    unit_price: Decimal
    amount: Decimal
    category: str = tax.STANDARD
    includes_tax: bool = False
    pack_id: int | None = None
    pool_id: int | None = None
    credits: Decimal | None = None
    grant_kind: str = ""
    validity_days: int | None = None
    recognition: str = InvoiceLine.Recognition.AT_ONCE
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    period_reference: str = ""


@dataclass(frozen=True, slots=True)
class QuotedLine:
    """A line with its tax: `amount` and `unit_price` are net, whatever the draft's are."""

    draft: LineDraft
    unit_price: Decimal
    amount: Decimal
    tax_name: str
    tax_percent: Decimal
    tax_amount: Decimal
    treatment: InvoiceLine.Treatment


@dataclass(frozen=True, slots=True)
class Quote:
    """What lines cost. All money is of the asked currency; `subtotal` is net, `total` is what is to be paid."""

    subtotal: Decimal
    tax_total: Decimal
    total: Decimal
    tax_note: str
    lines: tuple[QuotedLine, ...]


def check(account: Account, currency: str, lines: Sequence[LineDraft], *, are_all: bool = True) -> None:
    """Raise ValueError for lines that no invoice of the account can hold; `are_all`: there will be no others."""
    if are_all and not lines:
        raise ValueError("an invoice needs a line")
    if get_currency(currency).sub_unit > MOST_SUB_UNITS:
        raise ValueError("money is kept to three decimals")
    for line in lines:
        if not line.quantity or line.quantity * line.amount < 0:
            raise ValueError("a line needs a quantity, and an amount of the same sign")
        if line.amount != pricing.round_money(line.amount, currency):
            raise ValueError("a line needs an amount in whole minor units")
        if (line.pool_id is None, line.credits is None, not line.grant_kind) not in ((True,) * 3, (False,) * 3):
            raise ValueError("a fulfilment needs a pool, credits and a kind")
    if sum(line.amount for line in lines) < 0:
        raise ValueError("an invoice cannot be about less than nothing")
    pool_ids = {line.pool_id for line in lines if line.pool_id is not None}
    if pool_ids and CreditPool.objects.filter(account=account, pk__in=pool_ids).count() != len(pool_ids):
        raise ValueError("a line grants credits to a pool of another account")


def choose_pending(items: Iterable[PendingItem], lines: Sequence[LineDraft]) -> tuple[pending.Taken, ...]:
    """Choose of the account's pending items. A credit takes no more than its own category has to pay, of prices that
    have tax in them or have not, as it has, so that neither the net sum nor any tax falls below nothing."""

    def room(taken: Sequence[pending.Taken], credit: PendingItem) -> Decimal:
        drafts = [*lines, *(draft_of(each) for each in taken)]
        alike = (credit.category, credit.includes_tax)
        return sum((line.amount for line in drafts if (line.category, line.includes_tax) == alike), ZERO)

    return pending.choose(list(items), room=room)


def draft_of(taken: pending.Taken) -> LineDraft:
    """The line that what is taken of a pending item will be."""
    item = taken.item
    is_whole = taken.amount == item.amount
    return LineDraft(
        description=item.description,
        quantity=item.quantity if is_whole else Decimal(-1),
        unit_price=item.unit_price if is_whole else -taken.amount,
        amount=taken.amount,
        category=item.category,
        includes_tax=item.includes_tax,
        recognition=item.recognition,
        starts_at=item.starts_at,
        ends_at=item.ends_at,
        period_reference=item.period_reference,
    )


def sale_lines(lines: Sequence[LineDraft]) -> list[tax.SaleLine]:
    """The lines as a tax engine is told of them."""
    return [tax.SaleLine(line.amount, line.category, line.includes_tax) for line in lines]


def sum_up(lines: Sequence[LineDraft], taxes: Sequence[tax.LineTax]) -> Quote:
    """The lines with their taxes. Raises ValueError where net or tax falls below nothing."""
    quoted = tuple(_quoted(line, found) for line, found in zip(lines, taxes, strict=True))
    subtotal = sum((line.amount for line in quoted), ZERO)
    tax_total = sum((line.tax_amount for line in quoted), ZERO)
    if subtotal < 0 or tax_total < 0:
        raise ValueError("an invoice cannot be about less than nothing")
    note = " ".join(dict.fromkeys(found.tax.note for found in taxes if found.tax.note))
    return Quote(subtotal, tax_total, subtotal + tax_total, note, quoted)


def _quoted(line: LineDraft, found: tax.LineTax) -> QuotedLine:
    unit_price = pricing.net_unit_price(line.unit_price, net=found.net, gross=line.amount)
    each = found.tax
    return QuotedLine(line, unit_price, found.net, each.name, each.percent, found.amount, each.treatment)


def rows_of(invoice: Invoice, quoted: Quote) -> list[InvoiceLine]:
    """The rows of an invoice's lines, to be written."""
    return [
        InvoiceLine(
            invoice=invoice,
            position=position,
            description=line.draft.description,
            quantity=line.draft.quantity,
            unit_price=line.unit_price,
            amount=line.amount,
            includes_tax=line.draft.includes_tax,
            category=line.draft.category,
            tax_name=line.tax_name,
            tax_percent=line.tax_percent,
            tax_amount=line.tax_amount,
            tax_treatment=line.treatment,
            pack_id=line.draft.pack_id,
            pool_id=line.draft.pool_id,
            credits=line.draft.credits,
            grant_kind=line.draft.grant_kind,
            validity_days=line.draft.validity_days,
            recognition=line.draft.recognition,
            starts_at=line.draft.starts_at,
            ends_at=line.draft.ends_at,
            period_reference=line.draft.period_reference,
            cost_basis=pricing.cost_per_credit(line.amount, line.draft.credits) if line.draft.credits else None,
        )
        for position, line in enumerate(quoted.lines, start=1)
    ]
