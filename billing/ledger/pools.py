"""Opening pools and setting how they behave. Locks: the pool's row, for a change of policy."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from django.db import IntegrityError, transaction

from billing.accounts import members, tax_ids
from billing.accounts.models import Account, Member, Role, User
from billing.ledger.cycles import month_after, month_start
from billing.ledger.models import CreditPool, MemberLimit
from billing.ledger.pool_state import left
from billing.ledger.pool_store import open_pools, write_pools
from billing.ledger.pool_terms import PoolTerms, apply
from billing.sql import prepared
from billing.sql.pipeline import Statement

MAIN_KEY = "main"


class ExternalIdTaken(Exception):
    """Another account has this external id."""


class PoolKeyTaken(Exception):
    """The account has a pool of this key already."""


def open_account(
    *,
    name: str,
    external_id: str,
    billing_email: str,
    country: str,
    currency: str = "USD",
    time_zone: str = "UTC",
    address: str = "",
    region: str = "",
    postal_code: str = "",
    tax_number: str = "",
    segment_override: str = "",
    policy: str = CreditPool.Policy.BLOCK,
    burst_limit: Decimal = Decimal(0),
    overage_cap: Decimal | None = None,
    owner: User | None = None,
    now: datetime,
) -> Account:
    """Create an account, its main pool and, if given, its first owner. The fields are taken as checked.

    Raises ExternalIdTaken.
    """
    try:
        with transaction.atomic():
            account = Account.objects.create(
                name=name,
                external_id=external_id,
                billing_email=billing_email,
                country=country,
                currency=currency,
                time_zone=time_zone,
                address=address,
                region=region,
                postal_code=postal_code,
                tax_number=tax_ids.normalise(country, tax_number),
                segment_override=segment_override,
                created_at=now,
            )
            _create_pool(account, MAIN_KEY, "Main pool", CreditPool.Kind.MAIN, policy, burst_limit, overage_cap, now)
            if owner is not None:
                members.add(account=account, user=owner, role=Role.OWNER, now=now)
            return account
    except IntegrityError as error:
        if "external_id" in str(error):
            raise ExternalIdTaken(external_id) from error
        raise


def open_pool(
    *,
    account: Account,
    key: str,
    name: str,
    policy: str = CreditPool.Policy.BLOCK,
    burst_limit: Decimal = Decimal(0),
    overage_cap: Decimal | None = None,
    now: datetime,
) -> CreditPool:
    """Open a team pool. Raises PoolKeyTaken."""
    try:
        with transaction.atomic():
            pool = _create_pool(account, key, name, CreditPool.Kind.TEAM, policy, burst_limit, overage_cap, now)
            _follow_main(pool)
            return pool
    except IntegrityError as error:
        if "pool_key_unique" in str(error):
            raise PoolKeyTaken(key) from error
        raise


def _create_pool(
    account: Account,
    key: str,
    name: str,
    kind: str,
    policy: str,
    burst_limit: Decimal,
    overage_cap: Decimal | None,
    now: datetime,
) -> CreditPool:
    return CreditPool.objects.create(
        account=account,
        key=key,
        name=name,
        kind=kind,
        policy=policy,
        burst_limit=burst_limit,
        overage_cap=overage_cap,
        last_posted_at=now,
        cycle_starts_at=month_start(now, account.time_zone),
        cycle_ends_at=month_after(now, account.time_zone),
        created_at=now,
    )


def _follow_main(pool: CreditPool) -> None:
    """Let a new pool have the cycles of the main one, where a subscription has set them."""
    main = get_main_pool(pool.account_id)
    if main.cycle_anchor_on is not None and main.cycle_ends_at > pool.created_at:
        fields = (
            "cycle_interval", "cycle_interval_count", "cycle_anchor_on", "cycle_starts_at", "cycle_ends_at",
            "last_cycle_starts_at",
        )  # fmt: skip
        for field in fields:
            setattr(pool, field, getattr(main, field))
        pool.save(update_fields=fields)


def set_back(*, account_id: int, to: datetime) -> None:
    """Let the pools and limits of an account that was opened after `to` begin then, for a clock that starts in the
    past. The caller has seen to it that nothing was posted since. Locks the pools."""
    pools = CreditPool.objects.select_for_update(no_key=True, of=("self",)).select_related("account")
    for pool in pools.filter(account=account_id, created_at__gt=to).order_by("pk"):
        starts_at = month_start(to, pool.account.time_zone)
        pool.created_at = pool.last_posted_at = to
        pool.cycle_starts_at, pool.cycle_ends_at = starts_at, month_after(to, pool.account.time_zone)
        pool.save(update_fields=["created_at", "last_posted_at", "cycle_starts_at", "cycle_ends_at"])
        MemberLimit.objects.filter(member__account=account_id, period_starts_at__gt=starts_at).update(
            period_starts_at=starts_at
        )
    Account.objects.filter(pk=account_id, created_at__gt=to).update(created_at=to)


def get_main_pool(account_id: int) -> CreditPool:
    """The account's main pool. Raises CreditPool.DoesNotExist."""
    return CreditPool.objects.get(account_id=account_id, kind=CreditPool.Kind.MAIN)


