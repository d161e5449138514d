from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.invoicing.models import Invoice, Issuer
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant
from billing.notifications.models import Notification
from billing.payments import checking, methods, paying
from billing.payments.models import Payment
from billing.payments.sandbox_models import SandboxCharge
from billing.purchases import topups
from billing.purchases.models import TopUp, TopUpRule
from tests.factories import NOW, give_credits, make_issuer, make_pack
from tests.payments import makers
from tests.payments.makers import make_card
from tests.purchases.makers import HOUR, make_rule

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


def run(now=NOW):
    done = topups.run_due(now=now, limit=100)
    return done.opened, done.succeeded, done.failed


def told(kind):
    return list(Notification.objects.filter(kind=kind).order_by("pk").values_list("payload", flat=True))


def written():
    return [model.objects.count() for model in (TopUp, Invoice, Payment, SandboxCharge, CreditGrant, Notification)]


@pytest.fixture
def rule(pool, pack):
    """Of an empty pool, paid with a card that works."""
    make_card(pool.account)
    return make_rule(pool, pack)


@pytest.fixture
def declining(pool, pack):
    make_card(pool.account, makers.DECLINE)
    return make_rule(pool, pack)


def empty(pool, number, now=NOW):
    pool.refresh_from_db()
    posting.spend(pool_id=pool.pk, credits=pool.balance, reference=f"spend:{number}", now=now)


def test_a_pool_that_has_run_low_is_topped_up(rule, pool):
    assert run() == (1, 1, 0)
    pool.refresh_from_db()
    assert pool.balance == 1_000
    top_up = TopUp.objects.get()
    assert (top_up.state, top_up.finished_at, str(top_up.month)) == ("succeeded", NOW, "2025-03-01")
    payment = Payment.objects.get()
    assert (payment.off_session, payment.idempotency_key) == (True, f"top-up:{rule.pk}:1")
    # One message: the receipt tells of the credits.
    assert told("receipt") == [
        {
            "invoice_id": str(top_up.invoice_id), "number": top_up.invoice.number, "total": "142.80", "currency": "USD",
            "credits": "1000.000000", "top_up_of": "Main pool",
        }
    ]  # fmt: skip
    assert Notification.objects.count() == 1


def test_a_pool_above_its_threshold_is_left_alone(rule, account):
    give_credits(account, 100)
    before = written()
    assert run() == (0, 0, 0)
    assert written() == before


def test_it_tops_up_again_when_it_has_run_low_again(rule, pool):
    for number in range(3):
        assert run() == (1, 1, 0)
        assert run() == (0, 0, 0)
        empty(pool, number)
    assert [top_up.invoice.reference[-1] for top_up in TopUp.objects.order_by("pk")] == ["1", "2", "3"]


def test_the_count_of_a_month_is_never_exceeded(pool, pack):
    make_card(pool.account)
    make_rule(pool, pack, max_count=2)
    for number in range(4):
        run()
        if number < 2:
            empty(pool, number)
    assert TopUp.objects.count() == 2
    assert told("top_up_failed") == [
        {
            "pool_name": "Main pool", "reason": "The most that the rule may buy in a month is reached.",
            "waits_until": "2025-04-01T00:00:00+00:00", "is_capped": "yes",
        }
    ]  # fmt: skip
    april = datetime(2025, 4, 1, tzinfo=UTC)
    assert run(april - MINUTE) == (0, 0, 0)
    assert run(april) == (1, 1, 0)


def test_the_money_of_a_month_is_never_exceeded(pool, pack):
    """Two top-ups cost 285.60 with tax: one cent less pays for one."""
    make_card(pool.account)
    make_rule(pool, pack, max_money=Decimal("285.59"))
    for number in range(3):
        run()
        if number < 1:
            empty(pool, number)
    assert (TopUp.objects.count(), SandboxCharge.objects.count(), len(told("top_up_failed"))) == (1, 1, 1)


