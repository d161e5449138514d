"""Credit notes, voiding and refunds: never more than there was, to the minor unit."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.invoicing import crediting, settling
from billing.invoicing.crediting import CreditItem
from billing.invoicing.models import CreditNote, Invoice
from billing.ledger.models import CreditGrant, Posting
from billing.notifications.models import Notification
from tests.factories import NOW
from tests.invoicing.makers import credits_line, issue, plain_line

LATER = NOW + timedelta(days=1)


def paid(invoice):
    return settling.settle(invoice_id=invoice.pk, amount=invoice.owed, now=NOW)


def credit(invoice, *items, reference="refund:1", now=LATER):
    return crediting.credit(
        invoice_id=invoice.pk, reference=reference, reason="Not used", items=items, actor="user:1", now=now
    )


def item(invoice, amount, credits=None, position=1):
    line = invoice.lines.get(position=position)
    return CreditItem(line.pk, Decimal(amount), None if credits is None else Decimal(credits))


def test_a_credit_note_takes_back_net_and_tax_of_a_line(issuer, account):
    invoice = paid(issue(account))
    note = credit(invoice, item(invoice, "250.00", "2500"))
    assert (note.number, note.subtotal, note.tax_total, note.total) == ("CN-000001", 250, Decimal("47.5"), 297.5)
    assert (note.reason, note.actor, note.currency, note.issued_at) == ("Not used", "user:1", "EUR", LATER)
    assert (note.seller, note.customer) == (invoice.seller, invoice.customer)
    line = note.lines.get()
    assert (line.description, line.credits, line.amount, line.tax_amount) == (
        "10000 credits", 2500, 250, Decimal("47.5"),
    )  # fmt: skip
    invoice.refresh_from_db()
    assert (invoice.state, invoice.amount_credited, invoice.owed) == ("paid", Decimal("297.5"), 0)
    kept = invoice.lines.get()
    assert (kept.amount_credited, kept.tax_credited, kept.credits_refunded) == (250, Decimal("47.5"), 2500)


def test_parts_take_back_exactly_the_tax_of_the_whole(issuer, account):
    invoice = paid(issue(account, plain_line("0.10")))
    assert invoice.tax_total == Decimal("0.02")
    taxes = [credit(invoice, item(invoice, "0.01"), reference=f"refund:{part}").tax_total for part in range(10)]
    assert taxes == [Decimal(cents).scaleb(-2) for cents in (0, 0, 1, 0, 0, 0, 0, 1, 0, 0)]
    invoice.refresh_from_db()
    assert invoice.amount_credited == invoice.total


def test_the_same_reference_returns_the_first_credit_note(issuer, account):
    invoice = paid(issue(account))
    first = credit(invoice, item(invoice, "100.00"))
    assert credit(invoice, item(invoice, "200.00")).pk == first.pk
    invoice.refresh_from_db()
    assert (invoice.amount_credited, CreditNote.objects.count()) == (119, 1)


def test_a_reference_of_another_invoice_is_refused(issuer, account):
    invoice, other = paid(issue(account)), issue(account, reference="purchase:2")
    credit(invoice, item(invoice, "1.00"))
    with pytest.raises(crediting.ReferenceTaken):
        credit(other, item(other, "1.00"))
    assert CreditNote.objects.count() == 1


@pytest.mark.parametrize(("amount", "credits"), [("900.01", None), ("1.00", "9001"), ("1000.00", "9000")])
def test_credit_notes_never_exceed_a_line(issuer, account, amount, credits):
    invoice = paid(issue(account, credits_line(account), plain_line("5000.00")))
    credit(invoice, item(invoice, "100.00", "1000"))
    with pytest.raises(crediting.TooMuch):
        credit(invoice, item(invoice, amount, credits), item(invoice, "10.00", position=2), reference="refund:2")
    invoice.refresh_from_db()
    issuer.refresh_from_db()
    assert (invoice.amount_credited, issuer.last_credit_note_number, CreditNote.objects.count()) == (119, 1, 1)
    first, second = invoice.lines.all()
    assert (first.amount_credited, first.credits_refunded, second.amount_credited) == (100, 1000, 0)


def test_a_line_without_credits_has_none_to_take_back(issuer, account):
    invoice = paid(issue(account, plain_line("10.00")))
    with pytest.raises(crediting.TooMuch):
        credit(invoice, item(invoice, "1.00", "1"))
    assert not CreditNote.objects.exists()


def test_items_must_be_lines_of_the_invoice_each_once(issuer, account):
    invoice, other = paid(issue(account)), issue(account, reference="purchase:2")
    for items in (
        [item(other, "1.00")],
        [item(invoice, "1.00"), item(invoice, "2.00")],
        [],
        [item(invoice, "0.00", "5")],
        [item(invoice, "0.005")],
        [item(invoice, "-1.00")],
    ):
        with pytest.raises(ValueError, match="a credit note"):
            credit(invoice, *items)
    assert not CreditNote.objects.exists()


def test_less_is_owed_of_an_open_invoice_and_what_was_credited_is_not_granted(issuer, account):
    invoice = issue(account)
    credit(invoice, item(invoice, "400.00", "4000"))
    invoice.refresh_from_db()
    assert (invoice.state, invoice.owed) == ("open", 714)
    assert paid(invoice).state == "paid"
    lot = CreditGrant.objects.get()
    assert (lot.amount, lot.cost_basis) == (6000, Decimal("0.1"))


def test_a_price_reduced_before_payment_lowers_the_cost_of_the_credits(issuer, account):
    invoice = issue(account)
    credit(invoice, item(invoice, "400.00"))
    invoice.refresh_from_db()
    paid(invoice)
    lot = CreditGrant.objects.get()
    assert (lot.amount, lot.cost_basis) == (10_000, Decimal("0.06"))


def test_an_invoice_credited_in_full_before_payment_is_void_and_grants_nothing(issuer, account):
    invoice = issue(account)
    credit(invoice, item(invoice, "1000.00"))
    invoice.refresh_from_db()
    assert (invoice.state, invoice.voided_at, invoice.owed) == ("void", LATER, 0)
    assert not Posting.objects.exists()
    assert not Notification.objects.exists()


def test_a_credit_note_over_what_is_still_owed_settles_a_partly_paid_invoice(issuer, account):
    invoice = issue(account, credits_line(account), plain_line("100.00"))
    settling.settle(invoice_id=invoice.pk, amount=Decimal(1190), now=NOW)
    credit(invoice, item(invoice, "100.00", position=2))
    invoice.refresh_from_db()
    assert (invoice.state, invoice.paid_at, invoice.amount_paid) == ("paid", LATER, 1190)
    assert CreditGrant.objects.get().amount == 10_000


def test_a_line_credited_in_full_is_not_granted_when_the_rest_is_paid(issuer, account):
    invoice = issue(account, credits_line(account), plain_line("100.00"))
    credit(invoice, item(invoice, "1000.00"))
    invoice.refresh_from_db()
    paid(invoice)
    assert invoice.lines.get(position=1).fulfilled_at == NOW
    assert not Posting.objects.exists()


def test_an_unpaid_invoice_can_be_voided_once_and_keeps_its_number(issuer, account):
    invoice = issue(account)
    assert crediting.void(invoice_id=invoice.pk, now=LATER).state == "void"
    again = crediting.void(invoice_id=invoice.pk, now=LATER + timedelta(days=1))
    assert (again.voided_at, again.number, again.owed) == (LATER, "INV-000001", 0)
    with pytest.raises(settling.NotPayable):
        settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=LATER)
    with pytest.raises(crediting.NotCreditable):
        credit(invoice, item(invoice, "1.00"))
    assert not Posting.objects.exists()


@pytest.mark.parametrize("amount", ["0.01", "1190.00"])
def test_an_invoice_for_which_money_came_is_not_voided(issuer, account, amount):
    invoice = issue(account)
    settling.settle(invoice_id=invoice.pk, amount=Decimal(amount), now=NOW)
    with pytest.raises(crediting.NotVoidable):
        crediting.void(invoice_id=invoice.pk, now=LATER)
    assert Invoice.objects.get().voided_at is None


def test_no_more_money_goes_back_than_came(issuer, account):
    invoice = paid(issue(account))
    assert crediting.note_refunded(invoice_id=invoice.pk, amount=Decimal("1189.99")).amount_refunded == Decimal(
        "1189.99"
    )
    for amount in ("0.02", "0", "-1"):
        with pytest.raises(crediting.TooMuch):
            crediting.note_refunded(invoice_id=invoice.pk, amount=Decimal(amount))
    invoice.refresh_from_db()
    assert invoice.amount_refunded == Decimal("1189.99")


def test_an_invoice_with_a_negative_line_is_credited_up_to_its_total_and_not_beyond(issuer, account):
    discount = plain_line("-20.00", quantity=Decimal(-1), unit_price=Decimal(20))
    invoice = issue(account, plain_line("100.00"), discount)
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    line = invoice.lines.get(position=1)
    before = CreditNote.objects.count()
    with pytest.raises(crediting.TooMuch):
        crediting.credit(
            invoice_id=invoice.pk, reference="all", reason="r", items=[CreditItem(line.pk, Decimal("80.01"))],
            actor="", now=NOW,
        )  # fmt: skip
    assert CreditNote.objects.count() == before
    note = crediting.credit(
        invoice_id=invoice.pk, reference="all", reason="r", items=[CreditItem(line.pk, Decimal("80.00"))], actor="",
        now=NOW,
    )  # fmt: skip
    assert (note.total, Invoice.objects.get(pk=invoice.pk).amount_credited) == (invoice.total, invoice.total)
