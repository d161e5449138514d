"""One invoice: its papers, and paying it."""

import io
import uuid
from typing import Any

import pytest
from django.test import Client
from pypdf import PdfReader

from billing.accounts.ids import encode
from billing.invoicing import crediting
from billing.invoicing.models import CreditNote, Invoice
from billing.payments.models import Payment, PaymentMethod
from tests.factories import make_issuer
from tests.invoicing.makers import issue, plain_line
from tests.payments import makers as cards
from tests.portal.conftest import MAX_QUERIES, Stage
from tests.portal.shop import NEW_CARD, make_card, make_invoice, pay_with, sign_in_as, text_of


@pytest.fixture
def invoice(stage: Stage) -> Invoice:
    make_issuer(address="Lichtstr. 1\n10115 Berlin")
    return make_invoice(stage)


@pytest.fixture
def url(stage: Stage, invoice: Invoice) -> str:
    return f"{stage.url}/invoices/{encode('ivc', invoice.pk)}"


def _pay(**fields: Any) -> dict[str, Any]:
    return {"token": str(uuid.uuid4()), **NEW_CARD, **fields}


def _credit(invoice: Invoice, stage: Stage) -> CreditNote:
    line = invoice.lines.get()
    item = crediting.CreditItem(line_id=line.pk, amount=line.amount / 2, credits=line.credits / 2)
    return crediting.credit(
        invoice_id=invoice.pk, reference="credit:1", reason="Half came back", items=[item], actor="test", now=stage.now
    )


def test_it_says_who_what_tax_and_total(alice: Client, url: str) -> None:
    page = text_of(alice.get(url))
    assert "Invoice INV-000001 Open Download PDF E-invoice (XML)" in page
    assert "From Lumen GmbH Lichtstr. 1 10115 Berlin DE136695976 To Northwind" in page
    assert "10,000 credits for Main pool, granted once this is paid 10,000 $0.10 19% $1,000.00" in page
    assert "Subtotal $1,000.00 VAT 19% $190.00 Total $1,190.00 Still to pay $1,190.00" in page
    assert "No payment has been tried yet." in page


def test_it_can_be_paid_with_a_new_card(alice: Client, stage: Stage, invoice: Invoice, url: str) -> None:
    assert alice.post(f"{url}/pay", _pay())["Location"] == url
    page = text_of(alice.get(url))
    assert "Invoice INV-000001 Paid" in page
    assert "10,000 credits granted to Main pool on" in page
    assert "Pay with" not in page


def test_it_can_be_paid_with_a_saved_card(alice: Client, stage: Stage, invoice: Invoice, url: str) -> None:
    card = make_card(stage)
    alice.post(f"{url}/pay", _pay(method=card.pk))
    assert Payment.objects.get().method == card
    invoice.refresh_from_db()
    assert invoice.state == "paid"


