"""Disputes: what a payer takes back by the bank is taken back here, and comes again if it is won."""

import itertools
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest

from billing.invoicing import crediting
from billing.invoicing.models import CreditNote, Invoice
from billing.ledger import chargebacks, expiry, pools, posting
from billing.ledger.models import CreditGrant
from billing.ledger.moves import RolloverRule
from billing.metering import verification
from billing.notifications.models import Notification
from billing.payments import disputes, refunding, transfers
from billing.payments.gateways.contract import DisputeReport, Outcome
from billing.payments.models import Dispute, Payment, Refund
from billing.purchases import refunds
from tests.factories import NOW, give_credits
from tests.invoicing.makers import credits_line, issue, plain_line
from tests.ledger.racing import race
from tests.payments import makers
from tests.payments.makers import pay
from tests.payments.test_transfers import receive

WEEK = timedelta(days=7)


def told(state: str = "open", amount: str = "1190.00", reference: str = "du_1", currency: str = "EUR") -> DisputeReport:
    return DisputeReport("k1", reference, Decimal(amount), currency, "fraudulent", state, NOW + WEEK)


def tell(payment: Payment, *states: str, amount: str = "1190.00", reference: str = "du_1", now=NOW) -> Dispute:
    for state in states:
        row = disputes.record(payment_id=payment.pk, report=told(state, amount, reference), now=now)
    return row


def spend(invoice: Invoice, credits: str, *, now=NOW) -> None:
    pool = pools.get_main_pool(invoice.account_id)
    posting.spend(pool_id=pool.pk, credits=Decimal(credits), reference=f"spend:{credits}", now=now)


def pool_of(invoice: Invoice) -> tuple[Decimal, Decimal]:
    """Balance and overdraft; what the ledger says of itself must be true."""
    report = verification.verify(account_ids=None, now=NOW + WEEK * 60)
    assert not report.findings
    pool = pools.get_main_pool(invoice.account_id)
    return pool.balance, pool.overdraft


