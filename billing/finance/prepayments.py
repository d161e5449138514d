"""What happened to money that was asked for in advance, as rows: from invoices, credit notes and the ledger.

Seven statements, whatever the number of accounts. Sums over entries are made in the database, exactly: credits with six
decimals by costs with twelve.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from django.db import connection

from billing.accounts import clocks

ZERO = Decimal(0)

# What a line or a lot belongs to: a plan by its name, packs, or neither.
PACKS, OTHER = "packs", "other"


class Value(NamedTuple):
    """What entries of a month moved, at what the credits have cost: `flow` is the entries', `meter` what was used.

    `paid`: an invoice or a subscription is behind the lot; `moved`: it came from another lot, or went to one. Three
    flows are of credits whose money a payer had the bank take back: `disputed` (revoked meanwhile), `won` (granted
    again) and `lost` (gone for good; no entry says so, the dispute does).
    """

    month: date
    currency: str
    paid: bool
    source: str
    flow: str
    moved: bool
    meter: str
    money: Decimal


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an issued invoice, or an item that waits for one (`pending`), from when until when it stands.

    `how` is its recognition; `[starts_at, ends_at)` the time it is for. `promised` until `kept_at`: credits that it
    pays for are granted then.
    """

    id: int
    currency: str
    source: str
    amount: Decimal
    how: str
    since: datetime
    until: datetime | None
    starts_at: datetime | None
    ends_at: datetime | None
    promised: bool
    kept_at: datetime | None
    pending: bool


class Share(NamedTuple):
    """About how much of a month's use of such lots a meter had: a weight, not a sum."""

    month: date
    currency: str
    paid: bool
    source: str
    meter: str
    weight: Decimal


class Beyond(NamedTuple):
    """What of an overage line's money is due to a meter, or to no meter: a weight; those of a line do not sum to 0."""

    line_id: int
    meter: str
    weight: Decimal


class Credited(NamedTuple):
    """What a credit note took back of a line, net."""

    line_id: int
    at: datetime
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Promise:
    """Credits of a subscription that are paid for and come later: what they will have cost, from when until when."""

    currency: str
    source: str
    amount: Decimal
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it, before a moment."""

    values: list[Value]
    lines: list[Line]
    credited: list[Credited]
    promises: list[Promise]
    beyond: list[Beyond]


# The plan of a subscription's period, by the reference that lines and allocations carry.
_PLAN_OF = """
LEFT JOIN billing_subscriptionperiod sp ON sp.subscription_id = {subscription} AND sp.number = {number}
LEFT JOIN billing_subscription sub ON sub.id = {subscription}
LEFT JOIN billing_planversion pv ON pv.id = coalesce(sp.plan_version_id, sub.plan_version_id)
LEFT JOIN billing_plan plan ON plan.id = pv.plan_id
"""
_OF_REFERENCE = _PLAN_OF.format(
    subscription=r"substring({row}.period_reference FROM '^subscription:(\d+):\d+$')::bigint",
    number=r"substring({row}.period_reference FROM '^subscription:\d+:(\d+)$')::int",
)
_OF_ALLOCATION = _PLAN_OF.format(
    subscription="a.subscription_id", number=r"substring(a.reference FROM '^\d+:(\d+):')::int"
)

# What was taken back of a line's lot, or a subscription's, while its money was disputed, and given back when it came
# again; with `follows` a little later than the dispute itself. LIMIT has each looked up by its index, however plans are
# made.
CHARGEBACKS = """
chargeback (posting_id, dispute_id, flow, name, follows) AS (
    SELECT p.id, d.id, word.flow, lot.name, lot.follows
    FROM billing_dispute d
    JOIN billing_payment pay ON pay.id = d.payment_id
    CROSS JOIN LATERAL (
        SELECT pool_id, id::text, false FROM billing_invoiceline
        WHERE invoice_id = pay.invoice_id AND posting_id IS NOT NULL
        UNION ALL
        SELECT granted.pool_id, 'allocation:' || a.id, true
        FROM billing_allocation a JOIN billing_posting granted ON granted.id = a.posting_id
        WHERE a.invoice_id = pay.invoice_id
    ) lot (pool_id, name, follows)
    CROSS JOIN (VALUES ('', 'revoke'), (':back', 'grant')) word (ending, flow)
    CROSS JOIN LATERAL (
        SELECT id FROM billing_posting
        WHERE pool_id = lot.pool_id AND reference = 'chargeback:' || d.id || ':' || lot.name || word.ending LIMIT 1
    ) p
)
"""

# A lot that was rolled over, transferred or given back is of the lot that it began as; documents stand behind those in
# `paid`.
ORIGINS = f"""
WITH RECURSIVE origin (id, root) AS (
    SELECT g.id, g.id FROM billing_creditgrant g JOIN billing_creditpool pool ON pool.id = g.pool_id
    WHERE g.source_id IS NULL AND g.cost_basis > 0 AND {clocks.in_books("pool.account_id")}
    UNION ALL
    SELECT g.id, o.root FROM origin o JOIN billing_creditgrant g ON g.source_id = o.id WHERE g.cost_basis > 0
), {CHARGEBACKS}, paid (root, source) AS (
    SELECT e.grant_id, %(packs)s FROM billing_invoiceline l
    JOIN billing_ledgerentry e ON e.posting_id = l.posting_id AND e.flow = 'grant'
    UNION
    SELECT e.grant_id, plan.name FROM billing_allocation a
    JOIN billing_ledgerentry e ON e.posting_id = a.posting_id AND e.flow = 'grant'
    {_OF_ALLOCATION}
)
"""  # noqa: S608  (only constants of this module)

_VALUES = f"""
{ORIGINS}
SELECT date_trunc('month', p.posted_at AT TIME ZONE 'UTC')::date, g.currency, paid.root IS NOT NULL,
       coalesce(paid.source, %(other)s),
       CASE WHEN c.flow IS DISTINCT FROM e.flow THEN e.flow WHEN c.flow = 'revoke' THEN 'disputed' ELSE 'won' END,
       e.flow = 'transfer' OR (e.flow = 'grant' AND g.source_id IS NOT NULL AND c.posting_id IS NULL),
       coalesce(m.name, ''), sum(e.amount * g.cost_basis)
