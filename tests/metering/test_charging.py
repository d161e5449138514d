from decimal import Decimal

import pytest

from billing.accounts.ids import encode
from billing.ledger import pool_acts, pools
from billing.ledger.burn import InsufficientCredits
from billing.ledger.models import MemberLimit, Posting
from billing.ledger.pool_acts import AccountParked, AccountPaused, SpendLimitReached
from billing.metering.events import InvalidEvent
from billing.metering.ingest import ChargeResult, IdConflict
from billing.metering.models import RejectedEvent, UsageEvent
from tests.factories import give_credits, make_account, make_meter
from tests.metering.makers import (
    NOW,
    START,
    all_rows,
    assert_proven,
    available_in,
    charge,
    event,
    in_threads,
    publish,
    rate,
    send,
    send_one,
)  # fmt: skip

D = Decimal


def assert_refused(error, **fields):
    """A charge that raises, and writes nothing."""
    before = all_rows()
    with pytest.raises(error) as refusal:
        charge(**{"quantity": 1, **fields})
    assert all_rows() == before
    return refusal.value


def test_a_charge_is_rated_stored_and_posted_by_itself(acme, priced):
    done = charge(40, id="a", properties={"model": "x"})
    assert (done.credits, done.available, done.duplicate) == (40, 960, False)
    spend = Posting.objects.get(act="spend")
    assert (spend.reference, spend.pk) == ("charge:a", done.posting_id)
    assert UsageEvent.objects.get().credits == 40
    assert_proven()


def test_a_charge_of_bare_credits_has_no_event(acme, priced):
    done = charge(id="a", meter_key="", credits=D("2.5"))
    assert (done.credits, done.available) == (D("2.5"), D("997.5"))
    assert not UsageEvent.objects.exists()
    again = charge(id="a", meter_key="", credits=D("2.5"))
    assert (again.duplicate, again.posting_id, again.available) == (True, done.posting_id, D("997.5"))
    assert_refused(IdConflict, id="a", meter_key="", credits=D(3))


def test_a_repeated_charge_returns_the_first_result(acme, priced):
    first = charge(40, id="a")
    before = all_rows()
    again = charge(40, id="a")
    assert (again.duplicate, again.credits, again.posting_id) == (True, 40, first.posting_id)
    assert all_rows() == before
    assert_refused(IdConflict, id="a", quantity=41)


def test_an_event_and_a_charge_share_one_space_of_ids(acme, priced):
    send(event(1, id="a"))
    assert_refused(IdConflict, id="a")
    charge(1, id="b")
    assert send_one(event(1, id="b")).status == "conflict"


def test_a_charge_that_the_credits_do_not_cover_is_refused(acme, priced):
    refusal = assert_refused(InsufficientCredits, quantity=1001)
    assert (refusal.required, refusal.available) == (1001, 1000)


def test_a_charge_under_overage_goes_through(acme, priced):
    pool = pools.get_main_pool(acme.pk)
    pools.set_policy(pool_id=pool.pk, policy="overage", burst_limit=D(0), overage_cap=D(50))
    assert charge(1050).available == 0
    assert_refused(InsufficientCredits)


def test_a_charge_past_the_members_limit_is_refused(acme, priced, bob):
    name = encode("mem", bob.pk)
    pools.set_member_limit(member_id=bob.pk, amount=D(10), now=NOW)
    charge(8, member=name)
    refusal = assert_refused(SpendLimitReached, quantity=3, member=name)
    assert (refusal.limit, refusal.spent) == (10, 8)
    charge(2, member=name)
    assert MemberLimit.objects.get().spent == 10


@pytest.mark.parametrize(("mark", "refusal"), [("parked_at", AccountParked), ("paused_at", AccountPaused)])
def test_a_parked_or_paused_account_is_not_charged(acme, priced, mark, refusal):
    setattr(acme, mark, NOW)
    acme.save()
    assert_refused(refusal)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"account": "nobody"}, "unknown_account"),
        ({"meter_key": "nothing"}, "unknown_meter"),
        ({"meter_key": "images"}, "no_rate"),
        ({"pool_key": "nowhere"}, "unknown_pool"),
        ({"member": "mem_0000000000009"}, "unknown_member"),
        ({"properties": {"nested": []}}, "invalid_properties"),
        ({"quantity": 10**17, "meter_key": "dear"}, "amount_too_large"),
    ],
)
def test_a_charge_that_cannot_be_rated_says_why_and_is_not_kept(acme, priced, fields, code):
    make_meter("images")
    publish(rate(priced), rate(make_meter("dear"), "1000000"), effective_at=NOW, now=NOW)
    assert assert_refused(InvalidEvent, **fields).code == code
    assert not RejectedEvent.objects.exists()


def test_a_charge_that_costs_nothing_is_stored_and_needs_no_credits(priced):
    make_account("acme", now=START)
    publish(rate(priced, "0"), effective_at=NOW, now=NOW)
    done = charge(5, id="a")
    assert (done.credits, done.posting_id) == (0, None)
    assert charge(5, id="a").duplicate


@pytest.fixture
def hundred(tokens):
    """Acme with just 100 credits."""
    publish(rate(tokens))
    account = make_account("acme", now=START)
    give_credits(account, "100", now=NOW)
    return account


def race(threads=50, each=4):
    def work(number):
        outcomes = []
        for index in range(each):
            try:
                outcomes.append(charge(1, id=f"{number}-{index}"))
            except InsufficientCredits as refusal:
                outcomes.append(refusal)
        return outcomes

    return [outcome for outcomes in in_threads(threads, work) for outcome in outcomes]


@pytest.mark.django_db(transaction=True)
def test_of_two_hundred_charges_at_once_on_a_hundred_credits_a_hundred_succeed(hundred):
    outcomes = race()
    assert sum(isinstance(each, ChargeResult) for each in outcomes) == 100
    assert sum(isinstance(each, InsufficientCredits) for each in outcomes) == 100
    assert (available_in(hundred), UsageEvent.objects.count()) == (0, 100)
    assert_proven()


@pytest.mark.django_db(transaction=True)
def test_without_the_guard_the_same_charges_overspend(hundred, monkeypatch):
    """Positive control: what refuses the second hundred is the admission, nothing else."""
    monkeypatch.setattr(pool_acts, "admit", lambda state, credits, **options: list(state.lots))
    outcomes = race(threads=10, each=20)
    assert sum(isinstance(each, ChargeResult) for each in outcomes) == 200
    assert pools.get_main_pool(hundred.pk).overdraft == 100
