"""Bank transfers: recorded, matched, returned."""

from datetime import date
from decimal import Decimal

import pytest

from billing.invoicing.models import Invoice, Issuer
from billing.ledger import pools
from billing.payments import paying, refunding, transfers
from billing.payments.gateways import contract, registry
from billing.payments.models import BankTransfer, GatewayName, Payment
from tests.factories import NOW, make_account, make_issuer
from tests.invoicing.makers import issue
from tests.ledger.racing import race
from tests.payments import makers
from tests.payments.makers import pay

DAY = date(2025, 3, 1)


def receive(amount: str = "1190.00", **fields: object) -> BankTransfer:
    """A transfer that has come."""
    given = {
        "reference": f"bank:{BankTransfer.objects.count()}", "received_on": DAY, "amount": Decimal(amount),
        "currency": "EUR", "actor": "test", "now": NOW, **fields,
    }  # fmt: skip
    return transfers.record(**given)[0]  # type: ignore[arg-type]


def match(transfer: BankTransfer, invoice: Invoice, amount: str | None = None, key: str = "1") -> Payment:
    wanted = None if amount is None else Decimal(amount)
    return transfers.match(transfer_id=transfer.pk, invoice_id=invoice.pk, amount=wanted, key=key, now=NOW)


def state_of(invoice: Invoice) -> tuple[str, Decimal, Decimal]:
    """State, what was paid, and the credits of its account."""
    invoice.refresh_from_db()
    return invoice.state, invoice.amount_paid, pools.get_main_pool(invoice.account_id).balance


def left(transfer: BankTransfer) -> Decimal:
    transfer.refresh_from_db()
    return transfer.left


def test_a_matched_transfer_pays_the_invoice_and_grants_its_credits_once(invoice):
    transfer = receive()
    payment = match(transfer, invoice)
    assert match(transfer, invoice) == payment
    assert (payment.gateway, payment.state, payment.method, payment.transfer) == ("manual", "succeeded", None, transfer)
    assert state_of(invoice) == ("paid", Decimal(1190), Decimal(10_000))
    assert (left(transfer), Payment.objects.count()) == (0, 1)


def test_parts_pay_a_part_and_what_is_too_much_stays(invoice):
    first, second = receive("400.00"), receive("1000.00")
    match(first, invoice)
    assert state_of(invoice) == ("open", Decimal(400), Decimal(0))
    match(second, invoice)
    assert state_of(invoice) == ("paid", Decimal(1190), Decimal(10_000))
    assert (left(first), left(second)) == (0, 210)
    assert list(BankTransfer.objects.unmatched()) == [second]
    other = issue(make_account("other", currency="EUR"), reference="purchase:2")
    match(second, other, "200.00", key="2")
    assert state_of(other) == ("open", Decimal(200), Decimal(0))
    transfers.mark_returned(transfer_id=second.pk, note="sent back", now=NOW)
    assert left(second) == 0
    with pytest.raises(transfers.TooMuch):
        transfers.mark_returned(transfer_id=second.pk, note="again", now=NOW)


@pytest.mark.parametrize("amount", ["-1", "0", "1190.01", "1200.00"])
def test_no_more_is_matched_than_transfer_and_invoice_allow(invoice, amount):
    transfer = receive("1200.00")
    with pytest.raises(transfers.TooMuch):
        match(transfer, invoice, amount)
    assert state_of(invoice) == ("open", Decimal(0), Decimal(0))
    assert left(transfer) == 1200
    assert not Payment.objects.exists()


def test_what_owes_nothing_or_is_in_another_currency_is_not_matched(invoice):
    transfer, dollars = receive(), receive(currency="USD")
    with pytest.raises(transfers.OtherCurrency):
        match(dollars, invoice)
    pay(invoice)
    with pytest.raises(transfers.NothingOwed):
        match(transfer, invoice)
    assert (left(transfer), left(dollars)) == (1190, 1190)
    assert Payment.objects.count() == 1


def test_a_key_stands_for_one_match(invoice):
    transfer = receive()
    match(transfer, invoice, "10")
    with pytest.raises(transfers.KeyTaken):
        match(transfer, invoice, "11")
    with pytest.raises(transfers.KeyTaken):
        match(transfer, issue(invoice.account, reference="purchase:2"), "10")
    assert left(transfer) == 1180


def test_the_same_transfer_is_recorded_once_and_another_of_its_reference_refused(invoice):
    assert receive(reference="r") == receive(reference="r", payer="Somebody else")
    for changed in ({"amount": Decimal(1)}, {"currency": "USD"}, {"received_on": date(2025, 3, 2)}):
        with pytest.raises(transfers.ReferenceTaken):
            receive(reference="r", **changed)
    for amount in ("0", "-1", "1.005"):
        with pytest.raises(ValueError, match="whole minor units"):
            receive(amount, reference="new")
    assert BankTransfer.objects.count() == 1


def test_a_card_payment_under_way_that_is_not_needed_any_more_goes_back(invoice):
    card = pay(invoice, makers.SLOW)
    match(receive("400.00"), invoice)
    paying.record(payment_id=card.pk, outcome=contract.Outcome("succeeded", card.gateway_reference), now=NOW)
    card.refresh_from_db()
    assert (card.state, card.amount_refunded) == ("succeeded", card.amount)
    assert state_of(invoice) == ("open", Decimal(400), Decimal(0))


