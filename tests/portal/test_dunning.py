"""What an account sees of an invoice that does not get paid: what happens when, and paying it at once."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing.accounts.ids import encode
from billing.invoicing.models import Invoice
from billing.payments.models import Collection, Payment
from billing.wording.amounts import MINUS
from portal.money.dunning import list_steps
from tests.factories import make_issuer
from tests.invoicing.makers import issue, plain_line
from tests.portal.conftest import MAX_QUERIES, Stage
from tests.portal.shop import make_card, sign_in_as, text_of

POLICY = {"retry_days": [1, 3], "reminder_days": [3, 7], "final_days": 14, "final_act": "pause", "downgrade_to": None}
# Whole days of November in New York, where northwind is.
NOVEMBER = {"starts_at": datetime(2026, 11, 1, 4, tzinfo=UTC), "ends_at": datetime(2026, 12, 1, 5, tzinfo=UTC)}


@pytest.fixture
def invoice(stage: Stage) -> Invoice:
    """49.00 for November less 4.90, due two days ago; with tax 52.48."""
    make_issuer()
    discount = plain_line("-4.90", description="Coupon SPRING", quantity=Decimal(-1), unit_price=Decimal("4.90"))
    return issue(
        stage.account, plain_line("49.00", description="Team", **NOVEMBER), discount,
        reference="renewal:1:2", currency="USD", now=stage.now, due_at=stage.now - timedelta(days=2),
    )  # fmt: skip


def _collect(invoice: Invoice, stage: Stage, **fields: Any) -> Collection:
    """Its collection, overdue since two days ago."""
    given = {
        "purpose": "subscription:1", "policy": POLICY, "state": "overdue", "overdue_at": stage.now - timedelta(days=2),
        "next_at": stage.now + timedelta(days=1), "created_at": stage.now, **fields,
    }  # fmt: skip
    return Collection.objects.create(invoice=invoice, **given)


def test_lines_say_which_days_they_are_for_and_what_is_taken_off(alice: Client, stage: Stage, invoice: Invoice) -> None:
    page = text_of(alice.get(f"{stage.url}/invoices/{encode('ivc', invoice.pk)}"))
    assert "Team 1 Nov to 30 Nov 2026 1 $49.00 19% $49.00" in page
    assert f"Coupon SPRING {MINUS}1 $4.90 19% {MINUS}$4.90" in page
    assert "Subtotal $44.10" in page
    assert "Team, Coupon SPRING · 1 Nov to 30 Nov 2026" in text_of(alice.get(f"{stage.url}/invoices"))


def test_an_overdue_invoice_says_what_happens_when(alice: Client, stage: Stage, invoice: Invoice) -> None:
    _collect(invoice, stage)
    page = text_of(alice.get(f"{stage.url}/invoices/{encode('ivc', invoice.pk)}"))
    assert "What happens when it stays unpaid" in page
    assert "The payment failed (done)" in page
    assert "We charge the card again, we remind you by e-mail" in page
    assert "The subscription is paused: usage is refused until the invoice is paid" in page


def test_steps_are_in_order_and_know_what_is_behind_us(stage: Stage, invoice: Invoice) -> None:
    row = _collect(invoice, stage)
    steps = list_steps(row, now=stage.now)
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert [step.is_done for step in steps] == [True, True, False, False, False]


def test_a_card_that_is_refused_for_good_is_not_said_to_be_charged_again(stage: Stage, invoice: Invoice) -> None:
    row = _collect(invoice, stage, retries_stopped=True)
    coming = [step.text for step in list_steps(row, now=stage.now) if not step.is_done]
    assert coming[:2] == ["We remind you by e-mail", "We remind you by e-mail"]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ("pause", "The subscription is paused"),
        ("downgrade", "The plan is changed to a smaller one"),
        ("cancel", "The subscription ends"),
        ("keep", "The invoice is given up"),
    ],
)
def test_the_end_is_said_by_the_policy(stage: Stage, invoice: Invoice, act: str, words: str) -> None:
    row = _collect(invoice, stage, is_automatic=False, policy={**POLICY, "final_act": act})
    steps = list_steps(row, now=stage.now)
    assert steps[0].text == "The invoice was due"
    assert steps[-1].text.startswith(words)


def test_what_is_not_overdue_has_no_steps(alice: Client, stage: Stage, invoice: Invoice) -> None:
    row = _collect(invoice, stage, state="open", overdue_at=None)
    assert list_steps(row, now=stage.now) == []
    assert "stays unpaid" not in text_of(alice.get(f"{stage.url}/invoices/{encode('ivc', invoice.pk)}"))


def test_overdue_invoices_are_paid_beside_the_cards(alice: Client, stage: Stage, invoice: Invoice) -> None:
    card = make_card(stage, make_default=True)
    page = text_of(alice.get(f"{stage.url}/payment-methods"))
    assert f"An invoice is unpaid {invoice.number} $52.48 was due on" in page
    assert "Pay $52.48 with Visa •••• 4242" in page
    sent = {"token": str(uuid.uuid4()), "method": card.pk}
    for _twice in range(2):
        answer = alice.post(f"{stage.url}/invoices/{encode('ivc', invoice.pk)}/pay", sent)
        assert answer["Location"] == f"{stage.url}/invoices/{encode('ivc', invoice.pk)}"
    assert Payment.objects.get().state == "succeeded"
    assert "is unpaid" not in text_of(alice.get(f"{stage.url}/payment-methods"))


def test_without_a_card_it_asks_for_one(alice: Client, stage: Stage, invoice: Invoice) -> None:
    page = text_of(alice.get(f"{stage.url}/payment-methods"))
    assert "Add a card to pay with." in page
    assert "Pay $52.48 with" not in page


def test_what_is_not_due_yet_is_not_asked_for(alice: Client, stage: Stage) -> None:
    make_issuer()
    issue(stage.account, plain_line(), currency="USD", now=stage.now)
    assert "is unpaid" not in text_of(alice.get(f"{stage.url}/payment-methods"))


def test_what_is_due_today_is_not_overdue_yet(alice: Client, stage: Stage) -> None:
    make_issuer()
    invoice = issue(stage.account, plain_line("49.00"), reference="renewal:1:2", currency="USD", now=stage.now,
        due_at=stage.now)  # fmt: skip
    _collect(invoice, stage, overdue_at=stage.now)
    assert "Overdue" not in text_of(alice.get(f"{stage.url}/invoices"))
    page = text_of(alice.get(f"{stage.url}/payment-methods"))
    assert f"An invoice is unpaid {invoice.number} $58.31 due on" in page


def test_another_accounts_overdue_invoices_stay_its_own(client: Client, stage: Stage, invoice: Invoice) -> None:
    client.force_login(stage.mallory)
    hers = f"/a/{encode('acc', stage.mallory.memberships.get().account_id)}/payment-methods"
    assert "is unpaid" not in text_of(client.get(hers))
    sign_in_as(client, stage, "viewer")
    assert client.get(f"{stage.url}/payment-methods").status_code == 403


def test_the_pages_read_little(
    alice: Client, stage: Stage, invoice: Invoice, django_assert_max_num_queries: Any
) -> None:
    make_card(stage)
    _collect(invoice, stage)
    for page in ("payment-methods", f"invoices/{encode('ivc', invoice.pk)}", "invoices"):
        with django_assert_max_num_queries(MAX_QUERIES):
            alice.get(f"{stage.url}/{page}")
