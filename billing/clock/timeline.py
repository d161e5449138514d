"""What came about in a stretch of time, line by line: for people who watch time being moved."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from billing.accounts import clocks
from billing.invoicing.models import CreditNote, Invoice
from billing.ledger.models import Posting
from billing.notifications.kinds import KINDS
from billing.notifications.messages import About
from billing.notifications.models import Notification
from billing.payments.models import Collection, Payment, Refund
from billing.subscriptions.models import SubscriptionChange
from billing.wording import amounts

AFTER_PAYMENTS, LAST = 1, 2
Act = SubscriptionChange.Act
_FOLLOWS_PAYMENT = frozenset({Act.ACTIVATE, Act.PAST_DUE, Act.RECOVER})


@dataclass(frozen=True, slots=True)
class Event:
    """What happened when, to which account. `what` is one word or two, `details` are for people too."""

    at: datetime
    account_id: int
    account: str
    what: str
    details: str
    # Among what happens at one moment, what comes of it stands below its cause.
    rank: int = 0


def list_events(*, after: datetime, until: datetime, account_id: int | None) -> list[Event]:
    """All that happened in `(after, until]`, in order of time, and at one moment in the order of cause and effect."""
    found: list[Event] = []
    for read in (_changes, _invoices, _credit_notes, _payments, _refunds, _collections, _postings, _notifications):
        found += read(after, until, account_id)
    return sorted(found, key=lambda each: (each.at, each.rank))


def _within(column: str, after: datetime, until: datetime) -> Q:
    return Q(**{f"{column}__gt": after, f"{column}__lte": until})


def _of(rows: QuerySet, column: str, after: datetime, until: datetime, account_id: int | None, road: str) -> QuerySet:
    narrowed = clocks.narrow(rows.filter(_within(column, after, until)), account_id=account_id, road=road)
    return narrowed.select_related(road).order_by(column, "pk")


def _changes(after: datetime, until: datetime, account_id: int | None) -> Iterator[Event]:
    rows = _of(SubscriptionChange.objects.all(), "at", after, until, account_id, "subscription__account")
    for row in rows.select_related("to_version__plan", "invoice"):
        account = row.subscription.account
        plan = row.to_version.plan.name if row.to_version is not None else ""
        seats = _("%(count)s seats") % {"count": row.to_seats} if row.to_seats else ""
        details = ", ".join(part for part in (plan, seats, str(row.invoice or "")) if part)
        rank = AFTER_PAYMENTS if row.act in _FOLLOWS_PAYMENT else 0
        yield Event(row.at, account.pk, account.name, str(row.get_act_display()), details, rank)


def _invoices(after: datetime, until: datetime, account_id: int | None) -> Iterator[Event]:
    for row in _of(Invoice.objects.all(), "issued_at", after, until, account_id, "account").prefetch_related("lines"):
        lines = ", ".join(
            f"{line.description} {amounts.money_text(line.amount, row.currency)}" for line in row.lines.all()
        )
        total = amounts.money_text(row.total, row.currency)
        assert row.issued_at is not None  # noqa: S101
        yield Event(row.issued_at, row.account_id, row.account.name, _("invoice"), f"{row}: {total} ({lines})")


def _credit_notes(after: datetime, until: datetime, account_id: int | None) -> Iterator[Event]:
    for row in _of(CreditNote.objects.all(), "issued_at", after, until, account_id, "invoice__account"):
        account, total = row.invoice.account, amounts.money_text(row.total, row.currency)
        yield Event(row.issued_at, account.pk, account.name, _("credit note"), f"{row}: {total}, {row.reason}")


def _payments(after: datetime, until: datetime, account_id: int | None) -> Iterator[Event]:
    for row in _of(Payment.objects.all(), "finished_at", after, until, account_id, "invoice__account"):
        account, total = row.invoice.account, amounts.money_text(row.amount, row.currency)
        failed = row.state == Payment.State.FAILED
        details = f"{row.invoice}: {total}" + (f", {row.failure_message}" if failed else "")
        assert row.finished_at is not None  # noqa: S101
        yield Event(row.finished_at, account.pk, account.name, _("payment failed") if failed else _("paid"), details)


def _refunds(after: datetime, until: datetime, account_id: int | None) -> Iterator[Event]:
    for row in _of(Refund.objects.all(), "finished_at", after, until, account_id, "payment__invoice__account"):
        account, total = row.payment.invoice.account, amounts.money_text(row.amount, row.currency)
        assert row.finished_at is not None  # noqa: S101
        yield Event(row.finished_at, account.pk, account.name, _("refund"), f"{total} ({row.get_state_display()})")


def _collections(after: datetime, until: datetime, account_id: int | None) -> Iterator[Event]:
    ended = Collection.objects.filter(state__in=(Collection.State.EXHAUSTED, Collection.State.STOPPED))
    for row in _of(ended, "closed_at", after, until, account_id, "invoice__account"):
        account = row.invoice.account
        assert row.closed_at is not None  # noqa: S101
        what = _("dunning ended") if row.state == Collection.State.EXHAUSTED else _("collection stopped")
        yield Event(row.closed_at, account.pk, account.name, what, str(row.invoice))


def _postings(after: datetime, until: datetime, account_id: int | None) -> Iterator[Event]:
    """What moved credits but for usage, of which there is too much."""
    rows = Posting.objects.exclude(act=Posting.Act.SPEND)
    for row in _of(rows, "posted_at", after, until, account_id, "pool__account").prefetch_related("entries__grant"):
        kinds = sorted({str(entry.grant.get_kind_display()) for entry in row.entries.all()})
        change = amounts.exact_credits_text(row.balance_after - row.balance_before)
        details = _("%(kinds)s: %(change)s credits, %(balance)s in hand") % {
            "kinds": ", ".join(kinds),
            "change": change,
            "balance": amounts.exact_credits_text(row.balance_after),
        }
        account = row.pool.account
        yield Event(
            row.posted_at, account.pk, account.name, str(row.get_act_display()).lower(), details, AFTER_PAYMENTS
        )


def _notifications(after: datetime, until: datetime, account_id: int | None) -> Iterator[Event]:
    for row in _of(Notification.objects.all(), "created_at", after, until, account_id, "account"):
        if row.account is not None and row.kind in KINDS:
            title = KINDS[row.kind].write(About(row)).title
            yield Event(row.created_at, row.account.pk, row.account.name, _("notice"), title, LAST)
