"""Issuing invoices: what some lines cost with tax, and the numbered document of it.

Locks: pending items by primary key where they are taken, the new invoice, pools where nothing is to be paid, and last
the issuer's row for the number. Callers lock whatever else they need before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from django.db import IntegrityError, transaction
from moneyed import get_currency

from billing.accounts.models import Account
from billing.catalog import pricing
from billing.invoicing import contents, engines, exchange, numbering, pending, settling, tax
from billing.invoicing.models import Invoice, InvoiceLine, Issuer, PendingItem, TaxExemption
from billing.ledger import pools
from billing.ledger.models import CreditPool

log = structlog.get_logger(__name__)

ZERO = Decimal(0)
MOST_SUB_UNITS = 1000


class NoIssuer(Exception):
    """Nobody is set up to issue invoices: staff must add a default issuer in the admin."""

    def __init__(self) -> None:
        super().__init__("No default issuer: add one in the admin under Issuers.")


class ReferenceTaken(Exception):
    """The reference is in use for an invoice of another account."""


@dataclass(frozen=True, slots=True)
class LineDraft:
    """A line to be: `amount` is money in the invoice's currency, rounded to its minor units; net, as `unit_price` is,
    or with `includes_tax` what is to be paid, whatever tax is in it.

    With `pool_id`, `credits` and `grant_kind` it carries a fulfilment: that many credits are granted once the invoice
    is paid, valid for `validity_days` from then (None: for ever). What takes away has a negative quantity and amount.
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


def get_issuer() -> Issuer:
    """The default issuer. Raises NoIssuer."""
    issuer = Issuer.objects.filter(is_default=True).first()
    if issuer is None:
        raise NoIssuer
    return issuer


def supply_date(account: Account, now: datetime) -> date:
    """The day whose tax rates apply to what is sold now: today, where the account is."""
    return now.astimezone(ZoneInfo(account.time_zone)).date()


def quote(
    *, account: Account, currency: str, lines: Sequence[LineDraft], on: date, take_pending: bool = False
) -> Quote:
    """What an invoice of these lines would say if it were issued on that day (`supply_date`); writes nothing.

    With `take_pending` the account's pending items of the currency are on it, too. Tax is rounded once per rate and
    shared out over its lines, so lines plus tax equal the totals and the tax table. Raises NoIssuer,
    tax.TaxNotPrepared, and ValueError for lines that no invoice can hold.
    """
    _check(account, currency, lines, are_all=not take_pending)
    issuer = get_issuer()
    if take_pending:
        items = pending.list_open(account_id=account.pk, currency=currency)
        taken = _choose_pending(items, lines)
        lines = [*lines, *(_draft_of(each) for each in taken)]
    return _quote(issuer, account, currency, lines, on)


def issue(
    *,
    account_id: int,
    reference: str,
    currency: str,
    lines: Sequence[LineDraft],
    now: datetime,
    due_at: datetime | None = None,
    take_pending: bool = False,
) -> Invoice:
    """Issue the invoice of a reference: numbered without gaps, open, due by the issuer's terms unless told otherwise.

    Once per reference: repeating it returns the first one, whatever the lines; of several at once the others wait for
    the first. With `take_pending` the account's pending items of the currency stand on it as well, credits only as far
    as there is something to pay. An invoice of nothing to pay is paid and fulfilled at once. The issuer's row is
    locked last, and until the caller's transaction ends: take every other lock before. Raises NoIssuer, ReferenceTaken,
    tax.TaxNotPrepared (`engines.with_tax` sees to it), and ValueError for lines that no invoice can hold.
    """
    with transaction.atomic():
        if (first := _find(account_id, reference)) is not None:
            return first
        account = Account.objects.get(pk=account_id)
        issuer = get_issuer()
        _check(account, currency, lines, are_all=not take_pending)
        on = supply_date(account, now)
        items = pending.list_open(account_id=account_id, currency=currency).select_for_update(no_key=True)
        taken = _choose_pending(items, lines) if take_pending else ()
        drafts = [*lines, *(_draft_of(each) for each in taken)]
        if not drafts:
            raise ValueError("an invoice needs a line")
        try:
            with transaction.atomic():
                invoice, written = _write(
                    issuer, account, reference, currency, _quote(issuer, account, currency, drafts, on), now, due_at
                )
        except IntegrityError:
            # Whoever came second has waited in there, and now sees what the first has written.
            if (first := _find(account_id, reference)) is None:
                raise
            return first
        if taken:
            pending.mark(taken, written[len(lines) :], now=now)
        return number(invoice, written, now=now)


