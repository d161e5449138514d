"""Credit notes with their money: back to the payment, or kept for the account's next invoices."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from billing.finance import reports
from billing.finance.months import first_moment
from billing.invoicing import crediting, settling, verification
from billing.invoicing.models import CreditNote, Invoice
from billing.ledger.models import CreditGrant
from billing.notifications.models import Notification
from billing.payments import collecting, credit_notes, invoice_credits, paying, refunding, transfers
from billing.payments.models import InvoiceCredit, Payment, Refund
from billing.payments.sandbox_models import SandboxCharge, SandboxRefund
from tests.factories import NOW
from tests.invoicing.makers import credits_line, issue, plain_line
from tests.ledger.makers import assert_proven
from tests.payments import makers
from tests.payments.collectors import POLICY, collect
from tests.payments.makers import make_card, pay
from tests.undoing import check_each

LATER = NOW + timedelta(days=1)


@pytest.fixture
def plan(account):
    """A paid invoice of 100.00 and 50.00 less 30.00, with 19 % of tax: 142.80."""
    lines = (plain_line("100.00"), plain_line("50.00"), plain_line("-30.00", quantity=Decimal(-1)))
    invoice = issue(account, *lines, reference="renewal:1")
    assert pay(invoice).state == "succeeded"
    invoice.refresh_from_db()
    return invoice


def credit(invoice, *, reference="r1", now=LATER, **asked):
    given = {"refund_to": "payment", "reason": "Outage", "actor": "user:1", **asked}
    return credit_notes.credit(invoice_id=invoice.pk, reference=reference, now=now, **given)


def proven():
    """The finance report's proof holds, and every document is what it was."""
    until = first_moment(datetime(2025, 6, 1, tzinfo=UTC).date())
    report = reports.read(starts_on=NOW.date().replace(day=1), until=until)
    differences = [check for check in report.checks if not check.holds]
    assert (report.is_whole, differences, verification.verify().findings) == (True, [], [])


def test_an_amount_goes_back_to_the_card_with_its_tax(plan):
    note = credit(plan, amount=Decimal("11.90"))
    assert (note.subtotal, note.tax_total, note.total, note.reason) == (10, Decimal("1.90"), Decimal("11.90"), "Outage")
    plan.refresh_from_db()
    assert (plan.state, plan.amount_credited, plan.amount_refunded) == ("paid", Decimal("11.90"), Decimal("11.90"))
    assert SandboxRefund.objects.get().amount == Decimal("11.90")
    told = Notification.objects.get(kind="credit_note")
    assert (told.payload["refund_to"], told.payload["total"]) == ("payment", "11.90")
    proven()


def test_lines_are_credited_before_tax_and_the_rest_exactly(plan):
    second = plan.lines.get(position=2)
    assert credit(plan, lines={second.pk: Decimal(50)}).total == Decimal("59.50")
    assert credit(plan, reference="r2").total == Decimal("83.30")
    plan.refresh_from_db()
    assert plan.amount_refunded == plan.amount_credited == plan.total
    with pytest.raises(credit_notes.NothingToCredit):
        credit(plan, reference="r3")
    proven()


def test_a_credit_note_happens_once_per_account_and_reference(plan, account):
    first = credit(plan, amount=Decimal("11.90"))
    assert credit(plan, amount=Decimal("11.90")) == first
    other = issue(account, plain_line("5.00"), reference="renewal:2")
    for invoice, asked in (
        (plan, {"amount": Decimal("12.00")}),
        (plan, {"amount": Decimal("11.90"), "refund_to": "balance"}),
        (plan, {"lines": {plan.lines.first().pk: Decimal(10)}, "amount": None, "refund_to": "balance"}),
        (other, {"amount": Decimal("5.00"), "refund_to": ""}),
    ):
        with pytest.raises(credit_notes.CreditConflict):
            credit(invoice, **asked)
    assert (CreditNote.objects.count(), SandboxRefund.objects.count()) == (1, 1)


