"""Looking up what usage names: accounts, pools, members, meters and rate cards, for a whole batch in one round trip."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime

from billing.accounts import ids
from billing.catalog.models import RateCardVersion
from billing.catalog.prices import REVISION, Assignment, Catalog, catalog_at
from billing.ledger.cycles import bounds
from billing.sql.pipeline import Statement, array, pipelined

CountsBy = RateCardVersion.CountsBy
Period = tuple[datetime, datetime]


@dataclass(slots=True)
class AccountInfo:
    """What metering needs to know of an account. The cycle is its main pool's: the period of the plan's credits, or a
    calendar month; `months` are those met so far. Periods are half-open."""

    id: int
    external_id: str
    time_zone: str
    main_pool_id: int
    cycle_starts_at: datetime
    cycle_ends_at: datetime
    last_cycle_starts_at: datetime | None
    cycle_interval: str
    cycle_interval_count: int
    cycle_anchor_on: date | None
    assignments: list[Assignment] = field(default_factory=list)
    pools: dict[str, int] = field(default_factory=dict)
    members: set[int] = field(default_factory=set)
    months: list[Period] = field(default_factory=list)

    def roll(self, now: datetime) -> None:
        """Bring the cycle up to `now`, as opening the pool does (`cycles.roll_cycle`)."""
        while now >= self.cycle_ends_at:
            self.last_cycle_starts_at, self.cycle_starts_at = self.cycle_starts_at, self.cycle_ends_at
            self.cycle_ends_at = self._bounds(self.cycle_starts_at)[1]

    def period_of(self, at: datetime, counts_by: str) -> Period:
        """The period `at` lies in: a billing period or a calendar month of the account's time zone. `roll` first."""
        return self._billing_period_of(at) if counts_by == CountsBy.BILLING_PERIOD else self._month_of(at)

    def _billing_period_of(self, at: datetime) -> Period:
        if self.cycle_starts_at <= at < self.cycle_ends_at:
            return self.cycle_starts_at, self.cycle_ends_at
        if at >= self.cycle_ends_at:
            starts_at, ends_at = self._bounds(at)
            return max(starts_at, self.cycle_ends_at), ends_at
        last = self.last_cycle_starts_at
        if last is not None and last <= at:
            return last, self.cycle_starts_at
        starts_at, ends_at = self._bounds(at)
        return starts_at, min(ends_at, last or self.cycle_starts_at)

    def _month_of(self, at: datetime) -> Period:
        for month in self.months:
            if month[0] <= at < month[1]:
                return month
        month = bounds(at, interval="month", count=1, anchor_on=None, time_zone=self.time_zone)
        self.months.append(month)
        return month

    def _bounds(self, at: datetime) -> Period:
        return bounds(
            at,
            interval=self.cycle_interval,
            count=self.cycle_interval_count,
            anchor_on=self.cycle_anchor_on,
            time_zone=self.time_zone,
        )

    def is_closed(self, at: datetime, period: Period, *, now: datetime, grace_seconds: int) -> bool:
        """Whether what happened `at`, in that period, comes too late for it: its grace has ended, or the plan has begun
        another cycle in between, which leaves none."""
        is_cut_short = at < self.cycle_starts_at and self.last_cycle_starts_at is None
        return is_cut_short or (now - period[1]).total_seconds() >= grace_seconds


@dataclass(slots=True)
class World:
    """Everything a batch names, as found. Accounts by the name the caller used (our id or theirs)."""

    catalog: Catalog
    accounts: dict[str, AccountInfo]
    by_id: dict[int, AccountInfo]


_ACCOUNTS = """
SELECT a.id, a.external_id, a.time_zone, p.id, p.cycle_starts_at, p.cycle_ends_at, p.last_cycle_starts_at,
       p.cycle_interval, p.cycle_interval_count, p.cycle_anchor_on
FROM billing_account a JOIN billing_creditpool p ON p.account_id = a.id AND p.kind = 'main'
WHERE a.external_id = ANY(%s::text[]) OR a.id = ANY(%s::bigint[])
"""
_ASSIGNMENTS = """
SELECT r.account_id, r.kind, r.rate_card_id, r.starts_at, r.ends_at
FROM billing_ratecardassignment r JOIN billing_account a ON a.id = r.account_id
WHERE a.external_id = ANY(%s::text[]) OR a.id = ANY(%s::bigint[])
"""
_POOLS = """
SELECT p.account_id, p.key, p.id FROM billing_creditpool p JOIN billing_account a ON a.id = p.account_id
WHERE p.key = ANY(%s::text[]) AND (a.external_id = ANY(%s::text[]) OR a.id = ANY(%s::bigint[]))
"""
_MEMBERS = "SELECT account_id, id FROM billing_member WHERE id = ANY(%s::bigint[]) AND removed_at IS NULL"


def resolve(*, accounts: Collection[str], pools: Collection[str], members: Collection[int]) -> World:
    """Look up accounts by name, pools by key within them, and members by primary key. One round trip, no locks."""
    own = {name: found for name in accounts if (found := ids.find(ids.ACCOUNT, name)) is not None}
    external, ours = array([name for name in accounts if name not in own]), array(own.values())
    statements: list[Statement] = [
        (REVISION, []),
        (_ACCOUNTS, [external, ours]),
        (_ASSIGNMENTS, [external, ours]),
    ]
    if pools:
        statements.append((_POOLS, [array(pools), external, ours]))
    if members:
        statements.append((_MEMBERS, [array(members)]))
    rows = pipelined(statements)
    by_id = {row[0]: AccountInfo(*row) for row in rows[1]}
    # Each statement sees what was committed when it began: a later one may know accounts that the first did not.
    for account_id, *assignment in rows[2]:
        if account_id in by_id:
            by_id[account_id].assignments.append(Assignment(*assignment))
    for account_id, key, pool_id in rows[3] if pools else []:
        if account_id in by_id:
            by_id[account_id].pools[key] = pool_id
    for account_id, member_id in rows[-1] if members else []:
        if account_id in by_id:
            by_id[account_id].members.add(member_id)
    named = {info.external_id: info for info in by_id.values()}
    named |= {name: by_id[pk] for name, pk in own.items() if pk in by_id}
    return World(catalog_at(rows[0][0][0] if rows[0] else None), named, by_id)
