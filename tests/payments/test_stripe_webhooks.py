"""What Stripe reports: signed, in any order, more than once, late, or forged."""

import itertools
import time
import urllib.request
from decimal import Decimal

import pytest
from django.utils import timezone

from billing.finance import reports
from billing.invoicing.models import CreditNote
from billing.ledger import pools, posting
from billing.notifications.models import Notification
from billing.payments import checking, methods, refunding, setups, webhooks
from billing.payments.gateways import contract
from billing.payments.models import CardSetup, Dispute, GatewayEvent, Payment, PaymentMethod, Refund
from billing.purchases import refunds
from tests.api.asking import Api, assert_problem
from tests.commands import exit_code
from tests.factories import make_account
from tests.payments.stripe_process import SECRET, fake, signed
from tests.payments.test_stripe_paying import assert_adds_up, pay, start_refund
from tests.undoing import undone

__all__ = ["fake"]
pytestmark = pytest.mark.django_db

PATH = "/gateways/stripe/webhook"


def tell(event: dict[str, object], **how: object) -> int:
    """Send an event as Stripe does."""
    body, headers = signed(event, **how)  # type: ignore[arg-type]
    return Api(None).send("POST", PATH, body, headers=headers).status_code


def state(payment: Payment) -> str:
    payment.refresh_from_db()
    return payment.state


def test_a_report_pays_the_invoice_and_keeps_no_more_than_it_needs(fake, invoice):
    payment = pay(fake, invoice, "pm_slow")
    assert payment.state == "processing"
    fake.do("settle", intent=payment.gateway_reference, result="succeeded")
    assert tell(fake.events("payment_intent.succeeded")[0]) == 200
    assert state(payment) == "succeeded"
    event = GatewayEvent.objects.get()
    assert (event.gateway, event.kind, set(event.payload)) == (
        "stripe", "payment_intent.succeeded", {"type", "created", "object", "id"},
    )  # fmt: skip
    assert_adds_up(fake, invoice)


def test_four_events_in_any_order_and_twice_come_to_the_same(fake, invoice):
    payment = pay(fake, invoice, "pm_bank")
    fake.do("settle", intent=payment.gateway_reference, result="processing")
    fake.do("settle", intent=payment.gateway_reference, result="succeeded")
    checking.check(payment_id=payment.pk, now=timezone.now())
    refund = start_refund(payment, "19.00")
    fake.fail("POST /v1/refunds")
    refunding.submit(refund_id=refund, now=timezone.now())
    events = [each for each in fake.events() if each["type"] != "charge.refunded"]
    assert len(events) == 4
    came = {}
    for order in itertools.permutations(range(4)):
        with undone():
            answers = {tell(events[number]) for number in (*order, *order)}
            came[order] = {
                "answers": answers,
                "states": (state(payment), Refund.objects.get().state),
                "refunded": payment.amount_refunded,
                "processed": GatewayEvent.objects.filter(processed_at__isnull=False).count(),
                "balance": pools.get_main_pool(invoice.account_id).balance,
                "told": list(Notification.objects.values_list("kind", flat=True)),
            }
    expected = {
        "answers": {200}, "states": ("succeeded", "succeeded"), "refunded": 19, "processed": 4, "balance": 10_000,
        "told": ["receipt"],
    }  # fmt: skip
    assert len(came) == 24
    assert {order: each for order, each in came.items() if each != expected} == {}


def test_a_stale_report_does_not_undo_what_is_true_now(fake, invoice):
    payment = pay(fake, invoice, "pm_bank")
    fake.do("settle", intent=payment.gateway_reference, result="card_declined")
    fake.do("settle", intent=payment.gateway_reference, result="succeeded")
    # Told of the decline only, we ask and hear of the success.
    assert tell(fake.events("payment_intent.payment_failed")[0]) == 200
    assert state(payment) == "succeeded"
    assert_adds_up(fake, invoice)