@dataclass(frozen=True, slots=True)
class Order:
    """An invoice to be issued with others: as `issue` is told of it, without what is pending."""

    account: Account
    reference: str
    currency: str
    lines: Sequence[LineDraft]
    due_at: datetime | None = None


def issue_many(orders: Sequence[Order], *, now: datetime) -> list[Invoice]:
    """Issue new invoices in a few statements, each as `issue` does, numbered in their order.

    Locks as `issue` does. Raises NoIssuer, tax.TaxNotPrepared, ValueError for lines that no invoice can hold, and
    django's IntegrityError for a reference that is in use; nothing is written then.
    """
    if not orders:
        return []
    issuer = get_issuer()
    with transaction.atomic():
        invoices, lines = [], []
        for order, quoted in zip(orders, _quote_many(issuer, orders, now), strict=True):
            said = what_is_said(issuer=issuer, account=order.account, currency=order.currency, quoted=quoted, now=now)
            due_at = order.due_at or now + timedelta(days=issuer.payment_terms_days)
            invoices.append(Invoice(reference=order.reference, created_at=now, due_at=due_at, **said))
            lines.append(quoted)
        Invoice.objects.bulk_create(invoices)
        written = [lines_of(invoice, quoted) for invoice, quoted in zip(invoices, lines, strict=True)]
        InvoiceLine.objects.bulk_create([line for of_it in written for line in of_it])
        free = [of_it for invoice, of_it in zip(invoices, written, strict=True) if not invoice.total]
        pools.lock(line.pool_id for of_it in free for line in of_it)
        numbers = numbering.draw_invoice_numbers(issuer.pk, len(invoices))
        for invoice, of_it, drawn in zip(invoices, written, numbers, strict=True):
            invoice.number, invoice.state, invoice.issued_at = drawn, Invoice.State.OPEN, now
            invoice.content_hash = contents.hash_invoice(invoice, of_it)
        numbering.write_numbers(invoices)
        return [each if each.total else settling.settle(invoice_id=each.pk, amount=ZERO, now=now) for each in invoices]


def _quote_many(issuer: Issuer, orders: Sequence[Order], now: datetime) -> list[Quote]:
    """The quotes of orders; what sales that are alike cost is worked out once."""
    ids = [order.account.pk for order in orders]
    exempt = set(TaxExemption.objects.filter(account__in=ids, withdrawn_at=None).values_list("account_id", flat=True))
    known: dict[tax.Sale, tuple[tax.LineTax, ...]] = {}
    quotes = []
    for order in orders:
        account = order.account
        _check(account, order.currency, order.lines)
        sale = tax.sale_of(
            account=account,
            issuer=issuer,
            currency=order.currency,
            lines=_sale_lines(order.lines),
            on=supply_date(account, now),
            may_be_exempt=account.pk in exempt,
        )
        if sale not in known:
            known[sale] = engines.current().work_out(sale)
        quotes.append(_sum_up(order.lines, known[sale]))
    return quotes


def _find(account_id: int, reference: str) -> Invoice | None:
    first = Invoice.objects.filter(reference=reference).first()
    if first is not None and first.account_id != account_id:
        raise ReferenceTaken(reference)
    return first


def _write(
    issuer: Issuer,
    account: Account,
    reference: str,
    currency: str,
    quoted: Quote,
    now: datetime,
    due_at: datetime | None,
) -> tuple[Invoice, list[InvoiceLine]]:
    said = what_is_said(issuer=issuer, account=account, currency=currency, quoted=quoted, now=now)
    due_at = due_at or now + timedelta(days=issuer.payment_terms_days)
    invoice = Invoice.objects.create(reference=reference, created_at=now, due_at=due_at, **said)
    return invoice, InvoiceLine.objects.bulk_create(lines_of(invoice, quoted))


