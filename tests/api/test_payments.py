import pytest

from billing.accounts.ids import encode
from billing.payments.models import Payment
from tests.api.asking import assert_problem, not_refused
from tests.factories import make_issuer
from tests.invoicing.makers import issue
from tests.payments import makers
from tests.payments.makers import pay


@pytest.fixture
def payment(acme) -> Payment:
    """A payment that waits for alice's confirmation."""
    make_issuer()
    return pay(issue(acme), makers.ACTION)


def test_a_payment_says_how_it_stands_and_where_to_confirm(alice, platform, acme, payment, settings):
    settings.FLORIN_PUBLIC_URL = "https://pay.example"
    answer = alice.get(f"/payments/{encode('pay', payment.pk)}")
    assert answer.status_code == 200
    assert answer.json() == {
        "id": encode("pay", payment.pk),
        "account": encode("acc", acme.pk),
        "invoice": encode("ivc", payment.invoice_id),
        "method": encode("pm", payment.method_id),
        "state": "requires_action",
        "amount": "1190",
        "currency": "EUR",
        "amount_refunded": "0",
        "amount_disputed": "0",
        "off_session": False,
        "from_balance": False,
        "failure_code": "",
        "failure_message": "",
        "action_url": f"https://pay.example/sandbox/bank/{payment.gateway_reference}",
        "created_at": "2025-03-01T12:00:00Z",
        "finished_at": None,
    }
    assert platform.get(f"/payments/{encode('pay', payment.pk)}").json() == answer.json()


def test_payments_are_listed_newest_first_and_filtered(alice, acme, payment):
    declined = pay(issue(acme, reference="purchase:2"), makers.DECLINE, key="k2")
    items = alice.get("/accounts/acme/payments").json()["items"]
    assert [item["id"] for item in items] == [encode("pay", declined.pk), encode("pay", payment.pk)]
    assert [item["failure_code"] for item in items] == ["card_declined", ""]
    (only,) = alice.get("/accounts/acme/payments", state="failed").json()["items"]
    assert (only["id"], only["action_url"]) == (encode("pay", declined.pk), "")
    first = alice.get("/accounts/acme/payments", limit=1).json()
    second = alice.get("/accounts/acme/payments", limit=1, cursor=first["next_cursor"]).json()
    assert [second["items"][0]["id"], second["next_cursor"]] == [encode("pay", payment.pk), None]
    assert_problem(alice.get("/accounts/acme/payments", state="lost"), 400, "invalid_request", "state")


def test_a_payment_that_is_not_there_is_not_found(alice):
    rows = ["pay_0", "pay_0000000000009", "ivc_1", "x"]
    answers = [(payment_id, alice.get(f"/payments/{payment_id}")) for payment_id in rows]
    assert not_refused(answers, 404, "not_found") == []