FROM origin o
JOIN billing_creditgrant g ON g.id = o.id
JOIN billing_ledgerentry e ON e.grant_id = g.id
JOIN billing_posting p ON p.id = e.posting_id
LEFT JOIN chargeback c ON c.posting_id = p.id
LEFT JOIN billing_posting undone ON undone.id = p.reverses_id
LEFT JOIN billing_meter m ON m.id = coalesce(p.meter_id, undone.meter_id)
LEFT JOIN paid ON paid.root = o.root
WHERE p.posted_at < %(until)s
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""  # noqa: S608  (only constants of this module)

_LOST = f"""
{ORIGINS}
SELECT date_trunc('month', greatest(d.closed_at, p.posted_at) AT TIME ZONE 'UTC')::date, g.currency, true,
       coalesce(paid.source, %(other)s), 'lost', false, '', sum(e.amount * g.cost_basis)
FROM billing_dispute d
JOIN chargeback c ON c.dispute_id = d.id AND c.flow = 'revoke'
JOIN billing_posting p ON p.id = c.posting_id
JOIN billing_ledgerentry e ON e.posting_id = c.posting_id AND e.flow = 'revoke'
JOIN billing_creditgrant g ON g.id = e.grant_id
JOIN origin o ON o.id = g.id
LEFT JOIN paid ON paid.root = o.root
WHERE d.state = 'lost' AND greatest(d.closed_at, p.posted_at) < %(until)s
GROUP BY 1, 2, 4
"""  # noqa: S608  (only constants of this module)