FORGERIES = ("", "t=1", "v1=00", "t=1,v1=", "t=x,v1=00", "t=1,v1=\N{SNOWMAN}", ",,,", "=" * 50, "t=" + "9" * 400)


def test_a_forged_signature_is_refused_and_nothing_is_kept_or_asked(fake, invoice):
    payment = pay(fake, invoice, "pm_slow")
    fake.do("settle", intent=payment.gateway_reference, result="succeeded")
    body, _headers = signed(fake.events("payment_intent.succeeded")[0])
    before = len(fake.do("requests"))
    for forgery in FORGERIES:
        answer = Api(None).send("POST", PATH, body, headers={"Stripe-Signature": forgery})
        assert_problem(answer, 401, "invalid_signature")
    assert not GatewayEvent.objects.exists()
    assert len(fake.do("requests")) == before
    assert state(payment) == "processing"


def test_a_wrong_secret_an_old_signature_and_another_body_are_refused(fake, invoice):
    payment = pay(fake, invoice, "pm_slow")
    event = fake.events()[0]
    assert tell(event, secret="whsec_other") == 401
    assert tell(event, at=int(time.time()) - 301) == 401
    body, headers = signed(event)
    assert Api(None).send("POST", PATH, body + b" ", headers=headers).status_code == 401
    assert Api(None).send("POST", PATH, body).status_code == 401
    assert not GatewayEvent.objects.exists()
    assert tell(event, secret="whsec_next") == 200
    assert state(payment) == "processing"


def test_a_signed_body_that_is_no_event_is_refused(fake, db):
    events = ([], {}, {"id": "e", "type": "x"}, {"id": "e", "type": "x", "data": {"object": 1}})
    assert [tell(event) for event in events] == [401] * 4
    assert not GatewayEvent.objects.exists()


def test_without_a_secret_nothing_is_believed_and_without_a_key_the_door_is_shut(fake, invoice, settings):
    pay(fake, invoice, "pm_slow")
    event = fake.events()[0]
    settings.FLORIN_STRIPE_WEBHOOK_SECRETS = []
    assert tell(event) == 401
    settings.FLORIN_STRIPE_SECRET_KEY = ""
    assert tell(event) == 404


def test_what_is_not_ours_is_done_with(fake, invoice):
    pay(fake, invoice)
    intent = fake.things("payment_intent")[0]
    fake.do("change", id=intent["id"], event="payment_intent.succeeded", metadata="")
    strange = {"id": "evt_1", "type": "payout.paid", "data": {"object": {"id": "po_1", "object": "payout"}}}
    session = {"id": "evt_2", "type": "checkout.session.completed", "data": {"object": {"id": "cs_1", "object": "x"}}}
    for event in (fake.events()[-1], strange, session):
        assert tell(event) == 200
    assert not GatewayEvent.objects.filter(processed_at=None).exists()


def test_while_stripe_gives_no_answer_a_report_waits_in_its_row(fake, invoice):
    payment = pay(fake, invoice, "pm_slow")
    fake.do("settle", intent=payment.gateway_reference, result="succeeded")
    fake.fail(f"GET /v1/payment_intents/{payment.gateway_reference}", "500")
    assert tell(fake.events("payment_intent.succeeded")[0]) == 200
    assert state(payment) == "processing"
    event = GatewayEvent.objects.get()
    assert "GatewayUnavailable" in event.last_error
    assert webhooks.process_due(now=event.next_try_at, limit=5) == webhooks.Processed(1, 0)
    assert state(payment) == "succeeded"


def test_a_report_of_what_stripe_does_not_know_is_left_to_staff(fake, db):
    body = {"id": "evt_1", "type": "payment_intent.succeeded", "data": {"object": {"id": "pi_9", "object": "x"}}}
    assert tell(body) == 200
    assert "does not know pi_9" in GatewayEvent.objects.get().last_error


