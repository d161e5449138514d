"""That everyone's turn comes: what fails for ever, or changes just now, keeps no other waiting."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from billing.payments import collecting
from billing.payments.models import Collection
from billing.subscriptions import guards
from billing.subscriptions.credits import allocations
from billing.subscriptions.followup import payment_news
from billing.subscriptions.models import Subscription
from billing.subscriptions.renewal import renewals, trial_reminders
from tests.factories import NOW, make_account, make_issuer, make_plan
from tests.subscriptions.makers import add_card, available, make_team, run, subscribe

APRIL = datetime(2025, 3, 31, 22, tzinfo=UTC)
GATE = 7


def make_four(**fields: object) -> list[Subscription]:
    """Four accounts, each with a subscription."""
    make_issuer()
    version = make_team()
    accounts = [make_account(name, time_zone="Europe/Berlin") for name in ("a", "b", "c", "d")]
    for account in accounts if fields else []:
        add_card(account)
    return [subscribe(account, version, **fields) for account in accounts]


def failing(act: Callable[..., object], numbers: range, failed: Callable[[], object]) -> Callable[..., object]:
    """Does `failed` in place of the act for the first so many rows that it is ever called with."""
    known: list[int] = []

    def instead(pk: int, *rest: object, **named: object) -> object:
        if pk not in known:
            known.append(pk)
        return failed() if known.index(pk) in numbers else act(pk, *rest, **named)

    return instead


def fails() -> None:
    raise RuntimeError("corrupted")


@pytest.mark.django_db
def test_news_that_fail_for_ever_keep_no_others_waiting(monkeypatch):
    subscriptions = make_four(collection="automatic")
    collecting.run_due(now=NOW, limit=10)
    monkeypatch.setattr(payment_news, "_follow", failing(payment_news._follow, range(3), fails))
    done = payment_news.follow_up(now=NOW, limit=2)
    assert (done.followed, done.failed) == (1, 3)
    assert Collection.objects.filter(has_news=True).count() == 3
    subscriptions[3].refresh_from_db()
    assert subscriptions[3].state == "active"


@pytest.mark.django_db
def test_a_round_follows_no_more_news_than_it_may():
    make_four(collection="automatic")
    collecting.run_due(now=NOW, limit=10)
    assert payment_news.follow_up(now=NOW, limit=3).followed == 3
    assert payment_news.follow_up(now=NOW, limit=3).followed == 1


@pytest.mark.django_db
@pytest.mark.parametrize(("failed", "failures"), [(fails, 3), (lambda: False, 0)])
def test_one_that_cannot_be_given_up_keeps_no_others_waiting(monkeypatch, failed, failures):
    subscriptions = make_four(collection="automatic")
    monkeypatch.setattr(payment_news, "_give_up", failing(payment_news._give_up, range(3), failed))
    done = payment_news.follow_up(now=NOW + timedelta(days=1), limit=2)
    assert (done.abandoned, done.failed) == (1, failures)
    subscriptions[3].refresh_from_db()
    assert subscriptions[3].state == "ended"


@pytest.mark.django_db
def test_credits_that_cannot_be_granted_keep_no_others_waiting(monkeypatch, settings):
    settings.FLORIN_ALLOCATE_ON = "payment"
    subscriptions = make_four(collection="automatic")
    run(NOW)
    renewals.run_due(now=APRIL, limit=10)
    collecting.run_due(now=APRIL, limit=10)
    monkeypatch.setattr(allocations, "_grant_of", failing(allocations._grant_of, range(3), fails))
    assert allocations.grant_due(now=APRIL, limit=2) == 1
    assert available(subscriptions[3].account, APRIL) == 1000


@pytest.mark.django_db
def test_a_trial_that_cannot_be_told_of_keeps_no_others_waiting(monkeypatch):
    make_issuer()
    version = make_plan("tried", trial_days=14, prices={"USD": {"fee": "50.00"}})
    told = [subscribe(make_account(name), version) for name in ("a", "b", "c", "d")]
    monkeypatch.setattr(trial_reminders, "_remind", failing(trial_reminders._remind, range(3), fails))
    assert trial_reminders.remind_due(now=NOW + timedelta(days=12), limit=2) == 1
    told[3].refresh_from_db()
    assert told[3].trial_reminded_at is not None


@contextmanager
def held_before_its_lock() -> Iterator[None]:
    """Lets the statement that locks a subscription wait, its snapshot taken, until the gate opens."""

    def wait(execute, sql, params, many, context):
        if "FOR NO KEY UPDATE" in sql and '"billing_subscription"' in sql:
            sql = sql.replace(" WHERE ", f" WHERE pg_advisory_lock({GATE}) IS NOT NULL AND ", 1)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wait):
        yield


@pytest.mark.django_db(transaction=True)
def test_a_plan_that_changes_meanwhile_loses_no_subscription():
    make_issuer()
    small, large = make_team(), make_team(key="large")
    subscription = subscribe(make_account("acme"), small)
    found: list[Subscription | None] = []

    def look() -> None:
        with held_before_its_lock(), transaction.atomic():
            found.append(guards.find_unlocked(subscription.pk))
        connection.close()

    looking = threading.Thread(target=look)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [GATE])
        looking.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
        for _try in range(1000):
            cursor.execute(waiting, [GATE])
            if cursor.fetchone()[0]:
                break
        Subscription.objects.filter(pk=subscription.pk).update(plan_version=large)
        cursor.execute("SELECT pg_advisory_unlock(%s)", [GATE])
    looking.join(timeout=60)
    assert [each and each.plan_version for each in found] == [large]
