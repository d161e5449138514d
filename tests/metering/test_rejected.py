"""Rejected events: whose they are, that a retry adds no row, and that one which fails keeps no other waiting."""

import json
from decimal import Decimal

import pytest
from django.db import transaction
from django.db.models import ProtectedError

from billing.metering import processing, replay, resolve, store
from billing.metering.models import RejectedEvent, UsageEvent
from tests.factories import make_account, make_key, make_meter
from tests.metering.makers import DAY, HOUR, NOW, START, all_rows, event, in_threads, publish, rate, send, send_one

LATER = NOW + 3 * DAY


def retry(**options):
    return replay.replay(**{"limit": 1000, "now": LATER, **options})


def mend(meter):
    """Give images a meter and a price."""
    publish(rate(meter), rate(make_meter("images")), effective_at=NOW, now=NOW)


def test_an_event_stays_bound_to_its_keys_account_when_the_key_is_gone(acme, priced):
    make_account("victim")
    key, _ = make_key(acme)
    bound = {"account_id": acme.pk, "account_name": "acme", "api_key_id": key.pk}
    send(event(7, id="foreign", account="victim"), event(2, id="own", account="acme", meter="images"), **bound)
    key.delete()
    mend(priced)
    done = retry()
    assert (done.accepted, done.rejected) == (1, 1)
    assert list(UsageEvent.objects.values_list("account_id", "event_id")) == [(acme.pk, "own")]


def test_the_account_a_key_was_bound_to_is_kept(acme, priced):
    other = make_account("other")
    key, _ = make_key(other)
    send(event(id="a", account="acme"), account_id=other.pk, account_name="other", api_key_id=key.pk)
    assert RejectedEvent.objects.get().bound_account == other
    with pytest.raises(ProtectedError):
        other.delete()


def test_a_retry_while_it_is_open_adds_to_the_attempts_of_its_row(acme, priced):
    raw = event(id="a", meter="images")
    for hours in range(3):
        assert send_one(raw, now=NOW + hours * HOUR).status == "rejected"
    row = RejectedEvent.objects.get()
    assert (row.attempts, row.received_at, row.code, row.state) == (2, NOW, "unknown_meter", "open")
    make_meter("images")
    send(raw)
    row.refresh_from_db()
    assert (row.attempts, row.code, row.account) == (3, "no_rate", acme)


def test_copies_within_a_batch_are_one_row_and_rows_are_numbered_as_they_came(acme, priced):
    batch = [event(id=f"{number:02}", meter="images") for number in range(60)]
    send(*batch, *batch[:2], batch[0])
    rows = RejectedEvent.objects.order_by("pk").values_list("event_id", "attempts")
    assert list(rows) == [("00", 2), ("01", 1), *((f"{number:02}", 0) for number in range(2, 60))]
    send(*batch[::-1])
    assert RejectedEvent.objects.count() == 60


def test_another_body_key_account_or_door_is_another_event(acme, priced):
    key, _ = make_key()
    bound, _ = make_key(acme)
    raw = event(id="a", meter="images")
    send(raw)
    send({**raw, "quantity": 2})
    send(raw, door="import")
    send(raw, api_key_id=key.pk)
    send(raw, api_key_id=bound.pk, account_id=acme.pk, account_name="acme")
    assert RejectedEvent.objects.count() == 5


def test_bodies_too_long_to_keep_are_told_apart_all_the_same(acme, priced):
    for letter in "aab":
        send({**event(id="x", at=NOW), "properties": {"x": [letter * 70_000]}})
    rows = RejectedEvent.objects.order_by("pk").values_list("body", "attempts")
    assert list(rows) == [("", 1), ("", 0)]


def test_after_it_was_closed_the_same_event_is_kept_anew(acme, priced):
    raw = event(id="a", meter="images")
    send(raw)
    replay.dismiss(ids=[RejectedEvent.objects.get().pk], now=NOW)
    send(raw)
    assert sorted(RejectedEvent.objects.values_list("state", "attempts")) == [("dismissed", 0), ("open", 0)]


