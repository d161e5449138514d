"""Automatic top-up while 64 charge at once and many look for what is due, on real PostgreSQL."""

import threading
from collections import Counter
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection
from django.db.models import Q

from billing.invoicing.models import Invoice
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant
from billing.metering import verification
from billing.notifications.models import Notification
from billing.payments.models import Payment
from billing.payments.sandbox_models import SandboxCharge
from billing.purchases import topups
from billing.purchases.models import TopUp, TopUpRule
from tests.factories import NOW, give_credits, make_account, make_issuer, make_pack
from tests.ledger.racing import race, repeated
from tests.payments import makers
from tests.payments.makers import make_card
from tests.purchases.makers import make_rule

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pool(transactional_db):
    """The main pool of alice's account with a card, committed for all threads to see."""
    make_issuer()
    account = make_account("alice-org")
    make_card(account)
    return pools.get_main_pool(account.pk)


def look(times):
    def work():
        for _ in range(times):
            topups.run_due(now=NOW, limit=10)

    return work


def counted():
    return [model.objects.count() for model in (TopUp, Invoice, Payment, SandboxCharge)]


@pytest.mark.parametrize(
    ("number", "state"),
    [(makers.SUCCESS, "succeeded"), (makers.DECLINE, "failed"), (makers.SLOW, "open"), (makers.BLACKOUT, "open")],
)
def test_however_many_look_at_once_one_tops_up(pool, number, state):
    card = make_card(pool.account, number)
    make_rule(pool, make_pack(), method_id=card.pk)
    race([look(3)] * 16)
    assert counted() == [1, 1, 1, 1]
    assert TopUp.objects.get().state == state
    assert CreditGrant.objects.count() == (1 if state == "succeeded" else 0)
    told = Notification.objects.filter(Q(kind__startswith="top_up") | Q(kind="receipt")).count()
    assert told == (0 if state == "open" else 1)


def test_sixty_four_who_charge_at_once_never_cause_two_top_ups_of_one_low(pool):
    """4,000 credits are spent in 64 threads. A pool below 100 is filled by 1,000 each time, and not once more."""
    give_credits(pool.account, 1_000)
    rule = make_rule(pool, make_pack(), max_count=100, max_money=Decimal(100_000))
    spent = Counter()
    is_over = threading.Event()

    def charge(thread):
        def one(number):
            while True:
                try:
                    reference = f"c:{thread}:{number}"
                    return posting.spend(pool_id=pool.pk, credits=Decimal("12.5"), reference=reference, now=NOW)
                except posting.InsufficientCredits:
                    # The product would try again; the top-up is on its way.
                    is_over.wait(0.02)

        return lambda: repeated(one, 5, spent)

    def look_on():
        while not is_over.is_set():
            topups.run_due(now=NOW, limit=10)

    watchers = [threading.Thread(target=_closing(look_on)) for _ in range(4)]
    for watcher in watchers:
        watcher.start()
    try:
        race([charge(thread) for thread in range(64)])
    finally:
        is_over.set()
        for watcher in watchers:
            watcher.join()
    topups.run_due(now=NOW, limit=10)
    assert spent["done"] == 320
    pool.refresh_from_db()
    made = TopUp.objects.filter(state="succeeded").count()
    assert counted() == [made] * 4
    assert pool.balance == 1_000 + 1_000 * made - 4_000
    # Never filled while there was enough: after the last one there is less than a pack and the threshold together.
    assert rule.threshold <= pool.balance < 1_000 + rule.threshold
    assert made == 4 or (made == 3 and pool.balance >= rule.threshold)
    assert verification.verify(now=NOW).findings == []


def _closing(work):
    def run():
        try:
            work()
        finally:
            connection.close()

    return run


def test_without_the_lock_the_database_refuses_the_second(pool, monkeypatch):
    """The positive control: many do find the rule due at once; unique indexes are the last word."""
    rule = make_rule(pool, make_pack())
    monkeypatch.setattr(topups, "_lock", _read_only)
    outcomes = race([lambda: topups.open_top_up(rule_id=rule.pk, now=NOW)] * 16, expected=(IntegrityError,))
    assert outcomes["IntegrityError"] > 0
    assert TopUp.objects.count() == 1


def test_without_asking_again_under_the_lock_a_full_pool_is_filled_once_more(pool, monkeypatch):
    rule = make_rule(pool, make_pack())
    topups.run_due(now=NOW, limit=10)
    monkeypatch.setattr(topups.balance, "read", lambda **_: type("Empty", (), {"available": Decimal(0)}))
    assert topups.open_top_up(rule_id=rule.pk, now=NOW) is not None
    assert TopUp.objects.count() == 2


def _read_only(rule_id):
    return TopUpRule.objects.select_related("pool__account").get(pk=rule_id)
