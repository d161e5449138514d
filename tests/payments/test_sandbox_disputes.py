"""Disputes of the sandbox: by a card and by an act, told by webhook as a real gateway's are."""

from datetime import timedelta
from decimal import Decimal

import pytest

from billing.ledger.models import CreditPool
from billing.payments import webhooks
from billing.payments.gateways import sandbox, sandbox_webhooks
from billing.payments.gateways.contract import Delivery, DisputeReport, Return
from billing.payments.models import Dispute, GatewayEvent
from billing.payments.sandbox_models import SandboxCharge, SandboxRefund
from tests.factories import NOW
from tests.payments.makers import pay

DISPUTED = "4000000000000259"
SOON = NOW + timedelta(seconds=10)


def hand_over(event, *, now):
    told = Delivery(event_id=event.event_id, kind=event.kind, payload=event.payload)
    webhooks.accept(gateway_name="sandbox", delivery=told, now=now)
    return ""


def tell(now=SOON):
    return sandbox_webhooks.send_due(now=now, limit=10, send=hand_over)


def balance():
    return CreditPool.objects.get().balance


@pytest.mark.parametrize(("won", "state", "credits"), [(True, "won", 10_000), (False, "lost", 0)])
def test_a_card_is_disputed_by_itself_and_decided_by_an_act(invoice, won, state, credits):
    payment = pay(invoice, DISPUTED)
    assert (payment.state, balance()) == ("succeeded", 10_000)
    tell(NOW)
    assert not Dispute.objects.exists()
    tell()
    dispute = Dispute.objects.get()
    assert (dispute.state, dispute.amount, balance()) == ("open", 1190, 0)
    assert dispute.respond_by is not None
    sandbox.decide_dispute(payment.gateway_reference, won=won, now=SOON)
    tell()
    dispute.refresh_from_db()
    assert (dispute.state, balance()) == (state, credits)
    assert not GatewayEvent.objects.filter(processed_at=None).exists()


def test_any_charge_is_disputed_once_for_what_is_left_of_it(invoice):
    payment = pay(invoice)
    given = Return("r", payment.gateway_reference, Decimal(190), "EUR")
    assert sandbox.refund(given, now=NOW).state == "succeeded"
    row = sandbox.dispute(payment.gateway_reference, now=NOW)
    assert (row.dispute_amount, row.dispute_state) == (1000, "open")
    more = Return("r2", payment.gateway_reference, Decimal(1), "EUR")
    assert sandbox.refund(more, now=NOW).state == "failed"
    with pytest.raises(sandbox.NotDisputable):
        sandbox.dispute(payment.gateway_reference, now=NOW)
    assert SandboxRefund.objects.filter(state="succeeded").count() == 1


def test_what_has_not_succeeded_is_not_disputed_and_nothing_else_is_decided(invoice):
    failed = pay(invoice, "4000000000000002")
    reference = SandboxCharge.objects.get(idempotency_key=failed.idempotency_key).reference
    for act in (
        lambda: sandbox.dispute(reference, now=NOW),
        lambda: sandbox.decide_dispute(reference, won=True, now=NOW),
    ):
        with pytest.raises(sandbox.NotDisputable):
            act()
    assert not SandboxCharge.objects.exclude(dispute_state="").exists()


def test_a_dispute_is_read_from_its_webhook_or_refused(invoice):
    payment = pay(invoice, DISPUTED)
    event = payment_events(payment).get(kind="dispute.open")
    report = sandbox.read_webhook(event.payload)
    assert isinstance(report, DisputeReport)
    assert (report.key, report.amount, report.state) == (payment.idempotency_key, 1190, "open")
    for name, value in (("state", "moon"), ("amount", "much"), ("respond_by", "soon"), ("key", None)):
        data = {**event.payload["data"], name: value}
        if value is None:
            del data[name]
        with pytest.raises(ValueError, match=r".*"):
            sandbox.read_webhook({**event.payload, "data": data})


def payment_events(payment):
    return SandboxCharge.objects.get(idempotency_key=payment.idempotency_key).events
