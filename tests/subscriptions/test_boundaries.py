"""One rule for usage near the end of a period: it counts by when it happened until the period's grace has passed; what
comes later is late, and counts when it comes. Usage, rate counters, lots, overage and invoice lines agree on it."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.catalog.periods import boundary, first_moment
from billing.invoicing.models import InvoiceLine
from billing.ledger import expiry, pools, posting
from billing.ledger.cycles import month_start
from billing.ledger.models import CreditGrant, LedgerEntry
from billing.metering import verification
from billing.metering.models import DailyUsage, UsageCounter, UsageEvent
from billing.subscriptions.models import SubscriptionPeriod
from billing.subscriptions.renewal import renewals
from tests.factories import make_account, make_issuer, make_meter, make_plan
from tests.metering.makers import charge, event, publish, rate, send
from tests.subscriptions.makers import available, run, subscribe, tiers

D = Decimal
JANUARY, FEBRUARY, MARCH, APRIL = (datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 5))
SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TINY = timedelta(microseconds=1)
BEYOND = "Team: credits beyond those included"


@pytest.fixture
def tokens(db):
    """A meter at one credit each."""
    make_issuer()
    meter = make_meter("tokens", now=JANUARY)
    publish(rate(meter), now=JANUARY - 90 * DAY, effective_at=JANUARY - 90 * DAY)
    return meter


def on_plan(tokens, *, included=100, now=JANUARY, zone="UTC", **fields):
    """An account with `included` credits a month; beyond them each costs 0.01."""
    account = make_account("acme", now=now - DAY, time_zone=zone)
    price = {"USD": {"fee": "50.00", "overage_tiers": tiers((None, "0.01"))}}
    version = make_plan("team", included_credits=D(included), policy="overage", prices=price, **fields)
    return account, subscribe(account, version, now=now)


def use(quantity, at, *, sent):
    (result,) = send(event(quantity, at=at), now=sent).results
    assert result.status == "accepted"
    return result


def overage_lines():
    """(start of the period, credits) of each line of overage, in the order of the invoices."""
    lines = InvoiceLine.objects.filter(description=BEYOND).order_by("pk")
    return list(lines.values_list("starts_at", "quantity"))


def left_of(kind, starts_at):
    return CreditGrant.objects.get(kind=kind, effective_at=starts_at).remaining


@pytest.mark.parametrize("rollover", ["none", "all"])
def test_what_comes_within_the_grace_takes_the_credits_of_its_own_period(tokens, rollover):
    account, _ = on_plan(tokens, rollover=rollover)
    run(FEBRUARY)
    assert use(30, FEBRUARY - 10 * SECOND, sent=FEBRUARY + 30 * SECOND).late is False
    assert left_of("allocation", FEBRUARY) == 100
    assert available(account, FEBRUARY + MINUTE) == (170 if rollover == "all" else 100)
    expiry.expire_due(now=FEBRUARY + HOUR, grace_seconds=3600)
    expired = CreditGrant.objects.get(kind="allocation", effective_at=JANUARY).expired
    assert expired == (0 if rollover == "all" else 70)
    run(MARCH)
    assert overage_lines() == []


def test_what_is_beyond_a_share_that_rolled_is_taken_first(tokens):
    """100 left, of which 25 roll: 80 more of January take the 75 that would expire, and 5 of the 25."""
    account, _ = on_plan(tokens, rollover="share", rollover_percent=D(25))
    run(FEBRUARY)
    use(80, FEBRUARY - SECOND, sent=FEBRUARY + HOUR - SECOND)
    assert (left_of("allocation", JANUARY), left_of("rollover", FEBRUARY), available(account, FEBRUARY)) == (0, 20, 120)


def test_usage_around_a_boundary_is_billed_for_the_period_that_it_happened_in(tokens):
    on_plan(tokens)
    use(100, JANUARY + DAY, sent=JANUARY + DAY)
    use(7, FEBRUARY, sent=FEBRUARY - 2 * MINUTE)
    use(11, FEBRUARY - MINUTE, sent=FEBRUARY - MINUTE)
    run(FEBRUARY)
    assert overage_lines() == [(JANUARY, 11)]
    results = [use(13, FEBRUARY - TINY, sent=FEBRUARY + 3 * MINUTE), use(17, FEBRUARY - TINY, sent=FEBRUARY + HOUR)]
    assert [result.late for result in results] == [False, True]
    run(MARCH)
    # February has used 7 + 17 of its 100, so nothing of it is beyond.
    assert overage_lines() == [(JANUARY, 11), (JANUARY, 13)]
    periods = dict(SubscriptionPeriod.objects.values_list("number", "overage_credits"))
    assert (periods, left_of("allocation", FEBRUARY)) == ({1: 24, 2: 0, 3: 0}, 76)
    counted = dict(UsageCounter.objects.values_list("period_starts_at", "quantity"))
    assert counted == {JANUARY: 124, FEBRUARY: 24}
    assert verification.verify(now=MARCH).findings == []


def test_a_charge_by_a_clock_that_is_ahead_is_made_now(tokens):
    on_plan(tokens, included=10)
    charge(10, now=FEBRUARY - MINUTE, occurred_at=FEBRUARY + MINUTE)
    assert left_of("allocation", JANUARY) == 0
    assert UsageEvent.objects.get().occurred_at == FEBRUARY - MINUTE


def test_reversing_what_came_within_the_grace_gives_it_back_to_its_own_period(tokens):
    account, _ = on_plan(tokens)
    run(FEBRUARY)
    spent = posting.spend(
        pool_id=pools.get_main_pool(account.pk).pk, credits=D(130), reference="late", occurred_at=FEBRUARY - SECOND,
        now=FEBRUARY + SECOND,
    )  # fmt: skip
    posting.reverse(posting_id=spent.pk, now=FEBRUARY + MINUTE)
    pool = pools.get_main_pool(account.pk)
    assert (pool.cycle_allocation, pool.cycle_spent, pool.cycle_overage) == (100, 0, 0)
    assert (left_of("allocation", JANUARY), left_of("allocation", FEBRUARY), left_of("overage", FEBRUARY - SECOND)) == (
        100, 100, 0,
    )  # fmt: skip


# --- Against a model -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Use:
    """Usage that is sent around the end of period `number`, so many seconds after it, of so many seconds before."""

    number: int
    sent: int
    ago: int
    quantity: int


NUMBERS, QUANTITIES = st.integers(1, 2), st.integers(1, 120)
AROUND = st.one_of(st.integers(-900, 900), st.integers(-7200, 3 * 7200), st.sampled_from([-1, 0, 1, 3599, 3600, 3601]))
USES = st.one_of(
    st.builds(Use, NUMBERS, AROUND, st.integers(-300, 7200), QUANTITIES),
    # Within the grace, of the period that has ended; and ahead of the one to come.
    st.builds(lambda number, sent, before, credits: Use(number, sent, sent + before, credits),
              NUMBERS, st.integers(0, 3599), st.integers(1, 600), QUANTITIES),
    st.builds(lambda number, sent, credits: Use(number, -sent, -sent, credits),
              NUMBERS, st.integers(1, 300), QUANTITIES),
)  # fmt: skip
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
INCLUDED = 100


@pytest.fixture
def plans_by(tokens):
    """A plan for each way of counting and of rolling over: what is counted by billing period has tiers."""
    tiered = {"model": "graduated", "tiers": [{"up_to": "50", "price": "2"}, {"up_to": None, "price": "1"}]}
    found = {}
    for counts_by, rates in (("billing_period", tiered), ("calendar_month", {})):
        card = publish(
            rate(tokens, **rates), key=counts_by, is_default=False, counts_by=counts_by, effective_at=JANUARY - 90 * DAY
        )
        for rolls in (0, 40, 100):
            rule = {"rollover": "amount", "rollover_amount": D(rolls)} if rolls else {}
            found[counts_by, rolls] = make_plan(
                f"team-{counts_by}-{rolls}".replace("_", "-"), included_credits=D(INCLUDED), policy="overage",
                rate_card=card, prices={"USD": {"fee": "50.00", "overage_tiers": tiers((None, "0.01"))}}, **rule,
            )  # fmt: skip
    return found


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    uses=st.lists(USES, min_size=1, max_size=14), zone=ZONES, day=st.sampled_from([1, 15, 31]),
    rolls=st.sampled_from([0, 40, 100]), lags=st.tuples(st.integers(0, 90), st.integers(0, 90)),
    counts_by=st.sampled_from(["billing_period", "calendar_month"]),
)  # fmt: skip
def test_usage_lots_counters_and_invoices_agree_on_the_period(plans_by, uses, zone, day, rolls, lags, counts_by):
    start = datetime(2026, 1, day, 12, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    account = make_account(now=start - DAY, time_zone=zone)
    subscription = subscribe(account, plans_by[counts_by, rolls], now=start)
    bounds = [start, *(first_moment(boundary(subscription.anchor_on, interval="month", count=1, number=n), zone)
                       for n in (1, 2, 3))]  # fmt: skip
    end = bounds[3] + 2 * HOUR
    sent = _live(account, bounds, uses, lags)
    renewals.run_due(now=end, limit=10, account_id=account.pk)

    counted_in = bounds if counts_by == "billing_period" else [month_start(at, zone) for at in [*bounds, end]]
    expected = [_when(at, now, bounds, counted_in) for at, now, _, _ in sent]
    assert [late for *_, late in sent] == [
        when == now != at for (at, now, *_), when in zip(sent, expected, strict=True)
    ]
    counters, used = Counter(), [0, 0, 0]
    for (_, _, quantity, _), when in zip(sent, expected, strict=True):
        counters[_start(when, counted_in)] += quantity
        used[bounds.index(_start(when, bounds))] += quantity
    assert dict(UsageCounter.objects.filter(account=account).values_list("period_starts_at", "quantity")) == counters
    assert DailyUsage.objects.filter(account=account).aggregate(sum=Sum("quantity"))["sum"] == sum(used)
    if counts_by == "billing_period":
        used = [2 * min(quantity, 50) + max(quantity - 50, 0) for quantity in used]
    beyond, rolled = _beyond(used, rolls)
    assert _billed(subscription) == (beyond, beyond)
    # The fourth period has its own credits, and what was rolled into it.
    assert available(account, end) == INCLUDED + rolled
    _assert_lots_of_their_period(account, bounds)
    assert verification.verify(account_ids=[account.pk], now=end).findings == []


def _live(account, bounds, uses, lags):
    """Send the usage and renew, in the order of time: (when it happened, when it was sent, how much, late)."""
    steps = [(bounds[number] + lag * MINUTE, -1, None) for number, lag in zip((1, 2), lags, strict=True)]
    steps += [(bounds[each.number] + each.sent * SECOND, index, each) for index, each in enumerate(uses)]
    sent = []
    for now, _, each in sorted(steps, key=lambda step: step[:2]):
        if each is None:
            renewals.run_due(now=now, limit=10, account_id=account.pk)
            continue
        at = now - each.ago * SECOND
        (done,) = send(event(each.quantity, at=at, account=account.external_id), now=now).results
        sent.append((at, now, each.quantity, done.late))
        expiry.expire_due(now=now, grace_seconds=3600, account_id=account.pk)
    return sent


def _start(at, bounds):
    return max(bound for bound in bounds if bound <= at)


def _when(at, now, *countings):
    """When usage counts: now, once the grace is over of either period that it happened in."""
    for bounds in countings:
        ends = [bound for bound in bounds if bound > at]
        if ends and now >= min(ends) + HOUR:
            return now
    return at


def _beyond(used, rolls):
    """Credits beyond those included, period by period, and what is rolled out of the last."""
    beyond, rolled = [], 0
    for credits in used:
        beyond.append(max(credits - rolled - INCLUDED, 0))
        rolled = min(rolls, max(INCLUDED - max(credits - rolled, 0), 0))
    return beyond, rolled


def _billed(subscription):
    """Overage of the first three periods: as their rows say, and as the invoices' lines do."""
    rows = subscription.periods.filter(number__lte=3).order_by("number")
    lines = InvoiceLine.objects.filter(invoice__account=subscription.account_id, description__contains="beyond")
    by_period = Counter()
    for reference, quantity in lines.values_list("period_reference", "quantity"):
        by_period[reference] += quantity
    names = [f"subscription:{subscription.pk}:{number}" for number in (1, 2, 3)]
    return list(rows.values_list("overage_credits", flat=True)), [by_period[name] for name in names]


def _assert_lots_of_their_period(account, bounds):
    """Spends are on lots of their own period. What was rolled over may still serve the period that it came from; where
    the next one has taken some of that, as much of its own credits stands in for it."""
    entries = LedgerEntry.objects.filter(
        posting__pool__account=account, posting__act__in=("spend", "repay"), flow="spend"
    )
    taken, stood_in = Counter(), Counter()
    for at, kind, effective_at, amount in entries.values_list(
        "posting__occurred_at", "grant__kind", "grant__effective_at", "amount"
    ):
        index, of_lot = (bounds.index(_start(moment, bounds)) for moment in (at, effective_at))
        assert of_lot in (index, index + 1)
        if kind == "rollover":
            taken[of_lot] -= amount if of_lot == index else 0
        elif of_lot > index:
            stood_in[of_lot] -= amount
    assert all(stood_in[index] <= taken[index] for index in stood_in)