def test_what_cannot_be_credited_is_refused_and_nothing_is_written(plan, account):
    discount, first = plan.lines.get(position=3), plan.lines.get(position=1)
    draft = Invoice.objects.create(
        account=account, issuer=plan.issuer, reference="draft:1", currency="EUR", created_at=NOW
    )
    open_one = issue(account, plain_line("10.00"), reference="renewal:2")
    busy = issue(account, plain_line("10.00"), reference="renewal:3")
    pay(busy, makers.LATE, key="k3")
    pack = issue(account, credits_line(account), reference="purchase:1")
    pay(pack, key="k4")
    cases = [
        (plan, {"amount": Decimal("142.81")}, credit_notes.TooMuch),
        (plan, {"lines": {first.pk: Decimal("100.01")}}, credit_notes.TooMuch),
        (plan, {"lines": {first.pk: Decimal(100), plan.lines.get(position=2).pk: Decimal(21)}}, credit_notes.TooMuch),
        (plan, {"lines": {discount.pk: Decimal(1)}}, ValueError),
        (plan, {"lines": {open_one.lines.get().pk: Decimal(1)}}, ValueError),
        (plan, {"amount": Decimal(0)}, ValueError),
        (plan, {"amount": Decimal("0.001")}, ValueError),
        (plan, {"refund_to": ""}, credit_notes.WrongDestination),
        (plan, {"refund_to": "moon"}, credit_notes.WrongDestination),
        (open_one, {}, credit_notes.WrongDestination),
        (open_one, {"refund_to": "", "amount": Decimal("11.91")}, credit_notes.TooMuch),
        (busy, {"refund_to": ""}, paying.PaymentUnderWay),
        (draft, {"refund_to": ""}, credit_notes.NotCreditable),
        (pack, {}, credit_notes.NothingToCredit),
    ]  # fmt: skip

    def refused(case):
        invoice, asked, why = case
        with pytest.raises(why):
            credit_notes.preview(invoice_id=invoice.pk, **{"refund_to": "payment", **asked})
        with pytest.raises(why):
            credit(invoice, **asked)
        assert not CreditNote.objects.exists()
        assert not Refund.objects.exists()

    check_each(cases, refused)


def test_less_is_owed_of_an_open_invoice(account):
    invoice = issue(account, plain_line("100.00"))
    credit(invoice, amount=Decimal("19.00"), refund_to="")
    invoice.refresh_from_db()
    assert (invoice.state, invoice.owed, Refund.objects.count()) == ("open", 100, 0)


def test_money_in_dispute_or_of_several_payments_does_not_go_back_at_once(plan, account):
    Payment.objects.update(amount_disputed=Decimal(100))
    for to in ("payment", "balance"):
        with pytest.raises(credit_notes.MoneyNotThere) as refused:
            credit(plan, refund_to=to)
        assert refused.value.left == Decimal("42.80")
    assert not CreditNote.objects.exists()


# --- The invoice balance ---------------------------------------------------------------------------------------------


def test_money_that_is_kept_pays_the_next_invoice_and_the_card_the_rest(plan, account):
    note = credit(plan, amount=Decimal("42.80"), refund_to="balance")
    assert invoice_credits.balances(account.pk) == {"EUR": Decimal("42.80")}
    assert not Refund.objects.exists()
    proven()
    invoice = issue(account, plain_line("50.00"), reference="renewal:2", now=LATER)
    make_card(account, make_default=True)
    collect(invoice, purpose="subscription:1", policy=POLICY, method_id=None, is_automatic=True, now=LATER)
    collecting.run_due(now=LATER, limit=10)
    invoice.refresh_from_db()
    assert (invoice.state, invoice.amount_paid) == ("paid", Decimal("59.50"))
    assert [(each.amount, each.invoice_credit_id) for each in invoice.payments.order_by("pk")] == [
        (Decimal("42.80"), note.invoice_credit.pk), (Decimal("16.70"), None),
    ]  # fmt: skip
    plan.refresh_from_db()
    assert (plan.amount_refunded, invoice_credits.balances(account.pk)) == (Decimal("42.80"), {})
    assert SandboxCharge.objects.order_by("pk").last().amount == Decimal("16.70")
    proven()


