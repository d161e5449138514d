"""Receivables, tax and journal, with the figures worked by hand."""

from datetime import timedelta

import pytest

from billing.accounts.models import Account
from billing.finance import journal, receivables
from billing.finance.reports import Report
from billing.invoicing import crediting, settling
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import Invoice
from billing.payments.models import Payment, Refund
from tests.factories import make_account, make_issuer
from tests.finance.makers import D, at, issue, receive, report, use
from tests.invoicing.makers import credits_line, plain_line


@pytest.fixture
def acme(db: None) -> Account:
    """A customer in Germany, where 19 % are charged."""
    make_issuer()
    return make_account("acme", country="DE", time_zone="UTC", currency="EUR", now=at(1))


def _credit(invoice: Invoice, amount: str, *, reference: str = "c", now) -> None:
    item = CreditItem(invoice.lines.get().pk, D(amount))
    crediting.credit(invoice_id=invoice.pk, reference=reference, reason="x", items=[item], actor="t", now=now)


def _give_back(payment: Payment, amount: str, *, now) -> None:
    """Money that went back for a credit note, as its refund's success is written down."""
    Refund.objects.create(
        payment=payment, amount=D(amount), idempotency_key=f"r{payment.pk}", state="succeeded", created_at=now,
        finished_at=now,
    )  # fmt: skip
    crediting.note_refunded(invoice_id=payment.invoice_id, amount=D(amount))


def _ageing(found: Report) -> dict[str, str]:
    (ageing,) = found.ageings
    sums = {**ageing.buckets, "given_up": ageing.given_up, "owed_to_customer": ageing.owed_to_customer}
    return {name: f"{amount:.2f}" for name, amount in sums.items() if amount}


def _accounts(found: Report) -> dict[str, str]:
    return {account: f"{amount:.2f}" for (_, account), amount in journal.balances(found.documents).items() if amount}


def test_what_is_owed_ages_by_the_days_it_is_overdue(acme):
    for number, days in enumerate((-3, 0, 1, 30, 31, 60, 61, 90, 91)):
        due_at = at(6) - timedelta(days=days)
        issue(acme, plain_line("100.00"), reference=f"i{number}", now=at(2), due_at=due_at)
    found = report(at(6))
    # Due in three days or at this very moment: not due. A day is over once it has passed.
    assert _ageing(found) == {
        "not_due": "238.00", "to_30": "238.00", "to_60": "238.00", "to_90": "238.00", "older": "119.00",
    }  # fmt: skip
    rows = receivables.csv_rows(found.ageings)
    assert len(rows) == 9
    assert rows[-1][:2] == ["EUR", "acme"]
    assert {len(row) for row in rows} == {len(receivables.COLUMNS)}


def test_a_part_that_is_paid_or_credited_is_not_owed_any_more(acme):
    invoice = issue(acme, plain_line("100.00"), reference="i", now=at(1, 2))
    receive(invoice, "19.00", now=at(1, 5))
    _credit(invoice, "50.00", now=at(1, 9))
    assert _ageing(report(at(1, 10))) == {"not_due": "40.50"}
    assert _ageing(report(at(1, 4))) == {"not_due": "119.00"}
    receive(invoice, "40.50", now=at(1, 12))
    assert _ageing(report(at(2))) == {}


def test_what_a_customer_is_to_get_back_is_no_negative_claim(acme):
    issue(acme, plain_line("10.00"), reference="other", now=at(1, 2))
    invoice = issue(acme, plain_line("100.00"), reference="i", now=at(1, 2))
    payment = receive(invoice, now=at(1, 5))
    _credit(invoice, "50.00", now=at(2, 9))
    found = report(at(2, 10))
    assert _ageing(found) == {"to_30": "11.90", "owed_to_customer": "59.50"}
    assert _accounts(found)["receivables"] == "-47.60"
    _give_back(payment, "59.50", now=at(2, 12))
    assert _ageing(report(at(2, 13))) == {"to_30": "11.90"}


def test_what_was_given_up_is_a_loss_until_money_comes_all_the_same(acme):
    invoice = issue(acme, plain_line("100.00"), reference="i", now=at(1, 2))
    settling.mark_uncollectible(invoice_id=invoice.pk, now=at(2, 5))
    found = report(at(2, 10))
    assert _ageing(found) == {"given_up": "119.00"}
    assert _accounts(found) == {"revenue:at_once": "-100.00", "tax:lumen": "-19.00", "bad_debts": "119.00"}
    receive(invoice, "119.00", now=at(3, 5))
    assert _ageing(report(at(3, 10))) == {}
    assert _accounts(report(at(3, 10))) == {
        "revenue:at_once": "-100.00", "tax:lumen": "-19.00", "cash:manual": "119.00",
    }  # fmt: skip
    assert _ageing(report(at(2, 20))) == {"given_up": "119.00"}


