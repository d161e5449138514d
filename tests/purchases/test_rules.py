from decimal import Decimal

import pytest

from billing.ledger import balance, holds, pools, posting
from billing.payments import methods
from billing.purchases import offers, topups
from billing.purchases.models import TopUpRule
from tests.factories import NOW, give_credits, make_account, make_meter, make_pack
from tests.payments.makers import make_card
from tests.purchases.makers import DAY, HOUR, make_rule

pytestmark = pytest.mark.django_db


@pytest.fixture
def card(account):
    return make_card(account)


def is_due(rule, now=NOW):
    return rule.pk in topups.list_due(now=now, limit=10)


def test_a_rule_is_made_and_then_changed(pool, pack, card):
    made = make_rule(pool, pack)
    changed = make_rule(pool, pack, threshold=Decimal(250), method_id=card.pk, max_count=2, now=NOW + DAY)
    assert TopUpRule.objects.get() == made == changed
    assert (changed.threshold, changed.method, changed.max_count, changed.changed_at) == (250, card, 2, NOW + DAY)
    assert topups.find_rule(account_id=pool.account_id, pool_id=pool.pk) == changed


def test_saving_a_rule_switches_it_on_and_forgets_what_failed(pool, pack, card):
    rule = make_rule(pool, pack)
    TopUpRule.objects.filter(pk=rule.pk).update(
        is_active=False, failures=4, waits_until=NOW + DAY, failed_method=card, capped_until=NOW + DAY,
        switched_off_at=NOW, switched_off_reason="Declined",
    )  # fmt: skip
    rule = make_rule(pool, pack)
    assert (rule.is_active, rule.failures, rule.switched_off_reason) == (True, 0, "")
    assert rule.waits_until is rule.failed_method is rule.capped_until is rule.switched_off_at is None


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"credits": Decimal(1_500)}, offers.AmountNotOffered),
        ({"threshold": Decimal(1_000)}, topups.ThresholdTooHigh),
        ({"max_money": Decimal("142.79")}, topups.CapTooLow),
        ({"method_id": 0}, methods.MethodNotUsable),
    ],
)
def test_a_rule_that_could_not_work_is_not_saved(pool, pack, card, fields, refusal):
    with pytest.raises(refusal):
        make_rule(pool, pack, **fields)
    assert not TopUpRule.objects.exists()


def test_the_refusals_say_what_would_do(pool, pack, card):
    with pytest.raises(topups.CapTooLow) as low:
        make_rule(pool, pack, max_money=Decimal(100))
    assert (low.value.total, low.value.currency) == (Decimal("142.80"), "USD")
    with pytest.raises(topups.ThresholdTooHigh) as high:
        make_rule(pool, pack, threshold=Decimal(5_000))
    assert high.value.credits == 1_000


def test_a_rule_needs_a_card_of_its_account_that_is_still_there(pool, pack):
    with pytest.raises(methods.MethodNotUsable):
        make_rule(pool, pack)
    with pytest.raises(methods.MethodNotUsable):
        make_rule(pool, pack, method_id=make_card(make_account("mallory-org")).pk)
    gone = make_card(pool.account)
    methods.remove(account_id=pool.account_id, method_id=gone.pk, now=NOW)
    with pytest.raises(methods.MethodNotUsable):
        make_rule(pool, pack, method_id=gone.pk)
    assert not TopUpRule.objects.exists()


def test_a_pack_that_is_not_offered_cannot_be_bought_by_itself(pool, card):
    with pytest.raises(offers.PackNotForSale):
        make_rule(pool, make_pack("boost", target_segments=["startup"]))


def test_a_strangers_pool_cannot_be_topped_up(pool, pack, card):
    strange = pools.get_main_pool(make_account("mallory-org").pk)
    with pytest.raises(offers.PoolNotFound):
        topups.save_rule(
            account=pool.account, pool_id=strange.pk, threshold=Decimal(1), pack_id=pack.pk, credits=Decimal(1_000),
            method_id=None, max_count=1, max_money=Decimal(1_000), now=NOW,
        )  # fmt: skip


def test_a_rule_is_switched_off_by_its_own_account_only(pool, pack, card):
    rule = make_rule(pool, pack)
    with pytest.raises(topups.RuleNotFound):
        topups.switch_off(account_id=make_account("mallory-org").pk, pool_id=pool.pk, now=NOW)
    assert is_due(rule)
    off = topups.switch_off(account_id=pool.account_id, pool_id=pool.pk, now=NOW + HOUR)
    assert (off.is_active, off.switched_off_at, off.changed_at) == (False, None, NOW + HOUR)
    assert not is_due(rule)


@pytest.mark.parametrize(("credits", "due"), [("99.999999", True), ("100", False), ("5000", False)])
def test_a_rule_is_due_below_its_threshold(account, pool, pack, card, credits, due):
    give_credits(account, credits)
    assert is_due(make_rule(pool, pack)) is due


def test_an_empty_pool_is_due(pool, pack, card):
    assert is_due(make_rule(pool, pack))


def test_available_is_counted_as_the_balance_counts_it(account, pool, pack, card):
    """At each of many moments: lots to come and ended, of a meter, held, held too long, and owed."""
    pools.set_policy(pool_id=pool.pk, policy="burst", burst_limit=Decimal(500), overage_cap=None)
    rule = make_rule(pool, pack, threshold=Decimal(300))
    meter = make_meter()
    seen = set()

    def compare(label):
        for hours in (0, 1, 2, 3, 25, 49, 73):
            now = NOW + hours * HOUR
            available = balance.read(pool_id=pool.pk, now=now).available
            assert is_due(rule, now) is (available < 300), (label, hours, available)
            seen.add(is_due(rule, now))

    give_credits(account, 200, expires_at=NOW + 24 * HOUR)
    compare("ends")
    give_credits(account, 150, effective_at=NOW + 2 * HOUR)
    compare("begins")
    give_credits(account, 120, meter_id=meter.pk)
    compare("for a meter")
    placed = holds.place(pool_id=pool.pk, amount=Decimal(60), reference="h1", expires_in_seconds=7200, now=NOW)
    compare("held, and then too long")
    holds.capture(hold_id=placed.pk, amount=Decimal(20), final=False, now=NOW)
    compare("partly captured")
    posting.spend(pool_id=pool.pk, credits=Decimal(400), reference="s1", now=NOW)
    compare("owed")
    give_credits(account, 500, expires_at=NOW + 48 * HOUR)
    compare("repaid")
    assert seen == {True, False}


@pytest.mark.parametrize("mark", ["parked_at", "paused_at"])
def test_a_parked_or_paused_account_buys_nothing_by_itself(account, pool, pack, card, mark):
    rule = make_rule(pool, pack)
    assert is_due(rule)
    setattr(account, mark, NOW)
    account.save()
    assert not is_due(rule)


def test_at_most_so_many_are_due_at_once(pack):
    for number in range(4):
        account = make_account(f"org-{number}")
        make_card(account)
        TopUpRule.objects.create(
            pool=pools.get_main_pool(account.pk), pack=pack, threshold=1, credits=1_000, max_count=1, max_money=500,
            changed_at=NOW,
        )  # fmt: skip
    due = topups.list_due(now=NOW, limit=3)
    assert due == sorted(due)
    assert len(due) == 3


def test_finding_what_is_due_is_one_query(pool, pack, card, django_assert_num_queries):
    make_rule(pool, pack)
    with django_assert_num_queries(1):
        assert topups.list_due(now=NOW, limit=100)
