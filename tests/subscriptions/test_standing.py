"""Past due and back again, and how dunning ends."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.accounts.models import Account
from billing.catalog.models import DunningPolicy
from billing.invoicing.models import Invoice
from billing.ledger import pools, posting
from billing.ledger.pool_acts import AccountPaused
from billing.notifications.models import Notification
from billing.payments import by_hand, collecting, methods, paying
from billing.payments.models import Collection
from billing.subscriptions.followup import payment_news
from tests.factories import NOW, make_plan
from tests.subscriptions.makers import add_card, available, make_team, run, subscribe, tiers

pytestmark = pytest.mark.django_db

APRIL = datetime(2025, 3, 31, 22, tzinfo=UTC)
MAY = datetime(2025, 4, 30, 22, tzinfo=UTC)
DAY = timedelta(days=1)
DECLINED = "4000000000000002"


def make_policy(final_act: str = "cancel", **fields: object) -> DunningPolicy:
    """Tries after three days, and ends after seven."""
    return DunningPolicy.objects.create(
        key=final_act, name=final_act, retry_days=[3], final_days=7, final_act=final_act, created_at=NOW, **fields
    )


def fail_in_april(account: Account, dunning: DunningPolicy, **fields: object):
    """A subscription whose second period the card declines; the first one was paid with another."""
    add_card(account)
    subscription = subscribe(account, make_team(dunning_policy=dunning, **fields), collection="automatic")
    run(NOW)
    add_card(account, DECLINED)
    run(APRIL)
    subscription.refresh_from_db()
    return subscription


def acts(subscription) -> list[str]:
    return list(subscription.changes.order_by("pk").values_list("act", flat=True))


def pay(account: Account, now: datetime) -> None:
    """The customer pays the open invoice with a card that works."""
    method = account.payment_methods.get(last4="4242")
    invoice = Invoice.objects.filter(state__in=("open", "uncollectible")).earliest("pk")
    paying.pay(invoice_id=invoice.pk, method_id=method.pk, key=f"pay:{now}", off_session=False, now=now)


def test_a_decline_makes_it_past_due_and_its_credits_stay(account):
    subscription = fail_in_april(account, make_policy())
    assert (subscription.state, subscription.past_due_at) == ("past_due", APRIL)
    assert available(account, APRIL) == 1000
    assert acts(subscription) == ["subscribe", "activate", "renew", "past_due"]


def test_paying_makes_it_active_again(account):
    subscription = fail_in_april(account, make_policy())
    pay(account, APRIL + DAY)
    run(APRIL + DAY)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.past_due_at) == ("active", None)
    assert acts(subscription)[-1] == "recover"
    before = Notification.objects.count()
    run(APRIL + DAY)
    assert (Notification.objects.count(), acts(subscription)[-2:]) == (before, ["past_due", "recover"])


def test_while_another_invoice_is_overdue_it_stays_past_due(account):
    policy = make_policy(reminder_days=[])
    policy.final_days = 60
    policy.save()
    subscription = fail_in_april(account, policy)
    run(MAY)
    assert Invoice.objects.filter(state="open").count() == 2
    pay(account, MAY + DAY)
    run(MAY + DAY)
    subscription.refresh_from_db()
    assert subscription.state == "past_due"
    pay(account, MAY + 2 * DAY)
    run(MAY + 2 * DAY)
    subscription.refresh_from_db()
    assert subscription.state == "active"


def test_a_pause_lets_no_credit_be_used_until_it_is_paid(account):
    subscription = fail_in_april(account, make_policy("pause"))
    ended = APRIL + 8 * DAY
    run(ended)
    subscription.refresh_from_db()
    account.refresh_from_db()
    assert (subscription.state, account.paused_at) == ("paused", ended)
    pool = pools.get_main_pool(account.pk)
    with pytest.raises(AccountPaused):
        posting.spend(pool_id=pool.pk, credits=Decimal(1), reference="s", now=ended)
    assert Notification.objects.get(kind="subscription_lapsed").payload["act"] == "pause"
    pay(account, ended + DAY)
    run(ended + DAY)
    subscription.refresh_from_db()
    account.refresh_from_db()
    assert (subscription.state, account.paused_at, subscription.period_number) == ("active", None, 2)
    assert acts(subscription)[-3:] == ["pause", "recover", "resume"]
    posting.spend(pool_id=pool.pk, credits=Decimal(1), reference="s", now=ended + DAY)


def test_paid_after_its_period_a_paused_one_begins_anew_that_day(account):
    subscription = fail_in_april(account, make_policy("pause"))
    run(APRIL + 8 * DAY)
    run(MAY + DAY)
    assert Invoice.objects.count() == 2
    paid_at = MAY + 10 * DAY + timedelta(hours=12)
    card = account.payment_methods.get(last4="4242")
    methods.set_default(account_id=account.pk, method_id=card.pk, now=paid_at)
    pay(account, paid_at)
    run(paid_at)
    run(paid_at)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.period_number) == ("active", 3)
    assert (subscription.period_starts_at, subscription.anchor_number) == (paid_at, 3)
    assert available(account, paid_at) == 1000
    assert Invoice.objects.latest("pk").state == "paid"


def test_a_cancellation_ends_it_and_takes_back_what_nobody_paid_for(account):
    subscription = fail_in_april(account, make_policy("cancel"))
    run(APRIL + 8 * DAY)
    subscription.refresh_from_db()
    assert subscription.state == "ended"
    assert (available(account, APRIL + 8 * DAY), Invoice.objects.latest("pk").state) == (0, "uncollectible")
    assert not Notification.objects.filter(kind="subscription_ended").exists()
    assert Notification.objects.get(kind="subscription_lapsed").payload["act"] == "cancel"
    pay(account, APRIL + 9 * DAY)
    run(APRIL + 9 * DAY)
    subscription.refresh_from_db()
    assert (subscription.state, Collection.objects.latest("pk").has_news) == ("ended", False)


def test_a_downgrade_begins_the_other_plan_that_day(account):
    free = make_plan("free", included_credits=Decimal(10), prices={"USD": {"fee": "0"}})
    subscription = fail_in_april(account, make_policy("downgrade", downgrade_to=free.plan))
    ended = APRIL + 8 * DAY
    run(ended)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.plan_version, subscription.past_due_at) == ("active", free, None)
    assert (subscription.period_number, subscription.period_starts_at) == (3, ended)
    assert available(account, ended) == 10
    assert Notification.objects.get(kind="subscription_lapsed").payload["new_plan_name"] == "Free"
    assert "change" in acts(subscription)


def test_a_plan_that_is_the_lowest_already_ends(account):
    policy = make_policy("cancel")
    version = make_team(dunning_policy=policy)
    DunningPolicy.objects.update(final_act="downgrade", downgrade_to=version.plan)
    add_card(account)
    subscription = subscribe(account, version, collection="automatic")
    run(NOW)
    add_card(account, DECLINED)
    run(APRIL)
    run(APRIL + 8 * DAY)
    subscription.refresh_from_db()
    assert subscription.state == "ended"


def test_a_customer_who_is_kept_goes_on_and_the_invoice_is_given_up(account):
    subscription = fail_in_april(account, make_policy("keep"))
    run(APRIL + 8 * DAY)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.past_due_at) == ("active", None)
    assert Invoice.objects.latest("pk").state == "uncollectible"
    assert available(account, APRIL + 8 * DAY) == 1000


def test_what_is_billed_last_ends_nothing_and_is_not_told_of_as_an_end(account):
    """After April's cancellation its overage is invoiced, which the card declines too."""
    terms = {"policy": "overage", "prices": {"USD": {"fee": "50.00", "overage_tiers": tiers((None, "0.10"))}}}
    subscription = fail_in_april(account, make_policy("cancel"), **terms)
    pool = pools.get_main_pool(account.pk)
    posting.spend(pool_id=pool.pk, credits=Decimal(1500), reference="much", now=APRIL + DAY)
    for days in (8, 9, 20, 30):
        run(APRIL + days * DAY)
    last = Invoice.objects.get(reference=f"final:{subscription.pk}")
    assert (last.total, last.state, last.collection.policy["final_act"]) == (Decimal("59.50"), "uncollectible", "keep")
    told = Notification.objects.filter(kind="subscription_lapsed").order_by("pk")
    assert [each.payload["act"] for each in told] == ["cancel", "keep"]


