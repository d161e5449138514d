"""Credits whose money a payer had the bank take back, with the figures worked by hand."""

from datetime import datetime

import pytest
from django.db import connection

from billing.finance import journal, reports
from billing.finance.reports import Report
from billing.invoicing.models import Invoice
from billing.payments import disputes
from billing.payments.gateways.contract import DisputeReport
from billing.payments.models import Payment
from billing.subscriptions.followup import payment_news
from tests.finance.makers import D, at, moved, other, receive, report, rows, sell, use
from tests.subscriptions.makers import make_team, run, subscribe


def tell(state: str, *, now: datetime, amount: str = "100.00", payment: Payment | None = None) -> None:
    """What the bank says of the first payment, or this one."""
    found = payment or Payment.objects.order_by("pk")[0]
    given = DisputeReport(
        found.idempotency_key, f"du_{found.pk}", D(amount), found.currency, "fraudulent", state, at(12)
    )
    disputes.record(payment_id=found.pk, report=given, now=now)


def accounts(found: Report) -> dict[str, str]:
    """What the journal's accounts come to, those with a balance."""
    sums = journal.balances(found.documents)
    return {account: f"{amount:.2f}" for (_, account), amount in sums.items() if amount}


def stands(found: Report, month: int) -> tuple[str, ...]:
    """Closing of a month; of which in hand, in dispute."""
    row = rows(found)[month]
    return tuple(f"{money:.2f}" for money in (row.deferred.closing, row.in_lots, row.in_dispute))


@pytest.fixture
def disputed(acme):
    """1,000 credits for 100.00, of which 250 were used in January; all of it disputed in February."""
    sell(acme, "100.00", "1000", now=at(1, 10))
    use(acme, "250", now=at(1, 20))
    tell("open", now=at(2, 5))
    return acme


def test_what_is_revoked_stays_deferred_in_a_line_of_its_own_while_the_bank_decides(disputed):
    found = report(at(3, 1, 0))
    # 750 credits were left, at 0.10 each. Nothing of them is earned, nothing is given up.
    assert moved(rows(found)[2]) == {}
    assert stands(found, 1) == ("75.00", "75.00", "0.00")
    assert stands(found, 2) == ("75.00", "0.00", "75.00")
    assert rows(found)[2].ahead == 0
    assert accounts(found) == {
        "deferred_revenue": "-75.00", "revenue:use": "-25.00", "cash_in_dispute:manual": "100.00",
    }  # fmt: skip


def test_what_was_won_is_in_hand_again_and_earned_as_it_is_used(disputed):
    tell("won", now=at(3, 3))
    found = report(at(4, 1, 0))
    assert (moved(rows(found)[3]), other(rows(found)[3])) == ({}, {})
    assert (stands(found, 2), stands(found, 3)) == (("75.00", "0.00", "75.00"), ("75.00", "75.00", "0.00"))
    assert accounts(found) == {"deferred_revenue": "-75.00", "revenue:use": "-25.00", "cash:manual": "100.00"}
    use(disputed, "750", now=at(4, 2))
    found = report(at(5, 1, 0))
    assert (moved(rows(found)[4]), stands(found, 4)) == ({"used": "-75.00"}, ("0.00", "0.00", "0.00"))
    assert {row.source for row in found.earned} == {"packs"}


def test_what_was_lost_is_a_refund(disputed):
    tell("lost", now=at(3, 3))
    found = report(at(4, 1, 0))
    # 100.00 go back; 25.00 of them had been earned by use, and are not any more.
    assert moved(rows(found)[3]) == {"refunded": "-100.00", "adjusted": "25.00"}
    assert (stands(found, 2), stands(found, 3)) == (("75.00", "0.00", "75.00"), ("0.00", "0.00", "0.00"))
    assert accounts(found) == {"revenue:use": "-25.00", "revenue:adjusted": "25.00"}
    (ageing,) = found.ageings
    assert ageing.net == 0
    # The 250 credits are owed: they are used of the next pack, at what that one costs.
    sell(disputed, "50.00", "500", now=at(4, 3))
    assert moved(rows(report(at(5, 1, 0)))[4]) == {"sold": "50.00", "used": "-25.00"}


def test_what_was_lost_at_once_never_stands_in_dispute(acme):
    sell(acme, "100.00", "1000", now=at(1, 10))
    tell("lost", now=at(2, 5))
    found = report(at(3, 1, 0))
    assert (moved(rows(found)[2]), stands(found, 2)) == ({"refunded": "-100.00"}, ("0.00", "0.00", "0.00"))
    assert accounts(found) == {}
    entries = {each.kind: dict(each.entries) for each in found.documents if each.at.month == 2}
    assert entries == {
        "dispute": {"cash_in_dispute:manual": D(100), "cash:manual": D(-100)},
        "credit_note": {"receivables": D(-100), "deferred_revenue": D(100)},
        "refund": {"cash_in_dispute:manual": D(-100), "receivables": D(100)},
    }


def test_of_a_part_that_is_disputed_only_its_credits_stand_aside(acme):
    sell(acme, "100.00", "1000", now=at(1, 10))
    tell("open", amount="40.00", now=at(2, 5))
    found = report(at(3, 1, 0))
    assert stands(found, 2) == ("100.00", "60.00", "40.00")
    assert accounts(found) == {
        "deferred_revenue": "-100.00", "cash:manual": "60.00", "cash_in_dispute:manual": "40.00",
    }  # fmt: skip