def test_a_refund_made_at_stripe_itself_is_taken_in_and_shown_to_staff(fake, invoice):
    """Of 1,190.00 for 10,000 credits, 9,500 of them spent, 238.00 go back: a fifth, of whose credits 500 are left."""
    payment = pay(fake, invoice)
    pool = pools.get_main_pool(invoice.account_id)
    posting.spend(pool_id=pool.pk, credits=Decimal(9_500), reference="s", now=timezone.now())
    fake.do("refund", intent=payment.gateway_reference, amount=23_800)
    events = fake.events("refund.created", "charge.refunded")
    for event in events * 2:
        assert tell(event) == 200
    shown = GatewayEvent.objects.get(processed_at=None)
    assert ("refunded at the gateway itself" in shown.last_error, shown.next_try_at) == (True, None)
    dispute, note = Dispute.objects.get(), CreditNote.objects.get()
    assert (dispute.kind, dispute.state, note.total, note.lines.get().credits) == ("refund", "lost", 238, 2_000)
    pool.refresh_from_db()
    assert (pool.balance, pool.overdraft) == (0, 1_500)
    assert_adds_up_after_refund(fake, invoice, payment, kept="952")
    # What staff refund later is what is left.
    with pytest.raises(refunding.TooMuch):
        start_refund(payment, "1000.00")
    assert not [each for each in reports.read(starts_on=day(), until=timezone.now()).checks if not each.holds]
    assert webhooks.dismiss(events=GatewayEvent.objects.all(), now=timezone.now()) == 1


def assert_adds_up_after_refund(fake, invoice, payment, *, kept: str) -> None:
    intent = fake.things("payment_intent")[0]
    invoice.refresh_from_db()
    payment.refresh_from_db()
    assert Decimal(intent["amount"] - intent["refunded"]) / 100 == Decimal(kept)
    assert invoice.amount_paid - invoice.amount_refunded == payment.refundable == Decimal(kept)


def day():
    return timezone.now().date()


@pytest.mark.parametrize(("ends", "balance", "refunded"), [("succeeded", 0, 1190), ("failed", 10_000, 0)])
def test_a_refund_made_at_stripe_itself_that_is_under_way_is_followed_to_its_end(
    fake, invoice, ends, balance, refunded
):
    payment = pay(fake, invoice)
    made = fake.do("refund", intent=payment.gateway_reference, status="pending")
    assert tell(fake.events("refund.created")[0]) == 200
    payment.refresh_from_db()
    assert (Dispute.objects.get().state, payment.refundable) == ("open", 0)
    fake.do("change", id=made["id"], event="refund.updated", status=ends)
    assert tell(fake.events("refund.updated")[0]) == 200
    payment.refresh_from_db()
    assert (pools.get_main_pool(invoice.account_id).balance, payment.amount_refunded) == (balance, refunded)


def test_money_that_the_customers_bank_sent_back_is_shown_to_staff(fake, invoice):
    payment = pay(fake, invoice)
    refund = start_refund(payment, "19.00")
    refunding.submit(refund_id=refund, now=timezone.now())
    made = fake.things("refund")[0]
    fake.do("change", id=made["id"], event="refund.failed", status="failed", failure_reason="declined")
    assert tell(fake.events("refund.failed")[0]) == 200
    assert "RefundBounced" in GatewayEvent.objects.get().last_error
    assert Refund.objects.get().state == "succeeded"


