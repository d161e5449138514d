"""An account at a glance, for staff: what it has, owes, used and paid, what was done to it and said about it.

Reads only, at most nine queries with those of the session and the person, and none that grows with history: lists are
cut to their newest rows, usage comes from the totals by day, the ledger's share of the timeline leaves out spends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.postgres.expressions import ArraySubquery
from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, F, OuterRef, Q, QuerySet, Subquery, Sum, TextField
from django.db.models.functions import Cast, JSONObject
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts import clocks
from billing.accounts.models import Account, AccountNote, User
from billing.admin.charts import BarChart, bar_chart
from billing.invoicing.models import Invoice
from billing.ledger import balance
from billing.ledger.models import CreditGrant, CreditPool, Hold
from billing.metering.models import DailyUsage
from billing.payments.models import InvoiceCredit, Payment
from billing.subscriptions.models import Subscription
from billing.wording.amounts import credits_text, exact_credits_text, money_text

LOTS, HOLDS, INVOICES, NOTES, MOMENTS = 20, 10, 6, 5, 20
USAGE_DAYS = 30


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline. `url` is the row's own page; `who` acted, as far as it is known."""

    at: datetime
    kind: str
    name: str
    text: str
    detail: str
    who: str
    url: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Credits used on the last days: the chart, and the same by meter."""

    chart: BarChart
    by_meter: list[tuple[str, Decimal]]


def read(*, account_id: int, user: User, before: datetime | None, now: datetime) -> dict[str, Any] | None:
    """What the page shows, by the names of its template; None when there is no such account.

    `before` is where the timeline goes on; `now` the real time. Parts that the person may not see are left out.
    """
    pools: list[Any] = list(
        CreditPool.objects.filter(account_id=account_id)
        .select_related("account__account_manager")
        .annotate(plan=_plan_of(), credits_left=_credits_of())
        .order_by("kind", "name", "pk")
    )
    if not pools:
        return None
    account = pools[0].account
    now = clocks.time_of(account, now)
    may_money = user.has_perm("billing.view_invoice")
    may_ledger = user.has_perm("billing.view_creditgrant")
    return {
        "account": account,
        "now": now,
        "pools": pools,
        "figures": _figures(pools, now),
        "lots": _list_lots(account_id) if may_ledger else [],
        "may_ledger": may_ledger,
        "holds": _list_holds(pools) if may_ledger else [],
        "may_money": may_money,
        "invoices": _list_invoices(account_id) if may_money else [],
        "balances": _balances(pools[0]) if may_money else [],
        "plan": _read_plan(pools[0]),
        "usage": _usage(account, now),
        "notes": _list_notes(account_id) if user.has_perm("billing.view_accountnote") else [],
        "timeline": list_moments(account_id, pools, user, before or now),
    }


def _figures(pools: Iterable[CreditPool], now: datetime) -> list[tuple[str, str]]:
    names = ("balance", "held", "overdraft", "cycle_allocation", "cycle_spent")
    totals = {name: sum((getattr(pool, name) for pool in pools), Decimal(0)) for name in names}
    if any(pool.cycle_ends_at <= now for pool in pools):
        # A pool's row is of an earlier cycle until something is posted in this one.
        cycles = [reading.cycle for reading in balance.read_many([pool.pk for pool in pools], now=now).values()]
        totals["cycle_spent"] = sum((cycle.spent for cycle in cycles if cycle), Decimal(0))
        totals["cycle_allocation"] = sum((cycle.allocation for cycle in cycles if cycle), Decimal(0))
    return [
        (_("Balance"), credits_text(totals["balance"])),
        (_("Held for work under way"), credits_text(totals["held"])),
        (_("Overdraft"), credits_text(totals["overdraft"])),
        (_("Used this cycle"), credits_text(totals["cycle_spent"])),
        (_("Allocated this cycle"), credits_text(totals["cycle_allocation"])),
    ]


def _list_lots(account_id: int) -> QuerySet[CreditGrant]:
    lots = CreditGrant.objects.filter(pool__account_id=account_id, is_open=True).select_related("pool", "meter")
    paid = ExpressionWrapper(Q(cost_basis__gt=0), output_field=BooleanField())
    scoped_first, soonest_first = F("meter").asc(nulls_last=True), F("expires_at").asc(nulls_last=True)
    burn_order = ("priority", scoped_first, soonest_first, paid, "effective_at", "pk")
    return lots.order_by("pool__kind", "pool__name", "pool", *burn_order)[:LOTS]


def _list_holds(pools: list[CreditPool]) -> Iterable[Hold]:
    """Open holds; not asked for when the pools say that nothing is held."""
    busy = [pool.pk for pool in pools if pool.held or pool.held_uncovered]
    if not busy:
        return []
    return (
        Hold.objects.filter(pool__in=busy, state=Hold.State.OPEN).select_related("pool").order_by("expires_at")[:HOLDS]
    )


def _list_invoices(account_id: int) -> QuerySet[Invoice]:
    last = Payment.objects.filter(invoice=OuterRef("pk")).order_by("-pk")
    states = {"payment_id": Subquery(last.values("pk")[:1]), "payment_state": Subquery(last.values("state")[:1])}
    return Invoice.objects.filter(account_id=account_id).annotate(**states).order_by("-pk")[:INVOICES]


def _plan_of() -> Subquery:
    """The account's subscription, the live one or the last there was, to be read together with its pools."""
    rows = Subscription.objects.filter(account=OuterRef("account")).order_by("-pk")
    facts = JSONObject(
        pk="pk", name="plan_version__plan__name", number="plan_version__number", state="state", seats="seats",
        ends_at="period_ends_at", ended_at="ended_at", parked_at="parked_at",
    )  # fmt: skip
    return Subquery(rows.values(facts=facts)[:1])


