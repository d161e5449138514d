"""Test clocks of single accounts: putting an account on one, and moving it.

A clock is moved by whoever holds it, moment by moment; each is shown once all before it is done, so who dies on the way
is followed by another, who goes on from there. Real time comes from the door, for leases only.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from billing.accounts import clocks
from billing.accounts.models import Account, TestClock
from billing.clock.moving import move
from billing.invoicing.models import Invoice
from billing.ledger import pools
from billing.ledger.models import CreditGrant, Posting
from billing.notifications.models import Notification
from billing.payments.gateways import contract, registry
from billing.payments.models import GatewayName, Payment
from billing.subscriptions.models import Subscription
from billing.tracing.redaction import describe_error

log = structlog.get_logger(__name__)

# Further at once is asked for in several steps.
FURTHEST = timedelta(days=5 * 366)


class NotSandbox(Exception):
    """The account's payments go to a gateway whose time is not ours."""


class HasInvoices(Exception):
    """The account was invoiced, or has credits that were paid for: they are in the books, which leave test accounts
    out."""


class TooFar(Exception):
    """The clock is to be moved by more than FURTHEST at once."""


def open_clock(*, account_id: int, starts_at: datetime, now: datetime) -> TestClock:
    """Put an account on a test clock for good, which makes it a test account; `now` is the real time. One that was
    opened after `starts_at` begins then.

    Raises NotSandbox, HasInvoices, clocks.HasClock, and clocks.HasHistory when something happened to it after
    `starts_at`.
    """
    account = Account.objects.get(pk=account_id)
    try:
        is_sandbox = registry.choose(account) == GatewayName.SANDBOX
    except contract.NoGateway:
        is_sandbox = False
    if not is_sandbox:
        raise NotSandbox
    with transaction.atomic():
        clock = clocks.open_clock(account_id=account_id, starts_at=starts_at, now=now)
        if _is_in_books(account_id):
            raise HasInvoices
        if _has_history(account_id, starts_at):
            raise clocks.HasHistory
        pools.set_back(account_id=account_id, to=starts_at)
        return clock


def _is_in_books(account_id: int) -> bool:
    paid_for = CreditGrant.objects.filter(pool__account=account_id, cost_basis__gt=0)
    return Invoice.objects.filter(account=account_id).exists() or paid_for.exists()


def _has_history(account_id: int, after: datetime) -> bool:
    later = {"created_at__gt": after}
    return (
        Posting.objects.filter(pool__account=account_id, posted_at__gt=after).exists()
        or Invoice.objects.filter(account=account_id, **later).exists()
        or Payment.objects.filter(invoice__account=account_id, **later).exists()
        or Subscription.objects.filter(account=account_id, **later).exists()
        or Notification.objects.filter(account=account_id, **later).exists()
    )


def advance(*, account_id: int, to: datetime, seconds: float, read_clock: Callable[[], datetime]) -> Account:
    """Move the account's clock to a time, for at most so many seconds now; `carry_on` does the rest of the way.

    Raises clocks.ClockNotFound, clocks.ClockRunsBack, clocks.ClockMoving and TooFar. Must run outside a transaction.
    """
    at = Account.objects.values_list("clock_at", flat=True).get(pk=account_id)
    if at is not None and to - at > FURTHEST:
        raise TooFar
    clocks.aim(account_id=account_id, target_at=to)
    carry_on(account_id=account_id, seconds=seconds, read_clock=read_clock)
    return Account.objects.select_related("test_clock").get(pk=account_id)


def carry_on(
    *,
    account_id: int,
    seconds: float,
    read_clock: Callable[[], datetime],
    after: Callable[[datetime], None] | None = None,
) -> bool:
    """Move a clock on its way for at most so many seconds, calling `after` at each moment that is done; whether it has
    arrived. One that another moves is left alone.

    What goes wrong is written on the clock, which stops there until it is sent on its way again.
    """
    begun = read_clock()
    clock = clocks.take(account_id=account_id, now=begun)
    if clock is None or clock.target_at is None or clock.account.clock_at is None:
        return False
    start, end = clock.account.clock_at, clock.target_at

    def show(at: datetime) -> bool:
        real = read_clock()
        clocks.show(account_id=account_id, at=at, now=real)
        return real < begun + timedelta(seconds=seconds)

    try:
        moved = move(start=start, end=end, account_id=account_id, before=show, after=after)
    except Exception as error:
        log.exception("clock.stopped", account_id=account_id)
        clocks.arrive(account_id=account_id, problem=describe_error(error))
        return False
    if moved.is_over:
        clocks.arrive(account_id=account_id)
    else:
        clocks.let_go(account_id=account_id)
    return moved.is_over