def test_the_finance_proof_finds_what_stripe_has_moved_and_nobody_here_knows_of(fake, invoice, capsys):
    payment = pay(fake, invoice)
    refunds.refund(
        line_id=invoice.lines.get().pk, credits=Decimal(1_000), reason="x", actor="t", reference="r",
        now=timezone.now(),
    )  # fmt: skip
    assert fake.things("payment_intent")[0]["refunded"] == 11_900
    assert exit_code("finance_report", "--gateway") == 0
    made = fake.do("refund", intent=payment.gateway_reference, amount=10_000)
    assert exit_code("finance_report", "--gateway") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"stripe: {payment.gateway_reference} = its payments - refunds - disputes" in said
    assert (
        tell(next(each for each in fake.events("refund.created") if each["data"]["object"]["id"] == made["id"])) == 200
    )
    fake.do("dispute", intent=payment.gateway_reference, amount=20_000)
    assert exit_code("finance_report", "--gateway") == 1
    assert tell(fake.events("charge.dispute.created")[0]) == 200
    assert exit_code("finance_report", "--gateway") == 0
    fake.fail("GET /v1/balance_transactions", "500")
    assert exit_code("finance_report", "--gateway") == 2


# --- Disputes -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("ends", "refunded"), [("won", 0), ("lost", 119_000)])
def test_a_disputes_events_in_any_order_come_to_what_stripe_says(fake, invoice, ends, refunded):
    payment = pay(fake, invoice)
    made = fake.do("dispute", intent=payment.gateway_reference)
    fake.do("change", id=made["id"], event="charge.dispute.funds_withdrawn", status="under_review")
    fake.do("change", id=made["id"], event="charge.dispute.closed", status=ends)
    events = [each for each in fake.events() if each["type"].startswith("charge.dispute.")]
    came = {}
    for order in itertools.permutations(range(3)):
        with undone():
            answers = {tell(events[number]) for number in (*order, *order)}
            dispute = Dispute.objects.get()
            payment.refresh_from_db()
            came[order] = {
                "answers": answers,
                "dispute": (dispute.state, dispute.amount, dispute.reason),
                "payment": (payment.amount_refunded * 100, payment.amount_disputed),
                "balance": pools.get_main_pool(invoice.account_id).balance,
                "waiting": GatewayEvent.objects.filter(processed_at=None).count(),
            }
    expected = {
        "answers": {200}, "dispute": (ends, 1190, "fraudulent"), "payment": (refunded, 0),
        "balance": 10_000 if ends == "won" else 0, "waiting": 0,
    }  # fmt: skip
    assert len(came) == 6
    assert {order: each for order, each in came.items() if each != expected} == {}


def test_a_dispute_is_followed_from_the_inquiry_on(fake, invoice):
    payment = pay(fake, invoice)
    made = fake.do("dispute", intent=payment.gateway_reference, status="warning_needs_response")
    steps = [("needs_response", "open", 0), ("won", "won", 10_000)]
    assert tell(fake.events("charge.dispute.created")[0]) == 200
    assert Dispute.objects.get().state == "inquiry"
    for status, state, credits in steps:
        fake.do("change", id=made["id"], event=f"charge.dispute.{status}", status=status)
        assert tell(fake.events(f"charge.dispute.{status}")[0]) == 200
        assert Dispute.objects.get().state == state
        assert pools.get_main_pool(invoice.account_id).balance == credits


def test_a_dispute_of_another_charge_that_carries_the_key_takes_nothing_back(fake, invoice):
    payment = pay(fake, invoice)
    fake.do("dispute", intent=payment.gateway_reference)
    Payment.objects.update(gateway_reference="pi_true")
    assert tell(fake.events("charge.dispute.created")[0]) == 200
    assert "NotDisputable" in GatewayEvent.objects.get().last_error
    assert not Dispute.objects.exists()


def test_a_dispute_of_what_is_not_ours_is_done_with(fake, invoice):
    payment = pay(fake, invoice)
    fake.do("change", id=payment.gateway_reference, event="x", metadata="")
    fake.do("dispute", intent=payment.gateway_reference)
    assert tell(fake.events("charge.dispute.created")[0]) == 200
    assert not Dispute.objects.exists()