def _credits_of() -> ArraySubquery:
    """What the account's invoice balance is made of, to be read together with its pools."""
    rows = InvoiceCredit.objects.filter(account=OuterRef("account"), amount__gt=F("amount_used"))
    left = Cast(F("amount") - F("amount_used"), TextField())
    return ArraySubquery(rows.order_by("currency").values(facts=JSONObject(currency="currency", left=left)))


def _balances(pool: Any) -> list[tuple[str, Decimal]]:
    """The invoice balance by currency."""
    found: dict[str, Decimal] = {}
    for each in pool.credits_left:
        found[each["currency"]] = found.get(each["currency"], Decimal(0)) + Decimal(each["left"])
    return list(found.items())


def _read_plan(pool: Any) -> dict[str, Any] | None:
    if pool.plan is None:
        return None
    ends_at = datetime.fromisoformat(pool.plan["ended_at"] or pool.plan["ends_at"])
    return {**pool.plan, "state_text": Subscription.State(pool.plan["state"]).label, "ends_at": ends_at}


def _usage(account: Account, now: datetime) -> Usage:
    today = now.astimezone(ZoneInfo(account.time_zone)).date()
    days = [today - timedelta(days=back) for back in range(USAGE_DAYS - 1, -1, -1)]
    rows = (
        DailyUsage.objects.filter(account=account, day__gte=days[0], day__lte=today)
        .values_list("day", "meter__name")
        .annotate(credits=Sum("credits"))
    )
    by_day, by_meter = dict.fromkeys(days, Decimal(0)), dict[str, Decimal]()
    for day, meter, credits in rows:
        by_day[day] += credits
        by_meter[meter] = by_meter.get(meter, Decimal(0)) + credits
    chart = bar_chart([(f"{day.day} {day:%b}", credits) for day, credits in by_day.items()])
    return Usage(chart, sorted(by_meter.items(), key=lambda pair: (-pair[1], pair[0])))


def _list_notes(account_id: int) -> QuerySet[AccountNote]:
    return AccountNote.objects.filter(account_id=account_id).select_related("author").order_by("-pk")[:NOTES]


