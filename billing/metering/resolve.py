"""Looking up what usage names: accounts, pools, members, meters and rate cards, for a whole batch in one round trip."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from billing.accounts import ids
from billing.catalog.prices import REVISION, Assignment, Catalog, catalog_at
from billing.ledger.cycles import month_after, month_start
from billing.ledger.pipeline import Statement, array, pipelined


@dataclass(slots=True)
class AccountInfo:
    """What metering needs to know of an account. `periods` are the billing periods met so far, half-open."""

    id: int
    external_id: str
    time_zone: str
    main_pool_id: int
    assignments: list[Assignment] = field(default_factory=list)
    pools: dict[str, int] = field(default_factory=dict)
    members: set[int] = field(default_factory=set)
    periods: list[tuple[datetime, datetime]] = field(default_factory=list)

    def period_of(self, at: datetime) -> tuple[datetime, datetime]:
        """The billing period `at` lies in: a calendar month of the account's time zone."""
        for period in self.periods:
            if period[0] <= at < period[1]:
                return period
        period = (month_start(at, self.time_zone), month_after(at, self.time_zone))
        self.periods.append(period)
        return period


@dataclass(slots=True)
class World:
    """Everything a batch names, as found. Accounts by the name the caller used (our id or theirs)."""

    catalog: Catalog
    accounts: dict[str, AccountInfo]
    by_id: dict[int, AccountInfo]


_ACCOUNTS = """
SELECT a.id, a.external_id, a.time_zone, p.id
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
