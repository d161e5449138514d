"""Collecting an invoice: open an attempt, send it to the gateway once, write down how it ended.

Locks: the invoice's row, then the payment's, then what settling locks. No lock is held while a gateway answers: an
attempt is claimed by moving it from `created` to `processing`, and whoever does not get it leaves it alone.
"""

from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from django.db import transaction

from billing.catalog import pricing
from billing.invoicing import settling
from billing.invoicing.models import Invoice
from billing.notifications import outbox
from billing.payments import failures, methods, waking
from billing.payments.gateways import contract, registry
from billing.payments.gateways.contract import Charge, GatewayUnavailable, Outcome
from billing.payments.methods import MethodNotUsable
from billing.payments.models import Payment, Refund
from billing.wording import amounts

__all__ = [
    "InvoiceNotPayable",
    "KeyTaken",
    "MethodNotUsable",
    "PaymentUnderWay",
    "ReportRefused",
    "find_under_way",
    "pay",
    "record",
    "request_of",
    "send",
    "start",
    "submit",
]

log = structlog.get_logger(__name__)

State = Payment.State

# How long one call of a gateway may take; a payment that is still `processing` without an answer then is asked about.
CLAIM = timedelta(minutes=1)
FIRST_GAP = timedelta(seconds=10)
LONGEST_GAP = timedelta(hours=1)


class InvoiceNotPayable(Exception):
    """Nothing is owed on the invoice: it is a draft, paid or void."""


class KeyTaken(Exception):
    """The key names a payment of another invoice."""


class PaymentUnderWay(Exception):
    """Another payment of the invoice has neither succeeded nor failed yet."""

    def __init__(self, payment: Payment) -> None:
        super().__init__(f"payment {payment.pk} is {payment.state}")
        self.payment = payment


class ReportRefused(Exception):
    """What the gateway reports is not what was asked of it; staff find the reason on the payment."""


def find_under_way(invoice_id: int) -> Payment | None:
    """The payment of the invoice that has neither succeeded nor failed yet."""
    return Payment.objects.filter(invoice_id=invoice_id, state__in=Payment.LIVE).first()


def pay(
    *, invoice_id: int, method_id: int, key: str, off_session: bool, return_url: str = "", now: datetime
) -> Payment:
    """`start` and `submit`. Must run outside a transaction."""
    contract.refuse_in_transaction()
    payment = start(invoice_id=invoice_id, method_id=method_id, key=key, off_session=off_session, now=now)
    return submit(payment_id=payment.pk, return_url=return_url, now=now)


def start(*, invoice_id: int, method_id: int, key: str, off_session: bool, now: datetime) -> Payment:
    """Open an attempt to collect all that is owed on the invoice; the same key returns the first one.

    It may run in the caller's transaction. One whose caller dies before `submit` is sent by `checking.check_due`.
    Raises InvoiceNotPayable, PaymentUnderWay, MethodNotUsable, KeyTaken, and gateway.NoGateway for a method whose
    gateway is no longer configured.
    """
    with transaction.atomic():
        invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
        known = Payment.objects.filter(idempotency_key=key).first()
        if known is not None:
            if known.invoice_id != invoice_id:
                raise KeyTaken(key)
            return known
        if (live := find_under_way(invoice_id)) is not None:
            raise PaymentUnderWay(live)
        if invoice.owed <= 0:
            raise InvoiceNotPayable(f"{invoice} is {invoice.state}")
        method = methods.get_usable(account_id=invoice.account_id, method_id=method_id)
        registry.get(method.gateway)
        return Payment.objects.create(
            invoice=invoice,
            method=method,
            gateway=method.gateway,
            idempotency_key=key,
            amount=invoice.owed,
            currency=invoice.currency,
            off_session=off_session,
            created_at=now,
            next_check_at=now + CLAIM,
        )


def submit(*, payment_id: int, return_url: str, now: datetime) -> Payment:
    """Send an attempt to its gateway and record the answer. Of several at once one sends; the others return at once
    with the payment as it stands. No answer makes it `unknown`. Must run outside a transaction.

    `return_url` is where the customer comes back to after confirming at the bank.
    """
    contract.refuse_in_transaction()
    claimed = Payment.objects.filter(pk=payment_id, state=State.CREATED).update(
        state=State.PROCESSING, return_url=return_url, submitted_at=now, next_check_at=now + CLAIM
    )
    payment = Payment.objects.select_related("invoice", "method").get(pk=payment_id)
    return send(payment=payment, now=now) if claimed else payment


