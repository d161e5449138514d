"""The way in for usage: events, which are facts and always recorded, and charges, which may be refused.

Both go through `processing.process`: a batch directly, single requests grouped with others that wait (`grouping`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings

from billing.accounts import clocks, ids
from billing.metering.events import InvalidEvent, Usage, fingerprint, read_event, read_properties
from billing.metering.grouping import process_together
from billing.metering.processing import process
from billing.metering.work import ZERO, Work

# Up to this many events a request is grouped with others that wait; a larger one is a group of its own.
GROUPED_UP_TO = 10


class IdConflict(Exception):
    """The id is taken by an earlier request with another body."""


@dataclass(frozen=True, slots=True)
class EventResult:
    """What became of one event. `status`: accepted, duplicate (with the first result), conflict or rejected."""

    id: str
    source: str
    status: str
    credits: Decimal
    late: bool
    posting_id: int | None
    code: str
    detail: str
    field: str


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch, in its order. `balances`: by the name that the events gave the account, the credits that
    the main pool of each account that was named has afterwards."""

    accepted: int
    duplicates: int
    conflicts: int
    rejected: int
    results: list[EventResult]
    balances: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """A charge: of usage (`meter_key`, `quantity`, `properties`) or of bare `credits`. `id`, with the `source` that
    gave it, makes a repeat safe.

    `account`, `pool_key` and `member` are named as in events; `occurred_at` defaults to now.
    """

    account: str
    id: str
    meter_key: str = ""
    quantity: Decimal = Decimal(1)
    properties: dict[str, object] = field(default_factory=dict)
    credits: Decimal | None = None
    pool_key: str = ""
    member: str = ""
    occurred_at: datetime | None = None
    source: str = ""
    actor: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ChargeResult:
    """A charge that went through, now or before (`duplicate`). `posting_id` is None when it cost nothing."""

    credits: Decimal
    available: Decimal
    posting_id: int | None
    duplicate: bool


def take_events(
    *,
    events: Sequence[object],
    now: datetime,
    account_id: int | None = None,
    account_name: str = "",
    api_key_id: int | None = None,
    door: str = "api",
    max_age: timedelta | None = None,
    actor: str = "",
) -> BatchResult:
    """Take parsed JSON events, each with its own result; rejected ones are kept for replay.

    With `account_id` (a key bound to one account; `account_name` is its external id) events of other accounts are
    rejected as unknown and the account may be left out. `max_age` widens how old an event may be, for imports.
    """
    ahead = timedelta(seconds=settings.FLORIN_EVENT_MAX_AHEAD_SECONDS)
    age = max_age or timedelta(days=settings.FLORIN_EVENT_MAX_AGE_DAYS)
    works = []
    for raw in events:
        work = Work(
            is_charge=False, usage=None, raw=raw, actor=actor, api_key_id=api_key_id, bound_account_id=account_id
        )
        works.append(work)
        try:
            work.usage = read_event(raw, now=now, max_ahead=ahead, max_age=age)
            bind(work.usage, account_id, account_name)
        except InvalidEvent as fault:
            work.reject(fault)
            work.faulty_as_sent = True
    if len(works) <= GROUPED_UP_TO and door == "api":
        process_together(works, now=now)
    else:
        process(works, now=now, door=door)
    return _batch_result(works)


def take_events_in_their_time(
    *, events: Sequence[object], now: datetime, account_name: str = "", **options: Any
) -> BatchResult:
    """`take_events`, those of accounts on test clocks each at its account's time, apart from the others; the results
    in their order. `options` are those of `take_events`."""
    times = clocks.times_of_names(_name_of(event, account_name) for event in events)
    if not times:
        return take_events(events=events, now=now, account_name=account_name, **options)
    own_times = [times.get(_name_of(event, account_name), now) for event in events]
    results: dict[int, EventResult] = {}
    balances: dict[str, Decimal] = {}
    counts: Counter[str] = Counter()
    for at in in_order(own_times, now):
        places = [place for place, own_time in enumerate(own_times) if own_time == at]
        done = take_events(events=[events[place] for place in places], now=at, account_name=account_name, **options)
        results |= dict(zip(places, done.results, strict=True))
        balances |= done.balances
        counts.update({name: getattr(done, name) for name in ("accepted", "duplicates", "conflicts", "rejected")})
    return BatchResult(**counts, results=[results[place] for place in range(len(events))], balances=balances)


