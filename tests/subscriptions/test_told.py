"""What a mail says of an invoice that a subscription's acts have brought about."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from billing.accounts.models import Account
from billing.ledger import pools, posting
from billing.notifications import about_plans
from billing.notifications.messages import About, Message
from billing.notifications.models import Notification
from billing.subscriptions.lifecycle import changes, pause_cancel
from tests.factories import NOW, make_account, make_issuer, make_plan
from tests.subscriptions.makers import make_team, run, subscribe

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
PRICE = {"fee": "31.00", "overage_tiers": [{"up_to": None, "price": "0.10"}]}


@pytest.fixture
def account() -> Account:
    make_issuer()
    return make_account("acme", time_zone="Europe/Berlin")


def last_mail() -> Message:
    """The message about the invoice that was issued last."""
    row = Notification.objects.filter(kind="invoice_issued").order_by("-pk")[0]
    return about_plans.invoice_issued(About(row))


def spend(account: Account, credits: str) -> None:
    """Use credits of the main pool, a day after it began."""
    pool = pools.get_main_pool(account.pk)
    posting.spend(pool_id=pool.pk, credits=D(credits), reference="use", now=NOW + DAY, actor="test")


def names(message: Message) -> set[str]:
    return {str(fact.name) for fact in message.facts}


def test_an_invoice_of_a_whole_period_names_the_period_and_its_credits(account):
    subscribe(account, make_team(prices={"USD": PRICE}, policy="overage"))
    assert last_mail().lead == "This invoice is for your plan Team from 1 March 2025 to 31 March 2025."
    assert {"Period", "Credits included"} <= names(last_mail())
    run(NOW + 31 * DAY)
    assert last_mail().lead == "This invoice is for your plan Team from 1 April 2025 to 30 April 2025."


def test_an_invoice_for_days_of_a_period_promises_no_other_period_and_no_credits(account):
    subscription = subscribe(account, make_team(prices={"USD": {"fee": "31.00"}}))
    large = make_plan("large", prices={"USD": {"fee": "62.00"}}, included_credits=D(2000))
    changes.change(
        subscription_id=subscription.pk, plan_version_id=large.pk, reference="c", actor="test", now=NOW + 5 * DAY
    )
    assert last_mail().lead == "This invoice is for your plan Large."
    assert not {"Period", "Credits included"} & names(last_mail())


def test_the_last_invoice_of_a_plan_that_ended_does_not_say_that_it_goes_on(account):
    subscription = subscribe(account, make_team(prices={"USD": PRICE}, policy="overage"))
    spend(account, "1100")
    pause_cancel.cancel(
        subscription_id=subscription.pk, when="now", reason="", gives_back=False, reference="e", actor="test",
        now=NOW + 5 * DAY,
    )  # fmt: skip
    assert last_mail().title == "Invoice INV-000002 for $11.90"
    assert last_mail().lead == "This invoice is for your plan Team."
    assert not {"Period", "Credits included"} & names(last_mail())


def test_an_invoice_of_pure_consumption_does_not_take_the_period_that_begins_for_the_one_it_is_for(account):
    price = {"fee": "0", "overage_tiers": [{"up_to": None, "price": "0.10"}]}
    subscribe(account, make_team(included_credits=D(0), prices={"USD": price}, policy="overage"))
    spend(account, "100")
    run(NOW + 31 * DAY)
    assert last_mail().lead == "This invoice is for your plan Team."
    assert not {"Period", "Credits included"} & names(last_mail())
