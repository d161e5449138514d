"""What is on the pools keeps its dates, though the days of a time zone move: its rules change, or it is corrected.

A year from 11 March at noon with 1,000 credits a month; in May the account is moved.
"""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.accounts.models import Account
from billing.ledger.models import CreditGrant
from billing.subscriptions.lifecycle import changes
from billing.subscriptions.models import Subscription
from tests.factories import make_account, make_issuer, make_plan
from tests.subscriptions.makers import add_card, available, make_team, run, subscribe

pytestmark = [pytest.mark.django_db, pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])]

D = Decimal
YEAR = {"interval": "year", "grants_monthly": True}
# The month from 10 May 22:00 UTC has 31 days; on 20 May 9 of them are over in Tokyo, but in New York 10.
LEFT = {"America/New_York": D("677.419355"), "Asia/Tokyo": D("709.677419")}
LEFT_OF_SMALL = {"America/New_York": D("67.741935"), "Asia/Tokyo": D("70.967742")}
LEFT_OF_LARGE = {"America/New_York": D("1354.838710"), "Asia/Tokyo": D("1419.354839")}


@pytest.fixture
def account() -> Account:
    """A customer in Berlin, tax-free."""
    make_issuer(rates={"DE": "0"})
    return make_account("acme", time_zone="Europe/Berlin")


def noon(day: int, month: int, year: int = 2025) -> datetime:
    return datetime(year, month, day, 12, tzinfo=UTC)


def begin(account: Account, zone: str, **fields: object) -> Subscription:
    """A subscription that has run until 20 May, when the account moves."""
    add_card(account)
    version = make_team(**YEAR, prices={"USD": {"fee": "1200.00"}}, **fields)
    subscription = subscribe(account, version, now=noon(11, 3), collection="automatic")
    for at in (noon(11, 3), noon(12, 4), noon(12, 5)):
        run(at)
    Account.objects.update(time_zone=zone)
    account.refresh_from_db()
    return subscription


def lots(account: Account) -> list[tuple[str, Decimal]]:
    rows = CreditGrant.objects.filter(pool__account=account, remaining__gt=0).order_by("pk")
    return [(lot.kind, lot.remaining) for lot in rows]


def test_fewer_credits_take_back_those_there_are(account, zone):
    subscription = begin(account, zone)
    small = make_plan("small", **YEAR, included_credits=D(100), prices={"USD": {"fee": "120.00"}})
    changes.change(
        subscription_id=subscription.pk, plan_version_id=small.pk, when="now", reference="c", actor="", now=noon(20, 5)
    )
    assert available(account, noon(20, 5)) == 1000 - LEFT[zone] + LEFT_OF_SMALL[zone]
    for month in (6, 7, 8):
        run(noon(13, month))
        assert available(account, noon(13, month)) == 100


def test_more_credits_come_once_each_month(account, zone):
    subscription = begin(account, zone)
    large = make_plan("large", **YEAR, included_credits=D(2000), prices={"USD": {"fee": "2400.00"}})
    changes.change(
        subscription_id=subscription.pk, plan_version_id=large.pk, by_staff=True, reference="c", actor="",
        now=noon(20, 5),
    )  # fmt: skip
    assert available(account, noon(20, 5)) == 1000 + LEFT_OF_LARGE[zone] - LEFT[zone]
    for month in (6, 7, 8):
        run(noon(13, month))
        assert available(account, noon(13, month)) == 2000
    promised = subscription.allocations.filter(cancelled_at=None, ends_at__gt=noon(20, 8))
    months = promised.values("ends_at").annotate(credits_then=Sum("credits")).order_by("ends_at")
    assert [month["credits_then"] for month in months] == [2000] * 7


def test_what_is_left_rolls_every_month(account, zone):
    begin(account, zone, rollover="amount", rollover_amount=D(300))
    for month in range(6, 13):
        run(noon(13, month))
        assert lots(account) == [("rollover", 300), ("allocation", 1000)]


@pytest.mark.parametrize("at", [datetime(2026, 3, 10, 22, 30, tzinfo=UTC)])
def test_the_last_hours_of_a_period_are_of_its_last_day(account, zone, at):
    subscription = begin(account, zone)
    for month in (6, 7, 8, 9, 10, 11, 12):
        run(noon(13, month))
    for month in (1, 2):
        run(noon(13, month, 2026))
    large = make_plan("large", **YEAR, included_credits=D(2000), prices={"USD": {"fee": "2400.00"}})
    told = changes.preview(subscription_id=subscription.pk, plan_version_id=large.pk, now=at)
    assert told.quote is not None
    # A day more of 365: 6.58 less 3.29; in the last month's 28 days, 1,000 / 28 more credits.
    assert (told.total, told.credits_delta) == (D("3.29"), D("35.714285"))