def test_what_is_left_of_the_balance_waits_for_the_invoice_after_that(plan, account):
    credit(plan, amount=Decimal("42.80"), refund_to="balance")
    first, second = (issue(account, plain_line("20.00"), reference=f"renewal:{n}", now=LATER) for n in (2, 3))
    assert invoice_credits.apply(invoice_id=first.pk, now=LATER) == Decimal("23.80")
    assert invoice_credits.apply(invoice_id=first.pk, now=LATER) == 0
    assert invoice_credits.apply(invoice_id=second.pk, now=LATER) == 19
    second.refresh_from_db()
    assert (second.state, second.owed, InvoiceCredit.objects.get().left) == ("open", Decimal("4.80"), 0)
    proven()


def test_what_the_balance_paid_goes_back_to_the_card_that_brought_it(plan, account):
    credit(plan, amount=Decimal("23.80"), refund_to="balance")
    invoice = issue(account, plain_line("20.00"), reference="renewal:2", now=LATER)
    invoice_credits.apply(invoice_id=invoice.pk, now=LATER)
    credit(invoice, reference="r2")
    refund = Refund.objects.get(invoice_credit=None)
    assert (refund.state, refund.payment.invoice, SandboxRefund.objects.get().amount) == (
        "succeeded", invoice, Decimal("23.80"),
    )  # fmt: skip
    proven()


def test_money_that_is_kept_is_not_refunded_as_well(plan):
    credit(plan, amount=Decimal(100), refund_to="balance")
    payment = plan.payments.get()
    assert payment.refundable == Decimal("142.80")
    assert credit(plan, reference="r2").total == Decimal("42.80")
    with pytest.raises(crediting.TooMuch):
        crediting.credit(
            invoice_id=plan.pk, reference="x", reason="x", actor="x", now=LATER,
            items=[crediting.CreditItem(plan.lines.first().pk, Decimal("0.01"))],
        )  # fmt: skip
    assert invoice_credits.reserved(plan.pk) == 100


def test_the_balance_pays_neither_packs_nor_other_currencies_nor_accounts(plan, account):
    credit(plan, refund_to="balance")
    pack = issue(account, credits_line(account), reference="purchase:9")
    dollars = issue(account, plain_line("5.00"), reference="renewal:9", currency="USD")
    assert invoice_credits.apply(invoice_id=dollars.pk, now=LATER) == 0
    collecting.run_due(now=LATER, limit=10)
    pack.refresh_from_db()
    assert (pack.state, pack.amount_paid, CreditGrant.objects.count()) == ("open", 0, 0)


def test_what_was_paid_by_transfer_waits_for_staff_to_pay_it_out(account):
    invoice = issue(account, plain_line("100.00"))
    row, _ = transfers.record(
        reference="t1", received_on=NOW.date(), amount=Decimal(119), currency="EUR", actor="user:1", now=NOW
    )
    transfers.match(transfer_id=row.pk, invoice_id=invoice.pk, key="k", now=NOW)
    note = credit(invoice)
    assert note.refund.state == "processing"
    refunding.pay_out(refund_id=note.refund.pk, reference="staff:1", now=LATER)
    invoice.refresh_from_db()
    assert invoice.amount_refunded == 119
    assert_proven()


def test_an_invoice_settled_without_a_payment_has_no_money_to_give_back(account):
    invoice = issue(account, plain_line("100.00"))
    settling.settle(invoice_id=invoice.pk, amount=Decimal(119), now=NOW)
    with pytest.raises(credit_notes.MoneyNotThere):
        credit(invoice)
    assert not CreditNote.objects.exists()
