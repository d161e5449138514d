"""Changing the seats of the plan one has: what it would do, then doing it."""

import re
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing.accounts.ids import encode
from billing.accounts.models import Account
from billing.invoicing.models import Invoice
from billing.subscriptions.models import ScheduledChange, Subscription, SubscriptionChange
from tests.factories import make_plan
from tests.payments import makers as cards
from tests.portal.conftest import MAX_QUERIES, Stage
from tests.portal.meadow import CHANGED_AT, form_of, nothing_happened
from tests.portal.shop import NEW_CARD, make_card, text_of


@pytest.fixture
def seats(meadow: Account, subscription: Subscription) -> str:
    return f"/a/{encode('acc', meadow.pk)}/plan/seats"


def test_the_page_of_seats_begins_with_those_one_has(alice: Client, seats: str) -> None:
    page = alice.get(seats, follow=True)
    assert re.fullmatch(rf"{seats}\?form=[0-9a-f-]{{36}}", page.redirect_chain[-1][0])
    text = text_of(page)
    assert "Your seats 3 3" in text
    assert "3 seats included, each further seat $9.00 a month, at most 50" in text
    assert "what it costs or gives back stands here" in text
    assert "Pay with" not in text


def test_more_seats_are_priced_by_the_days_that_are_left(alice: Client, subscription: Subscription, seats: str) -> None:
    form = form_of(alice.get(seats, follow=True), act="quote", seats="5")
    text = text_of(alice.post(seats, form))
    assert "Your seats 3 5 Fee with them $60.00 a month $78.00 a month" in text
    # Two seats for 20 of 30 days are 12.00, with 2.28 tax.
    assert "Team: 2 extra seats, 20 of 30 days $12.00 VAT 19% $2.28 Due today $14.28" in text
    assert "From then on $92.82 a month, tax included" in text
    assert "Visa •••• 4242" in text
    assert nothing_happened(subscription)


def test_more_seats_are_paid_at_once_without_a_line_of_javascript(
    alice: Client, stage: Stage, subscription: Subscription, seats: str
) -> None:
    quoted = alice.post(seats, form_of(alice.get(seats, follow=True), act="quote", seats="5"))
    text = text_of(alice.post(seats, form_of(quoted, seats="5"), follow=True))
    assert "Your seats are changed." in text
    assert "Seats 5, 3 of them included" in text
    subscription.refresh_from_db()
    invoice = Invoice.objects.latest("pk")
    assert (subscription.seats, invoice.total, invoice.state) == (5, Decimal("14.28"), "paid")
    assert invoice.created_at == CHANGED_AT
    change = SubscriptionChange.objects.get(act="change")
    assert (change.from_seats, change.to_seats, change.actor) == (3, 5, f"user:{stage.alice.pk}")


def test_fewer_seats_come_with_the_next_period(alice: Client, subscription: Subscription, seats: str) -> None:
    Subscription.objects.update(seats=5)
    quoted = alice.post(seats, form_of(alice.get(seats, follow=True), act="quote", seats="3"))
    text = text_of(quoted)
    assert "$0.00 today: nothing is charged" in text
    assert "Change on 1 May 2026" in text
    assert "Pay with" not in text
    text = text_of(alice.post(seats, form_of(quoted, seats="3"), follow=True))
    assert "It is noted: the change comes with the next period." in text
    assert "Changes to 3 seats on 1 May 2026" in text
    waiting = ScheduledChange.objects.get()
    assert (waiting.seats, Invoice.objects.count()) == (3, 1)


def test_fewer_seats_today_are_taken_off_the_next_invoice(
    alice: Client, subscription: Subscription, seats: str
) -> None:
    more = alice.post(seats, form_of(alice.get(seats, follow=True), act="quote", seats="5"))
    alice.post(seats, form_of(more, seats="5"))
    fewer = alice.post(seats, form_of(alice.get(seats, follow=True), act="quote", seats="3", when="now"))
    assert "In your favour $12.00 before tax, taken off your next invoices" in text_of(fewer)
    alice.post(seats, form_of(fewer, seats="3", when="now"))
    subscription.refresh_from_db()
    assert subscription.seats == 3
    # A month of team without extra seats is 60.00; 12.00 of it are given back: 48.00, with 9.12 tax.
    text = text_of(alice.get(f"{seats.removesuffix('/seats')}/next-invoice"))
    assert "VAT 19% $9.12 Total as of today $57.12" in text
    assert "In your favour: $12.00, Unused time on Team" in text