def test_what_other_credits_repaid_is_used_until_it_is_won(acme):
    sell(acme, "100.00", "1000", now=at(1, 10))
    use(acme, "1000", now=at(1, 20))
    sell(acme, "200.00", "1000", now=at(1, 21))
    tell("open", now=at(2, 5))
    assert moved(rows(report(at(3, 1, 0)))[2]) == {"used": "-200.00"}
    tell("won", now=at(3, 3))
    found = report(at(4, 1, 0))
    assert (moved(rows(found)[3]), stands(found, 3)) == ({"used": "200.00"}, ("200.00", "200.00", "0.00"))


def test_a_month_that_closed_while_it_was_open_reads_the_same_when_it_is_decided(disputed):
    before = report(at(3, 1, 0))
    tell("lost", now=at(3, 3))
    after = report(at(3, 1, 0))
    assert rows(after) == rows(before)
    assert after.documents == before.documents
    assert (before.is_whole, after.is_whole) == (True, False)


def test_an_inquiry_takes_nothing_yet(acme):
    sell(acme, "100.00", "1000", now=at(1, 10))
    tell("inquiry", now=at(2, 5))
    found = report(at(3, 1, 0))
    assert stands(found, 2) == ("100.00", "100.00", "0.00")
    assert accounts(found) == {"deferred_revenue": "-100.00", "cash:manual": "100.00"}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("UPDATE billing_payment SET amount_disputed = 99", "open disputes = what payments say is disputed"),
        (
            "UPDATE billing_dispute SET state = 'won', closed_at = '2025-02-20Z'",
            "entries = disputes: credits whose money banks hold",
        ),
    ],
)
def test_the_proof_names_a_dispute_that_does_not_meet(disputed, change, what):
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(change)
    found = reports.read(starts_on=at(1).date(), until=at(3, 1, 0))
    assert what in [check.what for check in found.checks if not check.holds]


def plan(account, *, now: datetime, **fields: object) -> Payment:
    """A plan of 1,000 credits a month, paid for at once; the payment."""
    subscribe(account, make_team(**fields), now=now)
    payment = receive(Invoice.objects.latest("pk"), now=now)
    run(now)
    return payment


def follow(now: datetime) -> None:
    """What the subscription's own job does."""
    assert payment_news.follow_up(now=now, limit=10).failed == 0


def test_credits_of_a_plan_stay_deferred_while_the_bank_decides_and_are_in_hand_again_when_it_is_won(acme):
    payment = plan(acme, now=at(1, 10))
    use(acme, "200", now=at(1, 12))
    tell("open", amount="50.00", payment=payment, now=at(1, 20))
    # Until the subscription has followed its credits are in hand still.
    assert stands(report(at(1, 20, 13)), 1) == ("40.00", "40.00", "0.00")
    follow(at(1, 20))
    found = report(at(2, 1, 0))
    assert moved(rows(found)[1]) == {"sold": "50.00", "used": "-10.00"}
    assert stands(found, 1) == ("40.00", "0.00", "40.00")
    tell("won", amount="50.00", payment=payment, now=at(2, 3))
    assert stands(report(at(2, 4)), 2) == ("40.00", "0.00", "40.00")
    follow(at(2, 5))
    assert stands(report(at(3, 1, 0)), 2) == ("40.00", "40.00", "0.00")
    assert {row.source for row in report(at(3, 1, 0)).earned} == {"Team"}


def test_a_fee_that_was_lost_is_a_refund_whenever_the_subscription_follows(acme):
    payment = plan(acme, now=at(1, 10))
    use(acme, "200", now=at(1, 12))
    tell("lost", amount="50.00", payment=payment, now=at(1, 31, 23))
    follow(at(2, 1, 1))
    found = report(at(3, 1, 0))
    # What is in hand is deferred, until it is taken back.
    assert (moved(rows(found)[1]), moved(rows(found)[2])) == (
        {"sold": "50.00", "used": "-10.00", "refunded": "-50.00", "adjusted": "50.00"}, {"adjusted": "-40.00"},
    )  # fmt: skip
    assert (stands(found, 1), stands(found, 2)) == (("40.00", "40.00", "0.00"), ("0.00", "0.00", "0.00"))


def test_credits_still_to_come_stay_promised_until_it_is_lost(acme):
    fields = {"interval": "year", "grants_monthly": True, "prices": {"USD": {"fee": "1200.00"}}}
    payment = plan(acme, now=at(1, 10), **fields)
    before = report(at(1, 20, 0))
    tell("open", amount="300.00", payment=payment, now=at(1, 20))
    follow(at(1, 20))
    found = report(at(2, 1, 0))
    # A quarter of January's thousand is revoked; of the 1,100.00 to come nothing moves.
    assert stands(found, 1) == ("1200.00", "75.00", "25.00")
    assert (rows(found)[1].promised, rows(before)[1].promised) == (1100, 1100)
    tell("lost", amount="300.00", payment=payment, now=at(2, 3))
    follow(at(2, 3))
    found = report(at(2, 4))
    assert (stands(found, 2), rows(found)[2].promised) == (("900.00", "75.00", "0.00"), 825)
    assert moved(rows(found)[2]) == {"refunded": "-300.00"}
    run(at(2, 11))
    assert rows(report(at(3, 1, 0)))[2].promised == 750
