"""Requests that share a transaction do not share its end: when the leader is lost, the rest is done all the same."""

import json
import threading
import time

import pytest
from django.db import OperationalError, transaction

from billing.ledger import pools
from billing.ledger.models import CreditPool, Posting
from billing.metering import grouping, ingest, processing
from billing.metering.models import RejectedEvent, UsageEvent
from tests.factories import give_credits, make_account, make_key
from tests.metering.makers import NOW, START, assert_proven, available_in, charge, event, in_threads, send_one

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def queue(monkeypatch):
    """The ids of each transaction to come, in order. The first waits until `expected` others have queued behind it."""
    groups, process = [], grouping.process
    expected = {"others": 0, "led": threading.Event()}

    def watch(works, **options):
        groups.append([work.usage.id if work.usage else "" for work in works])
        if len(groups) == 1:
            expected["led"].set()
            clock, ends_at = threading.Event(), time.monotonic() + 20
            while len(grouping._waiting) < expected["others"] and time.monotonic() < ends_at:
                clock.wait(0.005)
        return process(works, **options)

    monkeypatch.setattr(grouping, "process", watch)
    yield groups, expected
    assert not grouping._waiting
    assert not grouping._busy


def end_once(monkeypatch, ending, *, of_at_least=2):
    """End the first shared transaction as `ending` says, after all has been written and before the commit."""
    written, ended = processing.write_usage, []

    def write(opened, tally, *, now):
        done = written(opened, tally, now=now)
        if not ended and len(tally.works) >= of_at_least:
            ended.append(True)
            raise ending
        return done

    monkeypatch.setattr(processing, "write_usage", write)
    return ended


def outcome(ask):
    """What a caller is told, also when its thread is being ended."""
    try:
        return ask()
    except BaseException as error:
        return error


def test_a_leader_that_is_ended_takes_nobody_along(acme, priced, queue, monkeypatch):
    # Eight callers; one posts alone, the next leads seven and is ended (as by a worker told to stop) with everything
    # written and nothing committed. It is told of its end; the other six are done, in the database, not just told so.
    groups, expected = queue
    expected["others"] = 7
    ended = end_once(monkeypatch, SystemExit())
    told = in_threads(8, lambda number: outcome(lambda: send_one(event(1, id=f"e{number}"))))
    assert ended
    assert len(groups[1]) == 7
    lost = [number for number, answer in enumerate(told) if isinstance(answer, SystemExit)]
    assert len(lost) == 1
    kept = {f"e{number}" for number in range(8)} - {f"e{lost[0]}"}
    assert set(UsageEvent.objects.values_list("event_id", flat=True)) == kept
    for number in set(range(8)) - set(lost):
        answer = told[number]
        assert (answer.status, answer.credits) == ("accepted", 1)
        assert Posting.objects.filter(pk=answer.posting_id).exists()
    assert available_in(acme) == 1000 - 7
    # The lost one is retried by its caller, and new to Florin.
    assert send_one(event(1, id=f"e{lost[0]}")).status == "accepted"
    assert_proven()


def test_a_leader_that_is_ended_leaves_no_charge_told_that_was_rolled_back(acme, priced, queue, monkeypatch):
    _, expected = queue
    expected["others"] = 5
    end_once(monkeypatch, SystemExit())
    told = in_threads(6, lambda number: outcome(lambda: charge(10, id=f"c{number}")))
    done = [answer for answer in told if not isinstance(answer, SystemExit)]
    assert len(done) == 5
    assert {answer.duplicate for answer in done} == {False}
    posted = Posting.objects.filter(act="spend")
    assert sorted(answer.posting_id for answer in done) == sorted(posted.values_list("pk", flat=True))
    assert available_in(acme) == 1000 - 50
    assert_proven()


@pytest.mark.parametrize("fault", [OperationalError("connection lost"), RuntimeError("a fault of ours")])
def test_when_the_shared_transaction_fails_each_is_done_alone(acme, priced, queue, monkeypatch, fault):
    groups, expected = queue
    expected["others"] = 5
    end_once(monkeypatch, fault)
    told = in_threads(6, lambda number: send_one(event(number + 1, id=f"e{number}")))
    assert [answer.credits for answer in told] == [1, 2, 3, 4, 5, 6]
    assert [answer.status for answer in told] == ["accepted"] * 6
    assert len(groups[1]) == 5
    assert sorted(map(len, groups[2:])) == [1] * 5
    assert {answer.posting_id for answer in told} == set(
        Posting.objects.filter(act="spend").values_list("pk", flat=True)
    )
    assert available_in(acme) == 1000 - 21
    assert_proven()