def test_a_month_is_the_accounts_own(pool, pack):
    pool.account.time_zone = "Asia/Tokyo"
    pool.account.save()
    make_card(pool.account)
    make_rule(pool, pack, max_count=1, now=datetime(2025, 3, 31, 14, 59, tzinfo=UTC))
    run(datetime(2025, 3, 31, 14, 59, tzinfo=UTC))
    empty(pool, 1, datetime(2025, 3, 31, 14, 59, tzinfo=UTC))
    assert run(datetime(2025, 3, 31, 15, 0, tzinfo=UTC)) == (1, 1, 0)
    assert sorted(str(top_up.month) for top_up in TopUp.objects.all()) == ["2025-03-01", "2025-04-01"]


def test_a_raised_cap_counts_at_once_and_is_told_of_no_second_time(pool, pack):
    make_card(pool.account)
    for cap in (1, 2):
        make_rule(pool, pack, max_count=cap)
        run()
        empty(pool, cap)
        assert run() == (0, 0, 0)
    assert (TopUp.objects.count(), len(told("top_up_failed"))) == (2, 1)


def test_a_top_up_that_does_not_lift_the_pool_is_bounded_by_the_caps(pool, pack, rule):
    """Bought credits go to an old overdraft, so the pool stays low whatever is bought."""
    pools.set_policy(pool_id=pool.pk, policy="burst", burst_limit=Decimal(50_000), overage_cap=None)
    posting.spend(pool_id=pool.pk, credits=Decimal(50_000), reference="s", now=NOW)
    for _ in range(20):
        run()
    assert TopUp.objects.count() == rule.max_count == 5
    assert len(told("top_up_failed")) == 1


def test_after_a_decline_it_waits_longer_each_time_and_then_switches_itself_off(declining):
    moments = []
    now = NOW
    for _ in range(60):
        if run(now)[0]:
            moments.append(now - NOW)
        now += HOUR
    assert moments == [0 * HOUR, 1 * HOUR, 7 * HOUR, 31 * HOUR]
    rule = TopUpRule.objects.get()
    assert (rule.is_active, rule.failures, rule.switched_off_at) == (False, 4, NOW + 31 * HOUR)
    reason = "The card was declined. Ask your bank, or use another card."
    assert rule.switched_off_reason == reason
    assert [payload["waits_until"] for payload in told("top_up_failed")] == [
        (NOW + hours * HOUR).isoformat() for hours in (1, 7, 31)
    ]
    assert told("top_up_switched_off") == [{"pool_name": "Main pool", "reason": reason}]
    assert set(TopUp.objects.values_list("state", flat=True)) == {"failed"}
    assert set(Invoice.objects.values_list("state", flat=True)) == {"void"}


def test_a_failure_of_a_top_up_is_told_once_not_as_a_failed_payment_too(declining):
    run()
    assert (len(told("top_up_failed")), told("payment_failed")) == (1, [])


def test_an_expired_card_is_not_tried_again(pool, pack):
    make_card(pool.account, makers.EXPIRED)
    make_rule(pool, pack)
    assert run() == (1, 0, 1)
    assert not TopUpRule.objects.get().is_active
    assert (len(told("top_up_switched_off")), told("top_up_failed")) == (1, [])


@pytest.mark.parametrize("number", [makers.ACTION, makers.OFF_SESSION])
def test_what_the_customer_would_have_to_confirm_fails_with_a_notice(pool, pack, number):
    make_card(pool.account, number)
    make_rule(pool, pack)
    assert run() == (1, 0, 1)
    assert len(told("top_up_failed")) == 1


def test_another_card_need_not_wait_and_counts_anew(declining, account):
    run()
    run(NOW + HOUR)
    assert run(NOW + 2 * HOUR) == (0, 0, 0)
    make_card(account, makers.INSUFFICIENT, make_default=True)
    assert run(NOW + 2 * HOUR) == (1, 0, 1)
    assert TopUpRule.objects.get().failures == 1
    make_card(account, make_default=True)
    assert run(NOW + 2 * HOUR) == (1, 1, 0)
    rule = TopUpRule.objects.get()
    assert (rule.failures, rule.waits_until, rule.failed_method) == (0, None, None)