def what_is_said(*, issuer: Issuer, account: Account, currency: str, quoted: Quote, now: datetime) -> dict[str, Any]:
    """What the columns of an invoice say of its parties, its money and its tax, if it were issued now."""
    return {
        "account": account,
        "issuer": issuer,
        "currency": currency,
        "subtotal": quoted.subtotal,
        "tax_total": quoted.tax_total,
        "total": quoted.total,
        "seller": seller_of(issuer),
        "customer": customer_of(account),
        "tax_note": quoted.tax_note,
        **_in_base(issuer, currency, quoted.tax_total, supply_date(account, now)),
    }


def _in_base(issuer: Issuer, currency: str, tax_total: Decimal, on: date) -> dict[str, Any]:
    """The tax in the currency of the issuer's books, with the rate used. Nothing where that is the invoice's own, or no
    rate of these days is known: an invoice does not wait for one."""
    nothing = {"base_currency": "", "base_rate": None, "base_rate_on": None, "tax_in_base": None}
    if issuer.base_currency in ("", currency):
        return nothing
    rate = exchange.find_rate(currency=currency, base=issuer.base_currency, on=on)
    if rate is None:
        log.warning("invoice.no_exchange_rate", currency=currency, base=issuer.base_currency, on=on.isoformat())
        return nothing
    return {
        "base_currency": issuer.base_currency,
        "base_rate": rate.worth,
        "base_rate_on": rate.on,
        "tax_in_base": pricing.convert_money(tax_total, rate.worth, issuer.base_currency),
    }


def number(invoice: Invoice, lines: Sequence[InvoiceLine], *, now: datetime) -> Invoice:
    """Make what has been written an issued invoice: what is to be fulfilled at once is locked, then the number drawn.

    The caller has written invoice and lines in this transaction, or locked them.
    """
    if not invoice.total:
        pools.lock(line.pool_id for line in lines)
    invoice.number = numbering.draw_invoice_number(invoice.issuer_id)
    invoice.state, invoice.issued_at = Invoice.State.OPEN, now
    invoice.content_hash = contents.hash_invoice(invoice, lines)
    invoice.save(update_fields=["number", "state", "issued_at", "content_hash"])
    return invoice if invoice.total else settling.settle(invoice_id=invoice.pk, amount=ZERO, now=now)


def _choose_pending(items: Iterable[PendingItem], lines: Sequence[LineDraft]) -> tuple[pending.Taken, ...]:
    """Choose of the account's pending items. A credit takes no more than its own category has to pay, of prices that
    have tax in them or have not, as it has, so that neither the net sum nor any tax falls below nothing."""

    def room(taken: Sequence[pending.Taken], credit: PendingItem) -> Decimal:
        drafts = [*lines, *(_draft_of(each) for each in taken)]
        alike = (credit.category, credit.includes_tax)
        return sum((line.amount for line in drafts if (line.category, line.includes_tax) == alike), ZERO)

    return pending.choose(list(items), room=room)


def _draft_of(taken: pending.Taken) -> LineDraft:
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


def _check(account: Account, currency: str, lines: Sequence[LineDraft], *, are_all: bool = True) -> None:
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


def _quote(issuer: Issuer, account: Account, currency: str, lines: Sequence[LineDraft], on: date) -> Quote:
    sale = tax.sale_of(account=account, issuer=issuer, currency=currency, lines=_sale_lines(lines), on=on)
    return _sum_up(lines, engines.current().work_out(sale))


def _sale_lines(lines: Sequence[LineDraft]) -> list[tax.SaleLine]:
    return [tax.SaleLine(line.amount, line.category, line.includes_tax) for line in lines]


def _sum_up(lines: Sequence[LineDraft], taxes: Sequence[tax.LineTax]) -> Quote:
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


def lines_of(invoice: Invoice, quoted: Quote) -> list[InvoiceLine]:
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


def seller_of(issuer: Issuer) -> dict[str, str]:
    """The issuer as the document names it."""
    return {
        "name": issuer.name,
        "address": issuer.address,
        "country": issuer.country,
        "tax_number": issuer.tax_number,
        "email": issuer.email,
        "footer": issuer.footer,
        "iban": issuer.iban,
        "bic": issuer.bic,
        "bank_name": issuer.bank_name,
    }


def customer_of(account: Account) -> dict[str, str]:
    """The account as the document names it, and the zone its dates are in."""
    return {
        "name": account.name,
        "address": account.address,
        "country": account.country,
        "region": account.region,
        "tax_number": account.tax_number,
        "email": account.billing_email,
        "time_zone": account.time_zone,
    }
