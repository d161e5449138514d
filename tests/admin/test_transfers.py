"""Staff pages of bank transfers."""

from datetime import date
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from billing.accounts.models import StaffAct
from billing.admin.payments import transfer_forms
from billing.invoicing import crediting
from billing.invoicing.models import Invoice
from billing.payments import refunding, transfers
from billing.payments.models import BankTransfer, Payment, Refund
from tests.admin.conftest import Office, find_unrefused, post, text_of
from tests.admin.test_roles import _colleague
from tests.factories import make_issuer
from tests.invoicing.makers import issue

LIST = "/admin/billing/banktransfer/"
TOKEN = "5a6b3c1e-9a3d-4d3e-8c54-1c5f7d1f0a11"
FORM = {"reference": "bank-1", "received_on": "2026-11-20", "amount": "1190.00", "currency": "EUR"}


@pytest.fixture(autouse=True)
def _limit(settings) -> None:
    settings.FLORIN_APPROVAL_MONEY = 5000


@pytest.fixture
def invoice(office: Office) -> Invoice:
    make_issuer()
    return issue(office.account, now=office.now)


@pytest.fixture
def transfer(office: Office) -> BankTransfer:
    return transfers.record(
        reference="bank-0", received_on=date(2026, 11, 20), amount=Decimal(1200), currency="EUR", payer="Somebody",
        actor="test", now=office.now,
    )[0]  # fmt: skip


def acts() -> list[tuple[str, str]]:
    return list(StaffAct.objects.order_by("pk").values_list("act", "model"))


def test_a_recorded_transfer_pays_the_invoice_it_names_once(staff, office, invoice) -> None:
    for _ in range(2):
        page = post(staff, f"{LIST}record/", **FORM, remittance="INV-000001")
    assert "had been recorded before" in page
    invoice.refresh_from_db()
    assert invoice.state == "paid"
    assert (BankTransfer.objects.count(), Payment.objects.count()) == (1, 1)
    assert acts() == [("record", "banktransfer"), ("match", "banktransfer")]
    assert BankTransfer.objects.get().actor == f"user:{office.stella.pk}"
    assert "INV-000001" in text_of(staff, f"{LIST}{BankTransfer.objects.get().pk}/change/")


def test_a_transfer_that_names_a_void_invoice_says_what_to_do(staff, invoice, office) -> None:
    crediting.void(invoice_id=invoice.pk, now=office.now)
    hint = "The payer names INV-000001 (void), on which nothing is owed."
    assert hint in post(staff, f"{LIST}record/", **FORM, remittance="INV-000001")
    row = BankTransfer.objects.get()
    assert hint in text_of(staff, f"{LIST}{row.pk}/match/")
    transfers.mark_returned(transfer_id=row.pk, note="x", now=office.now)
    assert hint not in text_of(staff, f"{LIST}{row.pk}/match/")


FAULTY_TRANSFERS = [
    ({"amount": "-1"}, "greater than"),
    ({"amount": "1.005"}, "no such fraction"),
    ({"currency": "EURO"}, "at most 3"),
    ({"currency": "???"}, "errorlist"),
    ({"reference": ""}, "required"),
    ({"reference": "bank-0"}, "has this reference"),
]


def test_a_transfer_that_cannot_be_is_not_recorded(staff, transfer) -> None:
    add, one = f"{LIST}record/", lambda: BankTransfer.objects.count() == 1
    assert find_unrefused(staff, add, FORM, FAULTY_TRANSFERS, unchanged=one) == []


def test_a_transfer_is_matched_with_what_is_suggested_once_per_form(staff, invoice, transfer) -> None:
    BankTransfer.objects.update(payer="Northwind")
    page = text_of(staff, f"{LIST}{transfer.pk}/match/")
    assert 'value="INV-000001"' in page
    assert "INV-000001 of Northwind, which owes €1,190.00" in page
    form = {"token": TOKEN, "invoice": "INV-000001", "amount": ""}
    assert "€1,190.00 paid on INV-000001" in post(staff, f"{LIST}{transfer.pk}/match/", **form)
    assert "No invoice of this number" in post(staff, f"{LIST}{transfer.pk}/match/", **form)
    assert Payment.objects.get().amount == 1190
    assert "To match" in text_of(staff, f"{LIST}?queue=open")
    post(staff, f"{LIST}{transfer.pk}/return/", amount="", reason="Too much", token=TOKEN.replace("5", "6"))
    transfer.refresh_from_db()
    assert (transfer.left, transfer.amount_returned, transfer.note) == (0, 10, "Too much")
    assert "0 bank transfers" in text_of(staff, f"{LIST}?queue=open")
    assert ("return_transfer", "banktransfer") in acts()
    assert "Sent back" not in text_of(staff, f"{LIST}{transfer.pk}/change/")