# One posting may charge events of several meters: what it earned is theirs by the credits that each was charged.
_METERS = f"""
{ORIGINS}
, charged (posting_id, meter_id, credits) AS (
    SELECT posting_id, meter_id, sum(credits) FROM billing_usageevent
    WHERE received_at >= %(since)s AND received_at < %(until)s AND posting_id IS NOT NULL AND credits > 0
    GROUP BY 1, 2
), whole (posting_id, credits) AS (SELECT posting_id, sum(credits) FROM charged GROUP BY 1)
SELECT date_trunc('month', p.posted_at AT TIME ZONE 'UTC')::date, g.currency, paid.root IS NOT NULL,
       coalesce(paid.source, %(other)s), m.name, -sum(e.amount * g.cost_basis * c.credits / w.credits)
FROM origin o
JOIN billing_creditgrant g ON g.id = o.id
JOIN billing_ledgerentry e ON e.grant_id = g.id AND e.flow = 'spend'
JOIN billing_posting p ON p.id = e.posting_id AND p.meter_id IS NULL
JOIN charged c ON c.posting_id = p.id JOIN whole w ON w.posting_id = p.id
JOIN billing_meter m ON m.id = c.meter_id
LEFT JOIN paid ON paid.root = o.root
GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608

_LINES = f"""
SELECT l.id, i.currency,
       CASE WHEN l.credits IS NOT NULL THEN %(packs)s ELSE coalesce(plan.name, %(other)s) END,
       l.amount, CASE WHEN l.credits IS NULL THEN l.recognition ELSE 'credits' END, i.issued_at, i.voided_at,
       l.starts_at, l.ends_at, l.credits IS NOT NULL, l.fulfilled_at, false
FROM billing_invoice i JOIN billing_invoiceline l ON l.invoice_id = i.id
{_OF_REFERENCE.format(row="l")}
WHERE i.issued_at < %(until)s AND {clocks.in_books("i.account_id")}
"""  # noqa: S608

# What is left of a credit that an invoice could take only a part of has waited since the credit came.
_PENDING = f"""
WITH RECURSIVE wait (id, since) AS (
    SELECT id, created_at FROM billing_pendingitem WHERE reference NOT LIKE 'left-of:%%'
    UNION ALL
    SELECT n.id, w.since FROM wait w JOIN billing_pendingitem n ON n.reference = 'left-of:' || w.id
)
SELECT -n.id, n.currency, coalesce(plan.name, %(other)s), n.amount, n.recognition, w.since,
       coalesce(i.issued_at, n.cancelled_at), n.starts_at, n.ends_at, false, NULL::timestamptz, true
FROM wait w JOIN billing_pendingitem n ON n.id = w.id
LEFT JOIN billing_invoiceline l ON l.id = n.invoice_line_id LEFT JOIN billing_invoice i ON i.id = l.invoice_id
{_OF_REFERENCE.format(row="n")}
WHERE w.since < %(until)s AND {clocks.in_books("n.account_id")}
"""  # noqa: S608

# A charge of an overage lot is due to the meters that drew on the lot since the charge before it. Of a period's lines
# that are earned at once the first is its overage, where its charges came to more than nothing; where they came to less
# an item waited for an invoice, which names the lot. LIMIT has each looked up by its index, however plans are made.
_BEYOND = """
WITH RECURSIVE charge AS (
    SELECT c.id, c.invoice_id, c.amount, 'subscription:' || c.subscription_id || ':' || sp.number AS period,
           sum(c.amount) OVER (PARTITION BY c.invoice_id, c.subscription_id, sp.number) AS together,
           'overage:' || c.grant_id || ':' || c.number AS reference,
           c.grant_id, c.created_at, prev.created_at AS since
    FROM billing_overagecharge c
    JOIN billing_creditgrant g ON g.id = c.grant_id
    LEFT JOIN billing_overagecharge prev ON prev.grant_id = c.grant_id AND prev.number = c.number - 1
    CROSS JOIN LATERAL (
        SELECT number FROM billing_subscriptionperiod
        WHERE subscription_id = c.subscription_id AND starts_at <= g.created_at ORDER BY number DESC LIMIT 1
    ) sp
    WHERE c.amount <> 0 AND c.created_at < %(until)s
), wait (id, reference) AS (
    SELECT id, reference FROM billing_pendingitem WHERE reference LIKE 'overage:%%'
    UNION ALL
    SELECT n.id, w.reference FROM wait w JOIN billing_pendingitem n ON n.reference = 'left-of:' || w.id
), line (id, charge_id, money) AS (
    SELECT first.id, c.id, c.amount FROM charge c
    CROSS JOIN LATERAL (
        SELECT l.id FROM billing_invoiceline l
        WHERE l.invoice_id = c.invoice_id AND l.period_reference = c.period AND l.recognition = 'at_once'
        ORDER BY l.id LIMIT 1
    ) first
    WHERE c.together > 0
    UNION ALL
    SELECT n.invoice_line_id, c.id, n.amount FROM wait w
    JOIN billing_pendingitem n ON n.id = w.id AND n.invoice_line_id IS NOT NULL
    JOIN charge c ON c.reference = w.reference
), drawn AS (
    SELECT c.id AS charge_id, coalesce(undone.id, p.id) AS posting_id,
           coalesce(p.meter_id, undone.meter_id) AS meter_id, -sum(e.amount) AS credits
    FROM charge c
    JOIN billing_ledgerentry e ON e.grant_id = c.grant_id AND e.flow IN ('spend', 'reverse')
    JOIN billing_posting p ON p.id = e.posting_id AND p.posted_at <= c.created_at
        AND (c.since IS NULL OR p.posted_at > c.since)
    LEFT JOIN billing_posting undone ON undone.id = p.reverses_id
    GROUP BY 1, 2, 3
), mixed AS (
    SELECT posting_id, meter_id, sum(credits) / sum(sum(credits)) OVER (PARTITION BY posting_id) AS part
    FROM billing_usageevent
    WHERE posting_id IN (SELECT posting_id FROM drawn WHERE meter_id IS NULL) AND credits > 0
    GROUP BY 1, 2
), due AS (
    SELECT d.charge_id, coalesce(m.name, '') AS meter, sum(d.credits * coalesce(x.part, 1)) AS credits
    FROM drawn d
    LEFT JOIN mixed x ON x.posting_id = d.posting_id AND d.meter_id IS NULL
    LEFT JOIN billing_meter m ON m.id = coalesce(d.meter_id, x.meter_id)
    GROUP BY 1, 2
), whole AS (SELECT charge_id, sum(credits) AS credits FROM due GROUP BY 1)
SELECT l.id, coalesce(d.meter, ''), sum(CASE WHEN w.credits <> 0 THEN l.money * d.credits / w.credits ELSE l.money END)
FROM line l
LEFT JOIN whole w ON w.charge_id = l.charge_id
LEFT JOIN due d ON d.charge_id = l.charge_id AND w.credits <> 0
GROUP BY 1, 2 ORDER BY 1, 2
"""

_CREDITED = """
SELECT cl.invoice_line_id, n.issued_at, cl.amount
FROM billing_creditnote n JOIN billing_creditnoteline cl ON cl.credit_note_id = n.id WHERE n.issued_at < %(until)s
"""

_PROMISES = f"""
SELECT sub.currency, coalesce(plan.name, %(other)s), a.credits * a.cost_basis, a.created_at,
       least(posting.posted_at, a.cancelled_at, i.voided_at)