def test_tax_is_reported_by_country_and_rate_in_the_month_of_the_document(acme):
    french = make_account("fr", country="FR", tax_number="FR40303265045", currency="EUR", time_zone="UTC", now=at(1))
    invoice = issue(acme, plain_line("100.00"), reference="i", now=at(1, 2))
    issue(french, plain_line("70.00"), reference="j", now=at(1, 3))
    gone = issue(acme, plain_line("10.00"), reference="k", now=at(1, 4))
    _credit(invoice, "40.00", now=at(2, 1))
    crediting.void(invoice_id=gone.pk, now=at(2, 3))
    found = report(at(3))
    assert [
        (line.month.month, line.country, line.percent, line.treatment, line.net, line.tax, line.tax_in_base)
        for line in found.taxes
    ] == [
        (1, "DE", 19, "taxed", D(110), D("20.90"), D("20.90")),
        (1, "FR", 0, "reverse_charge", D(70), D(0), D(0)),
        (2, "DE", 19, "taxed", D(-50), D("-9.50"), D("-9.50")),
    ]
    assert len(report(at(3), since=at(2)).taxes) == 1


def test_an_invoice_that_was_credited_in_full_before_it_was_paid_is_taken_back_once(acme):
    invoice = issue(acme, plain_line("100.00"), reference="i", now=at(1, 2))
    _credit(invoice, "100.00", now=at(1, 9))
    invoice.refresh_from_db()
    assert invoice.state == Invoice.State.VOID
    found = report(at(2))
    assert (_ageing(found), _accounts(found)) == ({}, {})
    assert [(line.net, line.tax) for line in found.taxes] == [(0, 0)]


def test_the_journal_has_a_balanced_entry_for_each_document(acme):
    sale = issue(
        acme, credits_line(acme, "100.00", "1000", recognition="credits"), plain_line("20.00"), reference="s",
        now=at(1, 2),
    )  # fmt: skip
    payment = receive(sale, now=at(1, 3))
    _credit_line = sale.lines.get(credits=None)
    crediting.credit(
        invoice_id=sale.pk, reference="c", reason="x", actor="t", now=at(1, 8),
        items=[CreditItem(_credit_line.pk, D("20.00"))],
    )  # fmt: skip
    _give_back(payment, "23.80", now=at(1, 9))
    found = report(at(2, 1, 0))
    sale.refresh_from_db()
    entries = {each.kind: {name: f"{amount:.2f}" for name, amount in each.entries.items()} for each in found.documents}
    assert entries == {
        "invoice": {
            "receivables": "142.80", "revenue:at_once": "-20.00", "deferred_revenue": "-100.00", "tax:lumen": "-22.80",
        },
        "payment": {"cash:manual": "142.80", "receivables": "-142.80"},
        "credit_note": {"receivables": "-23.80", "revenue:at_once": "20.00", "tax:lumen": "3.80"},
        "refund": {"cash:manual": "-23.80", "receivables": "23.80"},
    }  # fmt: skip
    lines = list(journal.csv_rows(found.documents))
    assert sum(line[4] or 0 for line in lines) == sum(line[5] or 0 for line in lines) == D("333.20")
    assert lines[0] == [at(1, 2), "invoice", sale.number, "receivables", D("142.80"), None, "EUR", "acme"]


def test_the_months_accruals_close_the_books(acme):
    sale = issue(acme, credits_line(acme, "100.00", "1000", recognition="credits"), reference="s", now=at(1, 2))
    receive(sale, now=at(1, 3))
    use(acme, "250", now=at(1, 20))
    use(acme, "250", now=at(2, 20))
    found = report(at(3, 1, 0))
    accruals = [each for each in found.documents if each.kind == "accrual"]
    assert [(each.name, each.at.month, dict(each.entries)) for each in accruals] == [
        ("accrual-2025-01-EUR", 1, {"revenue:use": D("-25.00"), "deferred_revenue": D("25.00")}),
        ("accrual-2025-02-EUR", 2, {"revenue:use": D("-25.00"), "deferred_revenue": D("25.00")}),
    ]
    assert _accounts(found)["deferred_revenue"] == "-50.00"