def send(*, payment: Payment, now: datetime) -> Payment:
    """Ask the gateway to charge, under the payment's own key; so doing it again charges nothing more."""
    contract.refuse_in_transaction()
    try:
        outcome = registry.get(payment.gateway).charge(request_of(payment), now=now)
    except GatewayUnavailable:
        return note_silence(payment_id=payment.pk, now=now)
    try:
        return record(payment_id=payment.pk, outcome=outcome, now=now)
    except ReportRefused:
        return Payment.objects.get(pk=payment.pk)


def request_of(payment: Payment) -> Charge:
    """What the gateway is asked for, in amounts that it can take; the same whenever it is asked."""
    assert payment.method is not None  # noqa: S101
    return Charge(
        key=payment.idempotency_key,
        amount=_asked(payment),
        currency=payment.currency,
        method_reference=payment.method.gateway_reference,
        off_session=payment.off_session,
        return_url=payment.return_url,
        description=str(payment.invoice),
        customer_reference=payment.method.customer_reference,
        reference=payment.gateway_reference,
    )


def _asked(payment: Payment) -> Decimal:
    return registry.rounded(payment.gateway, payment.amount, payment.currency)


def booked(payment: Payment, amount: Decimal) -> Decimal:
    """What an amount that the gateway names of a payment is in the books: of all of it, what it has paid."""
    return payment.amount if amount == _asked(payment) else amount


def note_silence(*, payment_id: int, now: datetime) -> Payment:
    """Write down that no answer came: unless another report has told more, the outcome is unknown. The next question is
    put after a gap that doubles, up to an hour, without end."""
    with transaction.atomic():
        payment = _lock(payment_id)
        if payment.state in (State.PROCESSING, State.UNKNOWN) and not payment.gateway_reference:
            payment.state = State.UNKNOWN
        if payment.state in Payment.LIVE:
            payment.next_check_at = now + gap_after(payment.checks)
            payment.save(update_fields=["state", "next_check_at"])
    log.warning("payment.no_answer", payment_id=payment_id, state=payment.state, checks=payment.checks)
    return payment


def gap_after(checks: int) -> timedelta:
    """How long to wait before a gateway is asked again, after it was asked so many times."""
    return min(FIRST_GAP * 2 ** min(checks, 20), LONGEST_GAP)


def record(*, payment_id: int, outcome: Outcome, now: datetime) -> Payment:
    """Write down how a payment stands, whoever tells it, in whatever order, however often.

    Success is final, and settles the invoice in the same transaction; it also overrides an earlier failure. A failure
    ends a payment that is under way and tells the account; who charges off-session tells of it in words of their own.
    Anything else moves a payment under way only. Money that an invoice no longer takes goes back. Raises ReportRefused
    when what is reported is not what was asked for.
    """
    with transaction.atomic():
        payment = _lock(payment_id)
        if reason := _mismatch(payment, outcome):
            _note_mismatch(payment, reason, now=now)
        elif outcome.state == "succeeded":
            if payment.state != State.SUCCEEDED:
                _succeed(payment, outcome, now=now)
        elif payment.state in Payment.LIVE:
            if outcome.state == "failed":
                _fail(payment, outcome, now=now)
            else:
                _move(payment, outcome, now=now)
        # Whoever collects the invoice without anyone's hand looks what that means for it.
        waking.wake(invoice_id=payment.invoice_id, now=now)
    if reason:
        log.error("payment.report_refused", payment_id=payment_id, reason=reason)
        raise ReportRefused(reason)
    return payment


def _lock(payment_id: int) -> Payment:
    invoice_id = Payment.objects.values_list("invoice_id", flat=True).get(pk=payment_id)
    invoice = Invoice.objects.select_for_update().get(pk=invoice_id)
    payment = Payment.objects.select_for_update().get(pk=payment_id)
    payment.invoice = invoice
    return payment


