"""The proof: each total worked a second way, from other rows, and whether the two meet to the minor unit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db import connection

from billing.accounts import clocks
from billing.catalog.pricing import round_money
from billing.finance import deferred, journal, receivables, tax_report
from billing.finance.accrual import Column, Movements
from billing.finance.deferred import Sheet, Totals
from billing.finance.documents import Bill
from billing.finance.journal import Document
from billing.finance.months import Months, first_moment, last_day, month_of
from billing.finance.prepayments import CHARGEBACKS, ORIGINS, OTHER, PACKS

ZERO = Decimal(0)
COLUMNS = ("currency", "what", "one_way", "other_way", "holds")


@dataclass(frozen=True, slots=True)
class Check:
    """Two ways to one sum of a currency."""

    currency: str
    what: str
    one: Decimal
    other: Decimal

    @property
    def holds(self) -> bool:
        return self.one == self.other


# The lots themselves, and what stands in documents and promises, each at a moment: not what moved, but what is there.
_LOTS = f"""
{ORIGINS}
SELECT g.currency, coalesce(sum(g.remaining * g.cost_basis) FILTER (WHERE o.root IN (SELECT root FROM paid)), 0),
       coalesce(sum(g.remaining * g.cost_basis) FILTER (WHERE o.root NOT IN (SELECT root FROM paid)), 0)
