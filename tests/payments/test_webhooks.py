import json
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.ledger import pools
from billing.notifications.models import Notification
from billing.payments import paying, webhooks
from billing.payments.gateways import sandbox_webhooks
from billing.payments.models import GatewayEvent, Payment
from billing.payments.sandbox_models import SandboxEvent
from tests.api.asking import Api, assert_problem
from tests.invoicing.makers import issue
from tests.payments import makers
from tests.payments.makers import make_card, pay

PATH = "/gateways/sandbox/webhook"


@pytest.fixture
def api() -> Api:
    return Api(None)


@pytest.fixture
def slow(invoice) -> Payment:
    """A payment that is in process."""
    return pay(invoice, makers.SLOW, now=timezone.now())


def post(api, body: bytes, *, event_id: str = "evt_1", at=None, **changed: str):
    headers = sandbox_webhooks.sign(event_id, body, now=at or timezone.now())
    return api.send("POST", PATH, body, headers={**headers, **changed})


def body_of(payment, state: str = "succeeded", kind: str = "charge", **changed: str) -> bytes:
    data = {
        "key": payment.idempotency_key,
        "reference": payment.gateway_reference,
        "state": state,
        "failure_code": "card_declined" if state == "failed" else "",
        "amount": str(payment.amount),
        "currency": payment.currency,
        **changed,
    }
    return json.dumps({"type": f"{kind}.{state}", "data": data}).encode()


def state(payment) -> str:
    payment.refresh_from_db()
    return payment.state


def kinds() -> list[str]:
    return list(Notification.objects.order_by("pk").values_list("kind", flat=True))


def test_a_signed_report_of_success_pays_the_invoice(api, slow):
    assert post(api, body_of(slow)).status_code == 200
    assert state(slow) == "succeeded"
    event = GatewayEvent.objects.get()
    assert (event.gateway, event.event_id, event.kind) == ("sandbox", "evt_1", "charge.succeeded")
    assert event.processed_at is not None
    assert event.next_try_at is None


def test_duplicates_and_stragglers_change_nothing_more(api, slow):
    for _ in range(3):
        assert post(api, body_of(slow)).status_code == 200
    for number, late in enumerate(("processing", "failed", "succeeded", "requires_action")):
        assert post(api, body_of(slow, late), event_id=f"evt_late{number}").status_code == 200
    assert state(slow) == "succeeded"
    assert GatewayEvent.objects.count() == 5
    assert not GatewayEvent.objects.filter(processed_at=None).exists()
    assert pools.get_main_pool(slow.invoice.account_id).balance == 10_000
    assert kinds() == ["receipt"]


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_forged_report_is_refused_and_not_kept(api, slow, header):
    for forgery in ("", "v1", "v1,", "v1,AAAA", "v1,\N{SNOWMAN}", "1", "nan", "v1a,v1,", ",,,"):
        assert_problem(post(api, body_of(slow), **{header: forgery}), 401, "invalid_signature")
    assert not GatewayEvent.objects.exists()
    assert state(slow) == "processing"


def test_a_report_without_headers_or_of_another_body_is_refused(api, slow):
    assert_problem(api.send("POST", PATH, body_of(slow)), 401, "invalid_signature")
    signed = sandbox_webhooks.sign("evt_1", body_of(slow, "failed"), now=timezone.now())
    assert_problem(api.send("POST", PATH, body_of(slow), headers=signed), 401, "invalid_signature")
    assert not GatewayEvent.objects.exists()


def test_another_secret_is_refused(api, slow, settings):
    body = body_of(slow)
    theirs = sandbox_webhooks.sign("evt_1", body, now=timezone.now())
    settings.FLORIN_SANDBOX_WEBHOOK_SECRET = "whsec_b3RoZXIgc2VjcmV0IG9mIHNvbWVib2R5"
    assert_problem(api.send("POST", PATH, body, headers=theirs), 401, "invalid_signature")
    assert not GatewayEvent.objects.exists()


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_report_signed_long_ago_or_ahead_is_refused(api, slow, minutes):
    assert_problem(post(api, body_of(slow), at=timezone.now() + timedelta(minutes=minutes)), 401, "invalid_signature")
    assert not GatewayEvent.objects.exists()
    assert state(slow) == "processing"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"type": 1}', b"\xff", b"{", b"null", b"[" * 100_000])
def test_a_signed_body_that_is_no_event_is_refused(api, slow, body, settings):
    from standardwebhooks.webhooks import Webhook

    now = timezone.now()
    signer = Webhook(settings.FLORIN_SANDBOX_WEBHOOK_SECRET)
    headers = {
        "webhook-id": "e",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signer.sign("e", now, body.decode(errors="replace")),
    }
    assert_problem(api.send("POST", PATH, body, headers=headers), 401, "invalid_signature")
    assert not GatewayEvent.objects.exists()


def test_an_unknown_gateway_and_another_method_are_refused(api, slow):
    assert_problem(api.send("POST", "/gateways/stripe/webhook", b"{}"), 404, "not_found")
    assert_problem(api.get(PATH), 405, "method_not_allowed")


def test_without_the_sandbox_its_door_is_shut(api, slow, settings):
    settings.FLORIN_GATEWAY = ""
    assert_problem(post(api, body_of(slow)), 404, "not_found")
    assert state(slow) == "processing"


