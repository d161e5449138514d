"""Months of everything at once, by a seeded die: whatever happens, every month adds up and meets the ledger."""

import random
from contextlib import suppress
from datetime import timedelta

import pytest

from billing.catalog.models import Coupon
from billing.invoicing import crediting
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import InvoiceLine
from billing.ledger import pools, posting
from billing.ledger.models import CreditGrant
from billing.subscriptions.guards import NotAllowed
from billing.subscriptions.lifecycle import changes
from tests.factories import give_credits, make_plan
from tests.finance.makers import D, at, expire, moved, receive, report, rows, sell, use
from tests.subscriptions.makers import make_team, run, subscribe


def test_an_upgrade_within_the_month_leaves_nothing_to_adjust(acme):
    team = make_team(prices={"USD": {"fee": "31.00"}}, included_credits=D(310))
    scale = make_plan("scale", prices={"USD": {"fee": "93.00"}}, included_credits=D(930))
    subscription = subscribe(acme, team, now=at(1, 1, 0))
    changes.change(
        subscription_id=subscription.pk, plan_version_id=scale.pk, when="now", reference="up", actor="t", by_staff=True,
        now=at(1, 11, 0),
    )  # fmt: skip
    found = rows(report(at(1, 20)))
    # 21 of 31 days of 62.00 more: 42.00, for 420 credits more at the same 0.10 each.
    assert moved(found[1]) == {"sold": "73.00"}
    assert found[1].in_lots == 73
    use(acme, "730", now=at(1, 21))
    assert moved(rows(report(at(1, 22)))[1]) == {"sold": "73.00", "used": "-73.00"}


def test_a_downgrade_within_the_month_waits_for_the_next_invoice(acme):
    scale = make_plan("scale", prices={"USD": {"fee": "93.00"}}, included_credits=D(930))
    team = make_team(prices={"USD": {"fee": "31.00"}}, included_credits=D(310))
    subscription = subscribe(acme, scale, now=at(1, 1, 0))
    changes.change(
        subscription_id=subscription.pk, plan_version_id=team.pk, when="now", reference="down", actor="t",
        by_staff=True, now=at(1, 11, 0),
    )  # fmt: skip
    found = rows(report(at(1, 20)))
    # 42.00 of the 93.00 are given back with 420 credits; they stand on no invoice yet.
    assert moved(found[1]) == {"sold": "93.00", "waiting": "-42.00"}
    assert found[1].in_lots == 51
    run(at(2, 1, 0))
    expire(at(2, 1, 1))
    found = rows(report(at(2, 2)))
    # 31.00 are due in February, and as much of the 42.00 is taken; 11.00 go on waiting.
    assert moved(found[2]) == {"waiting": "31.00", "breakage": "-51.00"}
    assert found[2].in_lots == 31


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_every_month_adds_up_and_meets_the_ledger(acme, seed):
    die = random.Random(seed)
    price = {"fee": "49.90", "seat_price": "7.77", "overage_tiers": [{"up_to": None, "price": "0.013"}]}
    team = make_team(
        policy="overage", prices={"USD": price}, included_credits=D(977), credits_per_seat=D(31), seats_included=1,
        rollover="share", rollover_percent=D(30), rollover_periods=2,
        loyalty_steps=[{"from_period": 3, "percent": "10"}],
    )  # fmt: skip
    yearly = make_plan(
        "yearly", interval="year", grants_monthly=True, included_credits=D(1100), policy="overage",
        prices={"USD": {**price, "fee": "499.99"}},
    )  # fmt: skip
    Coupon.objects.create(code="THIRD", name="A third", percent=D("33.3"), duration_periods=2, created_at=at(1))
    subscription = subscribe(acme, team, seats=3, coupon_code="THIRD", now=at(1, 3))
    pools.open_pool(account=acme, key="team", name="Team", now=at(1, 4))
    now, number = at(1, 5), 0

    def change(**to: object) -> None:
        with suppress(changes.NothingToChange, NotAllowed, changes.SeatsNotOffered):
            changes.change(
                subscription_id=subscription.pk, reference=f"c{number}", actor="t", by_staff=True, now=now, **to
            )

    while now < at(5, 2):
        run(now)
        expire(now)
        number += 1
        match die.choice(["use"] * 6 + ["sell", "refund", "seats", "plan", "gift", "revoke", "pay", "move"]):
            case "use":
                with suppress(posting.InsufficientCredits):  # once it has ended, for want of payment
                    use(acme, f"{die.uniform(1, 300):.3f}", now=now)
            case "sell":
                sell(acme, f"{die.uniform(5, 90):.2f}", str(die.randrange(50, 900)), now=now, days=die.choice([20, 90]))
            case "seats":
                change(seats=die.randrange(1, 8), when="now")
            case "plan":
                change(plan_version_id=die.choice([team, yearly]).pk, when="now")
            case "gift":
                give_credits(acme, "40", now=now, cost_basis=D("0.033"), expires_at=now + timedelta(days=33))
            case "pay":
                for invoice in acme.invoices.filter(state="open"):
                    receive(invoice, str(invoice.owed), now=now)
            case "revoke":
                lot = CreditGrant.objects.filter(is_open=True, remaining__gt=10, kind="purchase").first()
                if lot is not None:
                    posting.revoke(grant_id=lot.pk, amount=D(7), reference=f"r{number}", now=now)
            case "refund":
                line = InvoiceLine.objects.filter(invoice__state="paid", amount__gt=5, amount_credited=0).last()
                if line is not None:
                    item = CreditItem(line.pk, D("1.11"))
                    with suppress(crediting.TooMuch):  # an invoice that negative lines have lowered
                        crediting.credit(
                            invoice_id=line.invoice_id, reference=f"n{number}", reason="x", items=[item], actor="t",
                            now=now,
                        )  # fmt: skip
            case "move":
                main, team_pool = acme.pools.order_by("pk")
                with suppress(posting.InsufficientCredits):
                    posting.transfer(
                        from_pool_id=main.pk, to_pool_id=team_pool.pk, amount=D(25), reference=f"t{number}", note="",
                        actor="t", now=now,
                    )  # fmt: skip
        now += timedelta(hours=die.randrange(20, 90))
    whole = rows(report(now))
    assert len(whole) == 5
    for month in range(1, 5):
        # A month that has closed reads the same, whether the report ends with it or later.
        assert rows(report(at(month + 1, 1, 0)))[month] == whole[month]