# --- Cards typed on Stripe's page -----------------------------------------------------------------------------------
def begin(account, key: str = "form", **fields: object) -> CardSetup:
    given = {
        "return_url": "https://f.example/back", "cancel_url": "https://f.example/no", "make_default": True,
        "now": timezone.now(), **fields,
    }  # fmt: skip
    return setups.begin(account_id=account.pk, key=key, **given)  # type: ignore[arg-type]


def finish(setup: CardSetup) -> CardSetup:
    return setups.finish(setup_id=setup.pk, now=timezone.now())


def test_a_card_typed_there_is_kept_once_whoever_tells_of_it(fake, account):
    setup = begin(account)
    assert begin(account) == setup
    assert setup.url == f"https://checkout.stripe.example/c/{setup.gateway_reference}"
    assert finish(setup).state == "open"
    fake.do("card", session=setup.gateway_reference, card="pm_ok")
    assert tell(fake.events("checkout.session.completed")[0]) == 200
    done = finish(setup)
    card = PaymentMethod.objects.get()
    assert (done.state, done.method) == ("done", card)
    assert (str(card), card.gateway_reference, card.is_default) == (
        "Visa \N{BULLET}\N{BULLET}\N{BULLET}\N{BULLET} 4242",
        "pm_ok",
        True,
    )
    session = fake.things("checkout.session")[0]
    assert (session["mode"], session["success_url"]) == ("setup", "https://f.example/back")
    assert card.customer_reference == session["customer"]
    begin(account, "another form")
    assert len(fake.things("customer")) == 1


@pytest.mark.parametrize("other", [{"customer": "cus_other"}, {"metadata[florin_key]": "setup:other"}])
def test_a_card_of_another_customer_or_form_is_not_kept_and_shown_to_staff(fake, account, other):
    setup = begin(account)
    fake.do("change", id=setup.gateway_reference, event="x", **other)
    fake.do("card", session=setup.gateway_reference, card="pm_ok")
    assert tell(fake.events("checkout.session.completed")[0]) == 200
    assert "SetupRefused" in GatewayEvent.objects.get().last_error
    assert not PaymentMethod.objects.exists()


def test_a_page_nobody_finished_expires(fake, account):
    setup = begin(account)
    fake.do("card", session=setup.gateway_reference, card="pm_ok", status="expired")
    assert finish(setup).state == "expired"
    assert not PaymentMethod.objects.exists()


def test_when_the_page_cannot_be_opened_the_same_form_may_try_again(fake, account):
    for at in ("POST /v1/customers", "POST /v1/checkout/sessions"):
        fake.fail(at)
        with pytest.raises(contract.GatewayUnavailable):
            begin(account)
    assert begin(account).url
    assert (len(fake.things("customer")), len(fake.things("checkout.session"))) == (1, 1)


def test_cards_are_not_typed_here_nor_kept_beyond_the_limit(fake, account, monkeypatch):
    with pytest.raises(contract.CardsOnPage):
        methods.add_card(
            account_id=account.pk, number="4242", exp_month=1, exp_year=2030, cvc="1", make_default=True,
            now=timezone.now(),
        )  # fmt: skip
    monkeypatch.setattr(methods, "MAX_METHODS", 0)
    with pytest.raises(methods.TooManyMethods):
        begin(account)
    assert not CardSetup.objects.exists()


def test_another_accounts_setup_is_not_found(fake, account):
    begin(account)
    with pytest.raises(setups.SetupNotFound):
        setups.find(account_id=make_account("other").pk, key="form")


def test_over_http_a_report_reaches_a_server_that_runs(fake, invoice, live_server):
    payment = pay(fake, invoice, "pm_slow")
    fake.do("settle", intent=payment.gateway_reference, result="succeeded")
    body, headers = signed(fake.events("payment_intent.succeeded")[0], secret=SECRET)
    request = urllib.request.Request(f"{live_server.url}/api/v1{PATH}", body, headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        assert response.status == 200
    assert state(payment) == "succeeded"
    assert payment.amount == Decimal(1190)