@pytest.mark.parametrize("changed", [{"amount": "1.00"}, {"currency": "USD"}, {"reference": "sbx_ch_other"}])
def test_a_report_of_another_sum_is_refused_and_shown_to_staff(api, slow, changed):
    assert post(api, body_of(slow, **changed)).status_code == 200
    assert state(slow) == "processing"
    assert slow.problem.startswith("The gateway reports")
    event = GatewayEvent.objects.get()
    assert event.processed_at is None
    assert event.last_error.startswith("ReportRefused")
    assert event.next_try_at > timezone.now()
    assert kinds() == []


@pytest.mark.parametrize(
    "broken", [{"amount": "much"}, {"amount": None}, {"state": "excellent"}, {"state": ["succeeded"]}]
)
def test_a_report_that_cannot_be_read_is_kept_for_staff(api, slow, broken):
    assert post(api, body_of(slow, **broken)).status_code == 200
    assert state(slow) == "processing"
    assert "ValueError" in GatewayEvent.objects.get().last_error


def test_a_report_of_no_concern_is_done_with(api, slow):
    assert post(api, body_of(slow, kind="payout")).status_code == 200
    assert GatewayEvent.objects.get().processed_at is not None
    assert state(slow) == "processing"


def test_a_report_that_comes_before_its_payment_is_acted_upon_later(api, invoice):
    early = Payment(idempotency_key="k1", gateway_reference="", amount=invoice.total, currency="EUR")
    assert post(api, body_of(early, reference="")).status_code == 200
    event = GatewayEvent.objects.get()
    assert event.last_error.startswith("UnknownKey")
    card = make_card(invoice.account, now=timezone.now())
    paying.start(invoice_id=invoice.pk, method_id=card.pk, key="k1", off_session=False, now=timezone.now())
    assert webhooks.process_due(now=timezone.now(), limit=10) == webhooks.Processed(0, 0)
    assert webhooks.process_due(now=event.next_try_at, limit=10) == webhooks.Processed(1, 0)
    assert Payment.objects.get().state == "succeeded"
    event.refresh_from_db()
    assert (event.last_error, event.next_try_at, event.attempts) == ("", None, 2)


def test_an_event_that_keeps_failing_is_left_to_staff_in_the_end(api, slow):
    post(api, body_of(slow, key="nobody's"))
    event = GatewayEvent.objects.get()
    tries = 1
    while event.next_try_at is not None:
        assert webhooks.process_due(now=event.next_try_at, limit=10).failed == 1
        event.refresh_from_db()
        tries += 1
    assert (tries, event.attempts) == (webhooks.MAX_ATTEMPTS, webhooks.MAX_ATTEMPTS)
    assert event.processed_at is None


# What the sandbox sends, over HTTP, to a server that runs.


@pytest.fixture
def running(live_server, settings, transactional_db):
    settings.FLORIN_PUBLIC_URL = live_server.url
    return live_server


def send(now) -> tuple[int, int]:
    sent = sandbox_webhooks.send_due(now=now, limit=10)
    return sent.taken, sent.refused


@pytest.mark.django_db(transaction=True)
def test_the_sandbox_tells_over_http_twice_and_in_the_wrong_order(running, invoice):
    now = timezone.now()
    payment = pay(invoice, makers.SLOW, now=now)
    assert send(now) == (0, 0)
    assert send(now + timedelta(seconds=8)) == (1, 0)
    assert state(payment) == "succeeded"
    assert send(now + timedelta(seconds=13)) == (1, 0)
    assert send(now + timedelta(seconds=18)) == (1, 0)
    assert send(now + timedelta(days=1)) == (0, 0)
    assert state(payment) == "succeeded"
    assert list(GatewayEvent.objects.order_by("pk").values_list("kind", flat=True)) == [
        "charge.succeeded",
        "charge.processing",
    ]
    assert kinds() == ["receipt"]


@pytest.mark.django_db(transaction=True)
def test_what_is_not_taken_is_sent_again_after_growing_gaps(running, invoice, settings):
    now = timezone.now()
    payment = pay(invoice, now=now)
    secret, settings.FLORIN_PUBLIC_URL = settings.FLORIN_PUBLIC_URL, "http://127.0.0.1:9"
    assert send(now) == (0, 1)
    event = SandboxEvent.objects.get()
    assert event.due_at == now + timedelta(seconds=4)
    assert "refused" in event.last_error
    settings.FLORIN_PUBLIC_URL = secret
    assert send(event.due_at) == (1, 0)
    assert state(payment) == "succeeded"
    event.refresh_from_db()
    assert (event.due_at, event.last_error, event.attempts) == (None, "", 2)


@pytest.mark.django_db(transaction=True)
def test_a_customer_who_confirms_and_never_comes_back_is_told_of_by_webhook(running, invoice):
    from billing.payments.gateways import sandbox

    now = timezone.now()
    payment = pay(invoice, makers.ACTION, now=now)
    assert state(payment) == "requires_action"
    sandbox.confirm(payment.gateway_reference, approve=True, now=now)
    assert send(now) == (1, 0)
    assert state(payment) == "succeeded"
    earlier = now - timedelta(hours=1)
    other = pay(issue(invoice.account, reference="purchase:2"), makers.ACTION, key="k2", now=earlier)
    assert send(now) == (1, 0)
    assert state(other) == "failed"
    assert other.failure_code == "authentication_expired"
