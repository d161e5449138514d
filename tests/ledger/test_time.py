"""What time alone does to a pool: expiry with its grace, rollover, and balances read now and as of then."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.ledger import balance, expiry, holds, posting
from billing.ledger.models import CreditGrant, CreditPool, Posting
from billing.ledger.moves import RolloverRule
from tests.ledger.makers import (
    DAY,
    HOUR,
    NOW,
    assert_proven,
    available_in,
    entries_of,
    give,
    hold,
    nothing_written,
    set_policy,
    take,
)

APRIL = datetime(2026, 4, 1, tzinfo=UTC)
MAY = datetime(2026, 5, 1, tzinfo=UTC)


def test_expired_credits_are_gone_at_once_and_posted_after_the_grace(pool):
    lot = give(pool, 10, expires_at=NOW + HOUR)
    take(pool, 3)
    assert available_in(pool, NOW + HOUR) == 0
    with nothing_written():
        assert expiry.expire_due(now=NOW + 2 * HOUR - DAY / 86400, grace_seconds=3600) == 0
    assert expiry.expire_due(now=NOW + 2 * HOUR, grace_seconds=3600) == 1
    expired = Posting.objects.get(act="expire")
    assert entries_of(expired) == [(lot.pk, "expire", -7)]
    assert (expired.credits, expired.occurred_at, expired.posted_at) == (7, NOW + HOUR, NOW + 2 * HOUR)
    with nothing_written():
        assert expiry.expire_due(now=NOW + DAY, grace_seconds=3600) == 0
    assert_proven()


def test_within_the_grace_a_late_event_still_finds_the_credits(pool):
    give(pool, 10, expires_at=NOW + HOUR)
    spent = take(pool, 4, now=NOW + 1.5 * HOUR, occurred_at=NOW)
    assert spent.amount == -4
    with pytest.raises(posting.InsufficientCredits):
        take(pool, 4, now=NOW + 1.5 * HOUR)
    expiry.expire_due(now=NOW + 2 * HOUR, grace_seconds=3600)
    with pytest.raises(posting.InsufficientCredits):
        take(pool, 4, now=NOW + 2 * HOUR, occurred_at=NOW)
    assert_proven()


def test_expiry_takes_each_pool_in_turn_up_to_a_limit(pool, team, mallory):
    for each in (pool, team, mallory):
        give(each, 1, expires_at=NOW + HOUR)
        give(each, 2, expires_at=NOW + HOUR)
    assert expiry.expire_due(now=NOW + DAY, grace_seconds=0, limit=2) == 4
    assert expiry.expire_due(now=NOW + DAY, grace_seconds=0, limit=2) == 2
    assert Posting.objects.filter(act="expire").count() == 6
    assert_proven()


def roll(pool, reference="renewal:1", now=APRIL, **rule):
    rule = RolloverRule(**{"cap": Decimal(300), "max_periods": 2, **rule})
    return posting.roll_over(
        pool_id=pool.pk, ends_at=APRIL, new_expires_at=MAY, rule=rule, reference=reference, now=now
    )


def test_a_rollover_is_one_posting_of_rolled_and_expired_credits(pool):
    lot = give(pool, 400, kind="allocation", expires_at=APRIL)
    rolled = roll(pool)
    new = CreditGrant.objects.get(kind="rollover")
    assert entries_of(rolled) == [(lot.pk, "transfer", -300), (new.pk, "grant", 300), (lot.pk, "expire", -100)]
    assert (rolled.act, rolled.credits, rolled.amount, rolled.occurred_at) == ("rollover", 400, -100, APRIL)
    assert (new.source_id, new.rollovers, new.effective_at, new.expires_at) == (lot.pk, 1, APRIL, MAY)
    assert available_in(pool, APRIL) == 300
    assert CreditPool.objects.get(pk=pool.pk).cycle_allocation == 300
    assert_proven()


def test_a_rollover_happens_once_per_reference_and_only_when_something_ended(pool):
    with nothing_written():
        assert roll(pool) is None
    give(pool, 10, kind="allocation", expires_at=APRIL)
    first = roll(pool)
    with nothing_written():
        assert roll(pool, now=APRIL + DAY) == first
        assert roll(pool, reference="renewal:2") is None


def test_a_balance_says_what_is_there_and_until_when(pool):
    soon = give(pool, 10, kind="purchase", expires_at=NOW + DAY, cost_basis=Decimal("0.07"), currency="EUR")
    give(pool, 5, expires_at=NOW + DAY, priority=60)
    never = give(pool, 20)
    coming = give(pool, 40, effective_at=NOW + 2 * DAY)
    take(pool, 4)
    hold(pool, 3)
    now = balance.read(pool_id=pool.pk, now=NOW)
    assert (now.pool_id, now.pool_key, now.available, now.held, now.overdraft) == (pool.pk, "main", 28, 3, 0)
    # Burn order: both priority-50 lots by expiry, then the priority-60 lot; the coming one stands among them.
    assert [(lot.grant_id, lot.remaining, lot.held) for lot in now.lots[:2]] == [(soon.pk, 6, 3), (never.pk, 20, 0)]
    assert {lot.grant_id for lot in now.lots} >= {coming.pk}
    assert (now.lots[0].cost_basis, now.lots[0].currency, now.lots[0].meter_key) == (Decimal("0.07"), "EUR", None)
    assert now.next_expiry == balance.Expiry(NOW + DAY, Decimal(11))
    assert (now.cycle.allocation, now.cycle.spent, now.cycle.percent) == (75, 4, Decimal("5.33"))
    assert (now.cycle.starts_at, now.cycle.ends_at) == (datetime(2026, 3, 1, tzinfo=UTC), APRIL)


def test_reading_writes_nothing_and_is_right_though_no_job_has_run(pool):
    give(pool, 10, expires_at=NOW + HOUR)
    give(pool, 20)
    take(pool, 15)
    with nothing_written():
        april = balance.read(pool_id=pool.pk, now=APRIL)
    assert (april.available, april.next_expiry) == (15, None)
    assert (april.cycle.starts_at, april.cycle.allocation, april.cycle.spent, april.cycle.percent) == (APRIL, 15, 0, 0)


def test_a_balance_of_a_pool_that_is_not_there_is_not_found(db):
    with pytest.raises(CreditPool.DoesNotExist):
        balance.read(pool_id=1, now=NOW)
    with pytest.raises(CreditPool.DoesNotExist):
        balance.read_at(pool_id=1, at=NOW)


def test_a_past_balance_is_what_was_read_then(pool):
    """Acts an hour apart; each balance read at the time is read again afterwards."""
    set_policy(pool, "burst", burst=50)
    placed, moment, seen = [], NOW, []
    acts = [
        lambda at: give(pool, 10, now=at, expires_at=NOW + 5 * HOUR + DAY / 48),
        lambda at: give(pool, 30, now=at),
        lambda at: placed.append(hold(pool, 25, now=at, expires_in_seconds=20 * 3600)),
        lambda at: take(pool, 3, now=at),
        lambda at: holds.capture(hold_id=placed[0].pk, amount=Decimal(5), now=at, final=False, reference="part"),
        lambda at: holds.capture(hold_id=placed[0].pk, amount=Decimal(8), now=at),
        lambda at: expiry.expire_due(now=at, grace_seconds=0),
        lambda at: take(pool, 40, now=at),
        lambda at: give(pool, 100, now=at),
        lambda at: posting.reverse(posting_id=Posting.objects.filter(act="spend").latest("version").pk, now=at),
    ]
    for act in acts:
        act(moment)
        seen.append((moment, balance.read(pool_id=pool.pk, now=moment)))
        moment += HOUR
    for at, then in seen:
        again = balance.read_at(pool_id=pool.pk, at=at)
        assert (again.available, again.held, again.overdraft) == (then.available, then.held, then.overdraft), at
        assert [(lot.grant_id, lot.remaining) for lot in again.lots] == [
            (lot.grant_id, lot.remaining) for lot in then.lots
        ]
        assert again.next_expiry == then.next_expiry
        assert again.cycle is None
    assert balance.read_at(pool_id=pool.pk, at=NOW - HOUR).available == 0
