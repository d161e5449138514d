"""E-invoices: valid by the norm's own rules, and saying what the document says."""

import io
from datetime import timedelta
from decimal import Decimal

import facturx
import pypdf
import pytest
from lxml import etree

from billing.accounts import details
from billing.accounts.models import Account
from billing.invoicing import crediting, documents, einvoice, settling
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import Invoice, InvoiceLine, Issuer
from billing.invoicing.tax_models import ExchangeRate, TaxRate
from tests.factories import NOW, make_account, make_issuer
from tests.invoicing.makers import credits_line, issue, plain_line
from tests.invoicing.schematron import broken_rules

RAM = "{urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100}"
MONTH = timedelta(days=31)


@pytest.fixture(autouse=True)
def bank(issuer):
    Issuer.objects.update(iban="DE89370400440532013000", bic="COBADEFFXXX", bank_name="Commerzbank")


def xml_of(invoice):
    kept = Invoice.objects.get(pk=invoice.pk)
    return einvoice.invoice_xml(kept, list(kept.lines.all()))


def said(xml, *path):
    """The texts of all elements at a path."""
    found = etree.fromstring(xml).findall(".//" + "/".join(RAM + name for name in path))
    return [each.text for each in found]


def taxes(xml):
    table = etree.fromstring(xml).findall(f".//{RAM}ApplicableHeaderTradeSettlement/{RAM}ApplicableTradeTax")
    names = ("CategoryCode", "RateApplicablePercent", "BasisAmount", "CalculatedAmount", "ExemptionReasonCode")
    return [tuple(entry.findtext(RAM + name) for name in names) for entry in table]


def sums(xml):
    place = "SpecifiedTradeSettlementHeaderMonetarySummation"
    names = ("LineTotalAmount", "TaxTotalAmount", "GrandTotalAmount", "TotalPrepaidAmount", "DuePayableAmount")
    return [said(xml, place, name)[0] for name in names]


def discount(amount):
    return plain_line(f"-{amount}", description="Discount", quantity=Decimal(-1), unit_price=Decimal(amount))


def test_an_invoice_is_valid_and_says_what_is_owed_to_whom(account):
    details.change(
        account_id=account.pk,
        changes={"address": "Damm 79\nHof 2\nAufgang C\n10967 Berlin", "tax_number": "DE811569869"},
    )
    line = plain_line("100.00", description="Team, May", starts_at=NOW, ends_at=NOW + MONTH, recognition="period")
    xml = xml_of(issue(account, line, credits_line(account, "700.00", "10000")))
    assert broken_rules(xml) == []
    assert sums(xml) == ["800.00", "152.00", "952.00", "0.00", "952.00"]
    assert taxes(xml) == [("S", "19", "800.00", "152.00", None)]
    assert said(xml, "BilledQuantity") == ["1", "10000"]
    assert said(xml, "NetPriceProductTradePrice", "ChargeAmount") == ["100", "0.07"]
    assert said(xml, "SpecifiedTaxRegistration", "ID") == ["DE136695976", "DE811569869"]
    assert said(xml, "PostalTradeAddress", "LineThree") == ["Aufgang C, 10967 Berlin"]
    assert said(xml, "IBANID") == ["DE89370400440532013000"]
    assert b'<udt:DateTimeString format="102">20250401' in xml


def test_the_rules_find_what_is_wrong(account):
    """The positive control."""
    xml = xml_of(issue(account))
    assert any(
        "BR-CO-15" in rule
        for rule in broken_rules(xml.replace(b"GrandTotalAmount>1190.00", b"GrandTotalAmount>1191.00"))
    )
    with pytest.raises(Exception, match="not valid against"):
        broken_rules(xml.replace(b"ram:GrandTotalAmount", b"ram:Other"))


def test_a_reverse_charge_invoice_names_both_tax_numbers_and_the_reason():
    account = make_account("paris", country="FR", tax_number="FR 40303265045")
    xml = xml_of(issue(account))
    assert broken_rules(xml) == []
    assert taxes(xml) == [("AE", "0", "1000.00", "0.00", "VATEX-EU-AE")]
    assert said(xml, "SpecifiedTaxRegistration", "ID") == ["DE136695976", "FR40303265045"]
    assert "Article 196" in said(xml, "ExemptionReason")[0]


