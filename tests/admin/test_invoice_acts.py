"""What staff do with invoices: drafts, voiding, giving up, checking; and pending items."""

import uuid
from decimal import Decimal

import pytest
from django.test import Client

from billing.accounts.models import Account, StaffAct, User
from billing.invoicing import crediting, issuing, pending, settling
from billing.invoicing.models import Invoice, PendingItem
from billing.payments import paying
from tests.admin.conftest import Office, find_unrefused, post, text_of
from tests.factories import make_issuer
from tests.invoicing.makers import issue
from tests.payments.makers import make_card

TOKEN = "5b1f9a58-0000-4000-8000-000000000001"
WRITE = "/admin/billing/invoice/draft/"


@pytest.fixture(autouse=True)
def issuer(db: None, settings) -> None:
    settings.FLORIN_APPROVAL_MONEY = 5000
    make_issuer()


@pytest.fixture
def invoice(office: Office) -> Invoice:
    return issue(office.account, now=office.now)


def sent(office: Office, *lines: dict[str, str], **fields: str) -> dict[str, object]:
    """What a browser sends for a draft; of one line unless told otherwise."""
    rows = lines or ({"description": "Workshop", "quantity": "2", "unit_price": "150.00"},)
    data: dict[str, object] = {
        "token": TOKEN, "account": office.account.pk, "currency": "EUR", "due_on": "",
        "lines-TOTAL_FORMS": len(rows) + 3, "lines-INITIAL_FORMS": 0, **fields,
    }  # fmt: skip
    empty = {"description": "", "quantity": "1", "unit_price": "", "category": "standard"}
    for number, row in enumerate((*rows, empty, empty, empty)):
        given = {"category": "standard", "starts_on": "", "ends_on": "", **row}
        data |= {f"lines-{number}-{name}": value for name, value in given.items()}
    return data


def why(reason: str) -> dict[str, object]:
    """What a form that asks why sends, each time as a new one."""
    return {"token": uuid.uuid4(), "reason": reason}


def address(invoice: Invoice, act: str) -> str:
    return f"/admin/billing/invoice/{invoice.pk}/{act}/"


def test_a_draft_is_written_looked_at_and_issued(staff: Client, office: Office) -> None:
    assert "Write a draft" in text_of(staff, "/admin/billing/invoice/")
    assert "Unit price, net" in text_of(staff, WRITE)
    page = post(staff, WRITE, **sent(office))
    draft = Invoice.objects.get()
    assert "It has no number yet" in page
    for said in ("Workshop", "€300.00", "€357.00", "draft", "Issue", "Throw away"):
        assert said in page
    assert (draft.state, draft.subtotal, draft.total, draft.reference) == ("draft", 300, 357, f"draft:{TOKEN}")
    assert "Issue this invoice?" in text_of(staff, address(draft, "issue"))
    assert "INV-000001 is issued." in post(staff, address(draft, "issue"), **why("Done"))
    draft.refresh_from_db()
    assert (draft.state, draft.number) == ("open", "INV-000001")
    assert list(StaffAct.objects.order_by("pk").values_list("act", flat=True)) == ["draft", "issue"]


def test_the_same_form_sent_twice_writes_one_draft(staff: Client, office: Office) -> None:
    post(staff, WRITE, **sent(office))
    post(staff, WRITE, **sent(office))
    assert Invoice.objects.count() == 1


def test_a_line_may_be_for_a_time_and_take_away(staff: Client, office: Office) -> None:
    support = {
        "description": "Support", "quantity": "1", "unit_price": "100", "starts_on": "2026-01-01",
        "ends_on": "2026-01-31",
    }  # fmt: skip
    discount = {"description": "Discount", "quantity": "-1", "unit_price": "10"}
    post(staff, WRITE, **sent(office, support, discount, due_on="2026-03-01"))
    draft = Invoice.objects.get()
    first, second = draft.lines.all()
    assert (first.recognition, first.starts_at.isoformat(), first.ends_at.isoformat()) == (
        "period", "2026-01-01T00:00:00+00:00", "2026-02-01T00:00:00+00:00",
    )  # fmt: skip
    assert (second.amount, second.recognition, draft.due_at.date().isoformat()) == (-10, "at_once", "2026-03-01")
    page = text_of(staff, address(draft, "edit"))
    for said in ('value="2026-01-31"', 'value="2026-03-01"', 'value="Discount"', 'value="-1"'):
        assert said in page


