from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.accounts.ids import encode
from billing.ledger import pools
from billing.ledger.models import MemberLimit, Posting
from billing.metering.models import DailyUsage, GaugeReading, RejectedEvent, UsageCounter, UsageEvent
from billing.notifications.models import Notification
from tests.factories import give_credits, make_account, make_key, make_meter
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
    send_one,
)  # fmt: skip

D = Decimal


def test_an_event_its_credits_its_totals_and_the_balance_are_written_together(acme, priced):
    done = send(event(10, id="a", properties={"model": "x"}))
    assert (done.accepted, done.balances) == (1, {"acme": 990})
    stored = UsageEvent.objects.get()
    assert (stored.credits, stored.counted, stored.occurred_at, stored.received_at) == (10, 10, NOW, NOW)
    assert stored.properties == {"model": "x"}
    spend = Posting.objects.get(act="spend")
    assert (stored.posting_id, spend.credits, done.results[0].posting_id) == (spend.pk, 10, spend.pk)
    assert available_in(acme) == 990
    day = DailyUsage.objects.get()
    assert (day.day, day.events, day.quantity, day.credits) == (NOW.date(), 1, 10, 10)


@pytest.mark.parametrize("number", [0, 2], ids=["lone", "batch"])
def test_the_answer_has_each_accounts_balance_whatever_became_of_its_events(acme, priced, number):
    pools.open_pool(account=acme, key="team", name="Team", now=START)
    give_credits(make_account("idle"), 70)
    rejected = event(5, meter="none")
    taken = [event(10, id=f"a{each}") for each in range(number)]
    # A team's pool is empty: what it is charged becomes its overdraft, and none of the main pool's.
    for events in ([*taken, rejected], [rejected, *taken], [*taken, event(3, id="t", pool="team"), rejected]):
        assert send(*events).balances == {"acme": 1000 - 10 * number}
    assert send(event(5, account="idle", meter="none"), event(5, account="nobody")).balances == {"idle": 70}
    assert send(*taken, event(1, id="t")).balances == {"acme": 1000 - 10 * number}


def test_the_infrastructure_cost_of_the_meter_is_kept_with_each_event(acme):
    publish(rate(make_meter("tokens", unit_cost=D("0.000000000003"))))
    send(event(2))
    assert (UsageEvent.objects.get().unit_cost, DailyUsage.objects.get().cost) == (
        D("0.000000000003"), D("0.000000000006"),
    )  # fmt: skip


def test_the_same_id_and_body_is_a_duplicate_with_the_first_result(acme, priced):
    raw = event(10)
    first = send_one(raw)
    before = all_rows()
    again = send_one(raw, now=NOW + DAY)
    assert (again.status, again.credits, again.posting_id) == ("duplicate", 10, first.posting_id)
    assert all_rows() == before


@pytest.mark.parametrize(
    "changes",
    [{"quantity": 11}, {"properties": {"a": 1}}, {"occurred_at": "2026-03-10T11:00:00Z"}, {"meter": "images"}],
)
def test_the_same_id_with_another_body_is_a_conflict(acme, priced, changes):
    publish(rate(priced), rate(make_meter("images")), effective_at=NOW, now=NOW)
    raw = event(10)
    send(raw)
    before = all_rows()
    result = send_one({**raw, **changes})
    assert (result.status, result.code, result.field) == ("conflict", "id_conflict", "id")
    assert all_rows() == before


def test_an_equal_number_written_differently_is_the_same_body(acme, priced):
    raw = event("10.50", properties={"b": 1, "a": "x"})
    send(raw)
    assert send_one({**raw, "quantity": D("10.5"), "properties": {"a": "x", "b": 1}}).status == "duplicate"


def test_ids_are_told_apart_by_account_and_letter_case(acme, priced):
    make_account("other", now=START)
    names = [event(id="a"), event(id="A"), event(id="a", account="other"), event(id="\u00e4"), event(id="a\u0308")]
    results = send(*names).results
    assert [result.status for result in results] == ["accepted"] * 5


def test_in_one_batch_repeats_count_once_and_each_has_its_own_result(acme, priced):
    raw = event(10, id="a")
    statuses = [result.status for result in send(raw, raw, {**raw, "quantity": 2}, {"id": 5}, raw).results]
    assert statuses == ["accepted", "duplicate", "conflict", "rejected", "duplicate"]
    assert available_in(acme) == 990


