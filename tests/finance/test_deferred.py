"""Deferred revenue rolled forward, with the figures worked by hand."""

from datetime import timedelta

import pytest

from billing.catalog.models import Coupon
from billing.invoicing import crediting, pending
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import InvoiceLine
from billing.ledger import pools, posting
from billing.subscriptions.lifecycle import end
from billing.subscriptions.models import Subscription
from tests.factories import give_credits, make_plan
from tests.finance.makers import D, at, expire, issue, moved, other, report, rows, sell, use
from tests.invoicing.makers import credits_line, plain_line
from tests.subscriptions.makers import make_team, run, subscribe


def test_a_pack_is_earned_as_its_credits_are_used_refunded_and_expire(acme):
    lot = sell(acme, "100.00", "1000", now=at(1, 10), days=90)
    use(acme, "250", now=at(2, 1))
    line = InvoiceLine.objects.get()
    crediting.credit(
        invoice_id=line.invoice_id, reference="back", reason="Too many", actor="test", now=at(3, 1),
        items=[CreditItem(line.pk, D("10.00"), D(100))],
    )  # fmt: skip
    posting.revoke(grant_id=lot.pk, amount=D(100), reference="back", now=at(3, 1))
    expire(at(4, 12))
    found = rows(report(at(5)))
    assert moved(found[1]) == {"sold": "100.00"}
    assert moved(found[2]) == {"used": "-25.00"}
    # The credits that were taken back are worth just what the credit note says: nothing is left to adjust.
    assert moved(found[3]) == {"refunded": "-10.00"}
    assert moved(found[4]) == {"breakage": "-65.00"}
    assert [found[month].deferred.closing for month in range(1, 6)] == [100, 75, 65, 0, 0]
    assert (found[2].in_lots, found[2].promised, found[2].ahead) == (75, 0, 0)


def test_a_pack_that_is_not_paid_for_is_promised_and_a_void_one_is_not(acme):
    invoice = issue(acme, credits_line(acme, "80.00", "1000", recognition="credits"), reference="p", now=at(1, 5))
    found = rows(report(at(2)))
    assert (found[1].deferred.closing, found[1].in_lots, found[1].promised) == (80, 0, 80)
    line = invoice.lines.get()
    crediting.credit(
        invoice_id=invoice.pk, reference="part", reason="x", actor="t", items=[CreditItem(line.pk, D(30))], now=at(2, 3)
    )
    crediting.void(invoice_id=invoice.pk, now=at(3, 7))
    found = rows(report(at(4)))
    assert moved(found[2]) == {"refunded": "-30.00"}
    assert found[2].promised == 50
    assert moved(found[3]) == {"voided": "-50.00"}
    assert found[3].deferred.closing == 0


def test_reversing_what_was_used_defers_it_again(acme):
    sell(acme, "100.00", "1000", now=at(1, 10))
    use(acme, "300", now=at(1, 20))
    spent = pools.get_main_pool(acme.pk).postings.get(act="spend")
    posting.reverse(posting_id=spent.pk, now=at(2, 2))
    found = rows(report(at(3)))
    assert (moved(found[1])["used"], moved(found[2])) == ("-30.00", {"used": "30.00"})


def test_a_monthly_plan_is_earned_by_use_and_what_is_left_is_breakage(acme):
    subscribe(acme, make_team(), now=at(1, 1))
    use(acme, "300", now=at(1, 20))
    run(at(2, 1, 0))
    expire(at(2, 1, 1))
    found = rows(report(at(2, 10)))
    # 1,000 credits for 50.00: 300 are 15.00; 700 of them end with the month.
    assert moved(found[1]) == {"sold": "50.00", "used": "-15.00"}
    assert moved(found[2]) == {"sold": "50.00", "breakage": "-35.00"}
    assert (found[2].deferred.closing, found[2].in_lots) == (50, 50)