@pytest.mark.django_db(transaction=True)
def test_retries_from_many_threads_make_one_row_each(acme, priced):
    batch = [event(id=f"e{number}", meter="images") for number in range(20)]

    def work(number):
        return send(*(batch if number % 2 else batch[::-1]))

    results = in_threads(8, work)
    assert [each.rejected for each in results] == [20] * 8
    assert set(RejectedEvent.objects.values_list("attempts", flat=True)) == {7}
    assert RejectedEvent.objects.count() == 20


@pytest.mark.django_db(transaction=True)
def test_retries_and_replays_at_once_wait_for_each_other_in_one_order(acme, priced):
    """Both take the pools first and then the rejected rows, so none of them is a deadlock's victim. Only under the
    pools' locks is it found that no rate matches these."""
    publish(rate(priced), rate(make_meter("images"), match={"size": "big"}), effective_at=NOW, now=NOW)
    bad = [event(id=f"e{number}", meter="images") for number in range(20)]
    send(*bad)

    def work(number):
        if number % 2:
            return [retry(now=NOW).rejected for _ in range(5)]
        return [send(event(), *(bad[::-1] if number % 4 else bad)).rejected for _ in range(5)]

    results = in_threads(8, work)
    assert results == [[20] * 5] * 8
    assert RejectedEvent.objects.count() == 20


def failing(monkeypatch, *ids):
    """Let the database refuse to store events of these ids."""
    stored = store._event_row

    def row(work, now):
        if work.usage.id in ids:
            return (*stored(work, now)[:5], "not a number", *stored(work, now)[6:])
        return stored(work, now)

    monkeypatch.setattr(store, "_event_row", row)


@pytest.mark.parametrize("count", [3, 60])
def test_one_event_that_fails_keeps_no_other_from_being_replayed(acme, priced, monkeypatch, count):
    send(*(event(id=f"e{number}", meter="images") for number in range(count)))
    mend(priced)
    failing(monkeypatch, "e1")
    done = retry()
    assert (done.tried, done.accepted, done.rejected) == (count, count - 1, 1)
    row = RejectedEvent.objects.get(state="open")
    assert (row.event_id, row.code, row.attempts) == ("e1", "failed", 1)
    monkeypatch.undo()
    assert retry().accepted == 1


def test_a_run_ends_when_the_database_is_gone(acme, priced, monkeypatch):
    send(event(id="a", meter="images"))

    def lost(*args, **options):
        raise ConnectionError

    monkeypatch.setattr(replay, "process", lost)
    monkeypatch.setattr(replay, "F", lost)
    before = all_rows()
    with pytest.raises(ConnectionError), transaction.atomic():
        retry()
    assert all_rows() == before


def test_a_body_nested_too_deeply_to_read_keeps_no_other_waiting(acme, priced):
    send(event(id="a", meter="images"), event(id="b", meter="images"))
    RejectedEvent.objects.filter(event_id="a").update(body="[" * 60_000)
    mend(priced)
    done = retry()
    assert (done.accepted, done.rejected) == (1, 1)


def test_an_event_that_was_dismissed_meanwhile_and_taken_all_the_same_says_so(acme, priced, monkeypatch):
    send(event(id="a", meter="images"), event(id="b", account="nobody"))
    mend(priced)

    def dismissed_meanwhile(*args, **options):
        processing.process(*args, **options)
        RejectedEvent.objects.update(state="dismissed", closed_at=NOW)

    monkeypatch.setattr(replay, "process", dismissed_meanwhile)
    retry()
    states = RejectedEvent.objects.order_by("event_id").values_list("state", "attempts", "closed_at")
    assert list(states) == [("replayed", 1, LATER), ("dismissed", 0, NOW)]


def test_an_account_that_appears_while_names_are_looked_up_is_not_found_yet(acme, priced, monkeypatch):
    """The statements of the round trip see it one after the other."""
    team = make_account("brand-new", now=START)
    real = resolve.pipelined

    def unseen_at_first(statements):
        rows = real(statements)
        rows[1] = [row for row in rows[1] if row[0] != team.pk]
        rows[2] = [(team.pk, "contract", 1, NOW, None), *rows[2]]
        return rows

    monkeypatch.setattr(resolve, "pipelined", unseen_at_first)
    batch = [event(account="brand-new", pool="main", member="mem_1"), event(Decimal(3))]
    assert [result.status for result in send(*batch).results] == ["rejected", "accepted"]
    assert json.loads(RejectedEvent.objects.get().body)["account"] == "brand-new"
