"""A batch burns a pool's lots just as its events would one by one, and looks at spent lots once."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.ledger import pool_acts, pools
from billing.ledger.models import CreditGrant, CreditPool
from tests.factories import make_account, make_meter
from tests.ledger.makers import give, make_lot, make_state
from tests.metering.makers import DAY, NOW, START, assert_proven, event, publish, rate, send

D = Decimal


def fill(account, lots):
    """Lots of these (amount, priority, days to live or None, meter), as grants would have left them."""
    pool = pools.get_main_pool(account.pk)
    for amount, priority, days, meter in lots:
        CreditGrant.objects.create(
            pool=pool, kind="bonus", amount=amount, remaining=amount, effective_at=START, created_at=START,
            currency="USD", priority=priority, expires_at=NOW + days * DAY if days is not None else None, meter=meter,
        )  # fmt: skip
    total = sum((lot[0] for lot in lots), D(0))
    CreditPool.objects.filter(pk=pool.pk).update(balance=total)


def burned(account):
    rows = CreditGrant.objects.filter(pool__account=account).order_by("pk")
    return [(row.kind, row.amount, row.spent, row.remaining, row.is_open) for row in rows]


@pytest.mark.django_db
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lots=st.lists(
        st.tuples(
            st.decimals(min_value="0.01", max_value=20, places=2), st.integers(1, 3),
            st.sampled_from([None, 0, 1, 2]), st.sampled_from([None, "tokens", "images"]),
        ),
        max_size=12,
    ),
    facts=st.lists(
        st.tuples(
            st.decimals(min_value=0, max_value=9, places=2), st.sampled_from(["tokens", "images"]), st.integers(0, 36)
        ),
        min_size=1, max_size=15,
    ),
)  # fmt: skip
def test_a_batch_burns_as_its_events_one_by_one(tokens, lots, facts):
    with transaction.atomic():
        images = make_meter("images", now=START)
        publish(rate(tokens), rate(images))
        meters = {"tokens": tokens, "images": images, None: None}
        whole, single = make_account("whole", now=START), make_account("single", now=START)
        for account in (whole, single):
            fill(account, [(amount, priority, days, meters[meter]) for amount, priority, days, meter in lots])
        batch = [
            {"quantity": str(quantity), "meter": meter, "at": NOW - timedelta(hours=hours)}
            for quantity, meter, hours in facts
        ]
        send(*(event(account="whole", **fact) for fact in batch))
        for fact in batch:
            send(event(account="single", **fact))
        assert burned(whole) == burned(single)
        transaction.set_rollback(True)


def test_a_thousand_lots_burn_as_one_by_one(tokens):
    # 1,000 lots of 1 credit; 300 facts of 3.5 want 1,050: all lots and 50 owed, however they come.
    publish(rate(tokens))
    whole, single = make_account("whole", now=START), make_account("single", now=START)
    for account in (whole, single):
        fill(account, [(D(1), 50, None, None)] * 1000)
    send(*(event("3.5", account="whole") for _ in range(300)))
    for start in range(0, 300, 10):
        send(*(event("3.5", account="single") for _ in range(start, start + 10)))
    assert burned(whole) == burned(single)
    for account in (whole, single):
        pool = pools.get_main_pool(account.pk)
        assert (pool.balance, pool.overdraft, pool.cycle_spent) == (0, 50, 1050)
        assert CreditGrant.objects.filter(pool=pool, kind="bonus", spent=1, is_open=False).count() == 1000


def test_a_batch_looks_at_each_spent_lot_once(monkeypatch):
    # 1,000 lots of 1 and 1,000 facts of 1. Asking of every lot for each fact would be 1,000,000 questions; each fact
    # asks of the lot it burns, and of the one after it.
    asked = []
    may_spend = pool_acts.may_spend
    monkeypatch.setattr(pool_acts, "may_spend", lambda *of, **at: asked.append(of) or may_spend(*of, **at))
    facts = pool_acts.FactPosting(make_state(*(make_lot(1) for _ in range(1000))))
    for number in range(1000):
        pool_acts.spend_on(facts.state, D(1), reference=f"usage:{number}", charged_at=NOW, facts=facts, now=NOW)
        assert facts.first <= number + 1
    assert len(asked) <= 2000
    assert facts.state.balance == 0
    assert len(facts.state.drafts) == 1


def test_a_lot_that_one_fact_may_not_use_is_there_for_the_next(acme, tokens):
    # The lot of images stands before the general one: tokens pass it by, images still find it.
    images = make_meter("images", now=START)
    publish(rate(tokens), rate(images))
    pool = pools.get_main_pool(acme.pk)
    scoped = give(pool, 5, meter_id=images.pk)
    send(event(3), event(2, meter="images"), event(3), event(4, meter="images"))
    scoped.refresh_from_db()
    assert (scoped.spent, scoped.is_open) == (5, False)
    assert pools.get_main_pool(acme.pk).balance == 1000 - 7
    assert_proven()
