from datetime import date, timedelta
from decimal import Decimal
from itertools import chain

from billing.accounts.ids import encode
from billing.metering import reversal, usage
from billing.metering.models import UsageEvent
from tests.factories import make_account, make_meter
from tests.metering.makers import DAY, HOUR, NOW, event, publish, rate, send

TODAY = NOW.date()


def totals(account, *group_by, from_on=TODAY - 5 * DAY, to_on=TODAY + DAY):
    rows = usage.list_usage(account_id=account.pk, from_on=from_on, to_on=to_on, group_by=group_by)
    return [(row.day, row.meter_key, row.member_id, row.quantity, row.credits, row.events) for row in rows]


def test_usage_is_totalled_by_day_meter_and_member(acme, tokens, bob):
    publish(rate(tokens), rate(make_meter("images"), "10"))
    name = encode("mem", bob.pk)
    send(
        event(1, at=NOW - DAY), event(2), event(4, member=name), event(1, meter="images"),
        event(8, at=NOW - DAY, member=name),
    )  # fmt: skip
    yesterday = TODAY - DAY
    assert totals(acme, "day", "meter", "member") == [
        (yesterday, "tokens", bob.pk, 8, 8, 1),
        (yesterday, "tokens", None, 1, 1, 1),
        (TODAY, "images", None, 1, 10, 1),
        (TODAY, "tokens", bob.pk, 4, 4, 1),
        (TODAY, "tokens", None, 2, 2, 1),
    ]
    assert totals(acme, "day") == [(yesterday, None, None, None, 9, 2), (TODAY, None, None, None, 16, 3)]
    assert totals(acme, "meter") == [(None, "images", None, 1, 10, 1), (None, "tokens", None, 15, 15, 4)]
    assert totals(acme, "member") == [(None, None, bob.pk, None, 12, 2), (None, None, None, None, 13, 3)]
    assert totals(acme) == [(None, None, None, None, 25, 5)]


def test_days_are_those_of_the_accounts_time_zone_and_half_open(tokens):
    publish(rate(tokens))
    tokyo = make_account("tokyo", time_zone="Asia/Tokyo")
    send(event(1, account="tokyo", at=NOW.replace(hour=14)), event(2, account="tokyo", at=NOW.replace(hour=15)),
         now=NOW + 4 * HOUR)  # fmt: skip
    assert totals(tokyo, "day", to_on=TODAY + 2 * DAY) == [
        (TODAY, None, None, None, 1, 1), (TODAY + DAY, None, None, None, 2, 1),
    ]  # fmt: skip
    assert totals(tokyo, "day", to_on=TODAY + DAY) == [(TODAY, None, None, None, 1, 1)]


def test_without_usage_there_are_no_totals(acme):
    assert totals(acme) == []
    assert totals(acme, "day", "meter") == []
    assert usage.list_usage(account_id=acme.pk, from_on=date(2020, 1, 1), to_on=date(2020, 1, 1), group_by=()) == []


def pages(account, limit, **options):
    before, seen = None, []
    while rows := usage.list_events(account_id=account.pk, limit=limit, before=before, **{"now": NOW, **options}):
        seen.append([row.event.event_id for row in rows])
        before = rows[-1].event.received_at, rows[-1].event.event_id, rows[-1].event.source
    return seen


def test_events_come_by_pages_newest_arrival_first(acme, priced):
    make_account("other")
    for hours in (200, 150, 100, 20, 3, 1):
        arrived = NOW - hours * HOUR
        send(*(event(id=f"{hours:03}-{n}", at=arrived) for n in range(3)), now=arrived)
        send(event(account="other", at=arrived), now=arrived)
    newest_first = [f"{hours:03}-{n}" for hours in (1, 3, 20, 100, 150, 200) for n in (2, 1, 0)]
    for limit in (1, 2, 3, 7, 50):
        assert [*chain(*pages(acme, limit, window=None))] == newest_first
    (first, *_) = pages(acme, 50)
    assert first == newest_first[:15]  # 200 hours ago lies outside the window of seven days


def test_events_are_filtered(acme, tokens, bob):
    publish(rate(tokens), rate(make_meter("images")))
    send(event(id="a", member=encode("mem", bob.pk)), event(id="b", meter="images"), event(id="c", at=NOW - DAY))
    assert pages(acme, 5, meter_key="images") == [["b"]]
    assert pages(acme, 5, member_id=bob.pk) == [["a"]]
    assert pages(acme, 5, occurred_from=NOW) == [["b", "a"]]
    assert pages(acme, 5, occurred_to=NOW) == [["c"]]


def test_a_listed_event_says_when_it_was_reversed(acme, priced):
    send(event(id="a"), event(id="b"))
    reversal.reverse_event(account_id=acme.pk, event_id="a", now=NOW + HOUR)
    rows = usage.list_events(account_id=acme.pk, now=NOW, limit=5)
    assert [(row.event.event_id, row.reversed_at) for row in rows] == [("b", None), ("a", NOW + HOUR)]
    assert rows[0].event.meter.key == "tokens"


def test_a_page_costs_few_queries(acme, priced, django_assert_max_num_queries):
    send(*(event(id=f"{n:02}") for n in range(20)))
    with django_assert_max_num_queries(2):
        assert len(usage.list_events(account_id=acme.pk, now=NOW, limit=20)) == 20
    with django_assert_max_num_queries(6):
        usage.list_events(account_id=acme.pk, now=NOW + timedelta(days=400), limit=20)


def test_totals_are_exact(acme, tokens):
    publish(rate(tokens, "0.000001"))
    send(*(event(Decimal("0.1"), id=f"{n}") for n in range(30)))
    assert UsageEvent.objects.count() == 30
    ((_, _, _, quantity, credits, events),) = totals(acme, "meter")
    assert (quantity, credits, events) == (3, Decimal("0.000003"), 30)
