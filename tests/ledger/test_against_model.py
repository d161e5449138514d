"""The ledger on PostgreSQL against the model, act by act, with every identity verified after each."""

import copy
import itertools
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing.catalog.models import Meter
from billing.ledger import balance, expiry, holds, pool_store, pools, posting
from billing.ledger.models import CreditGrant, CreditPool, Hold
from billing.ledger.pool_acts import FactPosting, spend_on
from billing.ledger.pool_state import charged_as_of
from billing.metering import verification
from billing.notifications.models import Notification
from tests.factories import make_account
from tests.ledger.makers import NOW, nothing_written
from tests.ledger.model import Model, Refused

REFUSALS = (posting.InsufficientCredits, posting.NotEnoughLeft, posting.AlreadyReversed, holds.HoldClosed)
POOLS = st.sampled_from(["main", "team"])
METERS = st.sampled_from([None, 0, 1])
AMOUNTS = st.one_of(
    st.integers(1, 30).map(Decimal), st.integers(1, 30_000_000).map(lambda units: Decimal(units).scaleb(-6))
)
HOURS = st.one_of(st.none(), st.integers(1, 24 * 40))
GRACE = timedelta(hours=1)


class Ledger(RuleBasedStateMachine):
    """Two pools of one account, in which anything may happen at any time."""

    @initialize()
    def open(self) -> None:
        self.account = make_account(now=NOW)
        self.pools = {"main": pools.get_main_pool(self.account.pk).pk}
        self.pools["team"] = pools.open_pool(account=self.account, key="team", name="Team", now=NOW).pk
        self.meters = list(Meter.objects.order_by("pk").values_list("pk", flat=True))
        self.model, self.now, self.numbers = Model((NOW.year, NOW.month)), NOW, itertools.count(1)
        self.spends: list[int] = []
        self.holds: list[int] = []
        self.seen = {name: self.marks(name) for name in self.pools}

    def marks(self, name):
        """What changes on a pool's row with every act that is written."""
        fields = ("version", "held", "held_uncovered", "cycle_number")
        return CreditPool.objects.values_list(*fields).get(pk=self.pools[name])

    def meter(self, index):
        return None if index is None else self.meters[index]

    def both(self, say, do):
        """Do it in both worlds; both must refuse it, or both allow it."""
        wanted = copy.deepcopy(self.model)
        try:
            say(wanted)
            allowed = True
        except Refused:
            allowed = False
        if not allowed:
            with nothing_written(), pytest.raises(REFUSALS):
                do()
            return None
        self.model = wanted
        return do()

    def reference(self):
        return f"act:{next(self.numbers)}"

    @rule(
        pool=POOLS, amount=AMOUNTS, meter=METERS, priority=st.sampled_from([50, 50, 10]), starts=st.integers(-5, 5),
        lasts=HOURS, paid=st.booleans(),
    )  # fmt: skip
    def grant(self, pool, amount, meter, priority, starts, lasts, paid):
        effective = self.now + timedelta(hours=starts)
        expires = None if lasts is None else effective + timedelta(hours=lasts)
        fields = {"priority": priority, "effective": effective, "expires": expires, "paid": paid}
        self.both(
            lambda model: model.grant(pool, self.now, remaining=amount, meter=meter, **fields),
            lambda: posting.grant(
                pool_id=self.pools[pool], amount=amount, kind="purchase" if paid else "bonus", priority=priority,
                reference=self.reference(), now=self.now, effective_at=effective, expires_at=expires,
                cost_basis=Decimal("0.07") if paid else Decimal(0), meter_id=self.meter(meter),
            ),
        )  # fmt: skip

    @rule(pool=POOLS, credits=AMOUNTS, meter=METERS, ago=st.sampled_from([0, 0, 1, 30]))
    def spend(self, pool, credits, meter, ago):
        occurred = self.now - timedelta(hours=ago)
        spent = self.both(
            lambda model: model.spend(pool, credits, meter, self.now, occurred, fact=False),
            lambda: posting.spend(
                pool_id=self.pools[pool], credits=credits, reference=self.reference(), now=self.now,
                occurred_at=occurred, meter_id=self.meter(meter),
            ),
        )  # fmt: skip
        if spent:
            self.spends.append(spent.pk)
            # Saying it again changes nothing.
            with nothing_written():
                again = posting.spend(pool_id=spent.pool_id, credits=credits, reference=spent.reference, now=self.now)
            assert again == spent

    @rule(pool=POOLS, credits=AMOUNTS, meter=METERS, ago=st.sampled_from([0, 1, 30]))
    def record_fact(self, pool, credits, meter, ago):
        occurred = self.now - timedelta(hours=ago)

        def record():
            with transaction.atomic():
                opened = pool_store.open_pools([self.pools[pool]], now=self.now, postings=1)
                state = opened.states[self.pools[pool]]
                at = charged_as_of(state, occurred, now=self.now, grace_seconds=3600)
                made = spend_on(
                    state, credits, reference=self.reference(), charged_at=at, meter_id=self.meter(meter),
                    facts=FactPosting(state), now=self.now,
                )  # fmt: skip
                pool_store.write_pools(opened, now=self.now)
                return made.id

        self.spends.append(
            self.both(lambda model: model.spend(pool, credits, meter, self.now, occurred, fact=True), record)
        )

    @precondition(lambda self: self.spends)
    @rule(data=st.data())
    def reverse(self, data):
        index = data.draw(st.integers(0, len(self.spends) - 1))
        self.both(
            lambda model: model.reverse(index, self.now),
            lambda: posting.reverse(posting_id=self.spends[index], now=self.now),
        )

    @rule(source=POOLS, amount=AMOUNTS)
    def transfer(self, source, amount):
        target = "team" if source == "main" else "main"
        self.both(
            lambda model: model.transfer(source, target, amount, self.now),
            lambda: posting.transfer(
                from_pool_id=self.pools[source], to_pool_id=self.pools[target], amount=amount,
                reference=self.reference(), now=self.now,
            ),
        )  # fmt: skip

    @precondition(lambda self: self.model.lots)
    @rule(data=st.data(), amount=AMOUNTS)
    def revoke(self, data, amount):
        index = data.draw(st.integers(0, len(self.model.lots) - 1))
        grant_id = self.lots()[index].pk
        self.both(
            lambda model: model.revoke(index, amount, self.now),
            lambda: posting.revoke(grant_id=grant_id, amount=amount, reference=self.reference(), now=self.now),
        )

    @rule(pool=POOLS, amount=AMOUNTS, meter=METERS, seconds=st.integers(60, 80_000))
    def hold(self, pool, amount, meter, seconds):
        # No two holds end at the same moment: the order in which they then expire would be left open.
        seconds += next(self.numbers)
        placed = self.both(
            lambda model: model.hold(pool, amount, meter, self.now, seconds),
            lambda: holds.place(
                pool_id=self.pools[pool], amount=amount, reference=self.reference(), now=self.now,
                expires_in_seconds=seconds, meter_id=self.meter(meter),
            ),
        )  # fmt: skip
        if placed:
            self.holds.append(placed.pk)

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), amount=st.one_of(AMOUNTS, st.just(Decimal(0))), final=st.booleans())
    def capture(self, data, amount, final):
        index = data.draw(st.integers(0, len(self.holds) - 1))
        # Capturing nothing of a captured hold is a repeat, which is answered rather than refused.
        if not amount and Hold.objects.get(pk=self.holds[index]).state == "captured":
            return
        captured = self.both(
            lambda model: model.capture(index, amount, self.now, final),
            lambda: holds.capture(
                hold_id=self.holds[index], amount=amount, now=self.now, final=final, reference=self.reference()
            ),
        )
        if captured and captured[1]:
            self.spends.append(captured[1].pk)

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def release(self, data):
        index = data.draw(st.integers(0, len(self.holds) - 1))
        self.both(
            lambda model: model.release(index, self.now),
            lambda: holds.release(hold_id=self.holds[index], now=self.now),
        )

    @rule()
    def expire(self):
        def run():
            holds.expire_due(now=self.now)
            expiry.expire_due(now=self.now, grace_seconds=3600)

        self.both(lambda model: model.expire(self.now, GRACE), run)

    @rule(minutes=st.one_of(st.integers(1, 180), st.integers(1, 60 * 24 * 12)))
    def wait(self, minutes):
        self.now += timedelta(minutes=minutes)

    @rule(
        pool=POOLS, policy=st.sampled_from(["block", "burst", "overage"]), burst=AMOUNTS,
        cap=st.one_of(st.none(), AMOUNTS),
    )  # fmt: skip
    def choose_policy(self, pool, policy, burst, cap):
        pools.set_policy(pool_id=self.pools[pool], policy=policy, burst_limit=burst, overage_cap=cap)
        chosen = self.model.pools[pool]
        chosen.policy, chosen.burst, chosen.cap = policy, burst, cap

    @rule(pool=POOLS, below=st.one_of(st.none(), AMOUNTS))
    def watch(self, pool, below):
        pools.set_low_balance(pool_id=self.pools[pool], below=below, now=self.now)
        self.model.watch(pool, below, self.now)

    def lots(self):
        lots = CreditGrant.objects.filter(pool__account=self.account).exclude(kind__in=("overage", "overdraft"))
        return list(lots.order_by("pk"))

    @invariant()
    def balances_are_the_models(self):
        for name, pool_id in self.pools.items():
            read = balance.read(pool_id=pool_id, now=self.now)
            assert read.available == self.model.available(name, self.now)
            assert read.held == self.model.held(name)
            assert read.overdraft == self.model.owed_now(name, self.now)

    @invariant()
    def lots_are_the_models(self):
        # What holds reserve is compared as a balance: rows of a lapsed hold stay until the pool's next act.
        assert [lot.remaining for lot in self.lots()] == [lot.remaining for lot in self.model.lots]

    @invariant()
    def a_low_balance_is_told_once(self):
        for name, pool_id in self.pools.items():
            if self.seen[name] != (marks := self.marks(name)):
                self.seen[name] = marks
                self.model.notice(name, self.now)
            told = Notification.objects.filter(kind="low_balance", dedupe_key__startswith=f"low_balance:{pool_id}:")
            assert told.count() == self.model.pools[name].times_told

    @invariant()
    def every_identity_holds(self):
        assert verification.verify(account_ids=[self.account.pk], now=self.now).findings == []


@pytest.mark.django_db
def test_the_ledger_does_what_the_rules_say():
    for key in ("first", "second"):
        Meter.objects.create(key=key, name=key, unit="unit", created_at=NOW)
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