def test_credits_that_roll_over_or_move_to_a_team_keep_what_they_have_cost(acme):
    version = make_team(rollover="all", rollover_periods=2)
    subscribe(acme, version, now=at(1, 1))
    run(at(2, 1, 0))
    team = pools.open_pool(account=acme, key="team", name="Team", now=at(2, 2))
    main = pools.get_main_pool(acme.pk)
    posting.transfer(
        from_pool_id=main.pk, to_pool_id=team.pk, amount=D(1500), reference="t", note="", actor="t", now=at(2, 3)
    )
    posting.spend(pool_id=team.pk, credits=D(1200), reference="u", now=at(2, 4))
    found = rows(report(at(2, 10)))
    assert moved(found[1]) == {"sold": "50.00"}
    assert moved(found[2]) == {"sold": "50.00", "used": "-60.00"}
    assert other(found[2]) == {}


def test_of_an_annual_fee_what_is_not_yet_granted_stays_deferred(acme):
    version = make_plan(
        interval="year", grants_monthly=True, included_credits=D(100), prices={"USD": {"fee": "1200.00"}}
    )
    subscription = subscribe(acme, version, now=at(1, 1))
    use(acme, "40", now=at(1, 15))
    run(at(2, 1, 0))
    expire(at(2, 1, 1))
    found = rows(report(at(2, 10)))
    # A credit has cost 1.00. In January 40 are used, 60 expire on 1 February; eleven, then ten months are to come.
    assert (found[1].deferred.closing, found[1].in_lots, found[1].promised) == (1160, 60, 1100)
    assert moved(found[2]) == {"breakage": "-60.00"}
    assert (found[2].deferred.closing, found[2].in_lots, found[2].promised) == (1100, 100, 1000)
    # It ends without a refund: what will never be granted is earned, in a column of its own.
    Subscription.objects.get()
    end.end(subscription, at=at(2, 20), reference="end:1", actor="test", now=at(2, 20))
    found = rows(report(at(3)))
    assert moved(found[2]) == {"breakage": "-60.00", "adjusted": "-1000.00"}
    assert found[2].deferred.closing == 100


def test_a_fee_without_credits_is_earned_with_the_time_it_is_for(acme):
    line = plain_line("310.00", recognition="period", starts_at=at(1, 11, 0), ends_at=at(2, 11, 0))
    issue(acme, line, reference="fee", now=at(1, 1))
    found = rows(report(at(3)))
    # 21 of 31 days lie in January.
    assert moved(found[1]) == {"sold": "310.00", "time": "-210.00"}
    assert (found[1].ahead, found[1].deferred.closing) == (100, 100)
    assert moved(found[2]) == {"time": "-100.00"}
    assert rows(report(at(1, 21, 0)))[1].deferred.closing == 210


def test_unused_time_that_is_taken_back_is_earned_backwards_from_when_it_was_known(acme):
    fee = plain_line("310.00", recognition="period", starts_at=at(1, 1, 0), ends_at=at(2, 1, 0))
    issue(acme, fee, reference="fee", now=at(1, 1))
    # On the 11th the last 21 days are given back, on an invoice that comes only in February.
    pending.add(
        account_id=acme.pk, currency="USD", reference="back", description="Unused", amount=D("-210.00"),
        recognition="period", starts_at=at(1, 11, 0), ends_at=at(2, 1, 0), actor="test", now=at(1, 11, 0),
    )  # fmt: skip
    found = rows(report(at(1, 21, 0)))
    # 20 of 31 days: 200.00 less 10 of the 21 days given back, 100.00.
    assert moved(found[1]) == {"sold": "310.00", "waiting": "-210.00", "time": "-100.00"}
    issue(acme, plain_line("500.00"), reference="next", now=at(2, 5), take_pending=True)
    found = rows(report(at(3)))
    assert moved(found[1]) == {"sold": "310.00", "waiting": "-210.00", "time": "-100.00"}
    assert moved(found[2]) == {"sold": "-210.00", "waiting": "210.00"}
    assert found[2].deferred.closing == 0


def test_a_coupon_lowers_what_credits_have_cost(acme):
    Coupon.objects.create(code="HALF", name="Half", percent=D(50), duration_periods=1, created_at=at(1))
    subscribe(acme, make_team(), now=at(1, 1), coupon_code="HALF")
    use(acme, "300", now=at(1, 20))
    found = rows(report(at(1, 30)))
    assert moved(found[1]) == {"sold": "25.00", "used": "-7.50"}