def test_a_draft_is_edited(staff: Client, office: Office) -> None:
    post(staff, WRITE, **sent(office))
    draft = Invoice.objects.get()
    changed = sent(office, {"description": "Course", "quantity": "1", "unit_price": "99.99"}, currency="USD")
    post(staff, address(draft, "edit"), **{**changed, "lines-INITIAL_FORMS": 1})
    draft.refresh_from_db()
    assert (draft.currency, draft.subtotal, draft.lines.get().description) == ("USD", Decimal("99.99"), "Course")


def test_a_draft_is_thrown_away(staff: Client, office: Office) -> None:
    post(staff, WRITE, **sent(office))
    draft = Invoice.objects.get()
    assert "Throw this draft away?" in text_of(staff, address(draft, "discard"))
    assert "The draft is gone." in post(staff, address(draft, "discard"))
    assert not Invoice.objects.exists()
    assert StaffAct.objects.filter(act="delete", row_id=str(draft.pk)).exists()


FAULTY_DRAFTS = [
    ({"lines-0-quantity": "0"}, "A line needs a quantity"),
    ({"lines-0-quantity": "-5"}, "an invoice cannot be about less than nothing"),
    ({"lines-0-unit_price": ""}, "This field is required"),
    ({"lines-0-starts_on": "2026-01-01"}, "Give both days of the service"),
    ({"lines-0-starts_on": "2026-01-02", "lines-0-ends_on": "2026-01-01"}, "This day is before the first"),
    ({"lines-0-description": "", "lines-0-unit_price": "", "lines-0-quantity": "1"}, "needs a line"),
    ({"account": "999999"}, "Select a valid choice"),
    ({"currency": "XXL"}, "ISO 4217"),
]


def test_a_draft_that_makes_no_sense_is_refused(staff: Client, office: Office) -> None:
    none = lambda: not Invoice.objects.exists()  # noqa: E731
    assert find_unrefused(staff, WRITE, sent(office), FAULTY_DRAFTS, unchanged=none) == []


def test_an_issued_invoice_has_no_pages_of_a_draft(staff: Client, invoice: Invoice) -> None:
    for act in ("edit", "issue", "discard"):
        assert staff.get(address(invoice, act)).status_code == 404
        assert staff.post(address(invoice, act)).status_code == 404
    assert Invoice.objects.get().state == "open"


def test_without_an_issuer_staff_are_told(staff: Client, office: Office, monkeypatch) -> None:
    def none(account: Account) -> None:
        raise issuing.NoIssuer

    monkeypatch.setattr(issuing, "get_issuer", none)
    assert "No default issuer" in post(staff, WRITE, **sent(office))
    assert not Invoice.objects.exists()


def test_an_open_invoice_is_voided_with_a_reason(staff: Client, invoice: Invoice) -> None:
    assert "Void this invoice?" in text_of(staff, address(invoice, "void"))
    assert "This field is required" in post(staff, address(invoice, "void"), **why(""))
    assert "INV-000001 is: void." in post(staff, address(invoice, "void"), **why("Sent twice"))
    assert Invoice.objects.get().state == "void"
    act = StaffAct.objects.get(act="void")
    assert (act.reason, act.row_id) == ("Sent twice", str(invoice.pk))


def test_an_open_invoice_is_given_up_and_can_be_paid_later(staff: Client, office: Office, invoice: Invoice) -> None:
    assert "INV-000001 is: uncollectible." in post(staff, address(invoice, "mark-uncollectible"), **why("Insolvent"))
    page = text_of(staff, f"/admin/billing/invoice/{invoice.pk}/change/")
    assert "Void" in page
    assert "Write off</a>" not in page
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=office.now)
    assert Invoice.objects.get().state == "paid"


