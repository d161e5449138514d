"""E-invoices, voiding, giving up, and statements over the API."""

import pytest
from django.utils import timezone

from billing.accounts.ids import encode
from billing.invoicing.models import CreditNote, Invoice, Issuer
from billing.payments import account_statement
from tests.api.asking import assert_problem, not_refused, written
from tests.invoicing.makers import issue, plain_line
from tests.payments import makers
from tests.payments.makers import make_card

BUY = {"pack": "credits", "credits": "1000"}
YEAR = {"from": "2025-01-01", "to": "2035-01-01"}


@pytest.fixture
def invoice(platform, acme, shop) -> Invoice:
    """An open invoice of 142.80: the card was declined."""
    card = make_card(acme, makers.DECLINE, now=timezone.now())
    platform.post("/accounts/acme/purchases", {**BUY, "payment_method": encode("pm", card.pk)})
    return Invoice.objects.get()


def test_e_invoices_are_xml(alice, platform, acme, shop):
    bought = platform.post("/accounts/acme/purchases", BUY).json()
    platform.post(f"/purchases/{bought['id']}/refund", {"reason": "Not needed", "credits": "10"})
    note = CreditNote.objects.get()
    for path, name in (
        (f"/invoices/{bought['invoice']}/xml", "INV-000001.xml"),
        (f"/credit-notes/{encode('cn', note.pk)}/xml", f"{note.number}.xml"),
    ):
        response = alice.get(path)
        assert (response.status_code, response["Content-Type"]) == (200, "application/xml")
        assert response["Content-Disposition"] == f'inline; filename="{name}"'
        assert b"urn:cen.eu:en16931:2017" in response.content


def test_a_document_that_the_norm_cannot_say_has_none(alice, acme, shop):
    dinars = issue(acme, plain_line("1.234"), currency="KWD", now=timezone.now())
    problem = assert_problem(alice.get(f"/invoices/{encode('ivc', dinars.pk)}/xml"), 409, "no_e_invoice")
    assert "two decimals" in problem["detail"]


def test_the_platform_voids_an_open_invoice_once(platform, invoice):
    for _ in range(2):
        answer = platform.post(f"/invoices/{encode('ivc', invoice.pk)}/void")
        assert (answer.status_code, answer.json()["state"], answer.json()["owed"]) == (200, "void", "0")
    assert answer.json()["voided_at"] is not None


def test_the_platform_gives_up_an_open_invoice_and_it_stays_owed(platform, alice, acme, invoice):
    answer = platform.post(f"/invoices/{encode('ivc', invoice.pk)}/mark-uncollectible").json()
    assert (answer["state"], answer["owed"]) == ("uncollectible", "142.8")
    assert answer["uncollectible_at"] is not None
    card = make_card(acme, makers.SUCCESS, now=timezone.now())
    alice.post(f"/invoices/{encode('ivc', invoice.pk)}/pay", {"payment_method": encode("pm", card.pk)})
    assert Invoice.objects.get().state == "paid"


def test_a_paid_invoice_is_neither_voided_nor_given_up(platform, acme, shop):
    bought = platform.post("/accounts/acme/purchases", BUY).json()
    before = written()
    assert_problem(platform.post(f"/invoices/{bought['invoice']}/void"), 409, "invoice_not_voidable")
    assert_problem(platform.post(f"/invoices/{bought['invoice']}/mark-uncollectible"), 409, "invoice_not_payable")
    assert written() == before


def test_an_invoice_with_a_payment_under_way_is_not_voided(platform, alice, acme, invoice):
    card = make_card(acme, makers.BLACKOUT, now=timezone.now())
    alice.post(f"/invoices/{encode('ivc', invoice.pk)}/pay", {"payment_method": encode("pm", card.pk)})
    before = written()
    assert_problem(platform.post(f"/invoices/{encode('ivc', invoice.pk)}/void"), 409, "payment_under_way")
    assert written() == before


def test_what_is_not_there_is_not_found(platform):
    rows = ["void", "mark-uncollectible"]
    answers = [(act, platform.post(f"/invoices/ivc_0000000000009/{act}")) for act in rows]
    assert not_refused(answers, 404, "not_found") == []


def test_a_statement_tells_what_is_owed(alice, platform, acme, invoice):
    bought = platform.post(
        "/accounts/acme/purchases", {**BUY, "payment_method": encode("pm", make_card(acme).pk)}
    ).json()
    answer = alice.get("/accounts/acme/statement", **YEAR).json()
    assert {name: answer[name] for name in ("account", "currency", "opening", "charges", "credits", "closing")} == {
        "account": encode("acc", acme.pk), "currency": "USD", "opening": "0", "charges": "285.6", "credits": "-285.6",
        "closing": "0",
    }  # fmt: skip
    assert [(each["kind"], each["number"], each["amount"], each["balance"]) for each in answer["entries"]] == [
        ("invoice", "INV-000001", "142.8", "142.8"), ("invoice", "INV-000002", "142.8", "285.6"),
        ("void", "INV-000001", "-142.8", "142.8"), ("payment", "INV-000002", "-142.8", "0"),
    ]  # fmt: skip
    assert answer["entries"][1]["invoice"] == bought["invoice"]
    assert alice.get("/accounts/acme/statement", currency="EUR", **YEAR).json()["entries"] == []


def test_a_statement_is_a_pdf_too(alice, acme, shop):
    response = alice.get("/accounts/acme/statement/pdf", **{"from": "2025-01-01", "to": "2026-01-01"})
    assert (response.status_code, response["Content-Type"]) == (200, "application/pdf")
    assert response["Content-Disposition"] == 'inline; filename="statement-2025-01-01-2025-12-31-USD.pdf"'
    Issuer.objects.update(is_default=False)
    assert_problem(alice.get("/accounts/acme/statement/pdf", **YEAR), 409, "no_issuer")


def test_a_statement_of_no_sense_is_refused(alice, acme):
    rows = [
        ({}, "from"), ({"from": "2026-01-01", "to": "2026-01-01"}, "to"),
        ({"from": "2026-01-02", "to": "2026-01-01"}, "to"), ({**YEAR, "currency": "XXL"}, "currency"),
        ({**YEAR, "from": "yesterday"}, "from"),
    ]  # fmt: skip
    answers = [((query, field), alice.get("/accounts/acme/statement", **query), field) for query, field in rows]
    assert not_refused(answers, 400, "invalid_request") == []


def test_a_statement_that_is_too_long_is_refused(alice, acme, invoice, monkeypatch):
    monkeypatch.setattr(account_statement, "MOST_ENTRIES", 0)
    assert_problem(alice.get("/accounts/acme/statement", **YEAR), 400, "invalid_request", "to")


@pytest.mark.parametrize("act", ["void", "mark-uncollectible"])
def test_a_body_where_nothing_is_to_be_said_is_refused(platform, invoice, act):
    rows = [(b'{"reason": "typo"}', "invalid_request"), (b"[]", "invalid_request"), (b"{", "malformed_json")]
    answers = [
        (body, platform.send("POST", f"/invoices/{encode('ivc', invoice.pk)}/{act}", body), code) for body, code in rows
    ]
    assert not_refused(answers, 400) == []
    invoice.refresh_from_db()
    assert (invoice.state, invoice.voided_at) == ("open", None)
    assert platform.post(f"/invoices/{encode('ivc', invoice.pk)}/{act}").status_code == 200
