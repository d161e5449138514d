from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.catalog import rate_cards
from billing.ledger import pools
from billing.metering import gauges, ingest, reversal
from billing.metering.models import DailyUsage, GaugeReading, GaugeSeries, RejectedEvent, UsageCounter, UsageEvent
from tests.factories import make_account, make_meter
from tests.metering.makers import (
    DAY,
    HOUR,
    NOW,
    START,
    all_rows,
    assert_proven,
    available_in,
    event,
    in_threads,
    publish,
    rate,
    send,
    send_one,
)  # fmt: skip

D = Decimal


@pytest.fixture
def storage(acme):
    meter = make_meter("storage", kind="gauge", series_property="volume", unit="GB-hour", now=START)
    publish(rate(meter, "2"))
    return meter


def level(level, at=NOW, volume="v1", **fields):
    return event(level, at=at, meter="storage", properties={"volume": volume}, **fields)


def accrue(now, limit=100):
    return gauges.accrue_due(now=now, limit=limit)


def derived():
    rows = UsageEvent.objects.filter(event_id__startswith="gauge:").order_by("occurred_at", "event_id")
    return list(rows.values_list("occurred_at", "counted", "credits"))


def test_a_reading_costs_nothing_and_its_level_is_charged_by_the_hour(acme, storage):
    assert send_one(level(5)).credits == 0
    accrue(NOW + HOUR)
    assert derived() == []  # five minutes are left for late readings
    assert accrue(NOW + timedelta(hours=2, minutes=5)) == 1
    assert derived() == [(NOW, 10, 20)]
    assert available_in(acme) == 980
    assert accrue(NOW + timedelta(hours=2, minutes=5)) == 0
    assert accrue(NOW + timedelta(hours=3, minutes=5)) == 1
    assert derived()[1:] == [(NOW + 2 * HOUR, 5, 10)]
    series = GaugeSeries.objects.get()
    assert (series.charged_quantity, series.sequence, series.charged_until) == (15, 2, NOW + 3 * HOUR)
    assert_proven()


def test_the_unit_of_time_is_the_meters(acme):
    meter = make_meter("disk", kind="gauge", gauge_unit_seconds=86_400, now=START)
    publish(rate(meter))
    send(event(3, meter="disk"))
    accrue(NOW + 13 * HOUR)
    accrue(NOW + 25 * HOUR)
    assert sum(counted for _, counted, _ in derived()) == 3


def test_each_series_is_charged_for_itself(acme, storage):
    send(level(5), level(7, volume="v2"), level(9, at=NOW + HOUR, volume="v2"), now=NOW + HOUR)
    assert accrue(NOW + 2 * HOUR + gauges.LAG) == 2
    assert sorted(GaugeSeries.objects.values_list("series", "charged_quantity")) == [("v1", 10), ("v2", 16)]
    assert DailyUsage.objects.get().quantity == 26


def test_usage_falls_on_its_day_and_period_of_the_accounts_time_zone(storage):
    account = make_account("tokyo", time_zone="Asia/Tokyo", now=START)
    begin = datetime(2026, 3, 30, 12, tzinfo=UTC)  # 21:00 in Tokyo
    send(level(1, at=begin, account="tokyo"), now=begin)
    midnight = begin + 3 * HOUR
    for hour in (3, 20, 27, 30):
        accrue(begin + hour * HOUR + gauges.LAG)
    assert [row[:2] for row in derived()] == [
        (begin, 3), (midnight, 17), (midnight + 17 * HOUR, 7), (midnight + DAY, 3),
    ]  # fmt: skip
    days = DailyUsage.objects.filter(quantity__gt=0).order_by("day").values_list("day", "quantity")
    assert [(day.isoformat(), quantity) for day, quantity in days] == [
        ("2026-03-30", 3), ("2026-03-31", 24), ("2026-04-01", 3),
    ]  # fmt: skip
    counters = UsageCounter.objects.filter(account=account).order_by("period_starts_at")
    assert [row.quantity for row in counters] == [27, 3]
    assert not UsageEvent.objects.filter(late=True).exists()


