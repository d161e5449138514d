"""Staff credit an invoice: shown first, once per form, with a reason, within the day's limit."""

import uuid
from decimal import Decimal

import pytest
from django.test import Client

from billing.accounts.models import Approval, StaffAct
from billing.invoicing.models import CreditNote, Invoice
from billing.payments import invoice_credits
from billing.payments.models import Payment, Refund
from tests.admin.conftest import Office, find_unrefused, post, text_of
from tests.admin.test_approvals import _staff
from tests.factories import make_issuer
from tests.invoicing.makers import issue, plain_line
from tests.payments.makers import pay


@pytest.fixture
def invoice(office: Office) -> Invoice:
    """Paid by card: 900.00 and 100.00 with 19 % of tax."""
    make_issuer()
    lines = (plain_line("900.00", description="Team"), plain_line("100.00", description="Setup"))
    made = issue(office.account, *lines, reference="renewal:1", currency="EUR", now=office.now)
    pay(made, now=office.now)
    made.refresh_from_db()
    return made


def _page(invoice: Invoice, page: str = "credit") -> str:
    return f"/admin/billing/invoice/{invoice.pk}/{page}/"


def _sent(**fields: object) -> dict[str, object]:
    return {"token": str(uuid.uuid4()), "reason": "Outage", "refund_to": "payment", **fields}


def test_a_paid_invoice_is_credited_by_amount_once_and_the_card_gets_the_money(
    staff: Client, office: Office, invoice: Invoice
) -> None:
    assert _page(invoice) in text_of(staff, _page(invoice, "change"))
    fields = _sent(amount="119.00")
    shown = post(staff, _page(invoice), **fields)
    for part in ("Issue this credit note?", "€90.00 and €17.10 tax", "€10.00 and €1.90 tax", "Refund €119.00"):
        assert part in shown
    assert not CreditNote.objects.exists()
    for _ in range(2):
        assert "The credit note is issued." in post(staff, _page(invoice), **fields, _confirmed="x")
    refund, act = Refund.objects.get(), StaffAct.objects.get()
    assert (refund.state, refund.amount, refund.credit_note.reason) == ("succeeded", 119, "Outage")
    assert (act.act, act.account, act.after["amount_credited"]) == ("credit", office.account, "119")


def test_all_of_an_invoice_is_credited_once_however_often_the_form_is_sent(
    staff: Client, invoice: Invoice, settings: object
) -> None:
    settings.FLORIN_APPROVAL_MONEY = "2000"  # type: ignore[attr-defined]
    fields = _sent(amount="1190.00", _confirmed="x")
    for _ in range(3):
        assert "The credit note is issued." in post(staff, _page(invoice), **fields)
    assert CreditNote.objects.get().total == 1190
    assert "Credit or refund" not in text_of(staff, _page(invoice, "change"))


def test_what_was_paid_from_the_balance_is_told_before_it_is_refused(staff: Client, invoice: Invoice) -> None:
    assert "Money that can go back" not in text_of(staff, _page(invoice))
    Payment.objects.filter(invoice=invoice).update(amount_disputed=490)
    page = text_of(staff, _page(invoice))
    assert "Can be credited, tax included" in page
    assert "€700.00: the rest was paid otherwise" in page


def test_lines_are_credited_to_the_balance(staff: Client, office: Office, invoice: Invoice) -> None:
    fields = _sent(**{f"line-{invoice.lines.get(position=2).pk}": "100.00", "refund_to": "balance"})
    assert "Credit €119.00 to the balance" in post(staff, _page(invoice), **fields)
    assert "The credit note is issued." in post(staff, _page(invoice), **fields, _confirmed="x")
    assert invoice_credits.balances(office.account.pk) == {"EUR": Decimal(119)}
    assert not Refund.objects.exists()
    assert "€119.00" in text_of(staff, f"/admin/billing/account/{office.account.pk}/")


def test_a_credit_over_the_limit_waits_for_a_second_person(
    client: Client, staff: Client, office: Office, invoice: Invoice, settings: object
) -> None:
    settings.FLORIN_APPROVAL_MONEY = "100"  # type: ignore[attr-defined]
    fields = _sent(amount="119.00")
    assert "it will wait" in post(staff, _page(invoice), **fields)
    assert "A second person must approve" in post(staff, _page(invoice), **fields, _confirmed="x")
    assert not CreditNote.objects.exists()
    waiting = Approval.objects.get()
    client.force_login(_staff("fiona", "decide_approval", "view_approval"))
    assert "Credit an invoice" in text_of(client, f"/admin/billing/approval/{waiting.pk}/approve/")
    assert "Approved and done." in post(client, f"/admin/billing/approval/{waiting.pk}/approve/", note="")
    assert (CreditNote.objects.get().total, Refund.objects.get().state) == (119, "succeeded")


def test_a_faulty_credit_is_refused_on_the_page(staff: Client, invoice: Invoice) -> None:
    line = invoice.lines.get(position=2).pk
    faulty = [
        ({"amount": "1190.01"}, "At most €1,190.00 can be credited."),
        ({"amount": ""}, "Enter either an amount, or amounts of lines."),
        ({f"line-{line}": "1"}, "Enter either an amount, or amounts of lines."),
        ({"amount": "", f"line-{line}": "100.01"}, "At most €100.00 can be credited."),
        ({"amount": "0.001"}, "Amounts are positive, with the decimals of the currency."),
        ({"amount": "-1"}, "Amounts are positive, with the decimals of the currency."),
        ({"reason": ""}, "This field is required."),
        ({"refund_to": "moon"}, "Select a valid choice."),
    ]
    good = _sent(amount="10.00", _confirmed="x")
    assert find_unrefused(staff, _page(invoice), good, faulty, unchanged=lambda: not CreditNote.objects.exists()) == []


def test_an_open_invoice_is_reduced_and_a_draft_has_no_such_page(
    staff: Client, office: Office, invoice: Invoice
) -> None:
    other = issue(office.account, plain_line("100.00"), reference="renewal:2", currency="EUR", now=office.now)
    page = text_of(staff, _page(other))
    assert 'name="refund_to"' not in page
    post(staff, _page(other), **_sent(amount="19.00", _confirmed="x"))
    other.refresh_from_db()
    assert (other.state, other.owed) == ("open", 100)
    draft = Invoice.objects.create(
        account=office.account, issuer=invoice.issuer, reference="draft:1", currency="EUR", created_at=office.now
    )
    assert [staff.get(f"/admin/billing/invoice/{pk}/credit/").status_code for pk in (draft.pk, 999_999)] == [404, 404]


def test_only_those_who_may_refund_may_credit(client: Client, office: Office, invoice: Invoice) -> None:
    client.force_login(_staff("sam", "view_invoice", "change_invoice"))
    assert "Credit or refund" not in text_of(client, _page(invoice, "change"))
    assert (client.get(_page(invoice)).status_code, client.post(_page(invoice), _sent()).status_code) == (403, 403)
    assert not CreditNote.objects.exists()
