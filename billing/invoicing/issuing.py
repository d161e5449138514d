"""Issuing invoices: what lines cost an account with tax, and the numbered document of it.

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
from django.db.models import Subquery

from billing.accounts.models import Account
from billing.catalog import pricing
from billing.invoicing import as_charged, contents, engines, exchange, issuers, numbering, pending, settling, tax
from billing.invoicing.lines import LineDraft, Quote, check, choose_pending, draft_of, rows_of, sale_lines, sum_up
from billing.invoicing.models import Invoice, InvoiceLine, Issuer, PendingItem
from billing.invoicing.tax_models import TaxExemption
from billing.ledger import pools

log = structlog.get_logger(__name__)

WITHOUT_BANK = {"iban": "", "bic": "", "bank_name": ""}
ZERO = Decimal(0)


class NoIssuer(Exception):
    """Nobody is set up to issue invoices: staff must add a default issuer in the admin."""

    def __init__(self) -> None:
        super().__init__("No default issuer: add one in the admin under Issuers.")


class ReferenceTaken(Exception):
    """The reference is in use for an invoice of another account."""


def get_issuer(account: Account) -> Issuer:
    """Who invoices the account: the default issuer, or for a test account its copy, which is saved. Raises NoIssuer."""
    issuer = _get_default()
    return issuers.get_test_issuer(issuer) if account.is_test else issuer


def get_seller(account: Account) -> dict[str, str]:
    """The account's issuer as documents name it. Writes nothing. Raises NoIssuer."""
    issuer = _get_default()
    return seller_of(issuers.copy_for_tests(issuer) if account.is_test else issuer)


