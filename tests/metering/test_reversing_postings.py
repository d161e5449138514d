"""A posting that metering made is reversed event by event, not as a whole: counters and totals must follow."""

from decimal import Decimal

import pytest

from billing.ledger import posting
from billing.ledger.models import Posting
from billing.metering.reversal import reverse_event
from tests.metering.makers import NOW, all_rows, assert_proven, available_in, charge, event, send


def refuse(posting_id):
    before = all_rows()
    with pytest.raises(posting.NotReversible):
        posting.reverse(posting_id=posting_id, now=NOW)
    assert all_rows() == before


def test_a_posting_of_events_is_not_reversed_as_a_whole(acme, priced):
    result = send(event(10, id="a"), event(20, id="b"))
    refuse(result.results[0].posting_id)
    # One by one they are.
    assert [reverse_event(account_id=acme.pk, event_id=name, now=NOW).credits for name in "ab"] == [10, 20]
    refuse(result.results[0].posting_id)
    assert available_in(acme) == 1000
    assert_proven()


def test_a_metered_charge_is_not_reversed_as_a_posting(acme, priced):
    done = charge(10, id="c")
    refuse(done.posting_id)
    assert reverse_event(account_id=acme.pk, event_id="c", now=NOW).credits == 10
    assert available_in(acme) == 1000
    assert_proven()


def test_a_charge_of_bare_credits_is_reversed_once(acme):
    done = charge(credits=Decimal(10), meter_key="")
    back = posting.reverse(posting_id=done.posting_id, now=NOW)
    assert (back.act, back.credits, available_in(acme)) == ("reverse", 10, 1000)
    before = all_rows()
    with pytest.raises(posting.AlreadyReversed):
        posting.reverse(posting_id=done.posting_id, now=NOW)
    assert all_rows() == before
    assert_proven()


def test_a_spend_of_the_ledger_for_a_meter_is_reversed(acme, priced):
    # It is no usage: it has a meter for the sake of lots that only that meter may burn.
    pool_id = Posting.objects.get(act="grant").pool_id
    spent = posting.spend(pool_id=pool_id, credits=Decimal(5), reference="s", meter_id=priced.pk, now=NOW)
    assert posting.reverse(posting_id=spent.pk, now=NOW).credits == 5
    assert available_in(acme) == 1000
