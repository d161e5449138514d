"""Dunning: days, tries, reminders and the end. The policy: tries after 3 and 7 days, reminders after 5 and 10, the end
after 14. NOW is 1 March 2025, 13:00 in Berlin."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.invoicing.models import Invoice
from billing.payments import checking, collecting, methods, paying
from billing.payments.dunning import schedule
from billing.payments.models import Collection, Payment
from tests.factories import NOW
from tests.payments import makers
from tests.payments.collectors import DAY, POLICY, make_collection, run, run_days, told, told_on, tries
from tests.payments.makers import make_card

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def declining(account):
    make_card(account, makers.DECLINE)
    return make_collection(account)


def test_a_policy_runs_through_its_days(declining):
    run_days(20, step=6 * HOUR)
    assert tries() == [(0, "failed"), (2, "failed"), (6, "failed")]
    row = Collection.objects.get()
    assert (row.state, row.has_news, row.tries, row.reminders_sent) == ("exhausted", True, 3, 2)
    assert [payment.idempotency_key for payment in Payment.objects.order_by("pk")] == [
        f"collection:{row.pk}:{number}" for number in (1, 2, 3)
    ]
    assert (told_on("payment_overdue"), told_on("payment_reminder")) == ([0], [4, 9])
    # A day begins at midnight where the customer is: at 23:00 UTC of the day before.
    assert row.closed_at == NOW + 13 * DAY + 12 * HOUR
    assert Invoice.objects.get().state == "open"
    assert run(NOW + 60 * DAY) == collecting.Round()


def test_what_is_said_on_the_way_is_true(declining):
    run_days(20)
    (overdue,) = told("payment_overdue")
    assert overdue == {
        "invoice_id": str(declining.invoice_id), "number": declining.invoice.number, "total": "119.00",
        "currency": "EUR", "due_at": declining.invoice.due_at.isoformat(), "is_automatic": "yes", "has_method": "yes",
        "reason": "The card was declined. Ask your bank, or use another card.",
        "next_try_at": "2025-03-03T23:00:00+00:00",
    }  # fmt: skip
    first, second = told("payment_reminder")
    assert (first["final_at"], first["final_act"]) == ("2025-03-14T23:00:00+00:00", "cancel")
    assert (first["next_try_at"], second["next_try_at"]) == ("2025-03-07T23:00:00+00:00", "")


def test_failures_of_tries_of_ours_are_told_by_dunning_alone(declining):
    run_days(20)
    assert told("payment_failed") == []


def test_it_is_looked_at_exactly_when_something_is_due(declining):
    moments, now = [], NOW
    while now is not None:
        run(now)
        moments.append(now)
        now = Collection.objects.get().next_at
    assert [(moment - NOW).days for moment in moments] == [0, 2, 4, 6, 9, 13]


def test_paying_by_hand_stops_it(declining, account):
    run_days(4)
    card = make_card(account)
    paying.pay(invoice_id=declining.invoice_id, method_id=card.pk, key="by-hand", off_session=False, now=NOW + 4 * DAY)
    assert run(NOW + 4 * DAY).paid == 1
    run_days(20)
    assert (Payment.objects.count(), told("payment_reminder")) == (3, [])
    assert Collection.objects.get().state == "paid"


def test_another_card_is_tried_at_once_and_uses_up_no_try(declining, account):
    run(NOW)
    make_card(account, makers.INSUFFICIENT, make_default=True, now=NOW + HOUR)
    assert run(NOW + HOUR).charged == 1
    row = Collection.objects.get()
    assert (row.tries, row.state) == (1, "overdue")
    run_days(3)
    assert Payment.objects.count() == 3
    make_card(account, make_default=True, now=NOW + 4 * DAY)
    assert run(NOW + 4 * DAY).paid == 1
    assert tries() == [(0, "failed"), (0, "failed"), (3, "failed"), (4, "succeeded")]


def test_going_to_and_fro_between_two_cards_tries_each_once_a_day_of_the_policy(declining, account):
    first = methods.find_default(account.pk)
    run(NOW)
    second = make_card(account, makers.INSUFFICIENT, make_default=True)
    for number in range(6):
        now = NOW + number * HOUR
        run(now)
        methods.set_default(account_id=account.pk, method_id=(first, second)[number % 2].pk, now=now)
    assert Payment.objects.count() == 3
    run_days(20, step=6 * HOUR)
    assert told_on("payment_reminder") == [4, 9]
    assert Collection.objects.get().state == "exhausted"


def test_a_card_that_is_added_beside_the_default_is_not_charged(declining, account):
    run(NOW)
    make_card(account, now=NOW + HOUR)
    assert run(NOW + HOUR).charged == 0
    assert Payment.objects.count() == 1


def test_after_a_hard_decline_nothing_is_tried_until_another_card_comes(account):
    make_card(account, makers.EXPIRED)
    make_collection(account)
    run_days(6)
    assert tries() == [(0, "failed")]
    assert Collection.objects.get().retries_stopped
    assert [said["next_try_at"] for said in told("payment_overdue")] == [""]
    make_card(account, makers.DECLINE, make_default=True, now=NOW + 6 * DAY)
    run(NOW + 6 * DAY)
    row = Collection.objects.get()
    assert (row.retries_stopped, row.state) == (False, "overdue")
    run_days(20, start=NOW + 6 * DAY)
    assert tries() == [(0, "failed"), (6, "failed"), (7, "failed")]
    assert Collection.objects.get().state == "exhausted"


def test_a_card_that_expires_during_dunning_is_told_of_once(account):
    """It is declined first, and on the third day for good."""
    card = make_card(account, makers.DECLINE)
    make_collection(account)
    run(NOW)
    from billing.payments.sandbox_models import SandboxCard

    SandboxCard.objects.filter(reference=card.gateway_reference).update(behaviour="expired")
    run_days(20)
    assert tries() == [(0, "failed"), (3, "failed")]
    assert [said["next_try_at"] != "" for said in told("payment_overdue")] == [True, False]
    assert "expired" in told("payment_reminder")[0]["reason"]


def test_without_a_card_it_is_overdue_and_the_first_one_is_charged(account):
    make_collection(account)
    run_days(4)
    assert not Payment.objects.exists()
    (said,) = told("payment_overdue")
    assert (said["reason"], said["next_try_at"], said["has_method"]) == (
        "There is no payment method to charge.",
        "",
        "",
    )
    make_card(account, now=NOW + 4 * DAY)
    assert run(NOW + 4 * DAY).paid == 1


@pytest.mark.parametrize(
    ("number", "is_hard", "reason"), [(makers.DECLINE, False, "was declined"), (makers.EXPIRED, True, "has expired")]
)
def test_a_first_try_that_the_customer_saw_fail_is_the_reason_told_and_not_made_again(account, number, is_hard, reason):
    card = make_card(account, number)
    row = make_collection(account)
    key = f"collection:{row.pk}:1"
    paying.pay(invoice_id=row.invoice_id, method_id=card.pk, key=key, off_session=False, now=NOW)
    run_days(4, step=HOUR)
    (said,) = told("payment_overdue")
    assert reason in said["reason"]
    assert (said["has_method"], said["next_try_at"] == "") == ("yes", is_hard)
    # What cannot succeed is not tried on the third day either.
    assert [day for day, _ in tries()] == ([0] if is_hard else [0, 2])


def test_a_card_that_the_customer_tried_in_vain_is_the_reason_where_there_is_no_other(account):
    make_card(account)
    card = make_card(account, makers.DECLINE)
    row = make_collection(account)
    methods.remove(account_id=account.pk, method_id=methods.find_default(account.pk).pk, now=NOW)
    paying.pay(invoice_id=row.invoice_id, method_id=card.pk, key="in person", off_session=False, now=NOW)
    run(NOW)
    (said,) = told("payment_overdue")
    assert (said["has_method"], said["reason"].startswith("The card was declined")) == ("", True)


def test_a_reminder_waits_while_the_outcome_of_a_try_is_unknown(account):
    """The card goes silent on the third day for longer than until the reminder of the fifth."""
    from billing.payments.sandbox_models import SandboxCard

    card = make_card(account, makers.DECLINE)
    make_collection(account)
    run(NOW)
    SandboxCard.objects.filter(reference=card.gateway_reference).update(behaviour="blackout")
    run(NOW + 4 * DAY)
    run(NOW + 4 * DAY + 20 * HOUR)
    assert told("payment_reminder") == []
    checking.check_due(now=NOW + 5 * DAY + 2 * HOUR, limit=10)
    run(NOW + 5 * DAY + 2 * HOUR)
    assert (Collection.objects.get().state, told("payment_reminder")) == ("paid", [])


def test_after_days_without_workers_one_try_and_one_reminder_are_made_for_all_that_passed(declining):
    run(NOW)
    run(NOW + 11 * DAY)
    assert tries() == [(0, "failed"), (11, "failed")]
    assert told_on("payment_reminder") == [11]
    assert Collection.objects.get().tries == 3


def test_before_the_end_the_last_try_is_made(declining):
    run(NOW)
    run(NOW + 40 * DAY)
    assert tries() == [(0, "failed"), (40, "failed")]
    assert Collection.objects.get().state == "exhausted"


def test_money_that_comes_after_the_end_is_news_again(declining, account):
    run_days(20)
    Collection.objects.update(has_news=False)
    card = make_card(account, make_default=True)
    assert run(NOW + 20 * DAY) == collecting.Round()
    paying.pay(invoice_id=declining.invoice_id, method_id=card.pk, key="late", off_session=False, now=NOW + 20 * DAY)
    assert run(NOW + 20 * DAY) == collecting.Round(looked=1, paid=1)
    row = Collection.objects.get()
    assert (row.state, row.has_news, row.closed_at) == ("paid", True, NOW + 20 * DAY)
    assert run(NOW + 21 * DAY) == collecting.Round()


def test_an_empty_policy_only_ends(account):
    make_card(account, makers.DECLINE)
    make_collection(account, policy={**POLICY, "retry_days": [], "reminder_days": [], "final_days": 0})
    run(NOW)
    assert Collection.objects.get().state == "overdue"
    run(NOW)
    assert (Collection.objects.get().state, Payment.objects.count()) == ("exhausted", 1)


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles", "America/Sao_Paulo"])
def test_days_begin_at_midnight_where_the_customer_is(zone):
    from zoneinfo import ZoneInfo

    plan = schedule(POLICY, overdue_at=datetime(2025, 3, 27, 23, 30, tzinfo=UTC), time_zone=zone)
    moments = [at.astimezone(ZoneInfo(zone)) for at in (*plan.retries, *plan.reminders, plan.final_at)]
    first = datetime(2025, 3, 27, 23, 30, tzinfo=UTC).astimezone(ZoneInfo(zone)).date()
    assert [(at.date() - first).days for at in moments] == [3, 7, 5, 10, 14]
    assert {(at.hour, at.minute) for at in moments} == {(0, 0)}