# One part for each source: the right it needs, and its newest rows as (at, kind, row, text, detail, who).
_SOURCES = (
    (
        "billing.view_posting",
        "SELECT p.posted_at, 'posting', p.id, p.act, p.amount::text, concat_ws(', ', nullif(p.note, ''), u.email) "
        "FROM unnest(%(pools)s::bigint[]) AS pool (id), LATERAL ("
        "SELECT * FROM billing_posting WHERE pool_id = pool.id AND act <> 'spend' AND posted_at < %(before)s "
        "ORDER BY version DESC LIMIT %(limit)s) p "
        "LEFT JOIN billing_user u "
        "ON u.id = CASE WHEN p.actor ~ '^user:[0-9]{1,18}$' THEN substr(p.actor, 6)::bigint END",
    ),
    (
        "billing.view_notification",
        "SELECT created_at, 'notification', id, kind, '', email FROM billing_notification "
        "WHERE account_id = %(account)s AND created_at < %(before)s ORDER BY id DESC LIMIT %(limit)s",
    ),
    (
        "billing.view_staffact",
        "SELECT acted_at, 'staffact', s.id, act, label, concat_ws(', ', nullif(reason, ''), u.email) "
        "FROM billing_staffact s JOIN billing_user u ON u.id = s.user_id "
        "WHERE s.account_id = %(account)s AND acted_at < %(before)s ORDER BY s.id DESC LIMIT %(limit)s",
    ),
    (
        "billing.view_payment",
        "SELECT coalesce(p.finished_at, p.created_at), 'payment', p.id, p.state, p.amount::text || ' ' || p.currency, "
        "concat_ws(', ', i.number, nullif(p.failure_message, '')) "
        "FROM billing_payment p JOIN billing_invoice i ON i.id = p.invoice_id "
        "WHERE i.account_id = %(account)s AND coalesce(p.finished_at, p.created_at) < %(before)s "
        "ORDER BY p.id DESC LIMIT %(limit)s",
    ),
    (
        "billing.view_accountnote",
        "SELECT noted_at, 'note', n.id, left(text, 200), '', u.email "
        "FROM billing_accountnote n JOIN billing_user u ON u.id = n.author_id "
        "WHERE n.account_id = %(account)s AND noted_at < %(before)s ORDER BY n.id DESC LIMIT %(limit)s",
    ),
)
_NAMES = {
    "posting": gettext_lazy("Ledger"),
    "notification": gettext_lazy("Notified"),
    "staffact": gettext_lazy("Staff"),
    "payment": gettext_lazy("Payment"),
    "note": gettext_lazy("Note"),
}


def list_moments(account_id: int, pools: list[CreditPool], user: User, before: datetime) -> list[Moment]:
    """The newest of what happened before a moment, of all kinds that the person may see, in one query."""
    parts = [f"({sql})" for permission, sql in _SOURCES if user.has_perm(permission)]
    if not parts:
        return []
    asked: dict[str, Any] = {
        "account": account_id,
        "pools": [pool.pk for pool in pools],
        "before": before,
        "limit": MOMENTS,
    }
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT * FROM ({' UNION ALL '.join(parts)}) t ORDER BY 1 DESC, 2, 3 DESC LIMIT %(limit)s",  # noqa: S608 (ours)
            asked,
        )
        return [_moment(*row) for row in cursor.fetchall()]


def _moment(at: datetime, kind: str, row: int, text: str, detail: str, who: str) -> Moment:
    if kind == "posting":
        change = Decimal(detail)
        detail = ("+" if change > 0 else "") + exact_credits_text(change) + " " + _("credits")
    elif kind == "payment":
        amount, currency = detail.split()
        text, detail = str(Payment.State(text).label).lower(), money_text(Decimal(amount), currency)
    url = "" if kind == "note" else reverse(f"admin:billing_{kind}_change", args=[row])
    return Moment(at, kind, str(_NAMES[kind]), text.replace("_", " "), detail, who, url)
