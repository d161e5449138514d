from decimal import Decimal

import pytest

from billing.invoicing import crediting, settling
from billing.invoicing.models import CreditNote, Invoice, InvoiceLine
from billing.ledger import holds, posting
from billing.ledger.models import CreditGrant, CreditPool, Posting
from billing.metering import verification
from billing.notifications.models import Notification
from billing.payments import checking
from billing.payments.models import Payment, Refund
from billing.payments.sandbox_models import SandboxRefund
from billing.purchases import refunds
from tests.factories import NOW, make_pack
from tests.invoicing.makers import issue
from tests.ledger.racing import race
from tests.payments import makers
from tests.payments.makers import make_card
from tests.purchases.makers import DAY, buy

pytestmark = pytest.mark.django_db


@pytest.fixture
def line(pool, pack):
    """Of 1,000 credits bought for 120.00 net, 142.80 with tax."""
    return buy(pool, pack).invoice.lines.get()


def spend(pool, credits):
    posting.spend(pool_id=pool.pk, credits=Decimal(credits), reference=f"s:{credits}", now=NOW)


def refund(line, credits=None, reference="r1", now=NOW):
    return refunds.refund(
        line_id=line.pk, credits=None if credits is None else Decimal(credits), reason="Not needed", actor="user:1",
        reference=reference, now=now,
    )  # fmt: skip


def written():
    counts = [model.objects.count() for model in (CreditNote, Refund, SandboxRefund, Posting, Notification)]
    return [*counts, *CreditPool.objects.order_by("pk").values_list("balance", flat=True)]


def test_a_refund_of_all_gives_back_exactly_what_was_paid(line, pool):
    note = refund(line)
    assert (note.subtotal, note.tax_total, note.total) == (Decimal("120.00"), Decimal("22.80"), Decimal("142.80"))
    assert (note.refund.state, note.refund.amount, note.reason, note.actor) == (
        "succeeded", Decimal("142.80"), "Not needed", "user:1",
    )  # fmt: skip
    lot = CreditGrant.objects.get()
    assert (lot.remaining, lot.revoked) == (0, 1_000)
    invoice = note.invoice
    assert (invoice.amount_credited, invoice.amount_refunded, invoice.state) == (invoice.total, invoice.total, "paid")
    told = Notification.objects.get(kind="refund")
    assert told.payload == {
        "number": note.number, "invoice_number": invoice.number, "total": "142.80", "currency": "USD",
        "credits": "1000.000000",
    }  # fmt: skip
    assert verification.verify(now=NOW).findings == []


def test_what_is_spent_is_not_refunded(line, pool):
    spend(pool, 400)
    plan = refunds.preview(line_id=line.pk, now=NOW)
    assert (plan.refundable, plan.credits, plan.amount, plan.tax_amount, plan.total) == (
        600, 600, Decimal("72.00"), Decimal("13.68"), Decimal("85.68"),
    )  # fmt: skip
    assert refund(line).total == plan.total


def test_parts_add_up_to_what_was_paid_to_the_cent(pool):
    """Three credits at 3.33 each and 19 % tax: no third of either is a whole cent."""
    pack = make_pack(prices={"3": "3.333333333"}, step_credits=1)
    line = buy(pool, pack, credits=Decimal(3)).invoice.lines.get()
    notes = [refund(line, 1, f"r{number}") for number in range(3)]
    assert sum(note.subtotal for note in notes) == line.amount == Decimal("10.00")
    assert sum(note.total for note in notes) == line.invoice.total
    assert Payment.objects.get().amount_refunded == line.invoice.total


@pytest.mark.parametrize("parts", [["0.000001", "999.999999"], ["333.333333"] * 3 + ["0.000001"], ["1"] * 40])
def test_no_parts_ever_give_back_more_than_their_share(line, parts):
    total = Decimal(0)
    for number, part in enumerate(parts):
        try:
            total += refund(line, part, f"r{number}").subtotal
        except refunds.NothingToRefund:
            continue
        line.refresh_from_db()
        assert abs(total - line.amount * line.credits_refunded / line.credits) <= Decimal("0.01")
    assert total <= line.amount


def test_the_same_reference_refunds_once(line):
    first = refund(line, 100)
    before = written()
    assert refund(line, 100) == first
    assert refund(line) == first
    assert written() == before


@pytest.mark.parametrize("credits", ["101", None])
def test_a_reference_names_one_refund(line, pool, pack, credits):
    refund(line, 100)
    other = line if credits else buy(pool, pack).invoice.lines.get()
    before = written()
    with pytest.raises(refunds.RefundConflict):
        refund(other, credits)
    assert written() == before