def _get_default() -> Issuer:
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

    With `take_pending` the account's pending items of the currency are on it, too, but for credits of what was charged
    at another tax than today's: those become credit notes. Tax is rounded once per rate and shared out over its lines,
    so lines plus tax equal the totals and the tax table. Raises NoIssuer, tax.TaxNotPrepared, and ValueError for lines
    that no invoice can hold.
    """
    check(account, currency, lines, are_all=not take_pending)
    issuer, exemption = _find_seller(account, on)
    if take_pending:
        items = pending.list_open(account_id=account.pk, currency=currency)
        return _quote_with(items, issuer, account, currency, lines, on, exemption=exemption)[0]
    return _quote(issuer, account, currency, lines, on, exemption=exemption)


def issue(
    *,
    account_id: int,
    reference: str,
    currency: str,
    lines: Sequence[LineDraft],
    now: datetime,
    due_at: datetime | None = None,
    take_pending: bool = False,
    asks_transfer: bool = True,
) -> Invoice:
    """Issue the invoice of a reference: numbered without gaps, open, due by the issuer's terms unless told otherwise.
    Without `asks_transfer` it names no bank account: what is not paid by a card soon is void.

    Once per reference: repeating it returns the first one, whatever the lines; of several at once the others wait for
    the first. With `take_pending` the account's pending items of the currency stand on it as well, credits only as far
    as there is something to pay, and none of what was charged at another tax than today's. An invoice of nothing to pay
    is paid and fulfilled at once. The issuer's row is locked last, and until the caller's transaction ends: take every
    other lock before. Raises NoIssuer, ReferenceTaken, tax.TaxNotPrepared (`engines.with_tax` sees to it), and
    ValueError for lines that no invoice can hold.
    """
    with transaction.atomic():
        if (first := _find(account_id, reference)) is not None:
            return first
        account = Account.objects.get(pk=account_id)
        issuer = get_issuer(account)
        check(account, currency, lines, are_all=not take_pending)
        on = supply_date(account, now)
        items = pending.list_open(account_id=account_id, currency=currency).select_for_update(no_key=True)
        quoted, taken, otherwise = _quote_with(items if take_pending else (), issuer, account, currency, lines, on)
        if not quoted.lines:
            raise ValueError("an invoice needs a line")
        try:
            with transaction.atomic():
                said = what_is_said(issuer=issuer, account=account, currency=currency, quoted=quoted, now=now)
                if not asks_transfer:
                    said["seller"] |= WITHOUT_BANK
                due_at = due_at or now + timedelta(days=issuer.payment_terms_days)
                invoice = Invoice.objects.create(reference=reference, created_at=now, due_at=due_at, **said)
                written = InvoiceLine.objects.bulk_create(rows_of(invoice, quoted))
        except IntegrityError:
            # Whoever came second has waited in there, and now sees what the first has written.
            if (first := _find(account_id, reference)) is None:
                raise
            return first
        pending.pass_over(otherwise, now=now)
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
    tests = [order for order in orders if order.account.is_test]
    if tests and len(tests) < len(orders):
        issued = {each.reference: each for some in (tests, _real(orders)) for each in issue_many(some, now=now)}
        return [issued[order.reference] for order in orders]
    issuer = get_issuer(orders[0].account)
    with transaction.atomic():
        invoices, lines = [], []
        for order, quoted in zip(orders, _quote_many(issuer, orders, now), strict=True):
            said = what_is_said(issuer=issuer, account=order.account, currency=order.currency, quoted=quoted, now=now)
            due_at = order.due_at or now + timedelta(days=issuer.payment_terms_days)
            invoices.append(Invoice(reference=order.reference, created_at=now, due_at=due_at, **said))
            lines.append(quoted)
        Invoice.objects.bulk_create(invoices)
        written = [rows_of(invoice, quoted) for invoice, quoted in zip(invoices, lines, strict=True)]
        InvoiceLine.objects.bulk_create([line for of_it in written for line in of_it])
        free = [of_it for invoice, of_it in zip(invoices, written, strict=True) if not invoice.total]
        pools.lock(line.pool_id for of_it in free for line in of_it)
        numbers = numbering.draw_invoice_numbers(issuer.pk, len(invoices))
        for invoice, of_it, drawn in zip(invoices, written, numbers, strict=True):
            invoice.number, invoice.state, invoice.issued_at = drawn, Invoice.State.OPEN, now
            invoice.content_hash = contents.hash_invoice(invoice, of_it)
        numbering.write_numbers(invoices)
        return [each if each.total else settling.settle(invoice_id=each.pk, amount=ZERO, now=now) for each in invoices]


def _real(orders: Sequence[Order]) -> list[Order]:
    return [order for order in orders if not order.account.is_test]


def _quote_many(issuer: Issuer, orders: Sequence[Order], now: datetime) -> list[Quote]:
    """The quotes of orders; what sales that are alike cost is worked out once."""
    ids = [order.account.pk for order in orders]
    exempt = set(TaxExemption.objects.filter(account__in=ids, withdrawn_at=None).values_list("account_id", flat=True))
    known: dict[tax.Sale, tuple[tax.LineTax, ...]] = {}
    quotes = []
    for order in orders:
        account = order.account
        check(account, order.currency, order.lines)
        sale = tax.sale_of(
            account=account,
            issuer=issuer,
            currency=order.currency,
            lines=sale_lines(order.lines),
            on=supply_date(account, now),
            exemption=None if account.pk in exempt else "",
        )
        if sale not in known:
            known[sale] = engines.current().work_out(sale)
        quotes.append(sum_up(order.lines, known[sale]))
    return quotes


def _find(account_id: int, reference: str) -> Invoice | None:
    first = Invoice.objects.filter(reference=reference).first()
    if first is not None and first.account_id != account_id:
        raise ReferenceTaken(reference)
    return first


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


def _find_seller(account: Account, on: date) -> tuple[Issuer, str]:
    """The default issuer, and the number of the account's tax certificate, if any. One query. Raises NoIssuer."""
    certificate = tax.exemptions(account=account, on=on).values("number")[:1]
    issuer = Issuer.objects.filter(is_default=True).annotate(certificate=Subquery(certificate)).first()
    if issuer is None:
        raise NoIssuer
    return issuer, issuer.certificate or ""


def _quote(
    issuer: Issuer,
    account: Account,
    currency: str,
    lines: Sequence[LineDraft],
    on: date,
    *,
    exemption: str | None = None,
) -> Quote:
    sale = tax.sale_of(
        account=account, issuer=issuer, currency=currency, lines=sale_lines(lines), on=on, exemption=exemption
    )
    return sum_up(lines, engines.current().work_out(sale))


def _quote_with(
    items: Iterable[PendingItem],
    issuer: Issuer,
    account: Account,
    currency: str,
    lines: Sequence[LineDraft],
    on: date,
    *,
    exemption: str | None = None,
) -> tuple[Quote, tuple[pending.Taken, ...], list[PendingItem]]:
    """The quote of lines and of what is taken of pending items; that; and credits that are not taken, for they are of
    what was charged at another tax than today's."""
    left = list(items)
    otherwise: list[PendingItem] = []
    while True:
        taken = choose_pending(left, lines)
        drafts = [*lines, *(draft_of(each) for each in taken)]
        quoted = _quote(issuer, account, currency, drafts, on, exemption=exemption)
        credits = [
            (each.item, line) for each, line in zip(taken, quoted.lines[len(lines) :], strict=True) if each.amount < 0
        ]
        found = as_charged.find_otherwise(account, [line for _item, line in credits])
        if not found:
            return quoted, taken, otherwise
        passed = [item for index, (item, _line) in enumerate(credits) if index in found]
        otherwise += passed
        left = [item for item in left if item not in passed]


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
