"""An event id counts once per account, whatever number of callers sends it, in singles and batches."""

import random

import pytest
from django.db import IntegrityError

from billing.metering import grouping, known, processing
from billing.metering.models import UsageEvent
from tests.factories import give_credits
from tests.metering.makers import assert_proven, available_in, event, in_threads, send

IDS, COPIES, THREADS = 2_000, 5, 16


def send_copies(events, copies, threads):
    """Each event so many times over the threads, half of them in singles, half in batches; their results."""
    chance = random.Random(1)
    shuffled = events * copies
    chance.shuffle(shuffled)
    shares = [shuffled[number::threads] for number in range(threads)]

    def work(number):
        share, results = shares[number], []
        size = 1 if number % 2 else 100
        for begin in range(0, len(share), size):
            results += send(*share[begin : begin + size]).results
        return results

    return in_threads(threads, work)


@pytest.mark.django_db(transaction=True)
def test_two_thousand_ids_sent_five_times_by_sixteen_callers_count_two_thousand(acme, priced):
    give_credits(acme, "9000")
    events = [event(1, id=f"e{number}") for number in range(IDS)]
    shares = send_copies(events, COPIES, THREADS)
    assert not [share for share in shares if isinstance(share, Exception)]
    statuses = [result.status for share in shares for result in share]
    assert (statuses.count("accepted"), statuses.count("duplicate")) == (IDS, IDS * (COPIES - 1))
    assert UsageEvent.objects.count() == IDS
    assert available_in(acme) == 10_000 - IDS
    assert_proven()


@pytest.mark.django_db(transaction=True)
def test_without_the_read_of_known_ids_the_index_makes_it_fail_loudly(acme, priced, monkeypatch):
    """Positive control: the read under the lock is what makes a copy a duplicate; without it, what counts twice is
    refused by the table, and everything that was to be written with it."""
    monkeypatch.setattr(known.Known, "first_of", lambda self, work: None)
    events = [event(1, id=f"e{number}") for number in range(40)]
    shares = send_copies(events, 3, 4)
    assert any(isinstance(share, IntegrityError) for share in shares)
    assert UsageEvent.objects.count() <= 40
    assert available_in(acme) == 1000 - UsageEvent.objects.count()
    assert_proven()


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_of_the_pools_two_callers_do_meet(acme, priced, monkeypatch):
    """Positive control of the race itself: read before the lock, the ids of another caller are not seen."""
    monkeypatch.setattr(grouping, "_group_size", lambda waiting: 1)
    seen = processing.read_known

    def read_nothing_of_others(rows):
        return seen({**rows, "events": []})

    monkeypatch.setattr(processing, "read_known", read_nothing_of_others)
    raw = event(1, id="one")
    results = in_threads(8, lambda _: send(raw))
    failed = [each for each in results if isinstance(each, IntegrityError)]
    assert len(failed) == 7
    assert (UsageEvent.objects.count(), available_in(acme)) == (1, 999)