FROM origin o JOIN billing_creditgrant g ON g.id = o.id GROUP BY 1
"""  # noqa: S608

_PROMISED = f"""
SELECT currency, sum(money) FROM (
    SELECT s.currency, a.credits * a.cost_basis AS money
    FROM billing_allocation a JOIN billing_subscription s ON s.id = a.subscription_id
    LEFT JOIN billing_invoice i ON i.id = a.invoice_id
    WHERE a.granted_at IS NULL AND a.cancelled_at IS NULL AND i.voided_at IS NULL
        AND {clocks.in_books("s.account_id")}
    UNION ALL
    SELECT i.currency, l.amount - l.amount_credited
    FROM billing_invoiceline l JOIN billing_invoice i ON i.id = l.invoice_id
    WHERE l.credits IS NOT NULL AND l.fulfilled_at IS NULL AND i.state IN ('open', 'paid', 'uncollectible')
        AND {clocks.in_books("i.account_id")}
) promised GROUP BY 1
"""  # noqa: S608  (only constants)

_AHEAD = f"""
SELECT currency, sum(money * greatest(extract(epoch FROM ends_at - greatest(%(until)s, starts_at)), 0)
                     / extract(epoch FROM ends_at - starts_at)) FROM (
    SELECT i.currency, l.amount - l.amount_credited AS money, l.starts_at, l.ends_at
    FROM billing_invoiceline l JOIN billing_invoice i ON i.id = l.invoice_id
    WHERE l.recognition = 'period' AND l.credits IS NULL AND i.state IN ('open', 'paid', 'uncollectible')
        AND {clocks.in_books("i.account_id")}
    UNION ALL
    SELECT currency, amount, starts_at, ends_at FROM billing_pendingitem
    WHERE recognition = 'period' AND invoice_line_id IS NULL AND cancelled_at IS NULL
        AND {clocks.in_books("account_id")}
) ahead WHERE ends_at > %(until)s GROUP BY 1
"""  # noqa: S608  (only constants)

_DISPUTED = f"""
WITH {CHARGEBACKS}
SELECT g.currency, -sum(e.amount * g.cost_basis)
FROM billing_dispute d
JOIN chargeback c ON c.dispute_id = d.id AND c.flow = 'revoke'
JOIN billing_ledgerentry e ON e.posting_id = c.posting_id AND e.flow = 'revoke'
JOIN billing_creditgrant g ON g.id = e.grant_id AND g.cost_basis > 0
JOIN billing_creditpool pool ON pool.id = g.pool_id AND {clocks.in_books("pool.account_id")}
WHERE d.closed_at IS NULL OR (c.follows AND d.state <> 'lost' AND NOT EXISTS (
    SELECT FROM chargeback back WHERE back.dispute_id = d.id AND back.name = c.name AND back.flow = 'grant'
)) GROUP BY 1
"""  # noqa: S608

_HELD = f"""
SELECT p.currency, sum(p.amount_disputed) FROM billing_payment p JOIN billing_invoice i ON i.id = p.invoice_id
WHERE {clocks.in_books("i.account_id")} GROUP BY 1
"""  # noqa: S608  (only constants)

_INVOICED = f"""
SELECT currency, sum(net), sum(tax), sum(total), sum(line_net), sum(line_tax), sum(paid - refunded), sum(owed) FROM (
    SELECT i.currency, i.subtotal AS net, i.tax_total AS tax, i.total, i.amount_paid AS paid,
           i.amount_refunded AS refunded,
           CASE WHEN i.state IN ('open', 'uncollectible') THEN i.total - i.amount_credited - i.amount_paid ELSE 0 END
           AS owed,
           (SELECT sum(amount) FROM billing_invoiceline l WHERE l.invoice_id = i.id) AS line_net,
           (SELECT sum(tax_amount) FROM billing_invoiceline l WHERE l.invoice_id = i.id) AS line_tax
    FROM billing_invoice i WHERE i.issued_at IS NOT NULL AND {clocks.in_books("i.account_id")}
) document GROUP BY 1
"""  # noqa: S608  (only constants)


def prove(*, found: Movements, bills: list[Bill], until: datetime, is_whole: bool, tests: bool = False) -> list[Check]:
    """Check everything from the beginning to `until`. What is compared with how rows stand now, lots, promises and
    amounts paid, is checked only where nothing is later than `until` (`is_whole`)."""
    months = Months(_first_month(found, bills, until), until)
    sheets = deferred.list_sheets(found, months)
    documents = journal.list_documents(bills, sheets, months)
    checks = [*_of_documents(bills, until, tests), *_of_sheets(found, sheets, bills, documents, until)]
    if is_whole:
        checks += _of_rows(found, bills, until, tests)
    return sorted(checks, key=lambda check: check.currency)


# What the report reads, by the moments at which it may happen, with how each leads to its account.
_LATER = (
    ("billing_posting r JOIN billing_creditpool o ON o.id = r.pool_id", "r.posted_at"),
    ("billing_invoice o", "greatest(o.issued_at, o.voided_at, o.paid_at)"),
    ("billing_creditnote r JOIN billing_invoice o ON o.id = r.invoice_id", "r.issued_at"),
    ("billing_payment r JOIN billing_invoice o ON o.id = r.invoice_id", "r.finished_at"),
    (
        "billing_refund r JOIN billing_payment p ON p.id = r.payment_id JOIN billing_invoice o ON o.id = p.invoice_id",
        "r.finished_at",
    ),
    (
        "billing_dispute r JOIN billing_payment p ON p.id = r.payment_id JOIN billing_invoice o ON o.id = p.invoice_id",
        "greatest(r.taken_back_at, r.closed_at)",
    ),
    ("billing_pendingitem o", "greatest(o.created_at, o.cancelled_at)"),
    (
        "billing_allocation r JOIN billing_subscription o ON o.id = r.subscription_id",
        "greatest(r.created_at, r.cancelled_at)",
    ),
)
_NOTHING = "NOT EXISTS (SELECT FROM {rows} WHERE {at} >= %(until)s AND {in_books})"
_NOTHING_SINCE = "SELECT " + " AND ".join(
    _NOTHING.format(rows=rows, at=at, in_books=clocks.in_books("o.account_id")) for rows, at in _LATER
)


def nothing_since(until: datetime, *, tests: bool = False) -> bool:
    """Whether nothing that the report reads has happened at `until` or later."""
    with connection.cursor() as cursor:
        cursor.execute(_NOTHING_SINCE, {"until": until, "tests": tests})
        return bool(cursor.fetchone()[0])


def _first_month(found: Movements, bills: list[Bill], until: datetime) -> date:
    return min([key.month for key in found] + [month_of(bill.issued_at) for bill in bills] + [last_day(until)])


def _of_documents(bills: list[Bill], until: datetime, tests: bool) -> list[Check]:
    checks = []
    since = first_moment(last_day(until)).replace(year=1)
    taxed = tax_report.totals(tax_report.list_lines(since=since, until=until, tests=tests))
    for currency, mine in _by_currency(bills).items():
        left = [_left(bill, until) for bill in mine]
        net, tax = taxed.get(currency, (ZERO, ZERO))
        checks += [
            Check(currency, "tax report: net = invoices - credit notes - voided", net, sum((n for n, _ in left), ZERO)),
            Check(currency, "tax report: tax = invoices - credit notes - voided", tax, sum((t for _, t in left), ZERO)),
        ]
    return checks


def _left(bill: Bill, until: datetime) -> tuple[Decimal, Decimal]:
    """What is left of an invoice's net and tax."""
    if bill.is_void(until):
        return ZERO, ZERO
    net = bill.subtotal - sum((note.at_once + note.advance for note in bill.notes), ZERO)
    return net, bill.tax - sum((note.tax for note in bill.notes), ZERO)


