"""What an account should see to now: thresholds of the cycle, low balances, payments and top-ups that failed.

An alert is open while it is true: a threshold until credits come or the cycle ends, a failed payment while its invoice
is open, a failed top-up until one succeeds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.utils.translation import gettext as _

from billing.invoicing.models import Invoice
from billing.ledger.models import CreditPool
from billing.notifications.models import Notification
from billing.wording import amounts
from portal.access import Visit

LOOKS_BACK = timedelta(days=14)
MANAGERS_KINDS = ("payment_overdue", "payment_failed", "receipt", "top_up_failed", "top_up_switched_off")
MAX_ROWS = 50


@dataclass(frozen=True, slots=True)
class Alert:
    """One sentence; `tone` is the notice's class: `warning` or `error`."""

    tone: str
    text: str


def list_alerts(visit: Visit, pools: Sequence[CreditPool], *, now: datetime) -> list[Alert]:
    """The account's open alerts that this member may read, the most pressing first. One query; one more
    where payments failed."""
    kinds = ["low_balance", *(MANAGERS_KINDS if visit.is_manager else ())]
    told = Notification.objects.filter(account=visit.account, kind__in=kinds, created_at__gt=now - LOOKS_BACK)
    rows = list(told.order_by("-pk")[:MAX_ROWS])
    alerts = [*_thresholds(pools, now), *_low_balances(rows, pools), *_payments(rows), *_top_ups(rows, now)]
    return sorted(alerts, key=lambda alert: alert.tone)


def _thresholds(pools: Sequence[CreditPool], now: datetime) -> Iterable[Alert]:
    """The highest threshold that each pool has crossed in its cycle (L12); credits that come lower it again."""
    for pool in pools:
        if not pool.alert_level or pool.cycle_ends_at <= now:
            continue
        names = {"pool": pool.name, "percent": pool.alert_level}
        if pool.alert_level >= 100:
            yield Alert("error", _("%(pool)s: all credits of this cycle are used.") % names)
        else:
            text = _("%(pool)s: %(percent)s%% of this cycle's credits are used.") % names
            yield Alert("warning", text)


def _low_balances(rows: Sequence[Notification], pools: Sequence[CreditPool]) -> Iterable[Alert]:
    by_name = {pool.name: pool for pool in pools}
    for row in _newest(rows, "low_balance", "pool_name"):
        pool, threshold = by_name.get(row.payload["pool_name"]), Decimal(row.payload["threshold"])
        if pool is not None and pool.balance - pool.held - pool.overdraft < threshold:
            yield Alert(
                "warning",
                _("%(pool)s: fewer than %(credits)s credits are left.")
                % {"pool": pool.name, "credits": amounts.credits_text(threshold)},
            )


def _payments(rows: Sequence[Notification]) -> Iterable[Alert]:
    unpaid = {
        kind: {row.payload["invoice_id"]: row for row in _newest(rows, kind, "invoice_id")}
        for kind in ("payment_overdue", "payment_failed")
    }
    named = [int(invoice_id) for found in unpaid.values() for invoice_id in found]
    # Paid, void or given up: nothing of those is asked for.
    still = {each.pk: each for each in Invoice.objects.filter(pk__in=named, state=Invoice.State.OPEN)}
    for invoice_id, row in unpaid["payment_overdue"].items():
        if int(invoice_id) in still:
            owed = amounts.money_text(still[int(invoice_id)].owed, row.payload["currency"])
            facts = {"number": row.payload["number"], "money": owed}
            yield Alert("error", _("Invoice %(number)s of your plan is unpaid: %(money)s.") % facts)
    for invoice_id, row in unpaid["payment_failed"].items():
        if int(invoice_id) in still:
            facts = {"number": row.payload["number"], "reason": row.payload["reason"]}
            yield Alert("error", _("Invoice %(number)s could not be paid: %(reason)s") % facts)


def _top_ups(rows: Sequence[Notification], now: datetime) -> Iterable[Alert]:
    topped_up = {row.payload.get("top_up_of"): row.pk for row in reversed(rows) if row.kind == "receipt"}
    paused = _("The automatic top-up of %(pool)s has reached its monthly limit and pauses until next month.")
    for kind, text in (
        ("top_up_failed", _("The automatic top-up of %(pool)s failed: %(reason)s")),
        ("top_up_switched_off", _("The automatic top-up of %(pool)s is switched off: %(reason)s")),
    ):
        for row in _newest(rows, kind, "pool_name"):
            name = row.payload["pool_name"]
            if topped_up.get(name, 0) < row.pk:
                if not row.payload.get("is_capped"):
                    yield Alert("error", text % {"pool": name, "reason": row.payload["reason"]})
                elif now < datetime.fromisoformat(row.payload["waits_until"]):
                    yield Alert("warning", paused % {"pool": name})


def _newest(rows: Sequence[Notification], kind: str, field: str) -> Iterable[Notification]:
    """Of the rows of a kind, newest first, one for each value of a field of what they tell."""
    return {row.payload.get(field): row for row in reversed(rows) if row.kind == kind}.values()
