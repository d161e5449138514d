"""Staff pages of issuers, invoices and credit notes."""

import uuid
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from billing.accounts.models import Approval, User
from billing.admin import acts
from billing.invoicing import crediting, drafting, settling
from billing.invoicing.models import CreditNote, Invoice, Issuer
from billing.payments.models import Payment
from tests.admin.conftest import MAX_QUERIES, Office, post, text_of
from tests.factories import make_account, make_issuer
from tests.invoicing.makers import credits_line, issue, plain_line

ISSUER = {
    "name": "Lumen AI", "key": "lumen", "country": "DE", "tax_number": "DE1", "email": "",
    "footer": "", "payment_terms_days": "30", "invoice_prefix": "L-", "credit_note_prefix": "LC-",
}  # fmt: skip


@pytest.fixture
def invoice(office: Office) -> Invoice:
    make_issuer(name="Lumen <b>AI</b>")
    lines = [credits_line(office.account, "1000.00"), plain_line("5.00", description="<script>alert(1)</script>")]
    return issue(office.account, *lines, now=office.now)


def credit(invoice: Invoice) -> CreditNote:
    item = crediting.CreditItem(invoice.lines.get(position=1).pk, Decimal("250.00"), Decimal(2500))
    return crediting.credit(
        invoice_id=invoice.pk, reference="r", reason="Not <i>used</i>", items=[item], actor="user:1",
        now=invoice.created_at,
    )  # fmt: skip


def test_the_first_issuer_is_the_default_and_the_second_is_not(staff: Client) -> None:
    assert "was added" in post(staff, "/admin/billing/issuer/add/", **ISSUER)
    other = {**ISSUER, "key": "us", "invoice_prefix": "U-", "credit_note_prefix": "UC-"}
    assert "was added" in post(staff, "/admin/billing/issuer/add/", **other)
    assert list(Issuer.objects.order_by("pk").values_list("key", "is_default")) == [("lumen", True), ("us", False)]
    assert Issuer.objects.get(is_default=True).payment_terms_days == 30


def test_two_issuers_have_no_prefix_in_common(staff: Client) -> None:
    post(staff, "/admin/billing/issuer/add/", **ISSUER)
    assert "Another issuer has this prefix for invoices" in post(
        staff, "/admin/billing/issuer/add/", **{**ISSUER, "key": "us", "credit_note_prefix": "UC-"}
    )
    assert Issuer.objects.count() == 1


def test_changing_an_issuer_leaves_the_numbers_alone(staff: Client, invoice: Invoice) -> None:
    issuer = Issuer.objects.get()
    forged = {"last_invoice_number": "77", "is_default": "", "key": "hacked"}
    address = f"/admin/billing/issuer/{issuer.pk}/change/"
    assert "was changed" in post(staff, address, **{**ISSUER, "invoice_prefix": "2026-", **forged})
    issuer.refresh_from_db()
    assert (issuer.name, issuer.key, issuer.last_invoice_number, issuer.is_default) == ("Lumen AI", "lumen", 1, True)
    assert issue(invoice.account, reference="next").number == "2026-000002"
    assert "was changed" in post(staff, address, **{**ISSUER, "invoice_prefix": "2026-"})


def test_another_issuer_takes_over(staff: Client, invoice: Invoice) -> None:
    other = Issuer.objects.create(key="us", name="Lumen Inc", country="US", invoice_prefix="U-", credit_note_prefix="C")
    assert "Use for new invoices" in text_of(staff, f"/admin/billing/issuer/{other.pk}/change/")
    address = f"/admin/billing/issuer/{other.pk}/default/"
    page = text_of(staff, address)
    assert "U-000001" in page
    assert Issuer.objects.get(is_default=True).key == "lumen"
    page = post(staff, address, token=uuid.uuid4(), reason="We moved")
    assert "A second person must approve" in page
    assert Issuer.objects.get(is_default=True).key == "lumen"
    second = User.objects.create_superuser("root@example.com", "x")
    acts.approve(approval_id=Approval.objects.get().pk, user=second, note="", now=timezone.now())
    assert Issuer.objects.get(is_default=True) == other
    invoice.refresh_from_db()
    assert invoice.issuer.key == "lumen"
    assert staff.get("/admin/billing/issuer/999/default/").status_code == 404


def test_who_may_only_look_at_issuers_cannot_choose_one(client: Client, office: Office) -> None:
    other = make_issuer(is_default=False)
    viewer = User.objects.create_user("viewer@example.com", is_staff=True)
    client.force_login(viewer)
    assert client.post(f"/admin/billing/issuer/{other.pk}/default/").status_code == 403
    assert not Issuer.objects.filter(is_default=True).exists()


