import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection

from billing.accounts import idempotency
from billing.accounts.models import ApiKey, IdempotencyKey
from tests.factories import NOW, make_key

THIS, OTHER = b"a" * 32, b"b" * 32


@pytest.fixture
def key(db) -> ApiKey:
    return make_key()[0]


def begin(key: ApiKey, *, now=NOW, fingerprint=THIS, name="k"):
    return idempotency.begin(lineage=key.lineage, key=name, fingerprint=fingerprint, lease_seconds=60, now=now)


def answer(claim, body="first"):
    return idempotency.finish(claim=claim, status=201, body=body, content_type="application/json")


def test_the_first_answer_is_kept(key):
    assert answer(begin(key))
    stored = begin(key, now=NOW + timedelta(hours=1))
    assert stored == idempotency.StoredAnswer(201, "first", "application/json")


def test_another_request_under_the_key_is_refused_while_the_first_runs_and_after(key):
    claim = begin(key)
    with pytest.raises(idempotency.KeyReused):
        begin(key, fingerprint=OTHER)
    answer(claim)
    with pytest.raises(idempotency.KeyReused):
        begin(key, fingerprint=OTHER)


def test_a_running_request_keeps_others_away_and_says_for_how_long(key):
    begin(key)
    with pytest.raises(idempotency.InProgress) as refusal:
        begin(key, now=NOW + timedelta(seconds=18.5))
    assert refusal.value.retry_after_seconds == 42


def test_a_dead_holder_is_overtaken_after_its_lease(key):
    begin(key)
    claim = begin(key, now=NOW + timedelta(seconds=60))
    assert isinstance(claim, idempotency.Claim)
    assert answer(claim)


def test_an_overtaken_holder_cannot_write_its_answer_nor_free_the_key(key):
    slow = begin(key)
    quick = begin(key, now=NOW + timedelta(seconds=61))
    assert answer(slow, "slow") is False
    idempotency.abandon(claim=slow)
    assert answer(quick, "quick") is True
    assert answer(slow, "slow") is False
    assert begin(key).body == "quick"


def test_an_abandoned_key_can_be_used_again_at_once(key):
    idempotency.abandon(claim=begin(key))
    assert isinstance(begin(key, fingerprint=OTHER), idempotency.Claim)


def test_keys_of_two_api_keys_do_not_meet(key):
    other = make_key()[0]
    assert isinstance(begin(key), idempotency.Claim)
    assert isinstance(begin(other), idempotency.Claim)


def test_old_answers_are_purged_and_running_requests_left(key):
    answer(begin(key, name="old"))
    begin(key, name="running", now=NOW + timedelta(days=3))
    answer(begin(key, name="young", now=NOW + timedelta(days=2)))
    now = NOW + timedelta(days=3)
    assert idempotency.purge(older_than=NOW + timedelta(days=1), now=now, limit=10) == 1
    assert set(IdempotencyKey.objects.values_list("key", flat=True)) == {"running", "young"}


def test_a_purge_stops_at_its_limit(key):
    for number in range(3):
        answer(begin(key, name=str(number)))
    late = NOW + timedelta(days=9)
    assert [idempotency.purge(older_than=late, now=late, limit=2) for _ in range(3)] == [2, 1, 0]


def _race(key: ApiKey, begin_once) -> int:
    """How many of 16 threads run the request when all begin at once."""
    barrier, ran = threading.Barrier(16), []

    def request() -> None:
        try:
            barrier.wait()
            claim = begin_once()
            if isinstance(claim, idempotency.Claim):
                ran.append(1)
                time.sleep(0.01)
                answer(claim)
        except idempotency.InProgress:
            pass
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(request) for _ in range(16)]:
            done.result()
    return len(ran)


@pytest.mark.django_db(transaction=True)
def test_of_many_requests_at_once_one_runs():
    key = make_key()[0]
    assert _race(key, lambda: begin(key)) == 1
    assert IdempotencyKey.objects.get().status == 201


@pytest.mark.django_db(transaction=True)
def test_of_many_that_find_a_dead_holder_one_takes_over():
    key = make_key()[0]
    begin(key)
    assert _race(key, lambda: begin(key, now=NOW + timedelta(seconds=61))) == 1


@pytest.mark.django_db(transaction=True)
def test_without_the_unique_row_several_would_run():
    """Positive control: the same race with look-then-insert lets more than one through."""
    key = make_key()[0]

    def careless():
        if IdempotencyKey.objects.filter(lineage=key.lineage, key__startswith="c").exists():
            raise idempotency.InProgress(1)
        time.sleep(0.005)
        return begin(key, name=f"c{threading.get_ident()}")

    assert _race(key, careless) > 1
