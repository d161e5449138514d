"""Time that is moved: everything that is due, at its own time, once."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.accounts import clocks
from billing.clock import jobs, moving, timeline
from billing.invoicing.models import Invoice
from billing.ledger.models import CreditGrant
from billing.metering.verification import verify
from billing.notifications.models import Notification, NotificationDelivery
from billing.payments.models import Collection, GatewayEvent, Payment
from billing.payments.sandbox_models import SandboxEvent
from billing.subscriptions.models import Subscription
from tests.clock.conftest import REAL, START
from tests.factories import give_credits, make_account
from tests.payments import makers
from tests.payments.makers import make_card
from tests.subscriptions.makers import subscribe

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
WEARS_OUT = "4000000000001083"


def go(account, end, *, start=START, **options):
    """As a clock is moved: it shows each moment before that is lived through."""
    if account:
        options.setdefault("before", lambda at: clocks.show(account_id=account.pk, at=at, now=REAL) or True)
    return moving.move(start=start, end=end, account_id=account.pk if account else None, **options)


def days_of(rows, column):
    return [f"{at:%m-%d %H}" for at in rows.order_by(column, "pk").values_list(column, flat=True)]


def assert_told_in_order(account):
    told = timeline.list_events(after=REAL, until=datetime(2027, 6, 1, tzinfo=UTC), account_id=account.pk)
    assert [each.at for each in told] == sorted(each.at for each in told)
    first = [each.what for each in told if each.at == START]
    assert first == ["subscribed", "invoice", "paid", "became active", "grant", "notice", "notice", "notice"]
    overdue = [each.what for each in told if f"{each.at:%m-%d %H}" == "04-30 04"]
    assert overdue[:4] == ["renewed", "invoice", "payment failed", "payment overdue"]
    assert {each.account for each in told} == {"Acme"}


def test_half_a_year_renews_at_the_accounts_own_midnights(account, version):
    """Of 31 January in New York: the 28th of February, with summer time from March on."""
    make_card(account, now=START)
    subscribe(account, version, now=START, collection="automatic")
    moved = go(account, datetime(2027, 7, 1, tzinfo=UTC))
    assert moved.is_over
    invoices = Invoice.objects.filter(account=account)
    assert days_of(invoices, "issued_at") == ["01-31 05", "02-28 05", "03-31 04", "04-30 04", "05-31 04", "06-30 04"]
    assert list(invoices.values_list("state", flat=True)) == ["paid"] * 6
    assert days_of(Payment.objects, "created_at") == days_of(invoices, "issued_at")
    assert Subscription.objects.get().state == "active"
    assert moved.done["subscriptions renew"] == 5
    # The sandbox told of each payment in its time, and was heard in this process.
    assert SandboxEvent.objects.filter(due_at__isnull=False).count() == 0
    assert days_of(GatewayEvent.objects.exclude(processed_at=None), "received_at") == days_of(invoices, "issued_at")
    assert verify(account_ids=None, now=datetime(2027, 7, 1, tzinfo=UTC)).findings == []


def test_a_card_that_wears_out_is_dunned_by_its_days_and_all_is_told_in_order(account, version):
    make_card(account, WEARS_OUT, now=START)
    subscribe(account, version, now=START, collection="automatic")
    go(account, datetime(2027, 7, 1, tzinfo=UTC))
    states = Invoice.objects.filter(account=account).order_by("pk").values_list("state", flat=True)
    assert list(states)[:3] == ["paid"] * 3
    first = Collection.objects.filter(state="exhausted").order_by("pk")[0]
    policy, overdue = first.policy, first.overdue_at.date()
    assert f"{first.overdue_at:%m-%d %H}" == "04-30 04"
    tried = Payment.objects.filter(invoice=first.invoice).order_by("pk").values_list("created_at", flat=True)
    assert [(at.date() - overdue).days for at in tried] == [0, *policy["retry_days"]]
    assert (first.closed_at.date() - overdue).days == policy["final_days"]
    told = Notification.objects.filter(kind="payment_reminder", payload__invoice_id=str(first.invoice_id))
    days = [(at.date() - overdue).days for at in told.order_by("pk").values_list("created_at", flat=True)]
    assert days == policy["reminder_days"]
    assert_told_in_order(account)


def test_a_slow_payment_succeeds_in_its_own_time(account, version):
    make_card(account, makers.VERY_LATE, now=START)
    subscribe(account, version, now=START, collection="automatic")
    go(account, START + DAY)
    payment = Payment.objects.get()
    assert (payment.state, payment.finished_at) == ("succeeded", START + timedelta(hours=3))
    lot = CreditGrant.objects.get(kind="allocation")
    assert lot.created_at == START + timedelta(hours=3)


def test_moving_in_steps_is_as_moving_at_once(account, version):
    make_card(account, now=START)
    subscribe(account, version, now=START, collection="automatic")
    at = START
    for days in (1, 27, 28, 40, 90):
        go(account, START + days * DAY, start=at)
        at = START + days * DAY
    go(account, at, start=at)
    assert days_of(Invoice.objects, "issued_at") == ["01-31 05", "02-28 05", "03-31 04", "04-30 04"]
    assert Payment.objects.filter(state="succeeded").count() == Collection.objects.count() == 4


def test_others_are_left_alone(account, version):
    other = make_account("other", now=START)
    give_credits(other, "5", now=START, expires_at=START + DAY)
    give_credits(account, "7", now=START, expires_at=START + DAY)
    go(account, START + 3 * DAY)
    assert dict(CreditGrant.objects.values_list("pool__account__external_id", "remaining")) == {"acme": 0, "other": 5}
    go(None, START + 3 * DAY)
    assert set(CreditGrant.objects.values_list("remaining", flat=True)) == {0}


def test_the_whole_database_leaves_accounts_on_a_clock_alone(account, version):
    subscribe(account, version, now=START)
    other = make_account("other", now=START)
    subscribe(other, version, now=START)
    go(None, START + 40 * DAY)
    renewed = Invoice.objects.exclude(reference__endswith=":1").values_list("account__external_id", flat=True)
    assert list(renewed) == ["other"]


def test_nobody_is_mailed_unless_asked_for(account, version, mailoutbox):
    subscribe(account, version, now=START)
    go(account, START + DAY)
    assert Notification.objects.filter(state="expanded").count() == Notification.objects.count() > 0
    assert not NotificationDelivery.objects.exists()
    subscribe(make_account("other", now=START), version, now=START)
    go(None, START + DAY, with_mails=True)
    assert {tuple(mail.to) for mail in mailoutbox} == {("billing@other.example",)}


def test_it_can_be_stopped_and_gone_on_with(account, version):
    seen = []
    moved = go(account, START + 9 * DAY, before=lambda at: len(seen) < 4, after=seen.append)
    assert (moved.is_over, len(seen), moved.moments) == (False, 4, 4)
    assert moved.at == datetime(2027, 2, 4, tzinfo=UTC)
    assert go(account, START + 9 * DAY, start=moved.at).is_over


def test_what_never_rests_is_let_be(account, monkeypatch):
    def always(now, account_id):
        return 1

    restless = jobs.Job("restless", always)
    monkeypatch.setattr(moving, "MOST_ROUNDS", 7)
    assert moving.settle((restless,), START, account.pk, due=(restless,)) == {"restless": 7}
