"""The act spend on PostgreSQL: every way it is refused, its references, member limits and alerts."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

import pytest

from billing.accounts.models import Account
from billing.ledger import pool_acts, pool_store, pools, posting
from billing.ledger.models import CreditGrant, CreditPool, MemberLimit, Posting
from billing.notifications.models import Notification
from tests.factories import make_account
from tests.ledger.makers import (
    DAY,
    HOUR,
    NOW,
    assert_proven,
    available_in,
    entries_of,
    give,
    nothing_written,
    set_policy,
    take,
)

pytestmark = pytest.mark.smoke


def test_a_spend_burns_lots_and_says_so(pool, bob):
    later, soon = give(pool, 10), give(pool, 10, expires_at=NOW + DAY)
    spent = take(pool, "12.5", reference="job:1", occurred_at=NOW - HOUR, member_id=bob.pk, note="n", actor="key:1")
    assert entries_of(spent) == [(soon.pk, "spend", -10), (later.pk, "spend", Decimal("-2.5"))]
    assert (spent.act, spent.version, spent.reference, spent.credits) == ("spend", 3, "job:1", 12.5)
    assert (spent.balance_before, spent.amount, spent.balance_after) == (20, -12.5, 7.5)
    assert (spent.posted_at, spent.occurred_at) == (NOW, NOW - HOUR)
    assert (spent.member, spent.note, spent.actor) == (bob, "n", "key:1")
    soon.refresh_from_db()
    assert (soon.spent, soon.remaining, soon.is_open) == (10, 0, False)
    pool.refresh_from_db()
    assert (pool.balance, pool.cycle_spent, pool.cycle_allocation) == (7.5, 12.5, 20)
    assert_proven()


def test_a_spend_happens_once_per_reference(pool):
    give(pool, 10)
    first = take(pool, 4, reference="job:1")
    with nothing_written():
        assert take(pool, 4, reference="job:1", now=NOW + DAY) == first


def test_a_repeat_succeeds_even_when_nothing_is_left(pool):
    give(pool, 10)
    first = take(pool, 10, reference="job:1")
    assert take(pool, 10, reference="job:1") == first


def test_a_reference_used_for_another_request_is_a_conflict(pool):
    give(pool, 10)
    first = take(pool, 4, reference="job:1", fingerprint=b"one")
    with nothing_written(), pytest.raises(posting.ReferenceConflict) as conflict:
        take(pool, 5, reference="job:1", fingerprint=b"two")
    assert conflict.value.posting == first


def test_more_than_is_available_is_refused(pool):
    give(pool, 10)
    with nothing_written(), pytest.raises(posting.InsufficientCredits) as refused:
        take(pool, "10.000001")
    assert (refused.value.required, refused.value.available) == (Decimal("10.000001"), 10)
    take(pool, 10)


@pytest.mark.parametrize("credits", [0, -1])
def test_spending_nothing_or_less_is_refused(pool, credits):
    give(pool, 10)
    with nothing_written(), pytest.raises(ValueError, match="positive"):
        take(pool, credits)


def test_spending_from_a_pool_that_is_not_there_is_refused(pool):
    with nothing_written(), pytest.raises(pool_store.PoolNotFound):
        posting.spend(pool_id=pool.pk + 999, credits=Decimal(1), reference="x", now=NOW)


REFUSALS = [("parked_at", pool_acts.AccountParked), ("paused_at", pool_acts.AccountPaused)]


@pytest.mark.parametrize(("mark", "refusal"), REFUSALS)
def test_a_parked_or_paused_account_cannot_spend_but_may_still_be_given(pool, mark, refusal):
    give(pool, 10)
    Account.objects.filter(pk=pool.account_id).update(**{mark: NOW})
    with nothing_written(), pytest.raises(refusal):
        take(pool, 1)
    give(pool, 5)
    assert available_in(pool) == 15


def test_a_parked_account_still_gets_its_earlier_answers(pool):
    give(pool, 10)
    first = take(pool, 1, reference="job:1")
    Account.objects.filter(pk=pool.account_id).update(parked_at=NOW)
    assert take(pool, 1, reference="job:1") == first


def test_pools_do_not_reach_into_each_other(pool, team, mallory):
    give(pool, 10)
    give(mallory, 10)
    with nothing_written(), pytest.raises(posting.InsufficientCredits):
        take(team, 1)
    take(pool, 10)
    assert (available_in(team), available_in(mallory)) == (0, 10)


def test_burst_is_bounded_and_owed(pool):
    give(pool, 10)
    set_policy(pool, "burst", burst=5)
    with nothing_written(), pytest.raises(posting.InsufficientCredits):
        take(pool, 16)
    spent = take(pool, 15)
    assert (spent.credits, spent.amount, spent.overdraft_after) == (15, -10, 5)
    pool.refresh_from_db()
    assert (pool.overdraft, pool.balance, available_in(pool)) == (5, 0, 0)
    with nothing_written(), pytest.raises(posting.InsufficientCredits):
        take(pool, "0.000001")
    assert_proven()


def test_overage_is_metered_up_to_the_cycles_cap_and_anew_in_the_next(pool):
    set_policy(pool, "overage", cap=20)
    take(pool, 15)
    with nothing_written(), pytest.raises(posting.InsufficientCredits):
        take(pool, 6)
    take(pool, 5)
    take(pool, 20, now=datetime(2026, 4, 1, tzinfo=UTC))
    with pytest.raises(posting.InsufficientCredits):
        take(pool, 1, now=datetime(2026, 4, 30, tzinfo=UTC))
    lots = CreditGrant.objects.filter(kind="overage").order_by("pk")
    # A lot per cycle, so that each can be invoiced; that of the last one stays open for what is still to come.
    assert list(lots.values_list("amount", "spent", "is_open")) == [(20, 20, True), (20, 20, True)]
    assert_proven()


def test_a_lowered_burst_limit_keeps_what_is_owed(pool):
    set_policy(pool, "burst", burst=5)
    take(pool, 5)
    set_policy(pool, "burst", burst=2)
    with nothing_written(), pytest.raises(posting.InsufficientCredits):
        take(pool, 1)
    pool.refresh_from_db()
    assert pool.overdraft == 5


def test_a_member_spends_up_to_the_limit(pool, bob):
    give(pool, 100)
    pools.set_member_limit(member_id=bob.pk, amount=Decimal(10), now=NOW)
    take(pool, 7, member_id=bob.pk)
    with nothing_written(), pytest.raises(pool_acts.SpendLimitReached) as refused:
        take(pool, 4, member_id=bob.pk)
    assert (refused.value.limit, refused.value.spent) == (10, 7)
    take(pool, 3, member_id=bob.pk)
    # Others are not bound by it.
    take(pool, 50)


def test_a_limit_counts_over_all_pools(pool, team, bob):
    give(pool, 100)
    give(team, 100)
    pools.set_member_limit(member_id=bob.pk, amount=Decimal(10), now=NOW)
    take(pool, 6, member_id=bob.pk)
    with nothing_written(), pytest.raises(pool_acts.SpendLimitReached):
        take(team, 5, member_id=bob.pk)


def test_a_limit_begins_anew_each_month_of_the_accounts_zone(db):
    from tests.factories import make_member, make_user

    account = make_account("tokyo-org", now=NOW, time_zone="Asia/Tokyo")
    pool, member = pools.get_main_pool(account.pk), make_member(account, make_user("bob"), now=NOW)
    give(pool, 100)
    pools.set_member_limit(member_id=member.pk, amount=Decimal(10), now=NOW)
    take(pool, 10, member_id=member.pk)
    # April begins in Tokyo at 15:00 UTC on 31 March.
    with nothing_written(), pytest.raises(pool_acts.SpendLimitReached):
        take(pool, 1, member_id=member.pk, now=datetime(2026, 3, 31, 14, 59, tzinfo=UTC))
    take(pool, 10, member_id=member.pk, now=datetime(2026, 3, 31, 15, 0, tzinfo=UTC))
    limit = MemberLimit.objects.get()
    assert (limit.spent, limit.period_starts_at) == (10, datetime(2026, 3, 31, 15, tzinfo=UTC))


def test_a_limit_can_be_raised_and_lifted(pool, bob):
    give(pool, 100)
    pools.set_member_limit(member_id=bob.pk, amount=Decimal(10), now=NOW)
    take(pool, 10, member_id=bob.pk)
    pools.set_member_limit(member_id=bob.pk, amount=Decimal(12), now=NOW)
    take(pool, 2, member_id=bob.pk)
    assert pools.set_member_limit(member_id=bob.pk, amount=None, now=NOW) is None
    take(pool, 50, member_id=bob.pk)
    assert pools.set_member_limit(member_id=bob.pk, amount=None, now=NOW) is None


def test_each_crossing_is_one_notification_in_the_spends_transaction(pool):
    give(pool, 100)
    take(pool, 74)
    assert Notification.objects.count() == 0
    take(pool, 26)
    rows = Notification.objects.order_by("pk")
    assert [(row.kind, row.payload["threshold"], row.account_id) for row in rows] == [
        ("threshold", threshold, pool.account_id) for threshold in (75, 90, 100)
    ]
    assert rows[0].payload == {
        "pool": "main", "pool_name": "Main pool", "threshold": 75, "spent": "100.000000", "allocation": "100.000000",
        "cycle_ends_at": "2026-04-01T00:00:00+00:00",
    }  # fmt: skip


def test_a_refused_spend_tells_of_no_crossing(pool):
    give(pool, 100)
    with nothing_written(), pytest.raises(posting.InsufficientCredits):
        take(pool, 101)


def test_a_new_cycle_and_a_top_up_tell_again(pool):
    give(pool, 100)
    take(pool, 75)
    give(pool, 900)
    take(pool, 675)
    april = datetime(2026, 4, 1, tzinfo=UTC)
    take(pool, 200, now=april)
    keys = sorted(Notification.objects.values_list("dedupe_key", flat=True))
    # March twice (armed again by the top-up), April once: 200 of the 250 that were left.
    assert keys == [f"threshold:{pool.pk}:{cycle}:75:{arming}" for cycle, arming in ((1, 0), (1, 1), (2, 1))]


def test_find_posting_tells_a_repeat_from_a_conflict(pool):
    give(pool, 10)
    first = take(pool, 1, reference="job:1", fingerprint=b"one")
    find = partial(posting.find_posting, pool_id=pool.pk)
    assert find(reference="job:2", act="spend") is None
    assert find(reference="job:1", act="spend", fingerprint=b"one") == first
    for other in ({"act": "spend", "fingerprint": b"two"}, {"act": "spend"}, {"act": "grant", "fingerprint": b"one"}):
        with pytest.raises(posting.ReferenceConflict):
            find(reference="job:1", **other)


def test_versions_of_a_pool_have_no_gap_whatever_was_refused(pool):
    give(pool, 10)
    for number in range(5):
        take(pool, 1, reference=f"job:{number}")
        with pytest.raises(posting.InsufficientCredits):
            take(pool, 100)
    assert list(Posting.objects.order_by("version").values_list("version", flat=True)) == [1, 2, 3, 4, 5, 6]
    assert CreditPool.objects.get(pk=pool.pk).version == 6
    assert_proven()