def _mismatch(payment: Payment, outcome: Outcome) -> str:
    """Why the report cannot be about this payment; empty when it can."""
    asked = _asked(payment)
    if outcome.amount is not None and outcome.amount != asked:
        return f"The gateway reports {outcome.amount} {outcome.currency}, not {asked} {payment.currency}."
    if outcome.currency and outcome.currency != payment.currency:
        return f"The gateway reports {outcome.currency}, not {payment.currency}."
    if outcome.state == "succeeded" and outcome.received is not None and outcome.received != asked:
        return f"The gateway received {outcome.received} {outcome.currency}, not {asked} {payment.currency}."
    if outcome.key is not None and outcome.key != payment.idempotency_key:
        return f"The gateway reports on the key {outcome.key or '(none)'}, not {payment.idempotency_key}."[:300]
    customer = payment.method.customer_reference if payment.method is not None else ""
    if outcome.customer_reference is not None and outcome.customer_reference != customer:
        return f"The gateway reports a payment of {outcome.customer_reference or 'nobody'}, not of {customer}."[:300]
    if payment.gateway_reference and outcome.reference and outcome.reference != payment.gateway_reference:
        return f"The gateway reports on {outcome.reference}, not {payment.gateway_reference}."[:300]
    return ""


def _note_mismatch(payment: Payment, reason: str, *, now: datetime) -> None:
    payment.problem = reason
    if payment.state == State.PROCESSING and not payment.gateway_reference:
        payment.state = State.UNKNOWN
    if payment.state in Payment.LIVE:
        payment.next_check_at = now + gap_after(payment.checks)
    payment.save(update_fields=["problem", "state", "next_check_at"])


def _succeed(payment: Payment, outcome: Outcome, *, now: datetime) -> None:
    payment.state, payment.finished_at, payment.next_check_at = State.SUCCEEDED, now, None
    payment.gateway_reference = outcome.reference
    payment.failure_code = payment.failure_message = payment.action_url = payment.problem = ""
    payment.failure_is_hard = False
    if payment.method_id is not None:
        methods.note_success(method_id=payment.method_id)
    invoice = payment.invoice
    if payment.amount <= invoice.owed:
        payment.save()
        settling.settle(invoice_id=invoice.pk, amount=payment.amount, now=now)
        return
    owed = amounts.money_text(invoice.owed, invoice.currency)
    payment.problem = f"{owed} was owed on the invoice when this money came: it goes back."
    payment.amount_refunded = payment.amount
    payment.save()
    Refund.objects.create(
        payment=payment,
        idempotency_key=f"not-needed:{payment.pk}",
        amount=payment.amount,
        created_at=now,
        next_check_at=now,
    )


def _fail(payment: Payment, outcome: Outcome, *, now: datetime) -> None:
    payment.state, payment.finished_at, payment.next_check_at = State.FAILED, now, None
    payment.gateway_reference = outcome.reference or payment.gateway_reference
    payment.failure_code, payment.failure_is_hard = outcome.failure_code[:40], outcome.hard
    payment.failure_message = (outcome.failure_message or failures.text(outcome.failure_code))[:300]
    payment.action_url = ""
    payment.save()
    if payment.off_session:
        return
    if payment.method_id is not None and outcome.failure_code not in failures.NOT_THE_CARD:
        methods.note_decline(invoice_id=payment.invoice_id, method_id=payment.method_id)
    invoice = payment.invoice
    outbox.write(
        kind="payment_failed",
        dedupe_key=f"payment_failed:{payment.pk}",
        account_id=invoice.account_id,
        payload={
            "invoice_id": str(invoice.pk),
            "number": invoice.number or "",
            "total": f"{pricing.round_money(payment.amount, payment.currency):f}",
            "currency": payment.currency,
            "reason": payment.failure_message,
        },
        now=now,
    )


def _move(payment: Payment, outcome: Outcome, *, now: datetime) -> None:
    state = State(outcome.state)
    if state != payment.state:
        payment.checks = 0
    payment.state, payment.gateway_reference = state, outcome.reference
    payment.action_url = outcome.action_url or (payment.action_url if state == State.REQUIRES_ACTION else "")
    payment.next_check_at = now + gap_after(payment.checks)
    payment.save(update_fields=["state", "gateway_reference", "action_url", "checks", "next_check_at"])
