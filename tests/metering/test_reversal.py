from decimal import Decimal

import pytest

from billing.accounts.ids import encode
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant, MemberLimit, Posting
from billing.metering import reversal
from billing.metering.models import DailyUsage, EventReversal, UniqueValue, UsageCounter
from tests.factories import give_credits, make_meter
from tests.metering.makers import DAY, NOW, all_rows, assert_proven, available_in, event, in_threads, publish, rate
from tests.metering.makers import send as send_events

D = Decimal


def reverse(account, event_id, now=NOW, **fields):
    return reversal.reverse_event(account_id=account.pk, event_id=event_id, now=now, **fields)


def test_reversing_an_event_gives_its_credits_back_and_uncounts_it(acme, priced):
    send_events(event(10, id="a"), event(5, id="b"))
    done = reverse(acme, "a", reason="a test call", actor="user:1")
    assert (done.credits, done.reason, done.actor) == (10, "a test call", "user:1")
    assert available_in(acme) == 995
    day = DailyUsage.objects.get()
    assert (day.events, day.quantity, day.credits) == (1, 5, 5)
    assert UsageCounter.objects.get().quantity == 5
    assert done.posting.reverses.act == "spend"
    assert_proven()


def test_an_event_in_the_middle_of_a_batch_gives_back_to_the_lots_that_paid_for_it(acme, priced):
    CreditGrant.objects.get()  # 1,000 that never expire, burned last
    first = give_credits(acme, "12", now=NOW, expires_at=NOW + DAY).entries.get().grant
    second = give_credits(acme, "10", now=NOW, expires_at=NOW + 2 * DAY).entries.get().grant
    send_events(event(8, id="a"), event(10, id="b"), event(6, id="c"))
    reverse(acme, "b")
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.remaining, second.remaining) == (4, 6)
    assert available_in(acme) == 1000 + 10 - 2
    reverse(acme, "a")
    reverse(acme, "c")
    assert available_in(acme) == 1022
    assert_proven()


def test_an_event_that_cost_nothing_can_be_reversed(acme, tokens):
    publish(rate(tokens, "0"))
    send_events(event(10, id="a"))
    done = reverse(acme, "a")
    assert (done.posting_id, done.credits) == (None, 0)
    assert UsageCounter.objects.get().quantity == 0
    with pytest.raises(reversal.AlreadyReversed):
        reverse(acme, "a")


def test_an_unknown_event_or_anothers_is_not_found(acme, priced):
    send_events(event(10, id="a"))
    before = all_rows()
    for event_id, account_id in (("b", acme.pk), ("a", acme.pk + 1)):
        with pytest.raises(reversal.EventNotFound):
            reversal.reverse_event(account_id=account_id, event_id=event_id, now=NOW)
    assert all_rows() == before


def test_an_event_is_reversed_once(acme, priced):
    send_events(event(10, id="a"), event(5, id="b"))
    reverse(acme, "a")
    before = all_rows()
    with pytest.raises(reversal.AlreadyReversed):
        reverse(acme, "a")
    assert all_rows() == before


def test_a_posting_of_usage_is_reversed_event_by_event_only(acme, priced):
    send_events(event(10, id="a"), event(5, id="b"))
    before = all_rows()
    with pytest.raises(posting.NotReversible):
        posting.reverse(posting_id=Posting.objects.get(act="spend").pk, now=NOW)
    assert all_rows() == before
    reverse(acme, "a")
    reverse(acme, "b")
    assert available_in(acme) == 1000


def test_later_usage_is_priced_without_a_reversed_event(acme, tokens):
    tiers = [{"up_to": "10", "price": "2"}, {"up_to": None, "price": "1"}]
    publish(rate(tokens, model="graduated", tiers=tiers))
    send_events(event(10, id="a"))
    reverse(acme, "a")
    assert send_events(event(10)).results[0].credits == 20


def test_a_members_limit_gets_the_credits_of_its_own_event_back(acme, priced, bob):
    pools.set_member_limit(member_id=bob.pk, amount=D(100), now=NOW)
    send_events(event(30, id="a", member=encode("mem", bob.pk)), event(5, id="b"))
    reverse(acme, "b")
    assert MemberLimit.objects.get().spent == 30
    reverse(acme, "a")
    assert MemberLimit.objects.get().spent == 0


def test_a_reversal_in_a_later_month_leaves_the_members_new_month_alone(acme, priced, bob):
    pools.set_member_limit(member_id=bob.pk, amount=D(100), now=NOW)
    send_events(event(30, id="a", member=encode("mem", bob.pk)))
    april = NOW + 30 * DAY
    send_events(event(20, id="b", at=april, member=encode("mem", bob.pk)), now=april)
    reverse(acme, "a", now=april)
    assert MemberLimit.objects.get().spent == 20


def test_a_reversed_unique_value_counts_again(acme, tokens):
    seats = make_meter("seats", kind="unique", unique_property="user")
    publish(rate(seats, "3"))
    send_events(event(id="a", meter="seats", properties={"user": "u1"}))
    reverse(acme, "a")
    assert not UniqueValue.objects.exists()
    assert send_events(event(meter="seats", properties={"user": "u1"})).results[0].credits == 3


def test_a_reversal_of_overdraft_that_was_repaid_goes_to_the_lots_that_repaid_it(acme, priced):
    send_events(event(1200, id="a"))
    give_credits(acme, "300", now=NOW)
    assert available_in(acme) == 100
    reverse(acme, "a")
    assert available_in(acme) == 1300
    assert_proven()


def test_totals_stay_right_when_the_account_has_moved_to_another_time_zone(acme, priced):
    late = NOW.replace(hour=23)
    send_events(event(10, id="a", at=late), now=late)
    acme.time_zone = "Asia/Tokyo"
    acme.save()
    reverse(acme, "a", now=late)
    assert sum(row.credits for row in DailyUsage.objects.all()) == 0
    assert sum(row.events for row in DailyUsage.objects.all()) == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("price", ["1", "0"])
def test_of_sixteen_reversals_at_once_one_succeeds(acme, tokens, price):
    publish(rate(tokens, price))
    send_events(event(10, id="a"), event(5, id="b"))
    results = in_threads(16, lambda _: reverse(acme, "a"))
    done = [each for each in results if isinstance(each, EventReversal)]
    refused = [each for each in results if isinstance(each, reversal.AlreadyReversed)]
    assert (len(done), len(refused)) == (1, 15)
    assert EventReversal.objects.count() == 1
    assert available_in(acme) == 1000 - 5 * D(price)
    assert UsageCounter.objects.get().quantity == 5
    assert_proven()


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_the_tables_themselves_refuse_a_second_reversal(acme, tokens, monkeypatch):
    """Positive control: the race is real, and what is left then is an error, never a second gift."""
    publish(rate(tokens, "0"))
    send_events(event(10, id="a"))
    monkeypatch.setattr(reversal, "open_pools", lambda *args, **options: None)
    monkeypatch.setattr(reversal, "_is_reversed", lambda event: False)
    results = in_threads(8, lambda _: reverse(acme, "a"))
    assert sum(isinstance(each, EventReversal) for each in results) == 1
    assert {type(each).__name__ for each in results} == {"EventReversal", "IntegrityError"}
    assert UsageCounter.objects.get().quantity == 0
