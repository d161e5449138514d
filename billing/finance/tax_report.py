"""Tax of issued documents by issuer, country, rate and month: invoices, less credit notes and what was voided."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from django.db import connection

from billing.accounts import clocks
from billing.catalog.pricing import round_money

ZERO = Decimal(0)
COLUMNS = (
    "issuer", "month", "country", "region", "tax", "percent", "treatment", "category", "currency", "net", "tax_amount",
    "base_currency", "tax_in_base_currency",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TaxLine:
    """What an issuer sold in a month to a country at a rate: net money and tax, documents taken back deducted.

    `tax_in_base` is in the issuer's base currency, at the rate of each document; None where one had no rate.
    """

    issuer: str
    month: date
    country: str
    region: str
    name: str
    percent: Decimal
    treatment: str
    category: str
    currency: str
    net: Decimal
    tax: Decimal
    base_currency: str
    tax_in_base: Decimal | None


# A voided invoice is taken back in the month it was voided in, but for what credit notes had taken back before.
_LINES = f"""
WITH document AS (
    SELECT i.issuer_id, i.issued_at AS at, i.currency, i.customer, i.base_currency, i.base_rate,
           l.tax_name, l.tax_percent, l.tax_treatment, l.category, l.amount, l.tax_amount
    FROM billing_invoice i JOIN billing_invoiceline l ON l.invoice_id = i.id
    WHERE i.issued_at < %(until)s AND {clocks.in_books("i.account_id")}
    UNION ALL
    SELECT i.issuer_id, n.issued_at, i.currency, i.customer, i.base_currency, i.base_rate,
           l.tax_name, l.tax_percent, l.tax_treatment, l.category, -c.amount, -c.tax_amount
    FROM billing_creditnote n JOIN billing_invoice i ON i.id = n.invoice_id
    JOIN billing_creditnoteline c ON c.credit_note_id = n.id JOIN billing_invoiceline l ON l.id = c.invoice_line_id
    WHERE n.issued_at < %(until)s AND {clocks.in_books("i.account_id")}
    UNION ALL
    SELECT i.issuer_id, i.voided_at, i.currency, i.customer, i.base_currency, i.base_rate,
           l.tax_name, l.tax_percent, l.tax_treatment, l.category, l.amount_credited - l.amount,
           l.tax_credited - l.tax_amount
    FROM billing_invoice i JOIN billing_invoiceline l ON l.invoice_id = i.id
    WHERE i.voided_at < %(until)s AND {clocks.in_books("i.account_id")}
)
SELECT issuer.key, date_trunc('month', d.at AT TIME ZONE 'UTC')::date, d.customer ->> 'country',
       coalesce(d.customer ->> 'region', ''), d.tax_name, d.tax_percent, d.tax_treatment, d.category, d.currency,
       sum(d.amount), sum(d.tax_amount), issuer.base_currency,
       CASE WHEN issuer.base_currency IN ('', d.currency) THEN sum(d.tax_amount)
            WHEN bool_and(d.base_currency = issuer.base_currency) THEN sum(d.tax_amount * d.base_rate) END
FROM document d JOIN billing_issuer issuer ON issuer.id = d.issuer_id
WHERE d.at >= %(since)s
GROUP BY issuer.key, issuer.base_currency, 2, 3, 4, 5, 6, 7, 8, 9 ORDER BY 1, 2, 3, 4, 9, 6, 7, 8, 5
"""  # noqa: S608  (only constants)


def list_lines(*, since: datetime, until: datetime, tests: bool = False) -> list[TaxLine]:
    """The tax of documents of `[since, until)`, by month, of test accounts or of all others. One statement over
    documents."""
    with connection.cursor() as cursor:
        cursor.execute(_LINES, {"since": since, "until": until, "tests": tests})
        return [_line(TaxLine(*row)) for row in cursor.fetchall()]


def _line(exact: TaxLine) -> TaxLine:
    """The line with its tax in the base currency rounded, as a return asks for it."""
    if exact.tax_in_base is None:
        return exact
    base = exact.base_currency or exact.currency
    values = {name: getattr(exact, name) for name in TaxLine.__slots__}
    return TaxLine(**{**values, "base_currency": base, "tax_in_base": round_money(exact.tax_in_base, base)})


def totals(lines: Iterable[TaxLine]) -> dict[str, tuple[Decimal, Decimal]]:
    """Net and tax by currency."""
    found: dict[str, tuple[Decimal, Decimal]] = defaultdict(lambda: (ZERO, ZERO))
    for line in lines:
        net, tax = found[line.currency]
        found[line.currency] = (net + line.net, tax + line.tax)
    return dict(found)


def csv_rows(lines: Iterable[TaxLine]) -> list[list[object]]:
    """All lines, in the order of COLUMNS."""
    return [
        [
            line.issuer, f"{line.month:%Y-%m}", line.country, line.region, line.name, line.percent, line.treatment,
            line.category, line.currency, line.net, line.tax, line.base_currency, line.tax_in_base,
        ]
        for line in lines
    ]  # fmt: skip