def test_without_a_card_it_waits_for_one(rule, account):
    methods.remove(account_id=account.pk, method_id=account.payment_methods.get().pk, now=NOW)
    before = written()
    assert run() == (0, 0, 0)
    assert run(NOW + MINUTE) == (0, 0, 0)
    assert written() == [*before[:-1], before[-1] + 1]
    assert told("top_up_failed")[0]["reason"] == "There is no card to pay with."
    make_card(account)
    assert run(NOW + MINUTE) == (1, 1, 0)


def test_a_pack_that_is_withdrawn_switches_the_rule_off(rule, pack):
    pack.is_active = False
    pack.save()
    assert run() == (0, 0, 0)
    assert not TopUpRule.objects.get().is_active
    assert told("top_up_switched_off")[0]["reason"] == "The pack is no longer sold in this amount."
    assert not TopUp.objects.exists()


@pytest.mark.parametrize(
    ("number", "hours"), [(makers.SLOW, 1), (makers.LOST_ANSWER, 1), (makers.VERY_LATE, 4), (makers.BLACKOUT, 26)]
)
def test_while_the_outcome_is_unknown_nothing_else_is_bought(pool, pack, number, hours):
    make_card(pool.account, number)
    make_rule(pool, pack)
    assert run() == (1, 0, 0)
    for minutes in range(0, hours * 60, 20):
        now = NOW + minutes * MINUTE
        run(now)
        checking.check_due(now=now, limit=10)
    done = NOW + hours * HOUR
    checking.check_due(now=done, limit=10)
    run(done)
    assert (TopUp.objects.get().state, SandboxCharge.objects.count(), CreditGrant.objects.count()) == (
        "succeeded",
        1,
        1,
    )
    assert len(told("receipt")) == 1


def test_a_top_up_whose_worker_died_is_charged_once_when_it_is_found(rule):
    assert topups.open_top_up(rule_id=rule.pk, now=NOW) is not None
    assert run() == (0, 0, 0)
    checking.check_due(now=NOW + 2 * MINUTE, limit=10)
    assert run(NOW + 2 * MINUTE) == (0, 1, 0)
    assert SandboxCharge.objects.count() == 1


def test_money_that_comes_after_all_goes_back_and_grants_nothing(declining):
    """The gateway takes back its decline, when the invoice is void already."""
    run()
    payment = Payment.objects.get()
    paying.record(
        payment_id=payment.pk, outcome=paying.Outcome("succeeded", payment.gateway_reference), now=NOW + MINUTE
    )
    assert (payment.refunds.count(), CreditGrant.objects.count()) == (1, 0)


def test_a_top_up_is_followed_up_after_its_rule_was_switched_off(pool, pack):
    make_card(pool.account, makers.SLOW)
    make_rule(pool, pack)
    run()
    topups.switch_off(account_id=pool.account_id, pool_id=pool.pk, now=NOW)
    checking.check_due(now=NOW + MINUTE, limit=10)
    assert run(NOW + MINUTE) == (0, 1, 0)
    assert not TopUpRule.objects.get().is_active


def test_a_fault_with_one_rule_does_not_stop_the_others(rule, monkeypatch):
    Issuer.objects.all().delete()
    assert run() == (0, 0, 0)
    assert not TopUp.objects.exists()
    make_issuer("second", rates={})
    assert run(NOW + MINUTE) == (0, 0, 0)
    assert run(NOW + 5 * MINUTE) == (1, 1, 0)


def test_a_free_pack_is_topped_up_without_a_payment(pool):
    make_card(pool.account)
    make_rule(pool, make_pack("free", prices={"1000": "0"}))
    assert run() == (1, 1, 0)
    assert not Payment.objects.exists()


def test_a_top_up_of_an_invoice_that_staff_cancelled_has_failed(pool, pack):
    make_card(pool.account, makers.SLOW)
    rule = make_rule(pool, pack)
    run()
    Payment.objects.update(state="failed", failure_message="", next_check_at=None, finished_at=NOW)
    Invoice.objects.update(state="void", voided_at=NOW)
    assert run() == (0, 0, 1)
    rule.refresh_from_db()
    assert (rule.failures, told("top_up_failed")[0]["reason"]) == (1, "The payment failed.")
    assert topups.follow_up(top_up_id=TopUp.objects.get().pk, now=NOW) == "failed"