def find_pool_id(*, key: str, account_id: int | None = None, external_id: str = "") -> int | None:
    """The pool of that key in the account of that id, or of that external id. Raises Account.DoesNotExist.

    Plain SQL, for every read of a balance begins with it: building the ORM's queries took longer than asking them.
    """
    if account_id is None:
        rows = prepared.fetch(_POOL_OF_NAME, [key, external_id])
    else:
        rows = prepared.fetch(_POOL_OF_ID, [key, account_id])
    if not rows:
        raise Account.DoesNotExist
    return rows[0][0]


_POOL_OF_ID = """
SELECT p.id FROM billing_account a LEFT JOIN billing_creditpool p ON p.account_id = a.id AND p.key = %s WHERE a.id = %s
"""
_POOL_OF_NAME = _POOL_OF_ID.replace("a.id = %s", "a.external_id = %s")


def lock(pool_ids: Iterable[int | None]) -> None:
    """Lock pools by primary key, for an act that must have them before it locks something else."""
    list(
        CreditPool.objects.select_for_update(no_key=True).filter(pk__in=set(pool_ids)).order_by("pk").values_list("pk")
    )


def set_policy(*, pool_id: int, policy: str, burst_limit: Decimal, overage_cap: Decimal | None) -> CreditPool:
    """Set what happens when the pool's credits run out. An overdraft beyond a lowered limit stays until repaid."""
    with transaction.atomic():
        pool = CreditPool.objects.select_for_update(no_key=True).get(pk=pool_id)
        pool.policy, pool.burst_limit, pool.overage_cap = policy, burst_limit, overage_cap
        pool.save(update_fields=["policy", "burst_limit", "overage_cap"])
        return pool


def set_terms(*, account_id: int, terms: PoolTerms, cycle: tuple[datetime, datetime] | None, now: datetime) -> None:
    """Let an account's pools follow a subscription: the main pool's policy, the cycles of all of them. `cycle` runs
    now (None: they go on as they are); where it begins later than the pool's, that one ends, its overage lots too.

    Locks the pools' rows.
    """
    with transaction.atomic():
        kinds = dict(CreditPool.objects.filter(account_id=account_id).values_list("pk", "kind"))
        opened = open_pools(list(kinds), now=now, postings=0)
        extras: list[Statement] = []
        for pool_id, state in opened.states.items():
            extras += apply(state, terms, is_main=kinds[pool_id] == CreditPool.Kind.MAIN, cycle=cycle)
        write_pools(opened, now=now, extras=extras)


def clear_terms(*, account_id: int, now: datetime) -> None:
    """Let an account's pools stand by themselves again: charges that outrun the main pool are refused, and cycles are
    calendar months, the first of them the rest of this one. Locks the pools' rows."""
    zone = Account.objects.values_list("time_zone", flat=True).get(pk=account_id)
    alone = PoolTerms(CreditPool.Policy.BLOCK, Decimal(0), None, "month", 1, None, None)
    set_terms(account_id=account_id, terms=alone, cycle=(now, month_after(now, zone)), now=now)


def set_low_balance(*, pool_id: int, below: Decimal | None, now: datetime) -> CreditPool:
    """Set below how many credits the pool's people are told of it; None: never. Locks the pool's row.

    Setting it tells nobody: a balance that is below already is told of when it falls below the next time.
    """
    with transaction.atomic():
        state = open_pools([pool_id], now=now, postings=0).states[pool_id]
        pool = CreditPool.objects.get(pk=pool_id)
        pool.low_balance_below = below
        pool.low_balance_told = below is not None and left(state, at=now) < below
        pool.save(update_fields=["low_balance_below", "low_balance_told"])
        return pool


def spent_this_month(limit: MemberLimit, *, time_zone: str, now: datetime) -> Decimal:
    """What counts against a member's limit in the calendar month of `now`. The row still holds an earlier month's
    credits until the member spends again."""
    return limit.spent if limit.period_starts_at >= month_start(now, time_zone) else Decimal(0)


def set_member_limit(*, member_id: int, amount: Decimal | None, now: datetime) -> MemberLimit | None:
    """Limit what a member may spend per calendar month of the account's zone; None lifts the limit. Spending so far
    is counted from the moment a limit is first set."""
    with transaction.atomic():
        limit = MemberLimit.objects.select_for_update(no_key=True).filter(member_id=member_id).first()
        if amount is None:
            if limit is not None:
                limit.delete()
            return None
        if limit is not None:
            limit.amount = amount
            limit.save(update_fields=["amount"])
            return limit
        zone = Member.objects.values_list("account__time_zone", flat=True).get(pk=member_id)
        return MemberLimit.objects.create(member_id=member_id, amount=amount, period_starts_at=month_start(now, zone))
