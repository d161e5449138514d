import pytest
from django.utils import timezone

from billing.accounts.ids import encode
from billing.invoicing.models import CreditNote, Invoice, Issuer
from billing.payments.sandbox_models import SandboxCharge
from tests.api.asking import assert_problem, not_refused, written
from tests.payments import makers
from tests.payments.makers import make_card

PATH = "/accounts/acme/invoices"
BUY = {"pack": "credits", "credits": "1000"}


@pytest.fixture
def invoice(platform, acme, shop) -> Invoice:
    """An open invoice of 142.80: the card was declined."""
    card = make_card(acme, makers.DECLINE, now=timezone.now())
    platform.post("/accounts/acme/purchases", {**BUY, "payment_method": encode("pm", card.pk)})
    return Invoice.objects.get()


def test_an_invoice_says_what_it_is_for_and_how_it_stands(alice, acme, invoice):
    answer = alice.get(f"/invoices/{encode('ivc', invoice.pk)}").json()
    assert answer == {
        "id": encode("ivc", invoice.pk), "account": encode("acc", acme.pk), "number": "INV-000001", "state": "open",
        "currency": "USD", "subtotal": "120", "tax_total": "22.8", "total": "142.8", "amount_paid": "0",
        "amount_credited": "0", "amount_refunded": "0", "owed": "142.8", "tax_note": "",
        "base_currency": "", "base_rate": None, "base_rate_on": None, "tax_in_base": None,
        "reference": invoice.reference, "content_hash": invoice.content_hash,
        "issued_at": answer["issued_at"], "due_at": answer["due_at"], "paid_at": None, "voided_at": None,
        "uncollectible_at": None,
        "lines": [
            {
                "line": 1, "description": "Credits: 1,000 credits", "quantity": "1000", "unit_price": "0.12",
                    "amount": "120", "amount_credited": "0",
                    "includes_tax": False,
                "tax_name": "VAT", "tax_percent": "19", "tax_amount": "22.8", "tax_treatment": "taxed",
                "credits": "1000", "credits_refunded": "0", "starts_at": None, "ends_at": None, "period": "",
            }
        ],
        "credit_notes": [],
    }  # fmt: skip
    assert alice.get(PATH).json() == {"items": [answer], "next_cursor": None}


def test_invoices_are_filtered(alice, invoice):
    rows = [
        ({"state": "open"}, 1), ({"state": "paid"}, 0), ({"currency": "USD"}, 1), ({"currency": "EUR"}, 0),
        ({"number": "INV-000001"}, 1), ({"number": "INV-00000"}, 0), ({"reference": "purchase:x"}, 0),
        ({"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}, 1), ({"from": "2100-01-01T00:00:00Z"}, 0),
        ({"to": "2020-01-01T00:00:00Z"}, 0),
    ]  # fmt: skip
    assert [(query, len(alice.get(PATH, **query).json()["items"])) for query, _ in rows] == rows


def test_filters_that_make_no_sense_are_refused(alice, invoice):
    rows = [
        ({"state": "gone"}, "state"), ({"currency": "XXL"}, "currency"), ({"from": "yesterday"}, "from"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
    ]  # fmt: skip
    answers = [((query, field), alice.get(PATH, **query), field) for query, field in rows]
    assert not_refused(answers, 400, "invalid_request") == []


def test_a_draft_is_nobodys_business(alice, acme, shop):
    issuer = Issuer.objects.get(is_default=True)
    draft = Invoice.objects.create(
        account=acme, issuer=issuer, reference="d", currency="USD", created_at=timezone.now()
    )
    assert alice.get(PATH).json()["items"] == []
    assert_problem(alice.get(f"/invoices/{encode('ivc', draft.pk)}"), 404, "not_found")
    assert_problem(alice.get(PATH, state="draft"), 400, "invalid_request", "state")


def test_documents_are_pdf(alice, platform, acme, shop):
    bought = platform.post("/accounts/acme/purchases", BUY).json()
    platform.post(f"/purchases/{bought['id']}/refund", {"reason": "Not needed", "credits": "10"})
    note = CreditNote.objects.get()
    listed = alice.get(f"/invoices/{bought['invoice']}").json()["credit_notes"]
    assert [(each["id"], each["number"], each["total"]) for each in listed] == [
        (encode("cn", note.pk), note.number, "1.43")
    ]
    for path, name in (
        (f"/invoices/{bought['invoice']}/pdf", "INV-000001.pdf"),
        (f"/credit-notes/{encode('cn', note.pk)}/pdf", f"{note.number}.pdf"),
    ):
        response = alice.get(path)
        assert (response.status_code, response["Content-Type"]) == (200, "application/pdf")
        assert response["Content-Disposition"] == f'inline; filename="{name}"'
        assert response.content.startswith(b"%PDF")


def test_an_open_invoice_is_paid_once(alice, invoice):
    for _ in range(2):
        response = alice.post(f"/invoices/{encode('ivc', invoice.pk)}/pay", {"reference": "now"})
        assert response.status_code == 201, response.content
        assert response.json()["state"] == "succeeded"
    assert SandboxCharge.objects.count() == 2
    assert alice.get(f"/invoices/{encode('ivc', invoice.pk)}").json()["state"] == "paid"
    before = written()
    assert_problem(alice.post(f"/invoices/{encode('ivc', invoice.pk)}/pay"), 409, "invoice_not_payable")
    assert written() == before


def test_no_second_attempt_begins_while_one_is_under_way(alice, acme, invoice):
    card = make_card(acme, makers.BLACKOUT, now=timezone.now())
    first = alice.post(f"/invoices/{encode('ivc', invoice.pk)}/pay", {"payment_method": encode("pm", card.pk)}).json()
    assert first["state"] == "unknown"
    before = written()
    problem = assert_problem(alice.post(f"/invoices/{encode('ivc', invoice.pk)}/pay"), 409, "payment_under_way")
    assert problem["payment"] == first["id"]
    assert written() == before


def test_an_unknown_card_pays_nothing(alice, invoice):
    before = written()
    answer = alice.post(f"/invoices/{encode('ivc', invoice.pk)}/pay", {"payment_method": "pm_0000000000009"})
    assert_problem(answer, 422, "unknown_payment_method")
    assert written() == before


def test_what_is_not_there_is_not_found(alice):
    rows = ["/invoices/ivc_0000000000009", "/invoices/x/pdf", "/credit-notes/cn_0000000000009/pdf"]
    answers = [(path, alice.get(path)) for path in rows]
    assert not_refused(answers, 404, "not_found") == []