def test_the_same_form_pays_once(alice: Client, url: str) -> None:
    form = _pay(number=cards.DECLINE)
    assert {alice.post(f"{url}/pay", form)["Location"] for _ in range(3)} == {url}
    assert Payment.objects.count() == PaymentMethod.objects.count() == 1
    page = text_of(alice.get(url))
    assert "The payment did not go through The card was declined." in page
    alice.post(f"{url}/pay", _pay())
    assert list(Payment.objects.order_by("pk").values_list("state", flat=True)) == ["failed", "succeeded"]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"number": ""}, "This is needed for a new card."),
        ({"number": "4111111111111111"}, "Only test cards work here"),
        ({"method": ""}, "Choose a card."),
        ({"method": "999999"}, "Choose one of these cards."),
        ({"token": ""}, "Pay $1,190.00"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_paid(
    alice: Client, url: str, fields: dict[str, str], complaint: str
) -> None:
    response = alice.post(f"{url}/pay", _pay(**fields))
    assert response.status_code == 422
    assert complaint in text_of(response)
    assert not Payment.objects.exists()


@pytest.mark.parametrize("number", [cards.SUCCESS, cards.ACTION, cards.BLACKOUT])
def test_what_is_paid_or_under_way_is_not_paid_again(
    alice: Client, stage: Stage, invoice: Invoice, url: str, number: str
) -> None:
    pay_with(stage, invoice, number)
    assert alice.post(f"{url}/pay", _pay())["Location"] == url
    assert "Pay with" not in text_of(alice.get(url))
    assert Payment.objects.count() == PaymentMethod.objects.count() == 1


def test_what_was_credited_is_listed_with_its_paper(alice: Client, stage: Stage, invoice: Invoice, url: str) -> None:
    pay_with(stage, invoice, cards.SUCCESS)
    note = _credit(invoice, stage)
    page = text_of(alice.get(url))
    assert "Paid Partly credited" in page
    assert f"{note.number}" in page
    assert "Half came back $595.00" in page


def test_the_papers_are_pdf_files_named_by_their_numbers(
    alice: Client, stage: Stage, invoice: Invoice, url: str
) -> None:
    pay_with(stage, invoice, cards.SUCCESS)
    note = _credit(invoice, stage)
    for address, number in ((f"{url}/pdf", "INV-000001"), (f"{url}/credit-notes/{encode('cn', note.pk)}", note.number)):
        response = alice.get(address)
        assert response["Content-Type"] == "application/pdf"
        assert response["Content-Disposition"] == f'attachment; filename="{number}.pdf"'
        assert number in PdfReader(io.BytesIO(response.content)).pages[0].extract_text()


def test_text_of_customers_is_inert(alice: Client, stage: Stage, invoice: Invoice) -> None:
    stage.account.name, stage.account.address = "<img src=x>", "<b>1</b>\nHere"
    stage.account.save()
    bad = issue(stage.account, plain_line(description="<i>x</i>"), reference="bad:1", currency="USD", now=stage.now)
    page = alice.get(f"{stage.url}/invoices/{encode('ivc', bad.pk)}").content.decode()
    for tag in ("<img src=x", "<b>1", "<i>x"):
        assert tag not in page


def test_members_read_and_do_not_pay(client: Client, stage: Stage, url: str) -> None:
    sign_in_as(client, stage, "viewer")
    page = text_of(client.get(url))
    assert "An owner or admin of the account can pay it." in page
    assert "Card number" not in page
    assert client.post(f"{url}/pay", _pay()).status_code == 403
    assert client.get(f"{url}/pdf").status_code == 200
    assert not Payment.objects.exists()


def test_nobody_else_gets_at_it(client: Client, stage: Stage, invoice: Invoice, url: str) -> None:
    note = _credit(invoice, stage)
    papers = ["", "/pdf", f"/credit-notes/{encode('cn', note.pk)}"]
    for paper in papers:
        assert client.get(url + paper)["Location"].startswith("/login")
    assert client.post(f"{url}/pay", _pay())["Location"].startswith("/login")
    client.force_login(stage.mallory)
    hers = f"/a/{encode('acc', stage.mallory.memberships.get().account_id)}/invoices/{encode('ivc', invoice.pk)}"
    for address in (url, hers):
        assert {client.get(address + paper).status_code for paper in papers} == {404}
        assert client.post(f"{address}/pay", _pay()).status_code == 404
    assert not Payment.objects.exists()


def test_what_does_not_exist_is_404(alice: Client, stage: Stage, url: str) -> None:
    for address in (
        f"{stage.url}/invoices/ivc_0000000000009",
        f"{stage.url}/invoices/{10**30}",
        f"{url}/credit-notes/cn_0000000000009",
    ):
        assert alice.get(address).status_code == 404
    assert alice.get(f"{url}/pay").status_code == 405


@pytest.mark.parametrize("number", [cards.SUCCESS, cards.DECLINE, cards.ACTION])
def test_the_page_reads_little(
    alice: Client, stage: Stage, invoice: Invoice, url: str, django_assert_max_num_queries: Any, number: str
) -> None:
    pay_with(stage, invoice, number)
    with django_assert_max_num_queries(MAX_QUERIES):
        alice.get(url)


def test_the_e_invoice_can_be_downloaded_where_there_is_one(alice: Client, stage: Stage, url: str) -> None:
    assert "E-invoice (XML)" in text_of(alice.get(url))
    response = alice.get(f"{url}/xml")
    assert (response["Content-Type"], response["Content-Disposition"]) == (
        "application/xml", 'attachment; filename="INV-000001.xml"',
    )  # fmt: skip
    assert b"urn:cen.eu:en16931:2017" in response.content
    dinars = issue(stage.account, plain_line("1.234"), reference="2", currency="KWD", now=stage.now)
    assert "E-invoice" not in text_of(alice.get(f"{stage.url}/invoices/{encode('ivc', dinars.pk)}"))
    assert alice.get(f"{stage.url}/invoices/{encode('ivc', dinars.pk)}/xml").status_code == 404