def test_a_declined_card_leaves_the_invoice_of_the_change_open(
    alice: Client, subscription: Subscription, seats: str
) -> None:
    quoted = alice.post(seats, form_of(alice.get(seats, follow=True), act="quote", seats="5"))
    sent = form_of(quoted, seats="5", **{**NEW_CARD, "number": cards.DECLINE})
    page = alice.post(seats, sent, follow=True)
    invoice = Invoice.objects.latest("pk")
    assert page.redirect_chain[-1][0] == f"{seats.removesuffix('/plan/seats')}/invoices/{encode('ivc', invoice.pk)}"
    assert "declined" in text_of(page)
    assert invoice.state == "open"


def test_a_choice_of_time_asks_the_server_again(alice: Client, seats: str) -> None:
    """With JavaScript the table, the price and the cards follow what is typed and chosen; what is typed of a card
    stays."""
    page = alice.get(seats, follow=True).content.decode()
    assert 'hx-select="#quote" hx-select-oob="#changes,#payment"' in page
    assert page.count('hx-trigger="input changed') == page.count('hx-trigger="change"') == 1
    quoted = alice.post(seats, {"act": "quote", "seats": "5", "token": str(uuid.uuid4())}).content.decode()
    assert re.search(r'id="payment"><section[^>]* hx-preserve="true"', quoted)


WRONG = [
    ({"seats": "51", "seen": ""}, "This plan has at most 50 seats."),
    ({"seats": "3", "seen": ""}, "That is what you have."),
    ({"seats": "", "seen": ""}, "That is what you have."),
    ({"seats": "five", "seen": ""}, "Enter a whole number."),
    ({"seen": "0.01 USD 0 now 5"}, "What you saw has changed since."),
    ({"method": ""}, "Choose a card."),
    ({"method": "999999"}, "Choose one of these cards."),
    ({"method": "new", "number": "4242", "expiry": "12/40", "cvc": "123"}, "A card number has 12 to 19 digits."),
    ({"token": "x"}, ""),
]


@pytest.mark.parametrize(("fields", "complaint"), WRONG)
def test_what_is_wrong_is_said_and_nothing_changes(
    alice: Client, subscription: Subscription, seats: str, fields: dict[str, str], complaint: str
) -> None:
    quoted = alice.post(seats, form_of(alice.get(seats, follow=True), act="quote", seats="5"))
    answer = alice.post(seats, {**form_of(quoted, seats="5"), **fields})
    assert answer.status_code == 422
    assert complaint in text_of(answer)
    assert nothing_happened(subscription)


def test_the_card_of_another_account_pays_nothing(
    alice: Client, stage: Stage, subscription: Subscription, seats: str
) -> None:
    other = make_card(stage)
    quoted = alice.post(seats, form_of(alice.get(seats, follow=True), act="quote", seats="5"))
    assert alice.post(seats, form_of(quoted, seats="5", method=other.pk)).status_code == 422
    assert nothing_happened(subscription)


def test_a_plan_without_seats_has_no_page_of_them(alice: Client, subscription: Subscription, seats: str) -> None:
    Subscription.objects.update(plan_version=make_plan("flat", prices={"USD": {"fee": "60"}}))
    assert alice.get(seats).status_code == alice.post(seats, {"seats": "5"}).status_code == 404
    Subscription.objects.update(state="ended", ended_at=CHANGED_AT, next_due_at=None)
    assert alice.get(seats).status_code == 404


def test_the_page_reads_little(alice: Client, seats: str, django_assert_max_num_queries: Any) -> None:
    page = alice.get(seats, follow=True)
    with django_assert_max_num_queries(MAX_QUERIES):
        assert alice.get(page.redirect_chain[-1][0]).status_code == 200
    form = form_of(page, act="quote", seats="5")
    # What a change costs is worked out as the change itself does it, and undone.
    with django_assert_max_num_queries(MAX_QUERIES + 16):
        assert alice.post(seats, form).status_code == 200
