"""A gateway that the settings no longer name, while something that was begun with it has not ended."""

from datetime import timedelta
from typing import Any

import pytest
import structlog.testing

from billing.invoicing.models import Invoice
from billing.payments import checking, paying, refunding, webhooks
from billing.payments.gateways import contract
from billing.payments.models import GatewayEvent, Payment, Refund
from tests.factories import NOW, make_account
from tests.invoicing.makers import issue
from tests.payments import makers
from tests.payments.makers import make_card, pay

HOUR = timedelta(hours=1)


def look(hour: int) -> list[dict[str, Any]]:
    """What the jobs log when they look at all that is open."""
    now = NOW + hour * HOUR
    with structlog.testing.capture_logs() as said:
        checking.check_due(now=now, limit=10)
        refunding.check_due(now=now, limit=10)
        webhooks.process_due(now=now, limit=10)
    return [line for line in said if line["log_level"] in ("warning", "error")]


def test_what_was_begun_with_it_says_once_what_to_do_and_goes_on_when_it_is_back(
    invoice: Invoice, settings: Any
) -> None:
    payment = pay(invoice, makers.SLOW)
    paid = pay(issue(make_account("other", currency="EUR"), reference="purchase:2"), key="k2")
    refund = refunding.start(payment_id=paid.pk, credit_note_id=None, amount=paid.amount, key="r", now=NOW)
    event = GatewayEvent.objects.create(
        gateway="sandbox", event_id="e", kind="charge.succeeded", received_at=NOW, next_try_at=NOW, payload={}
    )
    settings.FLORIN_GATEWAY = "manual"
    first, later = look(1), [line for hour in range(2, 6) for line in look(hour)]
    assert [line["event"].partition(".")[2] for line in first] == ["gateway_missing"] * 3
    assert (later, [line for line in first if line.get("exc_info")]) == ([], [])
    for row, field in ((payment, "problem"), (refund, "failure_message"), (event, "last_error")):
        row.refresh_from_db()
        assert "sandbox is no longer configured" in getattr(row, field)
        assert "FLORIN_GATEWAYS" in getattr(row, field)
    settings.FLORIN_GATEWAY = "sandbox"
    look(6)
    states = Payment.objects.get(pk=payment.pk), Refund.objects.get(pk=refund.pk)
    assert [row.state for row in states] == ["succeeded", "succeeded"]
    assert [states[0].problem, states[1].failure_message] == ["", ""]


def test_no_payment_is_opened_with_a_method_of_it(invoice: Invoice, settings: Any) -> None:
    card = make_card(invoice.account)
    settings.FLORIN_GATEWAY = "manual"
    with pytest.raises(contract.NoGateway):
        paying.start(invoice_id=invoice.pk, method_id=card.pk, key="k", off_session=True, now=NOW)
    assert not Payment.objects.exists()