FROM billing_allocation a
{_OF_ALLOCATION}
LEFT JOIN billing_posting posting ON posting.id = a.posting_id
LEFT JOIN billing_invoice i ON i.id = a.invoice_id
WHERE a.created_at < %(until)s AND a.cost_basis > 0 AND {clocks.in_books("sub.account_id")}
"""  # noqa: S608


def read(*, until: datetime, tests: bool = False) -> Facts:
    """What happened before a moment, from the beginning, to test accounts or to all others. Seven statements; the first
    passes over all entries of lots that have cost something, the last over usage events, the others over documents."""
    given: dict[str, datetime | str | bool] = {"until": until, "packs": PACKS, "other": OTHER, "tests": tests}
    with connection.cursor() as cursor:
        found = []
        for statement, row in (
            (_VALUES, Value),
            (_LOST, Value),
            (_LINES, Line),
            (_PENDING, Line),
            (_CREDITED, Credited),
        ):
            cursor.execute(statement, given)
            found.append([row(*each) for each in cursor.fetchall()])
        cursor.execute(_PROMISES, given)
        promises = [Promise(*each) for each in cursor.fetchall()]
        cursor.execute(_BEYOND, given)
        beyond = [Beyond(*each) for each in cursor.fetchall()]
    values, lost, lines, pending, credited = found
    return Facts([*values, *lost], [*lines, *pending], credited, promises, beyond)  # type: ignore[arg-type, list-item]


def read_meters(*, since: datetime, until: datetime, tests: bool = False) -> list[Share]:
    """Which meters had what was charged in `[since, until)` for several at once. One statement over the usage events of
    that time."""
    with connection.cursor() as cursor:
        cursor.execute(_METERS, {"since": since, "until": until, "packs": PACKS, "other": OTHER, "tests": tests})
        return [Share(*row) for row in cursor.fetchall()]