def in_order(times: Iterable[datetime], now: datetime) -> list[datetime]:
    """Each time once: real time, then those of test clocks. Whoever takes events of several times in one transaction
    keeps to this order, so that no two of them lock pools crosswise."""
    return sorted(set(times), key=lambda at: (at != now, at))


def _name_of(event: object, own: str) -> str:
    """The account that an event names, in either form."""
    return str(event.get("account") or event.get("subject") or own) if isinstance(event, dict) else own


def bind(usage: Usage, account_id: int | None, account_name: str) -> None:
    """Hold usage to the account of the key it came with; None for a key of the platform. Raises InvalidEvent."""
    if account_id is None:
        if not usage.account:
            raise InvalidEvent("missing_field", "The field 'account' is required.", "account")
    elif usage.account and usage.account not in (account_name, ids.encode(ids.ACCOUNT, account_id)):
        raise InvalidEvent("unknown_account", f"There is no account {usage.account!r}.", "account")
    else:
        usage.account = account_name


def _batch_result(works: Sequence[Work]) -> BatchResult:
    counts = {"accepted": 0, "duplicate": 0, "conflict": 0, "rejected": 0}
    results, balances = [], {}
    for work in works:
        counts[work.verdict] += 1
        fault = work.fault
        if work.account:
            named = work.usage.account if work.usage is not None else ""
            balances[named or work.account.external_id] = work.available
        conflict = work.verdict == "conflict"
        results.append(
            EventResult(
                id=work.usage.id if work.usage else _stated(work.raw, "id"),
                source=work.usage.source if work.usage else _stated(work.raw, "source"),
                status=work.verdict,
                credits=work.credits,
                late=work.late,
                posting_id=work.posting_id,
                code=fault.code if fault else "id_conflict" if conflict else "",
                detail=fault.detail if fault else "This id was used for another event." if conflict else "",
                field=fault.field if fault else "id" if conflict else "",
            )
        )
    return BatchResult(
        counts["accepted"], counts["duplicate"], counts["conflict"], counts["rejected"], results, balances
    )


def _stated(raw: object, name: str) -> str:
    stated = raw.get(name) if isinstance(raw, dict) else None
    return stated[:200] if isinstance(stated, str) else ""


def charge(*, request: ChargeRequest, now: datetime) -> ChargeResult:
    """Charge usage or bare credits, if the pool covers it. A repeat of the same id and body returns the first result.

    Raises InvalidEvent (unknown names, no rate), IdConflict, InsufficientCredits, SpendLimitReached, AccountParked or
    AccountPaused; nothing is written then.
    """
    usage = _usage_of(request)
    if usage.stated_at is not None:
        # It is made now: a clock that is ahead must not have it refused for want of credits that are still to come.
        usage.stated_at = min(usage.stated_at, now)
    work = Work(
        is_charge=True,
        usage=usage,
        bare_credits=request.credits,
        actor=request.actor,
        note=request.note,
    )
    process_together([work], now=now)
    if work.fault is not None:
        raise work.fault
    if work.refusal is not None:
        raise work.refusal
    if work.verdict == "conflict":
        raise IdConflict(request.id)
    return ChargeResult(work.credits or ZERO, work.available, work.posting_id, work.verdict == "duplicate")


def _usage_of(request: ChargeRequest) -> Usage:
    properties, encoded = read_properties(request.properties)
    usage = Usage(
        id=request.id,
        account=request.account,
        meter=request.meter_key,
        quantity=request.quantity,
        properties=properties,
        encoded_properties=encoded,
        stated_at=request.occurred_at,
        pool=request.pool_key,
        member=request.member,
        source=request.source,
    )
    amount = "" if request.credits is None else f"{request.credits.normalize():f}"
    usage.fingerprint = fingerprint(usage, f"charge {amount}")
    return usage
