"""Pricing usage that has not happened, for checks and estimates: looked up and rated as ingest would, with no effect.

Nothing is locked or written, so what is read may be a moment old; the charge itself decides.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.conf import settings

from billing.accounts import ids
from billing.metering.events import Usage, read_properties
from billing.metering.known import Known, counter_key, value_key
from billing.metering.models import UniqueValue, UsageCounter
from billing.metering.resolve import World, resolve
from billing.metering.work import Work, find_out


@dataclass(frozen=True, slots=True)
class Asked:
    """Usage of a meter that is asked about, or bare `credits`."""

    meter: str = ""
    quantity: Decimal = Decimal(1)
    properties: dict[str, object] = field(default_factory=dict)
    credits: Decimal | None = None


def look_up(*, accounts: Collection[str], pool: str, member: str) -> World:
    """Look up what a question names; one round trip, no locks."""
    member_id = ids.find(ids.MEMBER, member)
    return resolve(accounts=accounts, pools={pool} if pool else (), members={member_id} if member_id else ())


def works_of(
    asked: Sequence[Asked],
    *,
    account: str,
    world: World,
    pool: str = "",
    member: str = "",
    occurred_at: datetime | None = None,
    now: datetime,
) -> list[Work]:
    """One work a line for an account, as a charge would make it; verdict `rejected` where a name leads nowhere."""
    works = []
    for line in asked:
        usage = Usage("", account, line.meter, line.quantity, line.properties, "", occurred_at, pool, member)
        work = Work(is_charge=True, usage=usage, bare_credits=line.credits)
        find_out(work, world, now=now, grace_seconds=settings.FLORIN_EXPIRY_GRACE_SECONDS)
        works.append(work)
    return works


def check_asked(asked: Sequence[Asked]) -> None:
    """Hold each line's properties to the limits of an event's. Raises InvalidEvent."""
    for line in asked:
        read_properties(line.properties)


def read_known_usage(works: Sequence[Work]) -> Known:
    """The counters and values that price these works. Two queries at most, no locks."""
    known = Known()
    metered = [work for work in works if work.meter and not work.verdict]
    keys = {counter_key(work)[:2] + counter_key(work)[3:] for work in metered}
    if keys:
        account_ids, meter_ids, periods = (set(column) for column in zip(*keys, strict=True))
        counters = UsageCounter.objects.filter(
            account_id__in=account_ids, period_starts_at__in=periods, meter_id__in=meter_ids
        )
        fields = ("account_id", "meter_id", "dimension", "period_starts_at", "quantity", "correction")
        for *key, quantity, correction in counters.values_list(*fields):
            known.add_to_counter(tuple(key), quantity, correction)
    values = {value_key(work) for work in metered if work.meter and work.meter.kind == "unique"}
    if values:
        account_ids, meter_ids, periods, digests = (set(column) for column in zip(*values, strict=True))
        rows = UniqueValue.objects.filter(
            account_id__in=account_ids, period_starts_at__in=periods, meter_id__in=meter_ids, value__in=digests
        ).values_list("account_id", "meter_id", "period_starts_at", "value")
        known.values = {(account_id, meter_id, period, bytes(value)) for account_id, meter_id, period, value in rows}
    return known
