"""Staff pages of payments, refunds and what gateways report."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from billing.accounts.models import StaffAct, User
from billing.admin.payments.payment_queue import list_needing_staff
from billing.invoicing import settling
from billing.invoicing.models import Invoice
from billing.payments import disputes, methods, refunding, voiding
from billing.payments.gateways.contract import DisputeReport
from billing.payments.models import Collection, GatewayEvent, Payment, Refund
from billing.payments.sandbox_models import SandboxCharge
from billing.subscriptions.models import Subscription
from tests.admin.conftest import Office, post, text_of
from tests.factories import make_account, make_issuer
from tests.invoicing.makers import issue
from tests.payments import makers
from tests.payments.makers import make_card, pay
from tests.subscriptions.makers import make_team, subscribe
from tests.undoing import undone

LIST = "/admin/billing/payment/"
REFUNDS = "/admin/billing/refund/"
EVENTS = "/admin/billing/gatewayevent/"
TOKEN = "5a6b3c1e-9a3d-4d3e-8c54-1c5f7d1f0a11"


@pytest.fixture
def invoice(office: Office) -> Invoice:
    make_issuer()
    return issue(office.account, now=office.now)


@pytest.fixture
def failed(invoice: Invoice, office: Office) -> Payment:
    return pay(invoice, makers.DECLINE, now=office.now)


def acts() -> list[tuple[str, str]]:
    return list(StaffAct.objects.order_by("pk").values_list("act", "model"))


def test_failed_payments_stand_in_the_work_queue_while_the_invoice_is_to_be_collected(
    staff, office, invoice, failed
) -> None:
    page = text_of(staff, f"{LIST}?queue=open")
    assert "The card was declined." in page
    assert "1 payment" in page
    assert "payment/?queue=open" in text_of(staff, "/admin/")
    subscription = subscribe(make_account("fabrikam", now=office.now), make_team(now=office.now), now=office.now)

    def end() -> None:
        Collection.objects.create(
            invoice=invoice, purpose=f"subscription:{subscription.pk}", policy={}, created_at=office.now
        )
        assert list_needing_staff().exists()
        Subscription.objects.filter(pk=subscription.pk).update(state="ended", ended_at=office.now, next_due_at=None)

    ways: dict[str, Callable[[], object]] = {
        "paid": lambda: pay(invoice, key="k2", now=office.now),
        "paid by transfer": lambda: settling.settle(invoice_id=invoice.pk, amount=invoice.total, now=office.now),
        "voided": lambda: voiding.void(invoice_id=invoice.pk, now=office.now),
        "given up": lambda: settling.mark_uncollectible(invoice_id=invoice.pk, now=office.now),
        "its subscription has ended": end,
    }
    for name, way in ways.items():
        with undone():
            way()
            assert not list_needing_staff().exists(), name
    assert "1 payment" in text_of(staff, f"{LIST}?queue=open")


def test_the_queue_holds_what_is_unknown_or_odd(staff, office, invoice) -> None:
    payment = pay(invoice, makers.BLACKOUT, now=office.now)
    assert payment.state == "unknown"
    assert "1 payment" in text_of(staff, f"{LIST}?queue=open")
    assert text_of(staff, f"{LIST}{payment.pk}/change/").count("Ask the gateway now") == 1
    Payment.objects.update(state="processing")
    assert "0 payments" in text_of(staff, f"{LIST}?queue=open")
    Payment.objects.update(problem="The gateway reports 1 EUR.")
    assert "The gateway reports 1 EUR." in text_of(staff, f"{LIST}?queue=open")


def test_staff_ask_the_gateway_and_learn_that_it_was_paid(staff, failed) -> None:
    assert "Ask the gateway how" in text_of(staff, f"{LIST}{failed.pk}/ask/")
    SandboxCharge.objects.update(state="succeeded")
    assert "The payment is: succeeded." in post(staff, f"{LIST}{failed.pk}/ask/")
    failed.refresh_from_db()
    assert failed.state == "succeeded"
    act = StaffAct.objects.get()
    assert (act.act, act.model, act.row_id) == ("ask", "payment", str(failed.pk))
    assert (act.before["state"], act.after["state"]) == ("failed", "succeeded")


def test_several_are_asked_about_at_once(staff, office, invoice, failed) -> None:
    slow = pay(issue(office.account, reference="purchase:2"), makers.LATE, key="k2", now=office.now)
    message = post(staff, LIST, action="ask", _selected_action=slow.pk)
    assert "1 asked about, 0 have an outcome." in message
    SandboxCharge.objects.update(settles_at=office.now)
    assert "1 asked about, 1 has an outcome." in post(staff, LIST, action="ask", _selected_action=slow.pk)
    slow.refresh_from_db()
    assert slow.state == "succeeded"
    assert ("ask", "payment") in acts()


def test_staff_try_a_failed_payment_again_with_another_card_once_per_form(staff, office, invoice, failed) -> None:
    card = make_card(office.account, now=office.now)
    page = text_of(staff, f"{LIST}{failed.pk}/retry/")
    assert "4242" in page
    form = {"token": TOKEN, "method": card.pk, "reason": "Customer called"}
    for _ in range(2):
        assert "The new payment is: succeeded." in post(staff, f"{LIST}{failed.pk}/retry/", **form)
    again = Payment.objects.get(idempotency_key=f"staff:{TOKEN}")
    assert (again.state, again.off_session, again.method) == ("succeeded", True, card)
    assert Payment.objects.count() == SandboxCharge.objects.count() == 2
    invoice.refresh_from_db()
    assert invoice.state == "paid"
    act = StaffAct.objects.order_by("pk")[0]
    assert (act.act, act.row_id, act.reason) == ("retry", str(again.pk), "Customer called")


@pytest.mark.parametrize("spoil", ["paid", "under way", "removed", "no reason", "foreign", "no gateway"])
def test_a_retry_that_cannot_be_is_refused_and_nothing_is_charged(
    staff, office, invoice, failed, spoil, settings
) -> None:
    card = make_card(office.account, now=office.now)
    form: dict[str, object] = {"token": TOKEN, "method": card.pk, "reason": "Customer called"}
    expected = "Please correct"
    if spoil == "paid":
        Invoice.objects.update(state="void", voided_at=office.now)
        expected = "Nothing is owed"
    elif spoil == "under way":
        pay(invoice, makers.SLOW, key="k2", now=office.now)
        expected = "is under way"
    elif spoil == "removed":
        methods.remove(account_id=office.account.pk, method_id=card.pk, now=office.now)
    elif spoil == "no reason":
        form["reason"] = ""
    elif spoil == "foreign":
        from tests.factories import make_account

        form["method"] = make_card(make_account("evil"), now=office.now).pk
    else:
        settings.FLORIN_GATEWAY = ""
        expected = "not configured"
    before = SandboxCharge.objects.count()
    assert expected in post(staff, f"{LIST}{failed.pk}/retry/", **form)
    assert SandboxCharge.objects.count() == before
    invoice.refresh_from_db()
    assert invoice.amount_paid == 0


def test_without_the_gateway_staff_are_told(staff, failed, settings) -> None:
    settings.FLORIN_GATEWAY = ""
    assert "not configured any more" in post(staff, f"{LIST}{failed.pk}/ask/")


def test_a_payment_that_succeeded_offers_nothing_and_shows_its_refunds(staff, office, invoice) -> None:
    payment = pay(invoice, now=office.now)
    refunding.start(payment_id=payment.pk, credit_note_id=None, amount=Decimal(5), key="r", now=office.now)
    page = text_of(staff, f"{LIST}{payment.pk}/change/")
    assert "Ask the gateway now" not in page
    assert "Try again" not in page
    assert "5.00" in page


def test_looking_is_not_acting(client: Client, office, failed) -> None:
    viewer = User.objects.create_user("vera@example.com", "florin", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_payment"))
    client.force_login(viewer)
    assert "Ask the gateway now" not in text_of(client, f"{LIST}{failed.pk}/change/")
    for page in ("ask", "retry"):
        assert client.get(f"{LIST}{failed.pk}/{page}/").status_code == 403
        assert client.post(f"{LIST}{failed.pk}/{page}/").status_code == 403
        assert client.get(f"{LIST}999/{page}/").status_code == 404
    assert set(StaffAct.objects.values_list("act", flat=True)) == {"refused"}


@pytest.fixture
def refused(invoice: Invoice, office: Office) -> Refund:
    """A refund that failed."""
    payment = pay(invoice, makers.REFUND_FAILS, now=office.now)
    opened = refunding.start(payment_id=payment.pk, credit_note_id=None, amount=Decimal(5), key="r", now=office.now)
    return refunding.submit(refund_id=opened.pk, now=office.now)


def test_a_failed_refund_is_tried_again(staff, refused) -> None:
    assert "account is closed" in text_of(staff, f"{REFUNDS}?state__exact=failed")
    assert "1 is sent again" in post(staff, REFUNDS, action="try_again", _selected_action=refused.pk)
    refused.refresh_from_db()
    assert (refused.state, refused.attempt) == ("created", 2)
    assert "1 asked about, 1 with an outcome" in post(staff, REFUNDS, action="ask", _selected_action=refused.pk)
    refused.refresh_from_db()
    assert refused.state == "succeeded"
    assert acts() == [("try_again", "refund"), ("ask", "refund")]
    assert "0 are sent again" in post(staff, REFUNDS, action="try_again", _selected_action=refused.pk)


def test_a_failed_refund_that_staff_paid_out_by_hand_leaves_the_queue(staff, refused) -> None:
    assert "1 has gone back" in post(staff, REFUNDS, action="sent_by_hand", _selected_action=refused.pk)
    refused.refresh_from_db()
    assert (refused.state, refused.payment.amount_refunded) == ("succeeded", Decimal(5))
    assert "0 refunds" in text_of(staff, f"{REFUNDS}?state__exact=failed")
    assert "1 neither failed" in post(staff, REFUNDS, action="sent_by_hand", _selected_action=refused.pk)


def test_a_failed_refund_for_which_too_little_is_left_stays_failed(staff, refused) -> None:
    Payment.objects.update(amount_refunded=Decimal(1190))
    assert "too little is left" in post(staff, REFUNDS, action="try_again", _selected_action=refused.pk)
    refused.refresh_from_db()
    assert refused.state == "failed"


def test_without_the_gateway_a_refund_is_not_asked_about(staff, refused, settings) -> None:
    settings.FLORIN_GATEWAY = ""
    assert "not configured any more" in post(staff, REFUNDS, action="ask", _selected_action=refused.pk)


def test_an_event_that_failed_is_shown_and_acted_upon_by_hand(staff, office, invoice) -> None:
    payment = pay(invoice, makers.LATE, now=office.now)
    data = {
        "key": payment.idempotency_key, "reference": payment.gateway_reference, "state": "succeeded",
        "amount": "1.00", "currency": "EUR",
    }  # fmt: skip
    event = GatewayEvent.objects.create(
        gateway="sandbox",
        event_id="evt_1",
        kind="charge.succeeded",
        payload={"type": "charge.succeeded", "data": data},
        received_at=office.now,
        attempts=32,
        last_error="ReportRefused: 1.00 EUR",
    )
    assert "ReportRefused" in text_of(staff, f"{EVENTS}?queue=open")
    assert "1 tried, 0 acted upon." in post(staff, EVENTS, action="try_again", _selected_action=event.pk)
    event.payload["data"]["amount"] = "1190.00"
    event.save()
    assert "1 tried, 1 acted upon." in post(staff, EVENTS, action="try_again", _selected_action=event.pk)
    payment.refresh_from_db()
    assert payment.state == "succeeded"
    assert "0 gateway events" in text_of(staff, f"{EVENTS}?queue=open")
    assert "1 gateway event" in text_of(staff, EVENTS)


def test_a_report_that_can_never_be_acted_upon_is_dismissed(staff, office) -> None:
    known = {"gateway": "sandbox", "kind": "charge.succeeded", "payload": {}, "received_at": office.now}
    event = GatewayEvent.objects.create(event_id="evt_1", last_error="UnknownKey: k", **known)
    fresh = GatewayEvent.objects.create(event_id="evt_2", next_try_at=office.now, **known)
    page = post(staff, EVENTS, action="dismiss", _selected_action=[event.pk, fresh.pk])
    assert "1 is dismissed." in page
    event.refresh_from_db()
    fresh.refresh_from_db()
    assert (event.last_error, event.next_try_at, fresh.processed_at) == ("UnknownKey: k", None, None)
    assert event.processed_at is not None


def test_the_sandbox_is_listed_only_while_it_is_in_use(staff, settings) -> None:
    assert "sandboxcharge" in text_of(staff, "/admin/")
    settings.FLORIN_GATEWAY = ""
    assert "sandboxcharge" not in text_of(staff, "/admin/")


def test_a_method_is_shown_as_its_customer_knows_it(staff, office) -> None:
    card = make_card(office.account, now=timezone.now())
    assert "4242" in text_of(staff, f"/admin/billing/paymentmethod/{card.pk}/change/")


def test_disputes_stand_in_the_work_queue_until_they_end(staff, office, invoice) -> None:
    payment = pay(invoice, now=office.now)
    for state, count in (("open", 1), ("lost", 0)):
        report = DisputeReport("k1", "du_1", payment.amount, "EUR", "fraudulent", state, office.now)
        row = disputes.record(payment_id=payment.pk, report=report, now=office.now)
        page = text_of(staff, "/admin/billing/dispute/?queue=open")
        assert f"{count} dispute" in page
    assert "Disputes" in text_of(staff, "/admin/work/")
    page = text_of(staff, f"/admin/billing/dispute/{row.pk}/change/")
    assert "fraudulent" in page
    assert "€1,190.00" in page