def test_a_rejected_event_says_why_and_is_kept_while_others_count(acme, priced):
    key, _ = make_key()
    done = send(event(1), event(1, account="nobody", id="b"), {"id": "c"}, api_key_id=key.pk)
    assert [(result.status, result.code, result.field) for result in done.results] == [
        ("accepted", "", ""), ("rejected", "unknown_account", "account"), ("rejected", "missing_field", "meter"),
    ]  # fmt: skip
    rows = RejectedEvent.objects.order_by("pk").values_list("event_id", "code", "account", "api_key", "door")
    assert list(rows) == [("b", "unknown_account", None, key.pk, "api"), ("", "missing_field", None, key.pk, "api")]


def test_an_id_whose_event_was_rejected_can_be_sent_again(acme, priced):
    send(event(id="a", meter="images"))
    assert send_one(event(id="a")).status == "accepted"


def test_cloud_events_are_read_alone_and_in_batches_with_flat_ones(acme, priced, bob):
    cloud = {
        "specversion": "1.0", "id": "ce", "source": "/x", "type": "tokens", "subject": "acme",
        "time": "2026-03-10T10:00:00+01:00",
        "data": {"quantity": 3, "properties": {"m": 1}, "member": encode("mem", bob.pk)},
    }  # fmt: skip
    assert send_one(cloud).status == "accepted"
    stored = UsageEvent.objects.get()
    assert (stored.quantity, stored.occurred_at, stored.member) == (3, datetime(2026, 3, 10, 9, tzinfo=UTC), bob)
    done = send({**cloud, "source": "/other"}, {**cloud, "id": "ce2"}, event(), {**cloud, "specversion": "0.3"})
    assert [result.status for result in done.results] == ["accepted", "accepted", "accepted", "rejected"]


def test_a_customers_key_reports_for_its_own_account_only(acme, priced):
    make_account("other", now=START)
    raw = {"id": "a", "meter": "tokens"}
    bound = {"account_id": acme.pk, "account_name": "acme"}
    assert send_one(raw, **bound).status == "accepted"
    assert send_one({**raw, "id": "b", "account": encode("acc", acme.pk)}, **bound).status == "accepted"
    assert send_one({**raw, "id": "c", "account": "other"}, **bound).code == "unknown_account"
    assert send_one(raw).code == "missing_field"


def test_usage_of_a_closed_period_is_charged_to_the_current_one_and_late(acme, tokens):
    publish(rate(tokens, model="graduated", tiers=[{"up_to": "10", "price": "2"}, {"up_to": None, "price": "1"}]))
    february = datetime(2026, 2, 20, tzinfo=UTC)
    send(event(10, at=february), now=february)
    march = datetime(2026, 3, 1, tzinfo=UTC)
    in_grace = send_one(event(10, at=february), now=march + timedelta(minutes=59))
    assert (in_grace.late, in_grace.credits) == (False, 10)
    late = send_one(event(10, at=february), now=march + HOUR)
    assert (late.late, late.credits) == (True, 20)
    assert sorted(UsageCounter.objects.values_list("period_starts_at", "quantity")) == [
        (datetime(2026, 2, 1, tzinfo=UTC), 20), (march, 10),
    ]  # fmt: skip
    assert [(day.day, day.quantity) for day in DailyUsage.objects.all()] == [(february.date(), 30)]


def test_a_late_event_is_paid_by_credits_that_were_good_when_it_happened(tokens, db):
    publish(rate(tokens))
    account = make_account("acme", now=START)
    give_credits(account, "10", now=START, expires_at=NOW)
    give_credits(account, "10", now=START)
    send(event(4, at=NOW - HOUR), now=NOW + timedelta(minutes=30))
    assert sorted(account.pools.get().grants.values_list("remaining", flat=True)) == [6, 10]
    send(event(4, at=NOW), now=NOW + timedelta(minutes=30))
    assert sorted(account.pools.get().grants.values_list("remaining", flat=True)) == [6, 6]


def test_periods_are_months_of_the_accounts_time_zone(priced):
    make_account("tokyo", time_zone="Asia/Tokyo", now=START)
    at = datetime(2026, 3, 1, 14, 59, 59, tzinfo=UTC)
    for moment in (at, at + DAY * 30, at + DAY * 30 + timedelta(seconds=1)):
        send(event(account="tokyo", at=moment), now=moment)
    starts = UsageCounter.objects.order_by("period_starts_at").values_list("period_starts_at", "quantity")
    assert list(starts) == [
        (datetime(2026, 2, 28, 15, tzinfo=UTC), 2), (datetime(2026, 3, 31, 15, tzinfo=UTC), 1),
    ]  # fmt: skip


