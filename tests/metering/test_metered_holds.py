"""Holds for usage: what it is estimated to cost is reserved, what was used is priced and recorded."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.ledger import pools
from billing.ledger.burn import InsufficientCredits
from billing.ledger.holds import HoldClosed
from billing.ledger.models import Hold, Posting
from billing.metering import holds, reversal
from billing.metering.events import InvalidEvent
from billing.metering.ingest import IdConflict
from billing.metering.models import DailyUsage, UsageCounter, UsageEvent
from billing.metering.quotes import Asked
from tests.factories import make_meter
from tests.ledger.racing import race
from tests.metering.makers import (
    DAY,
    HOUR,
    NOW,
    START,
    all_rows,
    assert_proven,
    available_in,
    event,
    publish,
    rate,
    send,
)

pytestmark = pytest.mark.django_db

D = Decimal
# 2 credits each for the first ten of a month, then 1.
TIERS = [{"up_to": "10", "price": "2"}, {"up_to": None, "price": "1"}]


@pytest.fixture
def tiered(tokens):
    publish(rate(tokens, model="graduated", tiers=TIERS))
    return tokens


def place(account, quantity, properties=None, *, now=NOW, reference="h", **fields):
    usage = Asked(fields.pop("meter", "tokens"), D(quantity), properties or {})
    pool_id = pools.get_main_pool(account.pk).pk
    return holds.place(account=account, pool_id=pool_id, usage=usage, reference=reference, now=now, **fields)


def capture(hold, quantity=None, *, event_id="used", now=NOW + HOUR / 2, **fields):
    quantity = None if quantity is None else D(quantity)
    return holds.capture(hold_id=hold.pk, quantity=quantity, event_id=event_id, now=now, **fields)


def test_the_estimate_is_held_and_the_real_quantity_is_rated_and_recorded(acme, tiered):
    send(event(4, at=NOW))
    hold = place(acme, 10, {"model": "x", "share": D("0.1")})
    # 6 at 2, then 4 at 1.
    assert (hold.amount, available_in(acme)) == (16, 1000 - 8 - 16)
    done = capture(hold, 8)
    assert (done.credits, done.posting.credits, done.hold.state) == (14, 14, "captured")
    used = UsageEvent.objects.get(event_id="used")
    assert (used.quantity, used.credits, used.occurred_at, used.posting_id) == (8, 14, NOW, done.posting.pk)
    assert used.properties == {"model": "x", "share": 0.1}
    assert (UsageCounter.objects.get().quantity, DailyUsage.objects.get().credits) == (12, 22)
    assert available_in(acme) == 1000 - 22
    assert_proven()


def test_what_is_captured_in_parts_counts_each_part(acme, tiered):
    hold = place(acme, 12)
    first = capture(hold, 8, event_id="a", final=False)
    rest = capture(hold, 6, event_id="b")
    # The second goes beyond the hold of 22, as a charge could: 2 at 2, then 4 at 1.
    assert (first.credits, rest.credits, rest.hold.captured, hold.amount) == (16, 8, 24, 22)
    with pytest.raises(HoldClosed):
        capture(hold, 1, event_id="c")
    assert_proven()


def test_a_capture_repeated_changes_nothing_and_another_under_its_id_is_refused(acme, tiered):
    hold = place(acme, 5)
    first, before = capture(hold), all_rows()
    again = capture(hold, now=NOW + DAY)
    assert (again.posting, again.credits) == (first.posting, 10)
    with pytest.raises(IdConflict):
        capture(hold, 4)
    assert place(acme, 5, now=NOW + DAY) == hold
    assert all_rows() == before


def test_more_than_there_is_and_what_cannot_be_priced_are_refused(acme, tiered):
    hold, before = place(acme, 5), all_rows()
    with pytest.raises(InsufficientCredits):
        capture(hold, 2000)
    make_meter("images", now=START)
    make_meter("storage", kind="gauge", now=START)
    for meter, code in (("images", "no_rate"), ("storage", "unknown_meter"), ("nothing", "unknown_meter")):
        with pytest.raises(InvalidEvent) as refused:
            place(acme, 1, meter=meter, reference=meter)
        assert refused.value.code == code
    assert (all_rows(), Hold.objects.count()) == (before, 1)


def test_usage_that_costs_nothing_is_held_and_recorded(acme, tokens):
    publish(rate(tokens, "0"))
    done = capture(place(acme, 5), 7)
    assert (done.hold.amount, done.posting, UsageEvent.objects.get().quantity) == (0, None, 7)
    assert_proven()


def test_what_was_captured_is_reversed_as_the_event_that_it_is(acme, tiered):
    capture(place(acme, 12), 12)
    reversal.reverse_event(account_id=acme.pk, event_id="used", now=NOW + DAY)
    assert (available_in(acme), UsageCounter.objects.get().quantity) == (1000, 0)
    assert_proven()


def test_a_capture_of_last_month_after_its_grace_is_late(acme, tiered):
    end = NOW.replace(day=31, hour=23, minute=59)
    first = place(acme, 5, now=end, expires_in_seconds=24 * 3600)
    second = place(acme, 5, now=end, reference="h2", expires_in_seconds=24 * 3600)
    capture(first, event_id="in time", now=end + timedelta(minutes=30))
    capture(second, event_id="late", now=end + 2 * HOUR)
    assert dict(UsageEvent.objects.values_list("event_id", "late")) == {"in time": False, "late": True}


@pytest.mark.django_db(transaction=True)
def test_one_capture_sent_eight_times_at_once_is_one_event(acme, tiered):
    hold = place(acme, 10)
    assert race([lambda: capture(hold, 9)] * 8) == {"done": 8}
    assert (UsageEvent.objects.count(), Posting.objects.filter(hold=hold).count()) == (1, 1)
    assert available_in(acme) == 1000 - 18