def test_overage_is_earned_when_it_is_invoiced_and_never_deferred(acme):
    price = {"fee": "50.00", "overage_tiers": [{"up_to": None, "price": "0.10"}]}
    subscribe(acme, make_team(policy="overage", prices={"USD": price}), now=at(1, 1))
    use(acme, "1250", now=at(1, 20))
    run(at(2, 1, 0))
    found = report(at(2, 10))
    assert moved(rows(found)[1]) == {"sold": "50.00", "used": "-50.00"}
    assert moved(rows(found)[2]) == {"sold": "50.00"}
    (overage,) = [row for row in found.earned if row.way == "overage"]
    assert (overage.month.month, overage.source, overage.meter, overage.money) == (2, "Team", "", 25)


def test_what_no_invoice_paid_for_stands_apart(acme):
    lot = give_credits(acme, "100", now=at(1, 5), cost_basis=D("0.50"), kind="adjustment", expires_at=at(3, 1))
    give_credits(acme, "500", now=at(1, 5), expires_at=at(6, 1))  # promotional: worth nothing
    use(acme, "30", now=at(2, 1))
    posting.revoke(grant_id=lot.entries.get().grant_id, amount=D(20), reference="r", now=at(2, 2))
    expire(at(3, 1, 13))
    found = rows(report(at(4)))
    assert [other(found[month]) for month in (1, 2, 3)] == [
        {"other_granted": "50.00"}, {"other_used": "-15.00", "other_revoked": "-10.00"}, {"other_breakage": "-25.00"},
    ]  # fmt: skip
    assert found[2].other.closing == 25
    assert [moved(found[month]) for month in (1, 2, 3)] == [{}, {}, {}]


def test_credits_taken_back_without_a_credit_note_are_an_adjustment(acme):
    lot = sell(acme, "100.00", "1000", now=at(1, 10))
    posting.revoke(grant_id=lot.pk, amount=D(400), reference="r", now=at(2, 2))
    found = rows(report(at(3)))
    assert moved(found[2]) == {"adjusted": "-40.00"}
    assert found[2].deferred.closing == 60


def test_what_a_cost_per_credit_rounds_away_is_no_cent(acme):
    sell(acme, "100.00", "7", now=at(1, 10), days=20)
    for day in range(11, 18):
        use(acme, "1", now=at(1, day))
    found = rows(report(at(2)))
    assert moved(found[1]) == {"sold": "100.00", "used": "-100.00"}
    assert found[1].deferred.closing == 0


def test_a_month_that_has_closed_stays_as_it_was(acme):
    subscribe(acme, make_team(), now=at(1, 1))
    use(acme, "300", now=at(1, 20))
    before = rows(report(at(2, 1, 0)))[1]
    run(at(2, 1, 0))
    use(acme, "500", now=at(2, 3))
    crediting.void(invoice_id=acme.invoices.order_by("pk").last().pk, now=at(2, 9))
    assert rows(report(at(3)))[1] == before


def test_a_report_may_begin_in_the_middle_and_opens_with_what_was_there(acme):
    sell(acme, "100.00", "1000", now=at(1, 10))
    use(acme, "250", now=at(2, 1))
    found = rows(report(at(4), since=at(3)))
    assert list(found) == [3, 4]
    assert (found[3].deferred.opening, found[3].deferred.closing) == (75, 75)


def test_currencies_do_not_mix(acme):
    sell(acme, "100.00", "1000", now=at(1, 10))
    acme.currency = "JPY"
    acme.save()
    sell(acme, "5000", "1000", now=at(1, 11))
    use(acme, "1500", now=at(1, 12))
    found = report(at(2))
    assert found.currencies == ["JPY", "USD"]
    assert moved(rows(found, "USD")[1]) == {"sold": "100.00", "used": "-100.00"}
    assert rows(found, "JPY")[1].deferred.closing == 2500


@pytest.mark.django_db
def test_there_may_be_nothing_at_all():
    found = report(at(1) + timedelta(days=1))
    assert (found.sheets, found.earned, found.ageings, found.documents, found.checks) == ([], [], [], [], [])