def test_an_invoice_shows_its_lines_payments_and_credit_notes(staff: Client, office: Office, invoice: Invoice) -> None:
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=office.now)
    note = credit(invoice)
    Payment.objects.create(
        invoice=invoice, gateway="sandbox", idempotency_key="k", amount=invoice.total, currency="EUR",
        state="succeeded", created_at=office.now, finished_at=office.now,
    )  # fmt: skip
    page = text_of(staff, f"/admin/billing/invoice/{invoice.pk}/change/")
    line = invoice.lines.get(position=1)
    for said in (
        "INV-000001", "€1,195.95", "VAT 19%", f"/admin/billing/account/{office.account.pk}/change/",
        f"/admin/billing/posting/{line.posting_id}/change/", "10,000 purchase to", "succeeded",
        f"/admin/billing/creditnote/{note.pk}/change/", "€297.50", "Download PDF", "billing@northwind.example",
        "&lt;script&gt;",
    ):  # fmt: skip
        assert said in page
    assert "<script>alert" not in page
    assert "<b>AI</b>" not in page


def test_invoices_are_found(staff: Client, invoice: Invoice) -> None:
    for query in ("INV-000001", "northwind", "purchase:1", "inv-0000"):
        assert "1 invoice" in text_of(staff, f"/admin/billing/invoice/?q={query}"), query
        assert "0 invoices" in text_of(staff, f"/admin/billing/invoice/?q={query}-not"), query


def test_invoices_are_filtered(staff: Client, office: Office, invoice: Invoice) -> None:
    issue(make_account("other", now=office.now), plain_line("1.00"), reference="2", now=office.now)
    crediting.void(invoice_id=invoice.pk, now=office.now)
    assert "1 invoice" in text_of(staff, "/admin/billing/invoice/?state__exact=void")
    assert "2 invoices" in text_of(staff, "/admin/billing/invoice/?currency__exact=EUR")
    assert "1 invoice" in text_of(staff, f"/admin/billing/invoice/?account={office.account.pk}")
    assert "2 invoices" in text_of(staff, f"/admin/billing/invoice/?issuer__id__exact={invoice.issuer_id}")


def test_a_credit_note_shows_what_it_takes_back(staff: Client, office: Office, invoice: Invoice) -> None:
    note = credit(invoice)
    page = text_of(staff, f"/admin/billing/creditnote/{note.pk}/change/")
    for said in (
        "CN-000001",
        "€250.00",
        "€47.50",
        "2,500",
        f"/admin/billing/invoice/{invoice.pk}/change/",
        "&lt;i&gt;",
    ):
        assert said in page
    assert "1 credit note" in text_of(staff, "/admin/billing/creditnote/?q=northwind")


def test_documents_are_downloaded_as_pdf(staff: Client, invoice: Invoice) -> None:
    note = credit(invoice)
    for table, row in (("invoice", invoice), ("creditnote", note)):
        response = staff.get(f"/admin/billing/{table}/{row.pk}/pdf/")
        assert response.content.startswith(b"%PDF")
        assert response["Content-Type"] == "application/pdf"
        assert response["Content-Disposition"] == f'attachment; filename="{row.number}.pdf"'
        assert staff.get(f"/admin/billing/{table}/{row.pk + 999}/pdf/").status_code == 404


def test_a_draft_has_a_pdf_for_staff_to_look_at(staff: Client, office: Office, invoice: Invoice) -> None:
    draft = drafting.draft(
        account_id=office.account.pk, reference="d", currency="EUR", lines=[plain_line("1.00")], now=office.now
    )
    assert "Look at the PDF" in text_of(staff, f"/admin/billing/invoice/{draft.pk}/change/")
    response = staff.get(f"/admin/billing/invoice/{draft.pk}/pdf/")
    assert response["Content-Disposition"] == f'attachment; filename="draft {draft.pk}.pdf"'
    assert response.content.startswith(b"%PDF")


def test_documents_are_for_staff_who_may_see_them(client: Client, office: Office, invoice: Invoice) -> None:
    address = f"/admin/billing/invoice/{invoice.pk}/pdf/"
    assert "/admin/login/" in client.get(address)["Location"]
    client.force_login(office.alice)
    assert "/admin/login/" in client.get(address)["Location"]
    client.force_login(User.objects.create_user("pricing@example.com", is_staff=True))
    assert client.get(address).status_code == 403


def test_nobody_changes_a_document(staff: Client, office: Office, invoice: Invoice) -> None:
    note = credit(invoice)
    for table, row in (("invoice", invoice), ("creditnote", note)):
        for page in (f"{row.pk}/change/", f"{row.pk}/delete/", "add/"):
            assert staff.post(f"/admin/billing/{table}/{page}", {"number": "X"}).status_code == 403
        staff.post(
            f"/admin/billing/{table}/", {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
        )
    assert (Invoice.objects.get().number, CreditNote.objects.get().number) == ("INV-000001", "CN-000001")


def test_an_invoice_with_many_lines_opens_with_few_queries(
    staff: Client, office: Office, django_assert_max_num_queries
) -> None:
    make_issuer()
    invoice = issue(office.account, *[credits_line(office.account, "1.00", "10") for _ in range(12)], now=office.now)
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=office.now)
    with django_assert_max_num_queries(MAX_QUERIES + 1):
        text_of(staff, f"/admin/billing/invoice/{invoice.pk}/change/")
