"""L5: a hold past its end reserves nothing, although no job has closed it. Whoever acts on the pool next closes it."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.ledger import balance, expiry, holds, posting
from billing.ledger.models import CreditGrant, Hold, Posting
from tests.ledger.makers import (
    DAY,
    HOUR,
    NOW,
    assert_proven,
    available_in,
    give,
    hold,
    nothing_written,
    set_policy,
    take,
)

D = Decimal
END = NOW + timedelta(seconds=60)


@pytest.fixture
def lapsing(pool):
    """100 of 100 credits, held for a minute."""
    give(pool, 100)
    return hold(pool, 100, expires_in_seconds=60)


def read(pool, now):
    found = balance.read(pool_id=pool.pk, now=now)
    return found.available, found.held


def test_the_balance_is_free_from_its_end_on(pool, lapsing):
    assert read(pool, END - timedelta(microseconds=1)) == (0, 100)
    with nothing_written():
        assert read(pool, END) == (100, 0)
        assert balance.read(pool_id=pool.pk, now=END).lots[0].held == 0
    past = balance.read_at(pool_id=pool.pk, at=END)
    assert (past.available, past.held) == (100, 0)
    assert_proven()


def test_a_charge_of_all_succeeds_and_closes_it(pool, lapsing):
    with nothing_written(), pytest.raises(posting.InsufficientCredits):
        take(pool, 1, now=END - timedelta(microseconds=1))
    take(pool, 100, now=END)
    lapsing.refresh_from_db()
    assert (lapsing.state, lapsing.closed_at, lapsing.captured) == ("expired", END, 0)
    pool.refresh_from_db()
    assert (pool.balance, pool.held, pool.overdraft) == (0, 0, 0)
    assert_proven()


def test_what_it_reserved_can_be_held_again(pool, lapsing):
    again = hold(pool, 100, now=END)
    assert read(pool, END) == (0, 100)
    assert dict(Hold.objects.values_list("pk", "state")) == {lapsing.pk: "expired", again.pk: "open"}
    assert_proven()


@pytest.mark.parametrize("amount", [0, 1, 100])
def test_it_cannot_be_captured(pool, lapsing, amount):
    with nothing_written(), pytest.raises(holds.HoldClosed) as closed:
        holds.capture(hold_id=lapsing.pk, amount=D(amount), now=END)
    assert closed.value.hold.state == "expired"


def test_it_can_be_neither_extended_nor_released(pool, lapsing):
    with nothing_written():
        for late in (
            lambda: holds.extend(hold_id=lapsing.pk, expires_in_seconds=60, now=END),
            lambda: holds.release(hold_id=lapsing.pk, now=END),
        ):
            with pytest.raises(holds.HoldClosed):
                late()


def test_another_hold_is_captured_beside_it(pool):
    # 60 lapse, 40 do not: a capture of 90 takes its 40 and 50 of what is free again.
    give(pool, 100)
    lapsed, lasting = hold(pool, 60, expires_in_seconds=60), hold(pool, 40)
    holds.capture(hold_id=lasting.pk, amount=D(90), now=END)
    lapsed.refresh_from_db()
    assert lapsed.state == "expired"
    assert read(pool, END) == (10, 0)
    assert_proven()


def test_what_of_it_was_captured_stays_captured(pool):
    # 100 held, 30 captured in time; the other 70 are free from the end on.
    give(pool, 100)
    placed = hold(pool, 100, expires_in_seconds=60)
    holds.capture(hold_id=placed.pk, amount=D(30), now=NOW, final=False)
    assert read(pool, END) == (70, 0)
    take(pool, 70, now=END)
    placed.refresh_from_db()
    assert (placed.state, placed.captured) == ("expired", 30)
    assert_proven()


def test_what_it_reserved_on_the_policy_is_there_again(pool):
    # Burst of 50, without credits: the hold reserves all of it.
    set_policy(pool, "burst", burst=50)
    placed = hold(pool, 50, expires_in_seconds=60)
    with nothing_written(), pytest.raises(posting.InsufficientCredits):
        take(pool, 1, now=END - timedelta(microseconds=1))
    assert read(pool, END) == (0, 0)
    take(pool, 50, now=END)
    placed.refresh_from_db()
    pool.refresh_from_db()
    assert (placed.state, pool.held_uncovered, pool.overdraft) == ("expired", 0, 50)
    assert_proven()


def test_several_on_the_same_lots_are_all_free(pool):
    lots = [give(pool, 30, priority=priority) for priority in (1, 2)]
    for amount in (20, 20, 10):  # The second lies on both lots; 10 stay free.
        hold(pool, amount, expires_in_seconds=60)
    assert read(pool, END) == (60, 0)
    take(pool, 60, now=END)
    assert set(CreditGrant.objects.filter(pk__in=[lot.pk for lot in lots]).values_list("held", "spent")) == {(0, 30)}
    assert set(Hold.objects.values_list("state", flat=True)) == {"expired"}
    assert_proven()


def test_a_lot_that_only_it_reserved_can_be_revoked(pool, lapsing):
    lot = CreditGrant.objects.get()
    posting.revoke(grant_id=lot.pk, reference="r", now=END)
    lapsing.refresh_from_db()
    assert (lapsing.state, available_in(pool, END)) == ("expired", 0)
    assert_proven()


def test_a_lot_that_it_reserved_expires(pool):
    # The lot ends in an hour, the hold in a minute; both jobs run two days on.
    lot = give(pool, 100, expires_at=NOW + HOUR)
    placed = hold(pool, 100, expires_in_seconds=60)
    holds.expire_due(now=NOW + 2 * DAY)
    assert expiry.expire_due(now=NOW + 2 * DAY, grace_seconds=3600) == 1
    lot.refresh_from_db()
    placed.refresh_from_db()
    assert (lot.expired, lot.is_open, placed.state) == (100, False, "expired")
    assert_proven()


def test_a_lot_that_it_reserved_expires_though_no_job_closed_it(pool):
    lot = give(pool, 100, expires_at=NOW + HOUR)
    placed = hold(pool, 100, expires_in_seconds=60)
    assert expiry.expire_due(now=NOW + 2 * DAY, grace_seconds=3600) == 1
    lot.refresh_from_db()
    placed.refresh_from_db()
    assert (lot.expired, placed.state) == (100, "expired")
    assert_proven()


def test_the_job_still_closes_it_once(pool, lapsing):
    assert holds.expire_due(now=END - timedelta(microseconds=1)) == 0
    assert holds.expire_due(now=END) == 1
    lapsing.refresh_from_db()
    assert (lapsing.state, lapsing.closed_at) == ("expired", END)
    with nothing_written():
        assert holds.expire_due(now=END + DAY) == 0
    assert_proven()


def test_the_job_closes_all_of_a_pool_whichever_it_takes_first(pool, mallory):
    give(pool, 100)
    give(mallory, 100)
    for _ in range(3):
        hold(pool, 10, expires_in_seconds=60)
    hold(mallory, 10, expires_in_seconds=60)
    hold(mallory, 10)
    holds.expire_due(now=END)
    assert Hold.objects.filter(state="expired").count() == 4
    assert (available_in(pool, END), available_in(mallory, END)) == (100, 90)
    assert_proven()


@pytest.mark.parametrize("ending", ["release", "capture", "expire"])
def test_credits_that_a_hold_frees_repay_at_once(pool, ending):
    # 100 held of 100, 40 spent on the burst. What the hold frees repays in the same transaction: 60 left (50 after
    # a capture of 10), and nothing owed on which an overdraft could be reported.
    set_policy(pool, "burst", burst=50)
    give(pool, 100)
    placed = hold(pool, 100, expires_in_seconds=60)
    take(pool, 40)
    pool.refresh_from_db()
    assert pool.overdraft == 40
    if ending == "release":
        holds.release(hold_id=placed.pk, now=NOW)
    elif ending == "capture":
        holds.capture(hold_id=placed.pk, amount=D(10), now=NOW)
    else:
        assert holds.expire_due(now=END) == 1
    pool.refresh_from_db()
    assert (pool.overdraft, pool.balance) == (0, 50 if ending == "capture" else 60)
    assert Posting.objects.filter(act="repay").get().credits == 40
    assert_proven()