def _of_sheets(
    found: Movements, sheets: list[Sheet], bills: list[Bill], documents: list[Document], until: datetime
) -> list[Check]:
    totals, checks = Totals(found), []
    accounts = journal.balances(documents)
    unbalanced = [document for document in documents if not document.is_balanced]
    ageing = {each.currency: each for each in receivables.age(bills, at=until)}
    mine = _by_currency(bills)
    for sheet in sheets:
        currency, last = sheet.currency, sheet.rows[-1]

        def balance(account: str, currency: str = currency) -> Decimal:
            return accounts.get((currency, account), ZERO)

        earned = sum(_of_accounts(accounts, currency, "revenue:"), ZERO)
        left = sum((_left(bill, until)[0] for bill in mine.get(currency, [])), ZERO)
        moved = round_money(totals.upto(currency, Column.MOVED, last.month), currency)
        closing = last.deferred.closing
        checks += [
            Check(currency, "what went from lot to lot came to nothing", moved, ZERO),
            Check(currency, "invoiced = earned + deferred - waiting for an invoice", left,
                  closing - earned - balance(journal.WAITING)),
            Check(currency, "journal: deferred revenue = closing of the sheet", -balance(journal.DEFERRED), closing),
            Check(currency, "journal: credits not invoiced = closing of the sheet", -balance(journal.OTHER_DEFERRED),
                  last.other.closing),
            Check(currency, "journal: unbalanced documents",
                  Decimal(sum(document.currency == currency for document in unbalanced)), ZERO),
        ]  # fmt: skip
    for currency, each in ageing.items():
        tax = sum(_of_accounts(accounts, currency, "tax:"), ZERO)
        cash = sum(_of_accounts(accounts, currency, journal.CASH), ZERO)
        held = sum(_of_accounts(accounts, currency, journal.CASH_IN_DISPUTE), ZERO)
        receivable = accounts.get((currency, journal.RECEIVABLES), ZERO)
        come = sum((money.amount for bill in mine[currency] for money in bill.money), ZERO)
        checks += [
            Check(currency, "journal: receivables = ageing", receivable, each.net),
            Check(currency, "journal: tax = what documents say", -tax,
                  sum((_left(bill, until)[1] for bill in mine[currency]), ZERO)),
            Check(currency, "journal: cash = payments - refunds", cash + held, come),
            Check(currency, "journal: cash in dispute = open disputes", held, _held(mine[currency], until)),
        ]  # fmt: skip
    return checks


def _held(bills: Iterable[Bill], until: datetime) -> Decimal:
    """What banks hold in disputes that are open."""
    return sum((held.amount for bill in bills for held in bill.held if held.is_held(until)), ZERO)


def _of_accounts(accounts: Mapping[tuple[str, str], Decimal], currency: str, prefix: str) -> list[Decimal]:
    return [amount for (each, name), amount in accounts.items() if each == currency and name.startswith(prefix)]


def _of_rows(found: Movements, bills: list[Bill], until: datetime, tests: bool) -> list[Check]:
    """What entries and documents add up to, against what lots, promises and invoices say of themselves."""
    totals, checks = Totals(found), []
    month = last_day(until)
    lots, promised, ahead, disputed = (
        _sums(statement, columns, until, tests)
        for statement, columns in ((_LOTS, 2), (_PROMISED, 1), (_AHEAD, 1), (_DISPUTED, 1))
    )
    for currency in totals.currencies:

        def rounded(*columns: Column, currency: str = currency) -> Decimal:
            return round_money(sum((totals.upto(currency, each, month) for each in columns), ZERO), currency)

        in_lots, other = lots.get(currency, (ZERO, ZERO))
        stands = [each.get(currency, (ZERO,))[0] for each in (promised, ahead, disputed)]
        checks += [
            Check(currency, "entries = lots: credits in hand at their cost", rounded(Column.IN_LOTS),
                  round_money(in_lots, currency)),
            Check(currency, "entries = lots: credits not invoiced", rounded(*deferred.OTHER),
                  round_money(other, currency)),
            Check(currency, "entries = disputes: credits whose money banks hold", rounded(Column.IN_DISPUTE),
                  round_money(stands[-1], currency)),
            Check(currency, "deferred = lots in hand + promised + time to come + in dispute",
                  rounded(*deferred.CAME_AND_WENT), round_money(in_lots + sum(stands, ZERO), currency)),
        ]  # fmt: skip
    return [*checks, *_of_invoices(bills, until, tests)]


def _of_invoices(bills: list[Bill], until: datetime, tests: bool) -> list[Check]:
    checks = []
    ageing = {each.currency: each for each in receivables.age(bills, at=until)}
    held = _sums(_HELD, 1, until, tests)
    for currency, (net, tax, total, line_net, line_tax, paid, owed) in _sums(_INVOICED, 7, until, tests).items():
        mine = [bill for bill in bills if bill.currency == currency]
        come = sum((money.amount for bill in mine for money in bill.money), ZERO)
        checks += [
            Check(currency, "invoices: net = their lines", net, line_net),
            Check(currency, "invoices: tax = their lines", tax, line_tax),
            Check(currency, "invoices: total = net + tax", total, net + tax),
            Check(currency, "payments - refunds = paid - refunded of invoices", come, paid),
            Check(currency, "open disputes = what payments say is disputed", _held(mine, until),
                  held.get(currency, (ZERO,))[0]),
            Check(currency, "ageing = what invoices say is owed", ageing[currency].total + ageing[currency].given_up,
                  owed),
        ]  # fmt: skip
    return checks


def _sums(statement: str, columns: int, until: datetime, tests: bool) -> dict[str, tuple[Decimal, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"until": until, "packs": PACKS, "other": OTHER, "tests": tests})
        return {row[0]: tuple(row[1 : columns + 1]) for row in cursor.fetchall()}


def _by_currency(bills: Iterable[Bill]) -> Mapping[str, list[Bill]]:
    found: dict[str, list[Bill]] = {}
    for bill in bills:
        found.setdefault(bill.currency, []).append(bill)
    return found