def test_rates_stand_apart_and_negative_lines_lower_theirs(account):
    TaxRate.objects.create(country="DE", category="books", percent=7, valid_from="2020-01-01")
    TaxRate.objects.create(country="DE", category="flights", percent=0, valid_from="2020-01-01")
    lines = [
        plain_line("33.33"), discount("3.33"), plain_line("19.99", category="books"),
        plain_line("5.00", category="flights"),
    ]  # fmt: skip
    xml = xml_of(issue(account, *lines))
    assert broken_rules(xml) == []
    assert taxes(xml) == [
        ("S", "19", "30.00", "5.70", None), ("S", "7", "19.99", "1.40", None), ("Z", "0", "5.00", "0.00", None),
    ]  # fmt: skip
    assert said(xml, "BilledQuantity") == ["1", "-1", "1", "1"]


def test_a_sale_outside_the_union_is_not_subject_to_vat_and_names_no_vat_number():
    account = make_account("sf", country="US", currency="USD", tax_number="US123")
    xml = xml_of(issue(account, currency="USD"))
    assert broken_rules(xml) == []
    assert taxes(xml) == [("O", None, "1000.00", "0.00", "VATEX-EU-O")]
    assert b'schemeID="VA"' not in xml


def test_what_is_not_taxed_beside_what_is_counts_as_exempt(account):
    invoice = issue(account, plain_line("10.00"), plain_line("5.00", category="exports"))
    lines = list(invoice.lines.all())
    lines[1].tax_treatment, lines[1].tax_percent = InvoiceLine.Treatment.UNTAXED, Decimal(0)
    lines[1].tax_amount, invoice.tax_total, invoice.total = Decimal(0), Decimal("1.90"), Decimal("16.90")
    xml = einvoice.invoice_xml(invoice, lines)
    assert broken_rules(xml) == []
    assert [(code, net) for code, _percent, net, *_ in taxes(xml)] == [("S", "10.00"), ("E", "5.00")]


def test_another_currency_says_the_tax_in_that_of_the_books(account):
    Issuer.objects.update(base_currency="EUR")
    ExchangeRate.objects.create(currency="USD", on=NOW.date(), rate="1.25")
    xml = xml_of(issue(account, plain_line("100.00"), currency="USD"))
    assert broken_rules(xml) == []
    assert said(xml, "TaxTotalAmount") == ["19.00", "15.20"]
    assert said(xml, "TaxCurrencyCode") == ["EUR"]
    assert said(xml, "SpecifiedTradeSettlementPaymentMeans", "TypeCode") == ["30"]


def test_a_paid_invoice_asks_for_nothing(account):
    invoice = issue(account)
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    xml = xml_of(invoice)
    assert broken_rules(xml) == []
    assert sums(xml)[3:] == ["1190.00", "0.00"]
    assert said(xml, "IBANID") == []


def test_an_invoice_of_nothing_to_pay_is_valid(account):
    xml = xml_of(issue(account, plain_line("10.00"), discount("10.00")))
    assert broken_rules(xml) == []
    assert sums(xml) == ["0.00"] * 5


def test_a_credit_note_names_its_invoice(account):
    invoice = issue(account, plain_line("5.00"), credits_line(account))
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    items = [CreditItem(line.pk, line.amount / 4) for line in invoice.lines.all()]
    note = crediting.credit(
        invoice_id=invoice.pk, reference="c", reason="Not\u202e used", items=items, actor="", now=NOW
    )
    xml = einvoice.credit_note_xml(note)
    assert broken_rules(xml) == []
    assert said(xml, "InvoiceReferencedDocument", "IssuerAssignedID") == ["INV-000001"]
    assert said(xml, "IncludedNote", "Content") == ["Reason: Not used"]
    assert b"TypeCode>381<" in xml
    assert sums(xml) == ["251.25", "47.74", "298.99", "0.00", "298.99"]


def test_parts_of_a_credit_note_may_round_away_from_the_rate(account):
    invoice = issue(account, plain_line("0.33"))
    for number in range(3):
        item = CreditItem(invoice.lines.get().pk, Decimal("0.11"))
        note = crediting.credit(
            invoice_id=invoice.pk, reference=f"c{number}", reason="r", items=[item], actor="", now=NOW
        )
        assert broken_rules(einvoice.credit_note_xml(note)) == []


HOSTILE = "<a>&amp;\x07\x1b]]>\u202e 🚀 " + "x" * 150


