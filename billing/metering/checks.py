"""Asking whether charges would go through, many accounts and meters at once. Takes no locks and writes nothing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import DecimalField, F, Sum
from django.db.models.functions import Greatest

from billing.catalog.pricing import AmountTooLarge
from billing.ledger import pools
from billing.ledger.balance import read_states
from billing.ledger.burn import InsufficientCredits
from billing.ledger.cycles import month_start
from billing.ledger.models import Hold, MemberLimit
from billing.ledger.pool_acts import AccountParked, AccountPaused, SpendLimitReached, admit
from billing.ledger.pool_state import PoolState, available_for
from billing.ledger.pool_store import Limit
from billing.metering.events import InvalidEvent
from billing.metering.known import Known
from billing.metering.processing import ensure_holdable, rate
from billing.metering.quotes import Asked, check_asked, look_up, read_known_usage, works_of
from billing.metering.resolve import World
from billing.metering.work import ZERO, Work

_REASONS: dict[type[Exception], tuple[str, str]] = {
    AccountParked: ("paused", "The account is parked for examination."),
    AccountPaused: ("paused", "The account is paused: its subscription is, or something it owes is unpaid."),
    SpendLimitReached: ("spend_limit", "The member's spend limit of this month does not allow it."),
    InsufficientCredits: ("insufficient_credits", "The pool's credits and its policy do not cover it."),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one line would go through for one account. `line` counts from 0 within the question.

    `reason` is empty when allowed. `required` and `available` are credits; None where they cannot be told. `available`
    is what the line may burn on lots; a policy may allow more.
    """

    account: str
    line: int
    allowed: bool
    reason: str
    detail: str
    required: Decimal | None
    available: Decimal | None


def check(
    *, accounts: Sequence[str], lines: Sequence[Asked], pool: str = "", member: str = "", now: datetime
) -> list[Verdict]:
    """Whether a charge of each line, each by itself, would go through for each account; account by account.

    A handful of queries, whatever the number. Raises InvalidEvent for properties that no event may have.
    """
    check_asked(lines)
    world = look_up(accounts=accounts, pool=pool, member=member)
    asked = {
        name: works_of(lines, account=name, world=world, pool=pool, member=member, now=now)
        for name in dict.fromkeys(accounts)
    }
    works = [work for found in asked.values() for work in found]
    known = read_known_usage(works)
    pool_ids = {work.pool_id for work in works if not work.verdict}
    states = {pool_id: state for pool_id, (state, _) in read_states(pool_ids, now=now).items()}
    limits = _read_limits(works, world, now)
    return [
        _judge(name, line, work, known, states, limits, now)
        for name in accounts
        for line, work in enumerate(asked[name])
    ]


def _read_limits(works: Collection[Work], world: World, now: datetime) -> dict[int, Limit]:
    """Members' limits with what counts against them in the month of `now`: spent, and reserved by open holds."""
    members = {work.member_id: work.account for work in works if work.member_id and work.account}
    if not members:
        return {}
    holds = Hold.objects.filter(member_id__in=members, state=Hold.State.OPEN, expires_at__gt=now)
    left = Greatest(F("amount") - F("captured"), ZERO, output_field=DecimalField())
    held = dict(holds.values("member_id").annotate(held=Sum(left)).values_list("member_id", "held"))
    limits = {}
    for row in MemberLimit.objects.filter(member_id__in=members):
        zone = members[row.member_id].time_zone
        spent = pools.spent_this_month(row, time_zone=zone, now=now)
        starts_at = month_start(now, zone)
        limits[row.member_id] = Limit(row.member_id, row.amount, spent, starts_at, zone, held.get(row.member_id, ZERO))
    return limits


def _judge(
    name: str,
    line: int,
    work: Work,
    known: Known,
    states: dict[int, PoolState],
    limits: dict[int, Limit],
    now: datetime,
) -> Verdict:
    if work.fault is not None:
        return Verdict(name, line, False, work.fault.code, work.fault.detail, None, None)
    state = states[work.pool_id]
    meter_id = work.meter.id if work.meter else None
    available = available_for(state, at=now, meter_id=meter_id)
    try:
        rate(work, known)
        ensure_holdable(work, state)
    except InvalidEvent as fault:
        return Verdict(name, line, False, fault.code, fault.detail, None, available)
    except AmountTooLarge:
        return Verdict(name, line, False, "amount_too_large", "This would cost 10^18 credits.", None, available)
    try:
        admit(
            state,
            work.credits,
            limit=limits.get(work.member_id or 0),
            now=now,
            charged_at=work.charged_at,
            meter_id=meter_id,
        )
    except (AccountParked, AccountPaused, SpendLimitReached, InsufficientCredits) as refusal:
        reason, detail = _REASONS[type(refusal)]
        return Verdict(name, line, False, reason, detail, work.credits, available)
    return Verdict(name, line, True, "", "", work.credits, available)
