"""What messages about plans say when things are not as usual."""

from typing import Any

import pytest

from billing.accounts.models import Account, Role
from tests.factories import make_account, make_member, make_user
from tests.notifications.makers import deliver, html_of, tell

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme() -> Account:
    account = make_account("acme", time_zone="Europe/Berlin", billing_email="")
    make_member(account, make_user("alice"), Role.OWNER)
    return account


def mail(account: Account, mailoutbox: list[Any], kind: str, **facts: object) -> tuple[str, str]:
    """Subject and text of the mail about it, whose HTML says the same."""
    tell(account, kind, **facts)
    deliver()
    (message,) = mailoutbox
    first = message.body.split("\n")[2]
    assert first.split("'")[0] in html_of(message)
    return message.subject.removeprefix("Acme: "), message.body


def test_an_invoice_for_a_transfer_asks_for_one(acme: Account, mailoutbox: list[Any]) -> None:
    _, body = mail(acme, mailoutbox, "invoice_issued", is_automatic="")
    assert "Please transfer the amount in time" in body
    assert "payment method" not in body


def test_an_invoice_of_nothing_asks_for_nothing(acme: Account, mailoutbox: list[Any]) -> None:
    _, body = mail(acme, mailoutbox, "invoice_issued", total="0", credits="0")
    assert "payment method" not in body
    assert "transfer" not in body
    assert "Credits included" not in body


def test_an_invoice_without_a_period_names_the_plan(acme: Account, mailoutbox: list[Any]) -> None:
    _, body = mail(acme, mailoutbox, "invoice_issued", period_ends_at="", period_starts_at="")
    assert "This invoice is for your plan Team." in body


def test_a_card_that_is_not_tried_again_is_said_to_be_so(acme: Account, mailoutbox: list[Any]) -> None:
    _, body = mail(acme, mailoutbox, "payment_overdue", next_try_at="")
    assert "We do not charge this payment method again by ourselves." in body
    assert "Next try" not in body


def test_who_has_no_card_is_asked_for_one(acme: Account, mailoutbox: list[Any]) -> None:
    _, body = mail(acme, mailoutbox, "payment_overdue", next_try_at="", has_method="", reason="There is none.")
    assert "Add a payment method, and we charge it at once. Or pay now." in body


def test_an_overdue_transfer_is_asked_for_without_reproach(acme: Account, mailoutbox: list[Any]) -> None:
    facts = {"is_automatic": "", "reason": "", "next_try_at": "", "due_at": "2025-03-15T12:00:00+00:00"}
    subject, body = mail(acme, mailoutbox, "payment_overdue", **facts)
    assert subject == "Invoice INV-7 for €119.00 is unpaid"
    assert "Its due date is 15 March 2025" in body
    assert "If you have paid in the last few days" in body
    assert "card" not in body


@pytest.mark.parametrize(
    ("act", "said"),
    [
        ("pause", "your plan is paused then"),
        ("downgrade", "you are moved to a smaller plan then"),
        ("cancel", "your plan ends then"),
        ("keep", "Please pay it before 22 March 2025."),
    ],
)
def test_a_reminder_says_what_happens_otherwise(acme: Account, act: str, said: str, mailoutbox: list[Any]) -> None:
    _, body = mail(acme, mailoutbox, "payment_reminder", final_act=act)
    assert said in body
    assert "22 March 2025" in body


def test_a_reminder_of_a_transfer_speaks_of_no_card(acme: Account, mailoutbox: list[Any]) -> None:
    _, body = mail(acme, mailoutbox, "payment_reminder", is_automatic="", reason="", next_try_at="")
    assert "card" not in body
    assert "payment-methods" not in body


@pytest.mark.parametrize(
    ("act", "title", "said"),
    [
        ("downgrade", "Your plan Team was changed: invoice INV-7 is not paid", "so your plan is now Basic"),
        ("cancel", "Your plan Team has ended: invoice INV-7 is not paid", "Credits that you bought stay yours"),
        ("keep", "Invoice INV-7 is still not paid", "it stays owed"),
    ],
)
def test_the_end_of_dunning_says_what_was_done(
    acme: Account, act: str, title: str, said: str, mailoutbox: list[Any]
) -> None:
    subject, body = mail(acme, mailoutbox, "subscription_lapsed", act=act, new_plan_name="Basic")
    assert subject == title
    assert said in body


def test_a_trial_without_a_payment_method_asks_for_one(acme: Account, mailoutbox: list[Any]) -> None:
    _, body = mail(acme, mailoutbox, "trial_ending", has_method="")
    assert "There is no payment method yet" in body
    assert "Add a payment method:" in body


@pytest.mark.parametrize(
    ("is_charged", "said"),
    [
        ("yes", "what you use is charged at the plan's prices"),
        ("", "when the trial's credits are used up, requests are refused"),
    ],
)
def test_a_trial_begins_with_its_end(acme: Account, mailoutbox: list[Any], is_charged: str, said: str) -> None:
    facts = {"trial_ends_at": "2025-03-14T23:00:00+00:00", "trial_is_charged": is_charged}
    subject, body = mail(acme, mailoutbox, "subscription_started", **facts)
    assert subject == "Your trial of Team has begun"
    assert "until 14 March 2025" in body
    assert "Renews on" not in body
    assert "Credits in the trial: 10,000" in body
    assert said in body


@pytest.mark.parametrize("kind", ["plan_changed", "change_scheduled"])
def test_a_change_of_seats_names_no_other_plan(acme: Account, kind: str, mailoutbox: list[Any]) -> None:
    _, body = mail(acme, mailoutbox, kind, plan_name="Team", previous_plan_name="Team", seats=5)
    assert "from Team to Team" not in body
    assert "Seats: 5" in body
