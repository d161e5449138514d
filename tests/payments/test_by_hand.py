"""What staff do with a collection."""

import pytest

from billing.invoicing import crediting
from billing.payments import by_hand, collecting, methods, paying
from billing.payments.models import Collection, Payment
from tests.factories import NOW
from tests.payments import makers
from tests.payments.collectors import DAY, make_collection, run, run_days, tries
from tests.payments.makers import make_card

pytestmark = pytest.mark.django_db


@pytest.fixture
def overdue(account):
    make_card(account, makers.DECLINE)
    row = make_collection(account)
    run()
    return row


def retry(row, key="1", now=NOW + DAY):
    return by_hand.retry_now(collection_id=row.pk, key=key, now=now)


def test_a_try_by_hand_uses_up_no_try_of_the_policy(overdue):
    assert retry(overdue).state == "failed"
    assert retry(overdue, "2").state == "failed"
    assert Collection.objects.get().tries == 1
    run_days(20, start=NOW + DAY)
    assert tries() == [(0, "failed"), (1, "failed"), (1, "failed"), (3, "failed"), (7, "failed")]


def test_a_try_by_hand_that_succeeds_ends_it_at_once(overdue, account):
    make_card(account, make_default=True)
    assert retry(overdue).state == "succeeded"
    assert Collection.objects.get().state == "paid"


def test_the_same_press_charges_once(overdue):
    assert retry(overdue) == retry(overdue)
    assert Payment.objects.count() == 2


def test_a_hard_decline_can_be_tried_by_hand(account):
    make_card(account, makers.EXPIRED)
    row = make_collection(account)
    run()
    assert retry(row).state == "failed"
    assert Collection.objects.get().retries_stopped


def test_without_a_card_there_is_nothing_to_charge(overdue, account):
    methods.remove(account_id=account.pk, method_id=methods.find_default(account.pk).pk, now=NOW)
    with pytest.raises(by_hand.NothingToCharge):
        retry(overdue)
    assert Payment.objects.count() == 1


def test_while_an_outcome_is_unknown_nothing_is_tried(account):
    make_card(account, makers.SLOW)
    row = make_collection(account)
    run()
    with pytest.raises(paying.PaymentUnderWay):
        retry(row, now=NOW)
    assert Payment.objects.count() == 1


def test_a_stopped_one_is_left_alone(overdue):
    row = by_hand.stop(collection_id=overdue.pk, now=NOW + DAY)
    assert (row.state, row.has_news, row.next_at, row.invoice.state) == ("stopped", True, None, "open")
    run_days(20)
    assert Payment.objects.count() == 1
    assert Collection.objects.get().state == "stopped"


def test_what_is_given_up_is_uncollectible_and_may_still_be_paid(overdue, account):
    row = by_hand.mark_uncollectible(collection_id=overdue.pk, now=NOW + DAY)
    assert (row.state, row.has_news) == ("stopped", True)
    row.invoice.refresh_from_db()
    assert row.invoice.state == "uncollectible"
    run_days(20)
    card = make_card(account)
    paying.pay(invoice_id=row.invoice_id, method_id=card.pk, key="late", off_session=False, now=NOW + 30 * DAY)
    row.invoice.refresh_from_db()
    assert (row.invoice.state, Payment.objects.count()) == ("paid", 2)


@pytest.mark.parametrize("act", [by_hand.stop, by_hand.mark_uncollectible])
def test_what_nobody_asks_for_any_more_is_news_when_it_is_paid_all_the_same(overdue, account, act):
    act(collection_id=overdue.pk, now=NOW + DAY)
    Collection.objects.update(has_news=False)
    assert run(NOW + DAY) == collecting.Round()
    card = make_card(account)
    paying.pay(invoice_id=overdue.invoice_id, method_id=card.pk, key="late", off_session=False, now=NOW + 2 * DAY)
    assert run(NOW + 2 * DAY).paid == 1
    row = Collection.objects.get()
    assert (row.state, row.has_news) == ("paid", True)
    assert run(NOW + 2 * DAY) == collecting.Round()


def test_nothing_is_given_up_while_a_payment_may_still_succeed(account):
    make_card(account, makers.SLOW)
    row = make_collection(account)
    run()
    with pytest.raises(paying.PaymentUnderWay):
        by_hand.mark_uncollectible(collection_id=row.pk, now=NOW)
    row.invoice.refresh_from_db()
    assert (row.invoice.state, Collection.objects.get().state) == ("open", "open")


@pytest.mark.parametrize(
    "act",
    [
        retry,
        lambda row: by_hand.stop(collection_id=row.pk, now=NOW),
        lambda row: by_hand.mark_uncollectible(collection_id=row.pk, now=NOW),
    ],
)
def test_what_is_over_is_over(overdue, act):
    crediting.void(invoice_id=overdue.invoice_id, now=NOW)
    with pytest.raises(by_hand.CollectionClosed):
        act(overdue)
    assert run(NOW).stopped == 1
    with pytest.raises(by_hand.CollectionClosed):
        act(overdue)
    assert Payment.objects.count() == 1
    assert run(NOW) == collecting.Round()
