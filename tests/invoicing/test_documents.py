"""Invoices and credit notes as PDF: a page that says what the rows say, and texts from customers that stay texts."""

import io
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pypdf
import pytest
import qrcode

from billing.accounts import details
from billing.accounts.models import Account
from billing.invoicing import crediting, documents, drafting, settling
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import Invoice, Issuer
from billing.invoicing.tax_models import ExchangeRate
from tests.factories import NOW, make_account
from tests.invoicing.makers import credits_line, issue, plain_line

pytestmark = pytest.mark.smoke


def read(pdf):
    return pypdf.PdfReader(io.BytesIO(pdf))


def text_of(pdf):
    """The text of all pages, whitespace folded."""
    return " ".join(" ".join(page.extract_text() for page in read(pdf).pages).split())


def invoice_text(invoice):
    return text_of(documents.invoice_pdf(invoice.pk))


def pay(invoice, now=NOW):
    settling.settle(invoice_id=invoice.pk, amount=invoice.owed, now=now)


def test_an_open_invoice_says_who_owes_whom_what_and_until_when(issuer, account):
    details.change(account_id=account.pk, changes={"address": "Damm 79\n10967 Berlin", "tax_number": "DE811569869"})
    invoice = issue(account, credits_line(account, "700.00", "10000"), plain_line("50.00"))
    text = invoice_text(invoice)
    for said in (
        "Invoice number INV-000001", "Invoice date 1 March 2025", "Due date 15 March 2025", "Currency EUR",
        "Lumen GmbH Lichtstr. 1 10115 Berlin Germany VAT number: DE136695976 billing@lumen.example",
        "Northwind Damm 79 10967 Berlin Germany VAT number: DE811569869 billing@northwind.example",
        "Valid for 365 days from payment. 10,000 €0.07 19% €700.00", "Support 1 €50.00 19% €50.00",
        "VAT 19% €750.00 €142.50", "Subtotal €750.00", "Total €892.50", "Amount due €892.50", "Page 1 of 1",
    ):  # fmt: skip
        assert said in text
    assert "PAID" not in text


def test_a_paid_invoice_carries_a_stamp_and_the_receipt_line(issuer, account):
    invoice = issue(account)
    pay(invoice, NOW + timedelta(days=2))
    text = invoice_text(invoice)
    assert "PAID" in text
    assert "Payment received on 3 March 2025." in text
    assert "Paid \N{MINUS SIGN}€1,190.00 Amount due €0.00" in text


def test_dates_are_those_of_the_accounts_zone(issuer):
    account = make_account("auckland", country="NZ", time_zone="Pacific/Auckland")
    invoice = issue(account, now=datetime(2026, 6, 30, 13, tzinfo=UTC))
    assert "Invoice date 1 July 2026" in invoice_text(invoice)


def test_credits_for_ever_and_regions_are_named(issuer):
    account = make_account("sf", country="US", currency="USD")
    details.change(account_id=account.pk, changes={"region": "CA"})
    text = invoice_text(issue(account, credits_line(account, validity_days=None), currency="USD"))
    assert "Sf CA United States" in text
    assert "The credits do not expire." in text
    assert "Not taxed $1,000.00 $0.00" in text


def test_a_void_invoice_says_so_and_asks_for_nothing(issuer, account):
    invoice = issue(account)
    crediting.void(invoice_id=invoice.pk, now=NOW)
    text = invoice_text(invoice)
    assert "VOID" in text
    assert "Amount due €0.00" in text


def test_a_credit_note_names_its_invoice_and_the_invoice_its_credit_notes(issuer, account):
    invoice = issue(account, plain_line("5.00"), credits_line(account))
    pay(invoice)
    item = CreditItem(invoice.lines.get(position=2).pk, Decimal("250.00"), Decimal(2500))
    note = crediting.credit(
        invoice_id=invoice.pk, reference="r", reason="Not used", items=[item], actor="", now=NOW + timedelta(days=9)
    )
    text = text_of(documents.credit_note_pdf(note.pk))
    for said in (
        "Credit note number CN-000001", "Date 10 March 2025", "For invoice INV-000001", "Invoice date 1 March 2025",
        "2 10000 credits 2,500 €0.10 19% €250.00", "VAT 19% €250.00 €47.50", "Total credited €297.50",
        "Reason: Not used",
    ):  # fmt: skip
        assert said in text
    assert "Taken back by CN-000001: €297.50." in invoice_text(invoice)