def test_any_text_of_a_customer_is_only_text(account):
    # No door takes such a name any more.
    Account.objects.filter(pk=account.pk).update(name=HOSTILE[:190], address=HOSTILE)
    xml = xml_of(issue(account, plain_line("1.00", description=HOSTILE[:190])))
    assert broken_rules(xml) == []
    assert said(xml, "BuyerTradeParty", "Name")[0].startswith("<a>&amp;]]> 🚀")


def test_a_tax_number_that_is_no_vat_number_is_named_as_what_it_is(account):
    Issuer.objects.update(tax_number="37/123/45678")
    xml = xml_of(issue(account))
    assert broken_rules(xml) == []
    assert b'<ram:ID schemeID="FC">37/123/45678' in xml


def test_a_buyers_number_stands_as_a_vat_number_only_if_it_is_one(account):
    for typed, vat_ids in (("fr 40303265045", ["FR40303265045"]), ("fr 12", []), ("FR 40 303 265 046", [])):
        details.change(account_id=account.pk, changes={"country": "FR", "tax_number": typed})
        xml = xml_of(issue(account, reference=typed))
        assert broken_rules(xml) == []
        assert said(xml, "BuyerTradeParty", "SpecifiedTaxRegistration", "ID") == vat_ids
        assert bool(said(xml, "BuyerTradeParty", "ID")) != bool(vat_ids)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"country": "CH"}, "issuers in the European Union"),
        ({"tax_number": ""}, "tax number is missing"),
    ],
)
def test_what_the_norm_cannot_say_has_none(account, change, reason):
    Issuer.objects.update(**change)
    invoice = issue(account)
    with pytest.raises(einvoice.NotPossible, match=reason):
        xml_of(invoice)
    assert attached(documents.invoice_pdf(invoice.pk)) == {}


def test_neither_drafts_nor_void_invoices_nor_three_decimals_have_one(account):
    invoice = issue(account)
    crediting.void(invoice_id=invoice.pk, now=NOW)
    for each in (invoice, issue(account, plain_line("1.234"), currency="KWD", reference="2")):
        with pytest.raises(einvoice.NotPossible):
            xml_of(each)
        assert attached(documents.invoice_pdf(each.pk)) == {}


def attached(pdf):
    return {name: list(files) for name, files in pypdf.PdfReader(io.BytesIO(pdf)).attachments.items()}


def test_the_pdf_carries_the_e_invoice_and_says_so(account):
    invoice = issue(account)
    pdf = documents.invoice_pdf(invoice.pk)
    assert attached(pdf) == {"factur-x.xml": [xml_of(invoice)]}
    name, xml = facturx.get_xml_from_pdf(pdf)
    assert (name, xml) == ("factur-x.xml", xml_of(invoice))
    reader = pypdf.PdfReader(io.BytesIO(pdf))
    packet = reader.trailer["/Root"]["/Metadata"].get_data().decode()
    for words in (
        "<pdfaid:part>3</pdfaid:part>", "<fx:ConformanceLevel>EN 16931<", "<fx:DocumentFileName>factur-x.xml<",
        "<pdfaSchema:prefix>fx</pdfaSchema:prefix>",
    ):  # fmt: skip
        assert words in packet
    assert packet.count("<pdfaExtension:schemas>") == 1
    (file,) = (each.get_object() for each in reader.trailer["/Root"]["/AF"])
    assert (file["/AFRelationship"], file["/EF"]["/F"]["/Subtype"]) == ("/Alternative", "/text/xml")
    assert reader.metadata.title == "Invoice INV-000001"
    assert pdf.startswith(b"%PDF-1.7")


def test_a_credit_notes_pdf_carries_its_own(account):
    invoice = issue(account)
    item = CreditItem(invoice.lines.get().pk, Decimal("1.00"))
    note = crediting.credit(invoice_id=invoice.pk, reference="c", reason="r", items=[item], actor="", now=NOW)
    assert attached(documents.credit_note_pdf(note.pk)) == {"factur-x.xml": [einvoice.credit_note_xml(note)]}


def test_an_issuer_elsewhere_gives_documents_without_one(db):
    Issuer.objects.all().delete()
    make_issuer("us", country="US", rates={"US": "8"}, tax_number="12-3456789", iban="")
    invoice = issue(make_account("sf", country="US", currency="USD"), currency="USD")
    pdf = documents.invoice_pdf(invoice.pk)
    assert attached(pdf) == {}
    assert "pdfaid" in pypdf.PdfReader(io.BytesIO(pdf)).xmp_metadata.rdf_root.toxml()