def test_more_than_is_left_is_refused(line, pool):
    spend(pool, 400)
    before = written()
    with pytest.raises(posting.NotEnoughLeft) as refusal:
        refund(line, "600.000001")
    assert (refusal.value.required, refusal.value.free) == (Decimal("600.000001"), 600)
    assert written() == before


def test_held_credits_are_not_refunded(line, pool):
    holds.place(pool_id=pool.pk, amount=Decimal(250), reference="h", now=NOW)
    assert refunds.preview(line_id=line.pk, now=NOW).refundable == 750


def test_credits_that_have_ended_are_not_refunded(line):
    before = written()
    with pytest.raises(refunds.NothingToRefund):
        refund(line, now=NOW + 366 * DAY)
    assert written() == before


def test_nothing_left_is_nothing_to_refund(line, pool):
    spend(pool, 1_000)
    before = written()
    with pytest.raises(refunds.NothingToRefund):
        refund(line)
    assert written() == before


def test_what_was_free_is_not_refunded(pool):
    line = buy(pool, make_pack(prices={"1000": "0"}), method_id=0).invoice.lines.get()
    with pytest.raises(refunds.NothingToRefund):
        refund(line)
    assert CreditGrant.objects.get().remaining == 1_000


@pytest.mark.parametrize("credits", ["0", "-5"])
def test_an_amount_must_be_positive(line, credits):
    with pytest.raises(ValueError, match="positive"):
        refund(line, credits)


def test_a_purchase_that_was_never_paid_is_not_refunded(pool, pack):
    line = buy(pool, pack, method_id=make_card(pool.account, makers.DECLINE).pk).invoice.lines.get()
    with pytest.raises(refunds.NotRefundable):
        refund(line)
    with pytest.raises(InvoiceLine.DoesNotExist):
        refunds.preview(line_id=0, now=NOW)


def test_a_credit_note_without_credits_leaves_less_to_give_back(line):
    item = crediting.CreditItem(line_id=line.pk, amount=Decimal("100.00"))
    crediting.credit(
        invoice_id=line.invoice_id, reference="sorry", reason="Sorry", items=[item], actor="user:1", now=NOW
    )
    assert refunds.preview(line_id=line.pk, now=NOW).amount == Decimal("20.00")
    assert refund(line).invoice.amount_credited == Decimal("142.80")


def test_an_invoice_that_was_paid_elsewhere_has_no_payment_to_refund(account, pool):
    invoice = issue(account)
    settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=NOW)
    before = written()
    with pytest.raises(refunds.NoPaymentToRefund):
        refund(invoice.lines.get())
    with pytest.raises(refunds.NoPaymentToRefund):
        refunds.preview(line_id=invoice.lines.get().pk, now=NOW)
    assert written() == before


@pytest.mark.parametrize(("number", "state"), [(makers.LOST_ANSWER, "unknown"), (makers.REFUND_FAILS, "failed")])
def test_a_refund_that_the_gateway_does_not_make_is_seen(pool, pack, number, state):
    purchase = buy(pool, pack, method_id=make_card(pool.account, number).pk)
    checking.check_due(now=NOW + DAY, limit=10)
    note = refund(purchase.invoice.lines.get(), now=NOW + DAY)
    assert (note.refund.state, SandboxRefund.objects.count(), Invoice.objects.get().amount_refunded) == (state, 1, 0)


@pytest.mark.django_db(transaction=True)
def test_refunds_at_once_never_give_back_more_than_is_left(pool, pack):
    line = buy(pool, pack).invoice.lines.get()
    spend(pool, 300)
    acts = [lambda number=number: refund(line, 200, f"r{number}") for number in range(8)]
    outcomes = race(acts, expected=(posting.NotEnoughLeft,))
    assert outcomes == {"done": 3, "NotEnoughLeft": 5}
    assert Payment.objects.get().amount_refunded == Decimal("85.68")
    assert CreditGrant.objects.get().remaining == 100
    assert (CreditNote.objects.count(), SandboxRefund.objects.count()) == (3, 3)
    assert verification.verify(now=NOW).findings == []


@pytest.mark.django_db(transaction=True)
def test_the_same_refund_at_once_is_one(pool, pack):
    line = buy(pool, pack).invoice.lines.get()
    assert race([lambda: refund(line, 200)] * 8) == {"done": 8}
    assert (CreditNote.objects.count(), SandboxRefund.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_without_the_invoices_lock_previews_agree_to_too_much(pool, pack, monkeypatch):
    """The positive control: the plan alone, read without the lock, would let each of them through."""
    line = buy(pool, pack).invoice.lines.get()
    spend(pool, 300)
    plans = []
    race([lambda: plans.append(refunds.preview(line_id=line.pk, now=NOW, credits=Decimal(200)).total)] * 8)
    assert sum(plans) > Decimal("142.80")