def money_of(payment: Payment) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Refunded and disputed of the payment, refunded and credited of the invoice."""
    payment.refresh_from_db()
    invoice = Invoice.objects.get(pk=payment.invoice_id)
    return payment.amount_refunded, payment.amount_disputed, invoice.amount_refunded, invoice.amount_credited


@pytest.fixture
def paid(invoice) -> Payment:
    """1,190.00 for 10,000 credits."""
    return pay(invoice)


def test_what_is_left_is_revoked_and_what_was_used_is_owed(invoice, paid):
    spend(invoice, "6000")
    dispute = tell(paid, "open")
    assert (dispute.state, dispute.taken_back_at, dispute.respond_by) == ("open", NOW, NOW + WEEK)
    assert pool_of(invoice) == (0, 6000)
    assert money_of(paid) == (0, 1190, 0, 0)
    assert tell(paid, "open", "inquiry", "open") == dispute
    assert pool_of(invoice) == (0, 6000)


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (("inquiry", "open", "open"), ["open"]),
        (("open", "won"), ["open", "won"]),
        (("open", "lost", "lost"), ["open", "lost"]),
        (("lost",), ["lost"]),
        (("inquiry", "closed"), []),
    ],
)
def test_the_customer_is_told_once_of_each_step(invoice, paid, states, said):
    tell(paid, *states)
    rows = Notification.objects.filter(kind="dispute").order_by("pk")
    assert [row.payload["state"] for row in rows] == said
    note = CreditNote.objects.filter(reference__startswith="dispute:").first()
    if rows:
        assert rows[len(rows) - 1].payload["number"] == (note.number if note else "")


def test_nothing_of_it_can_be_refunded_meanwhile(invoice, paid):
    tell(paid, "open", amount="1000.00")
    with pytest.raises(refunding.TooMuch):
        refunding.start(payment_id=paid.pk, credit_note_id=None, amount=Decimal("190.01"), key="r", now=NOW)
    assert money_of(paid) == (0, 1000, 0, 0)


def test_what_is_not_disputed_of_a_purchase_can_be_refunded_meanwhile(invoice, paid):
    tell(paid, "open", amount="595.00")
    line = invoice.lines.get()
    note = refunds.refund(line_id=line.pk, credits=None, reason="x", actor="t", reference="r", now=NOW)
    assert note.total == 595
    assert (pool_of(invoice), money_of(paid)) == ((0, 0), (595, 595, 595, 595))


def test_a_dispute_that_is_lost_is_a_credit_note_and_a_refund(invoice, paid):
    spend(invoice, "6000")
    dispute = tell(paid, "open", "lost", "lost", "won")
    assert (dispute.state, dispute.closed_at) == ("lost", NOW)
    note = CreditNote.objects.get()
    assert (note.total, note.tax_total, note.lines.get().credits) == (1190, 190, 10_000)
    refund = Refund.objects.get()
    assert (refund.state, refund.amount, refund.credit_note, dispute.refund) == ("succeeded", 1190, note, refund)
    assert money_of(paid) == (1190, 0, 1190, 1190)
    assert pool_of(invoice) == (0, 6000)
    give_credits(invoice.account, "10000")
    assert pool_of(invoice) == (4000, 0)


@pytest.mark.parametrize("bought_between", [False, True])
def test_a_dispute_that_is_won_brings_back_what_was_taken(invoice, paid, bought_between):
    spend(invoice, "6000")
    before = CreditGrant.objects.get()
    tell(paid, "open")
    if bought_between:
        give_credits(invoice.account, "10000")
        assert pool_of(invoice) == (4000, 0)
    dispute = tell(paid, "won", "won", now=NOW + WEEK)
    assert dispute.state == "won"
    assert pool_of(invoice) == (14_000 if bought_between else 4000, 0)
    assert money_of(paid) == (0, 0, 0, 0)
    back = CreditGrant.objects.filter(kind="purchase").latest("pk")
    assert (back.amount, back.cost_basis, back.expires_at) == (4000, before.cost_basis, before.expires_at + WEEK)
    assert not Refund.objects.exists()
    assert not CreditNote.objects.exists()


def test_an_inquiry_takes_nothing_until_it_becomes_more(invoice, paid):
    assert tell(paid, "inquiry").state == "inquiry"
    assert (pool_of(invoice), money_of(paid)) == ((10_000, 0), (0, 0, 0, 0))
    assert tell(paid, "closed").state == "closed"
    assert tell(paid, "open").state == "closed"
    assert pool_of(invoice) == (10_000, 0)


@pytest.mark.parametrize("order", list(itertools.permutations(["inquiry", "open", "lost"])))
def test_in_whatever_order_it_is_told_it_comes_to_the_same(invoice, paid, order):
    tell(paid, *order, *order)
    assert (pool_of(invoice), money_of(paid)) == ((0, 0), (1190, 0, 1190, 1190))
    assert (Dispute.objects.get().state, Refund.objects.count()) == ("lost", 1)


def test_a_part_takes_its_part(account):
    invoice = issue(account, credits_line(account), plain_line("500.00"))
    payment = pay(invoice)
    assert payment.amount == 1785
    tell(payment, "open", amount="178.50")
    assert pool_of(invoice) == (9000, 0)
    tell(payment, "lost", amount="178.50")
    note = CreditNote.objects.get()
    assert (note.total, [line.amount for line in note.lines.order_by("pk")]) == (Decimal("178.50"), [100, 50])
    assert money_of(payment) == (Decimal("178.50"), 0, Decimal("178.50"), Decimal("178.50"))


@pytest.mark.parametrize(
    ("amounts", "disputed"),
    [
        # With 19 % tax 56.13; in parts rounded one by one 22.35, 1.76 and 72.65 would come to 56.14.
        (("22.35", "1.76", "72.65", "-49.59"), "56.13"),
        (("22.35", "1.76", "72.65", "-49.59"), "11.11"),
        (("0.03", "0.03", "0.03"), "0.05"),
        (("99.99", "-99.98"), "0.01"),
    ],
)
def test_a_credit_note_never_exceeds_what_was_paid_whatever_was_taken_off(account, amounts, disputed):
    invoice = issue(account, *[plain_line(each, quantity=Decimal(1 if each[0] != "-" else -1)) for each in amounts])
    payment = pay(invoice)
    tell(payment, "lost", amount=disputed)
    note = CreditNote.objects.get()
    assert note.total == Decimal(disputed)
    assert money_of(payment) == (Decimal(disputed), 0, Decimal(disputed), Decimal(disputed))


def test_of_what_was_credited_before_without_giving_it_back_nothing_is_credited_again(account):
    """100.00 less 20.00 and tax are 95.20, of which 50.00 and tax were credited: 35.70 are left to be."""
    invoice = issue(account, plain_line("100.00"), plain_line("-20.00", quantity=Decimal(-1)))
    payment = pay(invoice)
    item = crediting.CreditItem(invoice.lines.get(position=1).pk, Decimal("50.00"))
    crediting.credit(invoice_id=invoice.pk, reference="g", reason="x", items=[item], actor="t", now=NOW)
    tell(payment, "lost", amount="95.20")
    assert CreditNote.objects.latest("pk").total == Decimal("35.70")
    assert money_of(payment) == (Decimal("95.20"), 0, Decimal("95.20"), Decimal("95.20"))


def test_what_was_refunded_before_is_not_taken_twice(invoice, paid):
    line = invoice.lines.get()
    refunds.refund(line_id=line.pk, credits=Decimal(5000), reason="x", actor="t", reference="r", now=NOW)
    with pytest.raises(disputes.NotDisputable):
        tell(paid, "open")
    tell(paid, "open", amount="595.00")
    assert pool_of(invoice) == (0, 0)
    tell(paid, "lost", amount="595.00")
    assert money_of(paid) == (1190, 0, 1190, 1190)


def test_credits_that_had_ended_unused_are_not_asked_for(invoice, paid):
    spend(invoice, "6000")
    later = NOW + timedelta(days=366)
    expiry.expire_due(now=later, grace_seconds=0, limit=10)
    tell(paid, "open", now=later)
    assert pool_of(invoice) == (0, 6000)
    tell(paid, "won", now=later)
    assert pool_of(invoice) == (0, 0)


def test_money_of_an_invoice_not_paid_in_full_is_owed_again(invoice):
    transfer = receive("400.00")
    part = transfers.match(transfer_id=transfer.pk, invoice_id=invoice.pk, key="1", now=NOW)
    tell(part, "open", "lost", amount="400.00")
    invoice.refresh_from_db()
    assert (invoice.state, invoice.amount_paid, invoice.owed) == ("open", 0, 1190)
    assert not CreditNote.objects.exists()
    assert Refund.objects.get().amount == 400


@pytest.mark.parametrize(
    "report", [told(amount="1190.01"), told(currency="USD")], ids=["more than was paid", "another currency"]
)
def test_a_dispute_that_cannot_be_is_refused(invoice, paid, report):
    with pytest.raises(disputes.NotDisputable):
        disputes.record(payment_id=paid.pk, report=report, now=NOW)
    assert not Dispute.objects.exists()
    assert pool_of(invoice) == (10_000, 0)


def test_a_payment_that_has_brought_nothing_is_not_disputed(invoice):
    declined = pay(invoice, makers.DECLINE)
    with pytest.raises(disputes.NotDisputable):
        tell(declined, "open")
    assert not Dispute.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_told_many_times_at_once_it_takes_back_once(transactional_db, invoice):
    payment = pay(invoice)
    spend(invoice, "6000")
    works = [lambda state=state: tell(payment, state) for state in ("inquiry", "open", "lost") * 4]
    assert race(works) == {"done": 12}
    assert (pool_of(invoice), money_of(payment)) == ((0, 6000), (1190, 0, 1190, 1190))
    assert (Refund.objects.count(), CreditNote.objects.count()) == (1, 1)


def test_after_one_that_was_won_another_takes_back_what_came_again(invoice, paid):
    spend(invoice, "6000")
    tell(paid, "open", "won")
    assert (pool_of(invoice), money_of(paid)) == ((4000, 0), (0, 0, 0, 0))
    again = disputes.record(payment_id=paid.pk, report=told("open", reference="du_2"), now=NOW + WEEK)
    assert (pool_of(invoice), money_of(paid)) == ((0, 6000), (0, 1190, 0, 0))
    disputes.record(payment_id=paid.pk, report=told("won", reference="du_2"), now=NOW + 2 * WEEK)
    assert (pool_of(invoice), money_of(paid)) == ((4000, 0), (0, 0, 0, 0))
    spend(invoice, "1000", now=NOW + 3 * WEEK)
    last = disputes.record(payment_id=paid.pk, report=told("lost", reference="du_3"), now=NOW + 3 * WEEK)
    assert (again.pk != last.pk, pool_of(invoice), money_of(paid)) == (True, (0, 7000), (1190, 0, 1190, 1190))


def test_what_came_again_can_be_refunded(invoice, paid):
    spend(invoice, "6000")
    tell(paid, "open", "won")
    line = invoice.lines.get()
    assert refunds.preview(line_id=line.pk, now=NOW).refundable == 4000
    note = refunds.refund(line_id=line.pk, credits=None, reason="x", actor="t", reference="r", now=NOW)
    assert (note.total, pool_of(invoice)) == (476, (0, 0))


def test_parts_that_are_disputed_one_after_the_other_owe_what_was_used_once(invoice, paid):
    """Of 10,000 credits 3,000 were used and 7,000 ended unused: nobody owes more than 3,000, whatever is disputed."""
    spend(invoice, "3000")
    later = NOW + timedelta(days=366)
    expiry.expire_due(now=later, grace_seconds=0, limit=10)
    for number, amount in enumerate(("595.00", "476.00", "119.00"), start=1):
        disputes.record(payment_id=paid.pk, report=told("open", amount, f"du_{number}"), now=later)
    assert (pool_of(invoice), money_of(paid)) == ((0, 3000), (0, 1190, 0, 0))


@pytest.mark.parametrize("end", ["lost", "won"])
def test_a_refund_that_failed_for_a_dispute_is_sent_only_if_that_is_won(invoice, paid, end):
    row = refunding.start(payment_id=paid.pk, credit_note_id=None, amount=Decimal("10.71"), key="r:1", now=NOW)
    failed = Outcome(state="failed", reference="", failure_message="There is not so much left of the charge.")
    refunding.record(refund_id=row.pk, attempt=row.attempt, outcome=failed, now=NOW)
    tell(paid, "open")
    for send in (partial(refunding.retry), partial(refunding.pay_out, reference="by hand")):
        with pytest.raises(refunding.TooMuch):
            send(refund_id=row.pk, now=NOW)
    tell(paid, end)
    if end == "won":
        assert refunding.retry(refund_id=row.pk, now=NOW).state == "created"
    else:
        with pytest.raises(refunding.TooMuch):
            refunding.retry(refund_id=row.pk, now=NOW)
    assert money_of(paid)[0] == (Decimal("10.71") if end == "won" else 1190)


def test_what_was_used_before_is_not_used_again_by_a_dispute(invoice, paid):
    def cycle() -> tuple[Decimal, Decimal]:
        pool = pools.get_main_pool(invoice.account_id)
        return pool.cycle_spent, pool.cycle_allocation

    spend(invoice, "6000")
    tell(paid, "open")
    assert cycle() == (6000, 6000)
    tell(paid, "won")
    assert cycle() == (6000, 10_000)
    # What repaid the debt is there again, too.
    tell(paid, "open", reference="du_2")
    give_credits(invoice.account, "7000", now=NOW)
    assert cycle() == (6000, 7000)
    tell(paid, "won", reference="du_2")
    assert cycle() == (6000, 17_000)


def test_what_was_rolled_over_is_taken_back_itself(invoice, paid):
    pool = pools.get_main_pool(invoice.account_id)
    lot = (
        posting.grant(
            pool_id=pool.pk, amount=Decimal(100), kind="allocation", reference="a", now=NOW, expires_at=NOW + WEEK
        )
        .entries.get()
        .grant
    )
    spend(invoice, "30")
    rule = RolloverRule(cap=Decimal(50), max_periods=3)
    posting.roll_over(
        pool_id=pool.pk, ends_at=NOW + WEEK, new_expires_at=NOW + 2 * WEEK, rule=rule, reference="r", now=NOW + WEEK
    )
    given = {"grant_id": lot.pk, "reference": "chargeback:x", "note": "", "now": NOW + WEEK}
    # 30 used, 50 rolled over, 20 ended: of all 100 that were paid for, 50 are revoked and 30 are owed.
    assert chargebacks.take_back(credits=Decimal(100), **given) == 80
    assert chargebacks.take_back(credits=Decimal(100), **given) == 80
    assert (CreditGrant.objects.get(kind="rollover").revoked, pool_of(invoice)) == (50, (9970, 0))
    assert chargebacks.give_back(waited=WEEK, **given) == 80
    assert chargebacks.give_back(waited=WEEK, **given) == 0
    assert pool_of(invoice) == (10_050, 0)
    back = CreditGrant.objects.get(kind="adjustment")
    assert (back.amount, back.expires_at) == (50, NOW + 3 * WEEK)
