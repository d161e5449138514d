"""What no pool can hold is refused for the one item that asks it; the others of its batch are taken."""

from decimal import Decimal

import pytest

from billing.ledger import pools
from billing.metering import checks, estimates
from billing.metering.events import InvalidEvent
from billing.metering.models import DailyUsage, RejectedEvent, UsageEvent
from billing.metering.quotes import Asked
from tests.factories import give_credits, make_account, make_meter
from tests.metering.makers import NOW, START, all_rows, assert_proven, available_in, charge, event, publish, rate, send

D = Decimal


@pytest.fixture
def free(tokens):
    """Tokens at no charge."""
    publish(rate(tokens, "0"))
    return tokens


def verdicts(*events):
    return [(result.status, result.code) for result in send(*events).results]


REJECTED = ("rejected", "amount_too_large")
ACCEPTED = ("accepted", "")


@pytest.mark.parametrize("quantity", ["999999999999999999", "999999999999999999.5", "100000000000000000"])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_immense_quantity_is_rejected_alone(acme, free, quantity, position):
    # At a price of zero only the quantity itself is too much, wherever in the batch it stands.
    batch = [event(1), event(1)]
    batch.insert(position, event(quantity))
    found = verdicts(*batch)
    assert found.pop(position) == REJECTED
    assert found == [ACCEPTED] * 2
    assert (UsageEvent.objects.count(), RejectedEvent.objects.count()) == (2, 1)
    assert DailyUsage.objects.get().quantity == 2
    assert_proven()


def test_an_account_at_the_bound_loses_its_own_event_only(acme, priced):
    # b owes 6 x 10^16 of at most 10^17; another 6 x 10^16 would be more. acme's events are taken.
    make_account("b", now=START)
    assert verdicts(event(6 * 10**16, account="b")) == [ACCEPTED]
    found = verdicts(event(1), event(6 * 10**16, account="b", id="over"), event(2), event(3, account="b"))
    assert found == [ACCEPTED, REJECTED, ACCEPTED, ACCEPTED]
    assert available_in(acme) == 997
    assert not UsageEvent.objects.filter(event_id="over").exists()
    assert_proven()


def test_the_bound_counts_over_several_meters_and_within_one_batch(acme, priced):
    images = make_meter("images", now=START)
    publish(rate(priced), rate(images), effective_at=NOW, now=NOW)
    found = verdicts(
        event(6 * 10**16, id="a"), event(6 * 10**16, meter="images", id="b"), event(3 * 10**16, meter="images", id="c")
    )
    assert found == [ACCEPTED, REJECTED, ACCEPTED]
    assert_proven()


def test_a_low_price_and_a_high_cost_do_not_overflow(acme, tokens):
    # 9 x 10^15 units at 1,000 of infrastructure cost each: 9 x 10^18 in the day's totals.
    tokens.unit_cost = D(1000)
    tokens.save()
    publish(rate(tokens, "0"))
    found = verdicts(event(1), event(9 * 10**15), event(1))
    assert found[::2] == [ACCEPTED] * 2
    assert found[1] in (ACCEPTED, REJECTED)
    assert UsageEvent.objects.filter(quantity=1).count() == 2
    assert_proven()


def test_an_immense_charge_is_refused_and_writes_nothing(acme, priced):
    publish(rate(priced), rate(make_meter("images", now=START), "0"), effective_at=NOW, now=NOW)
    pools.set_policy(pool_id=pools.get_main_pool(acme.pk).pk, policy="overage", burst_limit=D(0), overage_cap=None)
    before = all_rows()
    for quantity in (10**17, 10**18 - 1):
        with pytest.raises(InvalidEvent) as refused:
            charge(quantity)
        assert refused.value.code == "amount_too_large"
        # What is asked before is refused as well, also where it costs nothing.
        free = Asked("images", D(quantity))
        assert [verdict.reason for verdict in checks.check(accounts=["acme"], lines=[free], now=NOW)] == [REJECTED[1]]
        with pytest.raises(InvalidEvent, match="more than a pool can hold"):
            estimates.estimate(account="acme", lines=[free], now=NOW)
    assert all_rows() == before


def test_what_fits_is_taken_to_the_last_credit(acme, priced):
    give_credits(acme, "50000000000000000", now=NOW)
    assert verdicts(event(5 * 10**16)) == [ACCEPTED]
    assert available_in(acme) == 1000
    assert_proven()