FAULTY_MATCHES = [
    ({"invoice": "INV-000009"}, "No invoice of this number"),
    ({"amount": "1190.01"}, "At most €1,190.00"),
    ({"amount": "0"}, "At most €1,190.00"),
]


def test_a_match_that_cannot_be_is_refused(staff, invoice, transfer) -> None:
    form = {"token": TOKEN, "invoice": "INV-000001", "amount": ""}
    address, none = f"{LIST}{transfer.pk}/match/", lambda: not Payment.objects.exists()
    assert find_unrefused(staff, address, form, FAULTY_MATCHES, unchanged=none) == []


def test_a_match_in_another_currency_is_refused(staff, invoice, transfer) -> None:
    BankTransfer.objects.update(currency="USD")
    assert "another currency" in post(staff, f"{LIST}{transfer.pk}/match/", token=TOKEN, invoice="INV-000001")
    assert not Payment.objects.exists()


def test_more_than_is_left_was_not_sent_back(staff, transfer) -> None:
    assert "At most €1,200.00" in post(staff, f"{LIST}{transfer.pk}/return/", amount="1200.01", reason="x", token=TOKEN)
    transfer.refresh_from_db()
    assert transfer.amount_returned == 0


def send(staff: Client, content: str, **fields: object) -> str:
    file = SimpleUploadedFile("statement.csv", content.encode(), "text/csv")
    return post(staff, f"{LIST}import/", file=file, token=TOKEN, **fields)


def test_a_statement_is_read_and_what_cannot_be_is_said(staff, invoice) -> None:
    content = "Tag;Betrag;Zweck\n2026-11-20;1190,00;INV-000001\n" + "2026-11-20;x;\n" * 7
    fields = {"currency": "EUR", "decimal_comma": "on", "columns": "received_on=Tag\namount = Betrag\nremittance=Zweck"}
    page = send(staff, content, **fields)
    assert "1 new, 0 known, 0 going out." in page
    assert "Recorded. It pays: INV-000001." in page
    assert "Line 3 was not read: &#x27;x&#x27; is no amount" in page
    assert "2 more lines were not read" in page
    invoice.refresh_from_db()
    assert invoice.state == "paid"
    assert [act for act, _ in acts()] == ["import", "match"]


def test_a_file_that_is_no_statement_is_refused(staff, monkeypatch) -> None:
    assert "columns are missing" in send(staff, "a,b\n")
    assert "Not one of our columns" in send(staff, "a,b\n", columns="x=y")
    file = SimpleUploadedFile("statement.csv", b"\xff\xfe", "text/csv")
    assert "UTF-8" in post(staff, f"{LIST}import/", file=file, token=TOKEN)
    monkeypatch.setattr(transfer_forms, "MAX_FILE_BYTES", 1)
    assert "too large" in send(staff, "a,b\n")
    assert not BankTransfer.objects.exists()


def test_a_refund_of_what_was_paid_by_transfer_is_sent_by_hand(staff, office, invoice, transfer) -> None:
    payment = transfers.match(transfer_id=transfer.pk, invoice_id=invoice.pk, key="1", now=office.now)
    row = refunding.start(payment_id=payment.pk, credit_note_id=None, amount=Decimal(5), key="r", now=office.now)
    refunding.submit(refund_id=row.pk, now=office.now)
    queue = "/admin/billing/refund/?state__exact=processing&payment__gateway__exact=manual"
    assert "1 refund" in text_of(staff, queue)
    assert "Refunds to pay out" in text_of(staff, "/admin/work/")
    page = post(staff, "/admin/billing/refund/", action="sent_by_hand", _selected_action=row.pk)
    assert "1 has gone back" in page
    assert Refund.objects.get().state == "succeeded"
    assert "0 refunds" in text_of(staff, queue)


def test_only_finance_may_record_and_match(client, office, transfer) -> None:
    acts = ("record/", "import/", f"{transfer.pk}/match/", f"{transfer.pk}/return/")
    for role, status in (("Pricing", 403), ("Support", 403), ("Finance", 200)):
        client.force_login(_colleague(role))
        for page in ("", *acts):
            assert client.get(f"{LIST}{page}").status_code == status, (role, page)
    client.logout()
    for page in acts:
        assert client.post(f"{LIST}{page}").status_code == 302, page
    transfer.refresh_from_db()
    assert (transfer.left, BankTransfer.objects.count()) == (1200, 1)


def test_a_transfer_that_is_none_has_no_pages(staff) -> None:
    for page in ("match", "return"):
        assert staff.get(f"{LIST}987654/{page}/").status_code == 404
