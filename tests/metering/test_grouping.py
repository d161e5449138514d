"""Concurrent single requests share a transaction, and none suffers for another's."""

import threading
import time

import pytest
from django.db import DatabaseError, transaction

from billing.ledger.models import Posting
from billing.metering import grouping
from billing.metering.models import RejectedEvent, UsageEvent
from tests.factories import make_key
from tests.metering.makers import NOW, assert_proven, available_in, charge, event, in_threads, send, send_one

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def groups(monkeypatch):
    """The sizes of the transactions to come; the first waits until the others have queued behind it."""
    sizes, process = [], grouping.process
    others = {"expected": 0}

    def watch(works, **options):
        if not sizes:
            deadline = threading.Event()
            while len(grouping._waiting) < others["expected"] and not deadline.wait(0.01):
                pass
        sizes.append(len(works))
        return process(works, **options)

    monkeypatch.setattr(grouping, "process", watch)
    sizes_and_queue = (sizes, others)
    yield sizes_and_queue
    assert not grouping._waiting
    assert not grouping._busy


def test_requests_that_wait_share_one_transaction_and_each_gets_its_own_answer(acme, priced, groups):
    sizes, others = groups
    others["expected"] = 15
    results = in_threads(16, lambda number: send_one(event(number + 1, id=f"e{number}")))
    assert [result.credits for result in results] == list(range(1, 17))
    assert sizes == [1, 15]
    assert Posting.objects.filter(act="spend").count() == 2
    assert available_in(acme) == 1000 - 136
    assert_proven()


def test_a_group_holds_one_keys_requests_and_is_bounded(acme, priced, groups, monkeypatch):
    monkeypatch.setattr(grouping, "MAX_GROUP", 4)
    keys = [make_key()[0].pk for _ in range(2)]
    sizes, others = groups
    others["expected"] = 11
    send_as = lambda number: send_one(event(1, account="nobody"), api_key_id=keys[number % 2])  # noqa: E731
    results = in_threads(12, send_as)
    assert {result.code for result in results} == {"unknown_account"}
    assert sum(sizes) == 12
    assert max(sizes) <= 4
    assert RejectedEvent.objects.filter(api_key_id=keys[0]).count() == 6


def test_one_faulty_request_harms_no_other(acme, priced, groups, monkeypatch):
    sizes, others = groups
    others["expected"] = 7
    watched = grouping.process

    def fail(works, **options):
        watched(works, **options)
        if any(work.usage.id == "e3" for work in works):
            with transaction.atomic():  # as a lost connection or a full disk would
                raise DatabaseError("no room")

    def fail_inside(works, **options):
        with transaction.atomic():
            fail(works, **options)

    def send_numbered(number):
        # The faulty one is never the first, which goes alone.
        while number == 3 and not grouping._busy:
            time.sleep(0.01)
        return send_one(event(1, id=f"e{number}", at=NOW))

    monkeypatch.setattr(grouping, "process", fail_inside)
    results = in_threads(8, send_numbered)
    assert isinstance(results[3], DatabaseError)
    assert [result.status for number, result in enumerate(results) if number != 3] == ["accepted"] * 7
    assert UsageEvent.objects.count() == 7
    assert available_in(acme) == 993
    assert len(sizes) > 2
    assert_proven()


def test_a_refused_charge_in_a_group_refuses_no_other(acme, priced, groups):
    _, others = groups
    others["expected"] = 5
    results = in_threads(6, lambda number: charge(2_000 if number == 2 else 1))
    assert type(results[2]).__name__ == "InsufficientCredits"
    assert [result.credits for number, result in enumerate(results) if number != 2] == [1] * 5
    assert available_in(acme) == 995


def test_within_the_callers_transaction_nothing_is_shared(acme, priced, groups):
    sizes, _ = groups
    with transaction.atomic():
        send(event(1))
        transaction.set_rollback(True)
    assert not UsageEvent.objects.exists()
    assert sizes == [1]


def test_a_lone_request_that_fails_leaves_the_way_free(acme, priced, monkeypatch):
    process = grouping.process

    def fail(works, **options):
        raise DatabaseError("gone")

    monkeypatch.setattr(grouping, "process", fail)
    with pytest.raises(DatabaseError):
        send(event(1, id="a"))
    monkeypatch.setattr(grouping, "process", process)
    assert send_one(event(1, id="a")).status == "accepted"