def test_an_open_invoice_shows_what_was_credited_of_it(issuer, account):
    invoice = issue(account)
    item = CreditItem(invoice.lines.get().pk, Decimal("500.00"))
    crediting.credit(invoice_id=invoice.pk, reference="r", reason="Discount", items=[item], actor="", now=NOW)
    assert "Credited \N{MINUS SIGN}€595.00 Amount due €595.00" in invoice_text(invoice)


@pytest.mark.parametrize(
    ("currency", "amount", "said"),
    [("JPY", "1099", "Total ¥1,308"), ("KWD", "1.234", "Total KWD 1.468"), ("EUR", "0.05", "Total €0.06")],
)
def test_amounts_have_their_currencys_digits(issuer, account, currency, amount, said):
    assert said in invoice_text(issue(account, plain_line(amount), currency=currency))


def test_a_reverse_charge_invoice_says_who_owes_the_tax(issuer):
    account = make_account("paris", country="FR", tax_number="FR40303265045")
    text = invoice_text(issue(account))
    assert "Reverse charge €1,000.00 €0.00" in text
    assert "Reverse charge: the recipient owes the VAT (Article 196 of Directive 2006/112/EC)." in text


HOSTILE = [
    '#eval("1+1") #read("/etc/passwd") $x^2$ *b* _i_ @ref [x] \\ ~',
    "<script>alert(1)</script>",
    "} , ) ] \" ' ` // /* */ #{ panic() }",
    "{page} {pages} %(notes)s {{ x }}",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_texts_from_customers_are_only_ever_printed(issuer, account, name):
    details.change(account_id=account.pk, changes={"name": name, "address": name})
    text = invoice_text(issue(account, plain_line(description=name)))
    assert text.replace(" ", "").count(name.replace(" ", "")) == 3
    assert "root:" not in text


@pytest.mark.parametrize(
    "name",
    ["שלום בע״מ", "شركة الاختبار", "Ελληνική", "Ростелеком", "株式会社フローリン", "Ship it 🚀", "Ünïcode Ǻ ẞ ﬁ"],
)
def test_any_script_gives_a_document(issuer, account, name):
    details.change(account_id=account.pk, changes={"name": name})
    assert "Amount due €1,190.00" in invoice_text(issue(account))


def test_signs_that_turn_text_round_or_are_no_text_are_dropped(issuer, account):
    # No door takes such a name any more.
    Account.objects.filter(pk=account.pk).update(name="Ever\u202eLIVE\u202c\x07 GmbH\u200f")
    text = invoice_text(issue(account))
    assert "EverLIVE GmbH" in text


@pytest.mark.parametrize("letter", ["W", "й"])
def test_a_name_without_spaces_is_broken_to_fit_its_column(issuer, account, letter):
    details.change(account_id=account.pk, changes={"name": letter * 200})
    page = read(documents.invoice_pdf(issue(account).pk)).pages[0].extract_text()
    rows = re.findall(f"{letter}+", page)
    assert sum(map(len, rows)) == 200
    assert max(map(len, rows)) < 25


def test_a_long_invoice_runs_over_pages_with_its_headings(issuer, account):
    pages = read(documents.invoice_pdf(issue(account, *[plain_line("1.00") for _ in range(80)]).pk)).pages
    assert len(pages) == 3
    for number, page in enumerate(pages, start=1):
        assert "Unit price" in page.extract_text()
        assert f"Page {number} of 3" in page.extract_text()


def test_the_document_can_be_archived_and_is_the_same_each_time(issuer, account):
    invoice = issue(account)
    pdf = documents.invoice_pdf(invoice.pk)
    assert pdf == documents.invoice_pdf(invoice.pk)
    assert "pdfaid" in read(pdf).xmp_metadata.rdf_root.toxml()
    assert read(pdf).metadata.title == "Invoice INV-000001"


def test_more_fonts_can_be_given(issuer, account, settings, tmp_path):
    settings.FLORIN_FONTS = str(tmp_path)
    assert documents.invoice_pdf(issue(account).pk).startswith(b"%PDF")


def test_a_draft_is_no_document(issuer, account):
    draft = Invoice.objects.create(account=account, issuer=issuer, reference="d", currency="EUR", created_at=NOW)
    with pytest.raises(documents.NotIssued):
        documents.invoice_pdf(draft.pk)


def test_a_draft_is_shown_to_those_who_ask_for_one_and_says_that_it_is_none(issuer, account):
    draft = drafting.draft(account_id=account.pk, reference="d", currency="EUR", lines=[plain_line("100.00")], now=NOW)
    text = text_of(documents.invoice_pdf(draft.pk, with_drafts=True))
    assert "DRAFT" in text
    assert "Total €119.00" in text
    assert "Amount due" not in text
    assert "Invoice date" not in text


def test_a_line_says_what_time_it_is_for_both_days_included(issuer, account):
    begins = datetime(2025, 2, 28, 23, tzinfo=UTC)
    line = plain_line("10.00", starts_at=begins, ends_at=datetime(2025, 3, 31, 22, tzinfo=UTC))
    text = invoice_text(issue(account, line))
    assert "1 March 2025 to 31 March 2025." in text
    assert "Date of supply" not in text
    day = plain_line("10.00", starts_at=begins, ends_at=begins + timedelta(days=1))
    text = invoice_text(issue(account, day, plain_line("5.00"), reference="2"))
    assert "Support 1 March 2025. 1" in text
    assert "Date of supply" in text


def test_negative_lines_and_another_currency_are_said_in_full(issuer, account):
    Issuer.objects.update(base_currency="EUR")
    ExchangeRate.objects.create(currency="USD", on=NOW.date(), rate="1.25")
    discount = plain_line("-10.00", description="Discount", quantity=Decimal(-1), unit_price=Decimal(10))
    invoice = issue(account, plain_line("100.00"), discount, currency="USD")
    text = invoice_text(invoice)
    assert "Discount \N{MINUS SIGN}1 $10.00 19% \N{MINUS SIGN}$10.00" in text
    assert "Tax in EUR: €13.68, at 1 USD = 0.8 EUR (European Central Bank, 1 March 2025)." in text
    item = CreditItem(invoice.lines.get(position=1).pk, Decimal("50.00"))
    note = crediting.credit(invoice_id=invoice.pk, reference="c", reason="r", items=[item], actor="", now=NOW)
    text = text_of(documents.credit_note_pdf(note.pk))
    assert "Tax in EUR: €7.60" in text
    assert "Unit price" not in text


BANK = {"iban": "DE89370400440532013000", "bic": "COBADEFFXXX", "bank_name": "Commerzbank"}


def test_what_is_owed_can_be_transferred_and_what_is_paid_need_not(issuer, account):
    Issuer.objects.update(**BANK)
    invoice = issue(account)
    assert (
        "Account holder Lumen GmbH IBAN DE89 3704 0044 0532 0130 00 BIC COBADEFFXXX Bank Commerzbank"
        " Amount €1,190.00 Reference INV-000001"
    ) in invoice_text(invoice)
    pay(invoice)
    assert "IBAN" not in invoice_text(invoice)


def test_the_code_for_banking_apps_says_the_same_and_only_in_euros(issuer, account, monkeypatch):
    asked = []
    make = qrcode.QRCode.add_data
    monkeypatch.setattr(
        qrcode.QRCode, "add_data", lambda code, data, **opt: asked.append(data) or make(code, data, **opt)
    )
    Issuer.objects.update(**BANK)
    documents.invoice_pdf(issue(account).pk)
    assert asked == [b"BCD\n002\n1\nSCT\nCOBADEFFXXX\nLumen GmbH\nDE89370400440532013000\nEUR1190.00\n\n\nINV-000001"]
    text = invoice_text(issue(account, currency="USD", reference="2"))
    assert "IBAN" in text
    assert len(asked) == 1
