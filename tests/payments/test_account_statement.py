"""Statements of account: opening plus what happened is closing, to the cent."""

import io
from datetime import timedelta
from decimal import Decimal

import pypdf
import pytest

from billing.invoicing import crediting, issuing, settling
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import Invoice, Issuer
from billing.payments import account_statement, paying
from billing.purchases import refunds
from tests.factories import NOW, make_account, make_issuer
from tests.invoicing.makers import issue, plain_line
from tests.payments import makers
from tests.payments.makers import make_card

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture
def account():
    make_issuer()
    return make_account("northwind", currency="EUR", time_zone="Europe/Berlin")


def read(account, since=NOW, until=NOW + 30 * DAY, currency="EUR"):
    return account_statement.read(account=account, currency=currency, since=since.date(), until=until.date())


def pay(invoice, *, now, number=makers.SUCCESS):
    card = make_card(invoice.account, number)
    return paying.pay(invoice_id=invoice.pk, method_id=card.pk, key=f"k:{card.pk}", off_session=True, now=now)


@pytest.fixture
def busy(account):
    """Day 0: invoice of 1,190.00; day 1: declined, then paid; day 2: a refund of 119.00; day 3: an invoice of 11.90 of
    which 5.95 is credited; day 4: one of 119.00 made void; day 5: one of 23.80 given up."""
    first = issue(account)
    pay(first, now=NOW + DAY, number=makers.DECLINE)
    pay(first, now=NOW + DAY)
    refunds.refund(
        line_id=first.lines.get().pk, credits=Decimal(1000), reason="r", actor="", reference="r", now=NOW + 2 * DAY
    )
    second = issue(account, plain_line("10.00"), reference="2", now=NOW + 3 * DAY)
    item = CreditItem(second.lines.get().pk, Decimal("5.00"))
    crediting.credit(invoice_id=second.pk, reference="c", reason="r", items=[item], actor="", now=NOW + 3 * DAY)
    third = issue(account, plain_line("100.00"), reference="3", now=NOW + 4 * DAY)
    crediting.void(invoice_id=third.pk, now=NOW + 4 * DAY)
    fourth = issue(account, plain_line("20.00"), reference="4", now=NOW + 5 * DAY)
    settling.mark_uncollectible(invoice_id=fourth.pk, now=NOW + 5 * DAY)
    return account


def told(statement):
    return [(entry.kind, entry.number, str(entry.amount), str(entry.balance)) for entry in statement.entries]


def test_it_tells_what_happened_and_what_was_owed_after_each(busy):
    statement = read(busy)
    assert told(statement) == [
        ("invoice", "INV-000001", "1190.000", "1190.000"),
        ("payment", "INV-000001", "-1190.000", "0.000"),
        ("credit_note", "CN-000001", "-119.000", "-119.000"),
        ("refund", "INV-000001", "119.000", "0.000"),
        ("invoice", "INV-000002", "11.900", "11.900"),
        ("credit_note", "CN-000002", "-5.950", "5.950"),
        ("invoice", "INV-000003", "119.000", "124.950"),
        ("void", "INV-000003", "-119.000", "5.950"),
        ("invoice", "INV-000004", "23.800", "29.750"),
    ]
    assert (statement.opening, statement.charges, statement.credits, statement.closing) == (
        0, Decimal("1463.70"), Decimal("-1433.95"), Decimal("29.75"),
    )  # fmt: skip
    assert statement.closing == sum(invoice.owed for invoice in Invoice.objects.all())


@pytest.mark.parametrize("days", range(7))
def test_one_statement_begins_with_what_the_one_before_ends_with(busy, days):
    border = NOW + days * DAY
    before, after = read(busy, until=border), read(busy, since=border + DAY)
    assert before.closing == after.opening
    assert after.closing == Decimal("29.75")
    assert len(before.entries) + len(after.entries) == 9


def test_a_day_is_the_accounts(account):
    late = NOW.replace(day=31, hour=22, minute=30)
    issue(account, now=late)
    assert len(read(account, since=late + DAY, until=late + DAY).entries) == 1
    assert read(account, since=late, until=late).entries == ()


def test_money_that_was_not_owed_any_more_comes_and_goes(account):
    invoice = issue(account)
    payment = paying.start(invoice_id=invoice.pk, method_id=make_card(account).pk, key="k", off_session=True, now=NOW)
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    paying.submit(payment_id=payment.pk, return_url="", now=NOW)
    statement = read(account)
    # By hand the test has settled without a payment, so only what the gateway did is told.
    assert told(statement)[1:] == [("payment", "INV-000001", "-1190.000", "0.000")]


def test_others_currencies_and_drafts_are_not_on_it(account):
    issue(make_account("stranger", currency="EUR"), reference="theirs")
    issue(account, reference="dollars", currency="USD")
    Invoice.objects.create(account=account, issuer=Issuer.objects.get(), reference="d", currency="EUR", created_at=NOW)
    assert read(account).entries == ()
    assert len(read(account, currency="USD").entries) == 1
    assert account_statement.list_currencies(account) == ["USD"]
    assert account_statement.list_currencies(make_account(currency="GBP")) == ["GBP"]


def test_too_much_is_refused_and_so_are_days_in_disorder(busy, monkeypatch):
    monkeypatch.setattr(account_statement, "MOST_ENTRIES", 8)
    with pytest.raises(account_statement.TooLong):
        read(busy)
    with pytest.raises(ValueError, match="before the first"):
        read(busy, since=NOW + DAY, until=NOW)


def text_of(pdf):
    return " ".join(" ".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages).split())


def test_the_pdf_says_the_same(busy):
    text = text_of(account_statement.pdf(read(busy), now=NOW + 40 * DAY))
    for said in (
        "Statement of account", "Lumen GmbH", "Northwind", "From 1 March 2025", "To 31 March 2025", "Currency EUR",
        "1 March 2025 Invoice INV-000001 €1,190.00 €1,190.00", "2 March 2025 Payment INV-000001 €1,190.00 €0.00",
        "3 March 2025 Refund INV-000001 €119.00 €0.00", "5 March 2025 Invoice made void INV-000003 €119.00 €5.95",
        "Owed €1,463.70", "Settled \N{MINUS SIGN}€1,433.95", "Balance €29.75",
        "A positive balance is owed by Northwind.",
    ):  # fmt: skip
        assert said in text


def test_a_time_without_entries_gives_a_statement_too(account):
    assert "Nothing happened in this time." in text_of(account_statement.pdf(read(account), now=NOW))


def test_without_an_issuer_there_is_no_pdf(account):
    Issuer.objects.update(is_default=False)
    with pytest.raises(issuing.NoIssuer):
        account_statement.pdf(read(account), now=NOW)
