"""Crediting an invoice over the API, and the invoice balance."""

import pytest
from django.utils import timezone

from billing.accounts.ids import encode
from billing.invoicing.models import CreditNote, Invoice
from billing.payments import invoice_credits
from billing.payments.models import Refund
from tests.api.asking import assert_problem
from tests.factories import NOW
from tests.invoicing.makers import credits_line, issue, plain_line
from tests.payments.makers import pay
from tests.undoing import check_each


@pytest.fixture
def invoice(acme, shop) -> Invoice:
    """Paid by card: 100.00 and 50.00 with tax, and 20.00 taken off."""
    lines = (plain_line("100.00"), plain_line("50.00"), plain_line("-20.00", quantity=-1))
    made = issue(acme, *lines, reference="renewal:1", now=timezone.now())
    pay(made, now=timezone.now())
    made.refresh_from_db()
    return made


def _credit(invoice, **asked):
    return f"/invoices/{encode('ivc', invoice.pk)}/credit", {"reason": "Outage", "refund_to": "payment", **asked}


def test_lines_are_credited_once_per_reference_and_the_card_gets_the_money(platform, invoice):
    asked = _credit(invoice, lines=[{"line": 2, "amount": "10.00"}], reference="t1")
    for _ in range(2):
        answer = platform.post(*asked)
        assert answer.status_code == 201
        assert {name: answer.json()[name] for name in ("subtotal", "refund_to", "refund_state", "reason")} == {
            "subtotal": "10", "refund_to": "payment", "refund_state": "succeeded", "reason": "Outage",
        }  # fmt: skip
    assert Refund.objects.get().credit_note == CreditNote.objects.get()
    lines = platform.get(f"/invoices/{encode('ivc', invoice.pk)}").json()["lines"]
    assert [(each["line"], each["amount_credited"]) for each in lines] == [(1, "0"), (2, "10"), (3, "0")]
    assert_problem(platform.post(*_credit(invoice, amount="1", reference="t1")), 409, "reference_conflict")


def test_an_amount_is_kept_for_the_next_invoices(platform, alice, invoice):
    answer = platform.post(*_credit(invoice, amount="11.90", refund_to="balance")).json()
    assert (answer["total"], answer["refund_to"], answer["refund_state"]) == ("11.9", "balance", None)
    balance = alice.get("/accounts/acme/invoice-balance").json()
    assert balance == {"items": [{"currency": "EUR", "amount": "11.9"}]}
    later = issue(invoice.account, plain_line("100.00"), reference="renewal:2", now=timezone.now())
    invoice_credits.apply(invoice_id=later.pk, now=timezone.now())
    paid = alice.get("/accounts/acme/payments").json()["items"]
    assert [(each["amount"], each["from_balance"]) for each in paid] == [("11.9", True), ("154.7", False)]


def test_what_cannot_be_credited_says_why_and_nothing_is_written(platform, acme, invoice):
    unpaid = issue(acme, plain_line("10.00"), reference="renewal:2", now=NOW)
    pack = issue(acme, credits_line(acme), reference="purchase:1", now=NOW)
    cases = [
        (invoice, {"amount": "1000"}, 409, "credit_too_high"),
        (invoice, {"lines": [{"line": 2, "amount": "50.01"}]}, 409, "credit_too_high"),
        (invoice, {"refund_to": None}, 400, "invalid_request"),
        (invoice, {"refund_to": "moon"}, 400, "invalid_request"),
        (invoice, {"amount": "1.001"}, 400, "invalid_request"),
        (invoice, {"lines": [{"line": 3, "amount": "1"}]}, 400, "invalid_request"),
        (invoice, {"lines": [{"line": 9, "amount": "1"}]}, 400, "invalid_request"),
        (invoice, {"lines": [{"line": 1, "amount": "1"}] * 2}, 400, "invalid_request"),
        (invoice, {"lines": [{"line": 1, "amount": "1"}], "amount": "1"}, 400, "invalid_request"),
        (unpaid, {}, 422, "wrong_refund_to"),
        (pack, {}, 409, "not_creditable"),
    ]  # fmt: skip

    def refused(case):
        of, asked, status, code = case
        assert_problem(platform.post(*_credit(of, **asked)), status, code)
        assert not CreditNote.objects.exists()

    check_each(cases, refused)
    without = {"reason": "Outage", "amount": "1"}
    assert_problem(platform.post(f"/invoices/{encode('ivc', invoice.pk)}/credit", without), 422, "wrong_refund_to")