def test_an_invoice_with_a_payment_under_way_is_not_voided(staff: Client, office: Office, invoice: Invoice) -> None:
    card = make_card(office.account)
    paying.start(invoice_id=invoice.pk, method_id=card.pk, key="k", off_session=True, now=office.now)
    assert "wait for its outcome" in post(staff, address(invoice, "void"), **why("r"))
    assert Invoice.objects.get().state == "open"


def test_a_paid_invoice_is_neither_voided_nor_given_up(staff: Client, office: Office, invoice: Invoice) -> None:
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=office.now)
    assert "write a credit note instead" in post(staff, address(invoice, "void"), **why("r"))
    assert "Only an open invoice" in post(staff, address(invoice, "mark-uncollectible"), **why("r"))
    assert Invoice.objects.get().state == "paid"
    assert "Void</a>" not in text_of(staff, f"/admin/billing/invoice/{invoice.pk}/change/")


def test_a_document_is_checked(staff: Client, office: Office, invoice: Invoice) -> None:
    page = text_of(staff, address(invoice, "check"))
    assert "The document says what it said, and adds up" in page
    assert invoice.content_hash in page
    item = crediting.CreditItem(invoice.lines.get().pk, Decimal("10.00"))
    crediting.credit(invoice_id=invoice.pk, reference="c", reason="r", items=[item], actor="", now=office.now)
    Invoice.objects.update(amount_credited=5)
    page = text_of(staff, address(invoice, "check"))
    assert "The document differs" in page
    assert "credit notes do not add up" in page
    assert staff.get("/admin/billing/invoice/999/check/").status_code == 404


def test_a_pending_item_is_cancelled_while_it_waits(staff: Client, office: Office) -> None:
    item = pending.add(
        account_id=office.account.pk, currency="EUR", reference="p", description="Setup", amount=Decimal("5.00"),
        now=office.now,
    )  # fmt: skip
    cancel = f"/admin/billing/pendingitem/{item.pk}/cancel/"
    assert "€5.00" in text_of(staff, "/admin/billing/pendingitem/")
    assert "Cancel this item?" in text_of(staff, cancel)
    assert "It is cancelled." in post(staff, cancel, **why("Agreed"))
    assert PendingItem.objects.get().cancelled_at is not None
    assert "Cancel</a>" not in text_of(staff, f"/admin/billing/pendingitem/{item.pk}/change/")


def test_a_pending_item_on_an_invoice_is_not_cancelled(staff: Client, office: Office) -> None:
    item = pending.add(
        account_id=office.account.pk, currency="EUR", reference="p", description="Setup", amount=Decimal("5.00"),
        now=office.now,
    )  # fmt: skip
    issuing.issue(
        account_id=office.account.pk, reference="i", currency="EUR", lines=[], now=office.now, take_pending=True
    )
    assert "on an invoice already" in post(staff, f"/admin/billing/pendingitem/{item.pk}/cancel/", **why("r"))
    assert "INV-000001" in text_of(staff, f"/admin/billing/pendingitem/{item.pk}/change/")
    assert PendingItem.objects.get().cancelled_at is None


def test_who_may_only_look_decides_nothing(client: Client, office: Office, invoice: Invoice) -> None:
    client.force_login(User.objects.create_user("viewer@example.com", is_staff=True))
    for act in ("void", "mark-uncollectible"):
        assert client.post(address(invoice, act), {"reason": "r"}).status_code == 403
    assert client.get(address(invoice, "check")).status_code == 404
    assert client.get(WRITE).status_code == 403
    assert client.post(WRITE, sent(office)).status_code == 403
    assert client.post("/admin/billing/pendingitem/1/cancel/").status_code == 403
    assert list(Invoice.objects.values_list("state", flat=True)) == ["open"]