def test_the_last_hour_of_a_month_still_counts_in_it(acme, storage):
    end = datetime(2026, 4, 1, tzinfo=UTC)
    send(level(1, at=end - 2 * HOUR), now=end - 2 * HOUR)
    accrue(end + gauges.LAG)
    assert [event.late for event in UsageEvent.objects.all()] == [False, False]


def test_each_part_is_priced_by_the_version_in_force(acme, storage):
    changed_at = NOW + timedelta(minutes=90)
    publish(rate(storage, "10"), effective_at=changed_at, now=NOW)
    send(level(1))
    accrue(NOW + 3 * HOUR + gauges.LAG)
    assert derived() == [(NOW, D("1.5"), 3), (changed_at, D("1.5"), 15)]


def test_each_part_is_priced_by_the_card_of_its_time(acme, storage):
    card = publish(rate(storage, "7"), key="contract", is_default=False)
    rate_cards.assign(account=acme, rate_card=card, kind="contract", starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    send(level(1))
    accrue(NOW + 3 * HOUR + gauges.LAG)
    assert [credits for *_, credits in derived()] == [2, 7, 2]


def test_the_rate_is_chosen_by_the_properties_of_the_reading_in_force(acme, storage):
    publish(rate(storage, "2"), rate(storage, "20", match={"tier": "ssd", "iops": 0.5}), effective_at=NOW, now=NOW)
    properties = {"volume": "v1", "tier": "ssd", "iops": D("0.5")}
    send({**level(1), "properties": properties}, {**level(1, at=NOW + HOUR)}, now=NOW + HOUR)
    accrue(NOW + 3 * HOUR + gauges.LAG)
    assert derived() == [(NOW, 1, 20), (NOW + HOUR, 2, 4)]


def test_a_late_reading_corrects_what_comes(acme, storage):
    send(level(10))
    accrue(NOW + 2 * HOUR + gauges.LAG)
    later = NOW + 2 * HOUR + gauges.LAG
    send(level(4, at=NOW + HOUR), now=later)  # 14 so far, not 20
    assert accrue(NOW + 3 * HOUR + gauges.LAG) == 1
    assert len(derived()) == 1  # 18: less than was charged
    accrue(NOW + 5 * HOUR + gauges.LAG)
    assert [row[:2] for row in derived()] == [(NOW, 20), (NOW + 3 * HOUR, 6)]
    send(level(20, at=NOW + 4 * HOUR), now=NOW + 5 * HOUR)  # 16 more
    accrue(NOW + 6 * HOUR + gauges.LAG)
    assert derived()[-1][1] == 36
    assert_proven()


def test_of_readings_of_one_moment_the_last_by_id_holds_whichever_came_first(acme, storage):
    send(level(1, id="b", volume="v1"), level(5, id="a", volume="v1"))
    send(level(5, id="c", volume="v2"), level(1, id="d", volume="v2"))
    accrue(NOW + HOUR + gauges.LAG)
    assert [row.charged_quantity for row in GaugeSeries.objects.all()] == [1, 1]


def test_a_reversed_reading_comes_off_what_is_charged(acme, storage):
    send(level(10, id="r"), level(2, at=NOW - HOUR))
    accrue(NOW + HOUR + gauges.LAG)
    reversal.reverse_event(account_id=acme.pk, event_id="r", now=NOW + HOUR)
    with pytest.raises(reversal.AlreadyReversed):
        reversal.reverse_event(account_id=acme.pk, event_id="r", now=NOW + HOUR)
    accrue(NOW + 7 * HOUR + gauges.LAG)
    assert GaugeSeries.objects.get().charged_quantity == 16
    assert_proven()


def test_old_readings_are_folded_away_without_a_trace_in_what_is_charged(acme, storage):
    for day in range(80):
        at = NOW + day * DAY
        send(level(round(D(day) / 7, 6) if day % 2 else day, at=at, id=f"r{day:02}"), now=at)
        accrue(at + HOUR + gauges.LAG)
    assert GaugeReading.objects.count() < 40
    end = NOW + 80 * DAY
    accrue(end + gauges.LAG)
    levels = UsageEvent.objects.filter(event_id__startswith="r").values_list("quantity", flat=True)
    assert GaugeSeries.objects.get().charged_quantity == sum(levels) * 24
    with pytest.raises(reversal.ReadingSettled):
        reversal.reverse_event(account_id=acme.pk, event_id="r01", now=end)
    assert_proven(end)


def test_a_series_without_a_price_waits_for_one_and_holds_up_no_other(acme, storage):
    other = make_meter("memory", kind="gauge", now=START)
    send(event(3, meter="memory"))  # no rate yet: rejected
    publish(rate(other, match={"zone": "a"}), rate(storage, "2"), effective_at=NOW + HOUR, now=NOW + HOUR)
    send(event(3, at=NOW + HOUR, meter="memory"), level(1, at=NOW + HOUR), now=NOW + HOUR)
    before = RejectedEvent.objects.count()
    assert accrue(NOW + 2 * HOUR + gauges.LAG, limit=1) == 1
    assert derived() == [(NOW + HOUR, 1, 2)]
    assert RejectedEvent.objects.count() == before
    publish(rate(other, "5"), rate(storage, "2"), effective_at=NOW + 3 * HOUR, now=NOW + 3 * HOUR)
    accrue(NOW + 4 * HOUR + gauges.LAG)
    assert sum(credits for *_, credits in derived()) == 3 * (3 * 5 + 2)


def test_an_id_that_somebody_has_taken_costs_no_usage(acme, storage):
    send(level(1))
    series = GaugeSeries.objects.get()
    send(level(0, at=NOW - HOUR, id=f"gauge:{series.pk}:1", volume="v2"))
    assert accrue(NOW + HOUR + gauges.LAG) == 1  # the other series
    assert accrue(NOW + HOUR + gauges.LAG) == 1
    series.refresh_from_db()
    assert (series.charged_quantity, series.sequence) == (1, 2)


def test_usage_goes_to_the_pool_of_the_series(acme, storage):
    team = pools.open_pool(account=acme, key="team", name="Team", now=NOW)
    send(level(1, pool="team"))
    accrue(NOW + HOUR + gauges.LAG)
    team.refresh_from_db()
    assert team.overdraft == 2


def test_a_fault_in_one_series_leaves_the_others_charged(acme, storage, monkeypatch):
    send(level(1), level(1, volume="v2"))
    broken = GaugeSeries.objects.get(series="v1").pk
    accrue_one = gauges.accrue

    def fail(*, series_id, now):
        if series_id == broken:
            raise RuntimeError
        return accrue_one(series_id=series_id, now=now)

    monkeypatch.setattr(gauges, "accrue", fail)
    assert accrue(NOW + HOUR + gauges.LAG) == 1
    monkeypatch.undo()
    assert accrue(NOW + HOUR + gauges.LAG) == 1


def test_an_archived_meter_is_charged_up_to_then_and_no_more(acme, storage):
    send(level(1))
    storage.archived_at = NOW + timedelta(minutes=90)
    storage.save()
    assert accrue(NOW + HOUR + gauges.LAG) == 1
    assert accrue(NOW + 2 * HOUR + gauges.LAG) == 1
    assert derived() == [(NOW, 1, 2), (NOW + HOUR, D("0.5"), 1)]
    before = all_rows()
    assert accrue(NOW + DAY) == 0
    assert all_rows() == before


def test_readings_of_long_ago_can_be_imported(acme, storage):
    old = NOW - 400 * DAY
    ingest.take_events(events=[level(1, at=old)], now=NOW, door="import", max_age=500 * DAY)
    accrue(NOW + gauges.LAG)
    assert GaugeSeries.objects.get().charged_quantity == 400 * 24
    assert derived()[0][0] == old


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_charge_a_series_once(acme, storage):
    send(*(level(1, volume=f"v{number}") for number in range(6)))
    results = in_threads(4, lambda _: accrue(NOW + HOUR + gauges.LAG))
    assert sum(results) >= 6 or accrue(NOW + HOUR + gauges.LAG) == 6 - sum(results)
    assert list(GaugeSeries.objects.values_list("charged_quantity", "sequence")) == [(1, 1)] * 6
    assert len(derived()) == 6
    assert_proven()