def test_a_stopped_collection_leaves_it_in_good_standing(account):
    subscription = fail_in_april(account, make_policy("cancel"))
    by_hand.stop(collection_id=Collection.objects.latest("pk").pk, now=APRIL + DAY)
    run(APRIL + DAY)
    subscription.refresh_from_db()
    assert (subscription.state, subscription.past_due_at) == ("active", None)


def test_one_that_fails_leaves_the_others_and_is_tried_again(account, monkeypatch):
    subscription = fail_in_april(account, make_policy())
    Collection.objects.update(has_news=True)
    with monkeypatch.context() as patch:
        patch.setattr(payment_news, "_note_overdue", lambda *_, **__: 1 / 0)
        done = payment_news.follow_up(now=APRIL, limit=10)
    assert (done.followed, done.failed) == (1, 1)
    assert Collection.objects.filter(has_news=True).count() == 1
    assert payment_news.follow_up(now=APRIL, limit=10).followed == 1
    subscription.refresh_from_db()
    assert subscription.state == "past_due"


def test_paid_after_staff_stopped_asking_for_it_it_begins_all_the_same(account):
    add_card(account, DECLINED)
    subscription = subscribe(account, make_team(), collection="automatic")
    run(NOW)
    by_hand.stop(collection_id=Collection.objects.get().pk, now=NOW)
    run(NOW)
    add_card(account)
    pay(account, NOW + timedelta(hours=1))
    run(NOW + timedelta(hours=1))
    subscription.refresh_from_db()
    assert (subscription.state, available(account, NOW + timedelta(hours=1))) == ("active", 1000)


@pytest.mark.parametrize("final_act", ["pause", "cancel", "keep"])
def test_paid_between_the_end_of_dunning_and_its_final_act_nothing_ends(account, final_act):
    subscription = fail_in_april(account, make_policy(final_act))
    ended = APRIL + 8 * DAY
    assert collecting.run_due(now=ended, limit=10).exhausted == 1
    pay(account, ended)
    done = payment_news.follow_up(now=ended, limit=10)
    run(ended)
    subscription.refresh_from_db()
    account.refresh_from_db()
    assert (done.failed, subscription.state, account.paused_at) == (0, "active", None)
    assert (acts(subscription)[-1], available(account, ended)) == ("recover", 1000)
    assert not Notification.objects.filter(kind="subscription_lapsed").exists()