def test_money_of_a_transfer_that_is_to_go_back_waits_for_staff(invoice):
    payment = match(receive(), invoice)
    row = refunding.start(payment_id=payment.pk, credit_note_id=None, amount=Decimal(5), key="r", now=NOW)
    assert refunding.submit(refund_id=row.pk, now=NOW).state == "processing"
    assert refunding.check(refund_id=row.pk, now=NOW).state == "processing"
    sent = contract.Outcome("succeeded", "by hand")
    assert refunding.record(refund_id=row.pk, attempt=1, outcome=sent, now=NOW).state == "succeeded"


def test_nothing_is_drawn_by_transfer_nor_believed_of_what_reports_it():
    manual = registry.get(GatewayName.MANUAL)
    request = contract.Charge("k", Decimal(1), "EUR", "", True, "", "")
    for ask in (manual.charge, manual.find_charge):
        with pytest.raises(contract.NoGateway):
            ask(request, now=NOW)
    with pytest.raises(contract.InvalidWebhook):
        manual.open_webhook(headers={}, body=b"{}")
    assert manual.read_webhook({}) is None


# --- Matching without anyone's hand ---------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["Invoice {}", "inv 1", "INV000001, thanks", "Rechnung:INV/1/2026", "x{}y"])
def test_the_number_is_found_however_it_is_written(invoice, text):
    assert invoice.number == "INV-000001"
    transfer = receive("1200.00", remittance=text.format(invoice.number))
    found = text != "x{}y"
    assert len(transfers.match_by_itself(transfer_id=transfer.pk, now=NOW)) == found
    assert left(transfer) == (10 if found else 1200)


def test_several_invoices_are_paid_if_the_money_reaches_for_all(invoice):
    second = issue(invoice.account, reference="purchase:2")
    both = f"{second.number} and {invoice.number}"
    short = receive("2379.99", remittance=both)
    assert transfers.match_by_itself(transfer_id=short.pk, now=NOW) == []
    assert [each.invoice for each in transfers.suggest(short)] == [invoice, second]
    enough = receive("2380.00", remittance=both)
    assert len(transfers.match_by_itself(transfer_id=enough.pk, now=NOW)) == 2
    assert transfers.match_by_itself(transfer_id=enough.pk, now=NOW) == []
    assert (state_of(invoice)[0], state_of(second)[0], left(enough)) == ("paid", "paid", 0)


def test_by_amount_alone_only_a_known_payer_pays(invoice):
    stranger = receive(payer="Somebody", payer_account="DE00 1")
    assert transfers.match_by_itself(transfer_id=stranger.pk, now=NOW) == []
    assert transfers.suggest(stranger) == [transfers.Suggestion(invoice, is_named=False)]
    named = receive(payer=invoice.account.name.upper())
    assert len(transfers.match_by_itself(transfer_id=named.pk, now=NOW)) == 1
    again = issue(invoice.account, reference="purchase:2")
    match(stranger, again)
    issue(invoice.account, reference="purchase:3")
    known = receive(payer_account="DE001")
    assert len(transfers.match_by_itself(transfer_id=known.pk, now=NOW)) == 1
    issue(invoice.account, reference="purchase:4")
    issue(invoice.account, reference="purchase:5")
    doubtful = receive(payer_account="DE001")
    assert transfers.match_by_itself(transfer_id=doubtful.pk, now=NOW) == []
    assert len(transfers.suggest(doubtful)) == 2


def test_an_invoice_in_another_currency_is_not_paid_though_it_is_named(invoice):
    dollars = receive(currency="USD", remittance=invoice.number)
    assert transfers.match_by_itself(transfer_id=dollars.pk, now=NOW) == []
    assert transfers.suggest(dollars) == []


@pytest.mark.django_db(transaction=True)
def test_of_many_matches_at_once_no_more_is_paid_than_came(transactional_db, account):
    transfer = receive("2000.00")
    invoices = [issue(account, reference=f"purchase:{number}") for number in range(4)]

    def work(invoice: Invoice):
        return lambda: match(transfer, invoice, key=f"{invoice.pk}")

    # The control: sent twice each, four invoices of 1,190.00 would take 4,760.00.
    assert race([work(invoice) for invoice in invoices] * 2, expected=(transfers.TooMuch,)) == {"done": 4, "TooMuch": 4}
    paid = sorted(Invoice.objects.values_list("amount_paid", flat=True))
    assert paid == [0, 0, 810, 1190]
    assert left(transfer) == 0
    assert Payment.objects.count() == 2


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("INV-2026-000007", {"INV-2026-000007"}),
        ("inv 2026 7, inv-12", {"INV-2026-000007", "INV-000012"}),
        ("INV-2026", {"INV-002026"}),
        ("INV-20267", {"INV-020267"}),
        ("RE25000009 and RE-25-4", {"RE25000009", "RE25000004"}),
        ("INV-2026-7 INV-2026-8", {"INV-2026-000007", "INV-2026-000008"}),
    ],
)
def test_the_number_of_a_longer_prefix_is_none_of_a_shorter_one(text, numbers):
    assert transfers.numbers_in(text, ["INV-", "INV-2026-", "RE25"]) == numbers


def test_a_transfer_for_an_invoice_of_one_issuer_does_not_pay_that_of_another(account):
    first = issue(account)
    Issuer.objects.update(is_default=False)
    make_issuer("other", invoice_prefix="INV-1-", credit_note_prefix="CN-1-", rates={})
    second = issue(account, reference="second")
    assert (first.number, second.number) == ("INV-000001", "INV-1-000001")
    transfer = receive("2380.00", remittance="INV-1-000001")
    (payment,) = transfers.match_by_itself(transfer_id=transfer.pk, now=NOW)
    assert (payment.invoice, left(transfer)) == (second, 1190)