def test_a_fact_is_never_refused_for_lack_of_credits(acme, priced):
    result = send_one(event(1500))
    assert (result.status, result.credits) == ("accepted", 1500)
    pool = pools.get_main_pool(acme.pk)
    assert (pool.balance, pool.overdraft) == (0, 500)
    assert_proven()


@pytest.mark.parametrize("mark", ["parked_at", "paused_at"])
def test_a_fact_of_a_parked_or_paused_account_is_recorded(acme, priced, mark):
    setattr(acme, mark, NOW)
    acme.save()
    assert send_one(event(5)).status == "accepted"
    assert available_in(acme) == 995


def test_a_fact_counts_against_the_members_limit_and_is_not_refused_by_it(acme, priced, bob):
    pools.set_member_limit(member_id=bob.pk, amount=D(10), now=NOW)
    send(event(8, member=encode("mem", bob.pk)), event(100))
    assert send_one(event(8, member=encode("mem", bob.pk))).status == "accepted"
    assert MemberLimit.objects.get().spent == 16


def test_crossing_thresholds_is_told_once_each_in_the_same_transaction(acme, priced):
    send(event(760))
    assert Notification.objects.filter(kind="threshold").count() == 1
    send(event(10))
    assert Notification.objects.filter(kind="threshold").count() == 1
    send(event(300))
    told = Notification.objects.filter(kind="threshold").order_by("pk")
    assert [row.payload["threshold"] for row in told] == [75, 90, 100]


def test_usage_of_a_team_pool_burns_there_and_counts_for_the_account(acme, priced):
    team = pools.open_pool(account=acme, key="team", name="Team", now=NOW)
    send(event(5, pool="team"), event(6))
    team.refresh_from_db()
    assert (team.overdraft, available_in(acme)) == (5, 994)
    assert UsageCounter.objects.get().quantity == 11


def test_a_counting_meter_counts_events_whatever_their_quantity(acme):
    publish(rate(make_meter("tokens", aggregation="count"), "2"))
    result = send_one(event(50))
    assert (result.credits, UsageEvent.objects.get().quantity, UsageEvent.objects.get().counted) == (2, 50, 1)


def test_a_unique_meter_counts_each_value_once_a_period(acme):
    publish(rate(make_meter("seats", kind="unique", unique_property="user"), "5"))

    def seen(user, at=NOW):
        return event(at=at, meter="seats", properties={"user": user})

    results = send(seen("u1"), seen("u2"), seen("u1"), seen(1), seen("1")).results
    assert [result.credits for result in results] == [5, 5, 0, 5, 5]
    assert [result.credits for result in send(seen("u2"), seen(1)).results] == [0, 0]
    april = NOW + 30 * DAY
    assert send_one(seen("u1", april), now=april).credits == 5


@pytest.mark.parametrize("properties", [{}, {"user": None}, {"user": ""}, {"user": " "}])
def test_who_is_nobody_is_not_counted_as_a_user(acme, properties):
    publish(rate(make_meter("seats", kind="unique", unique_property="user"), "5"))
    assert send_one(event(meter="seats", properties=properties)).code == "missing_property"
    assert (UsageEvent.objects.count(), available_in(acme)) == (0, 1000)


def test_a_gauge_whose_series_is_null_has_the_series_without_a_name(acme):
    publish(rate(make_meter("disk", kind="gauge", series_property="index"), "1"))
    send(*(event(1, meter="disk", properties=properties) for properties in ({}, {"index": None}, {"index": ""})))
    assert set(GaugeReading.objects.values_list("series", flat=True)) == {""}


def test_a_unique_value_belongs_to_the_period_of_its_event_time(acme):
    publish(rate(make_meter("seats", kind="unique", unique_property="user"), "5"))
    end = datetime(2026, 4, 1, tzinfo=UTC)
    soon_after = end + timedelta(minutes=10)
    for at, credits in ((end - HOUR, 5), (end + timedelta(minutes=1), 5), (end - 2 * HOUR, 0)):
        raw = event(at=at, meter="seats", properties={"user": "u1"})
        assert send_one(raw, now=soon_after).credits == credits


def test_a_cost_beyond_all_bounds_rejects_the_event_alone(acme, tokens):
    publish(rate(tokens, "1000000"))
    results = send(event(10**17), event(1)).results
    assert [(result.status, result.code) for result in results] == [
        ("rejected", "amount_too_large"), ("accepted", ""),
    ]  # fmt: skip