def test_what_was_rejected_in_a_failed_group_is_judged_and_kept_once(acme, priced, queue, monkeypatch):
    # Two of six name no account, one is faulty as sent: the failed attempt's verdicts are forgotten, not doubled.
    _, expected = queue
    expected["others"] = 5
    end_once(monkeypatch, OperationalError("connection lost"))
    sent = [event(1, id=f"e{number}") for number in range(6)]
    sent[2]["account"] = sent[4]["account"] = "nobody"
    sent[5]["quantity"] = "much"
    told = in_threads(6, lambda number: send_one(sent[number]))
    assert [answer.code for answer in told] == ["", "", "unknown_account", "", "unknown_account", told[5].code]
    assert told[5].status == "rejected"
    assert sorted(json.loads(row.body)["id"] for row in RejectedEvent.objects.all()) == ["e2", "e4", "e5"]
    assert available_in(acme) == 1000 - 3
    assert_proven()


def test_a_refused_charge_is_refused_again_alone(acme, priced, queue, monkeypatch):
    _, expected = queue
    expected["others"] = 4
    end_once(monkeypatch, OperationalError("connection lost"))
    told = in_threads(5, lambda number: charge(5_000 if number == 1 else 1, id=f"c{number}"))
    assert type(told[1]).__name__ == "InsufficientCredits"
    assert [answer.credits for number, answer in enumerate(told) if number != 1] == [1] * 4
    assert available_in(acme) == 996


@pytest.mark.parametrize("first", ["acme", "third"])
def test_a_pool_that_is_locked_elsewhere_holds_up_only_its_own(acme, priced, queue, first):
    # Another connection keeps acme's pool until the charge of an unrelated account has come back: one that shares a
    # group with acme's, or that queues behind acme's as that leads alone. Were it to wait for acme's lock as well,
    # only the gate's timeout would let go.
    groups, expected = queue
    expected["others"], led = 2, expected["led"]
    for name in ("other", "third"):
        give_credits(make_account(name, now=START), "10", now=NOW)
    locked, served = threading.Event(), threading.Event()
    order = []

    def keep():
        with transaction.atomic():
            list(CreditPool.objects.select_for_update().filter(pk=pools.get_main_pool(acme.pk).pk))
            locked.set()
            in_time = served.wait(20)
            order.append("lock")
        return in_time

    def ask(number):
        if number == 0:
            return keep()
        locked.wait(20)
        name = [first, *sorted({"acme", "other", "third"} - {first})][number - 1]
        if name != first:
            led.wait(20)  # so that the first one leads, alone
        done = charge(1, id=name, account=name)
        order.append(name)
        if name == "other":
            served.set()
        return done

    told = in_threads(4, ask)
    assert told[0] is True
    assert [type(answer).__name__ for answer in told[1:]] == ["ChargeResult"] * 3
    assert groups[0] == [first]
    assert order.index("other") < order.index("lock") < order.index("acme")
    assert available_in(acme) == 999
    assert_proven()


def test_requests_of_different_keys_share_a_group_and_stay_apart(acme, priced, queue):
    # One key of the platform, one bound to acme, one of another account: what is rejected is kept with its own key,
    # and a bound key speaks for no account but its own.
    groups, expected = queue
    expected["others"] = 8
    bound_to = make_account("other", now=START)
    platform, own, others = make_key()[0], make_key(acme)[0], make_key(bound_to)[0]
    options = {
        "p": {"api_key_id": platform.pk},
        "a": {"api_key_id": own.pk, "account_id": acme.pk, "account_name": "acme"},
        "o": {"api_key_id": others.pk, "account_id": bound_to.pk, "account_name": "other"},
    }
    names = ["p", "a", "o"] * 3

    def send(number):
        quantity = "nothing" if number >= 6 else 1  # the last three are faulty as sent
        return send_one(event(quantity, id=f"{names[number]}{number}"), **options[names[number]])

    told = in_threads(9, send)
    assert len(groups) == 2
    assert [answer.status for answer in told[:6]] == ["accepted", "accepted", "rejected"] * 2
    assert [answer.status for answer in told[6:]] == ["rejected"] * 3
    assert {json.loads(row.body)["id"]: row.api_key_id for row in RejectedEvent.objects.all()} == {
        "o2": others.pk, "o5": others.pk, "p6": platform.pk, "a7": own.pk, "o8": others.pk,
    }  # fmt: skip
    assert UsageEvent.objects.filter(account=acme).count() == 4
    assert not UsageEvent.objects.filter(account=bound_to).exists()


def test_a_large_batch_is_a_group_of_its_own(acme, priced, queue):
    groups, _ = queue
    ingest.take_events(events=[event(1) for _ in range(ingest.GROUPED_UP_TO + 1)], now=NOW)
    assert groups == []
    ingest.take_events(events=[event(1) for _ in range(ingest.GROUPED_UP_TO)], now=NOW)
    assert [len(group) for group in groups] == [ingest.GROUPED_UP_TO]
