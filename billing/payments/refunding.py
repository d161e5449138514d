"""Giving money back: open a refund, send it to the gateway once, write down how it ended; asked about like payments.

What is to go back is taken off the payment when the refund is opened, so that several together never exceed it, and put
back when it fails. Locks: the invoice's row, then the payment's, then the refund's; none while a gateway answers.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from django.db import transaction
from django.db.models import F, Sum

from billing.accounts import clocks
from billing.invoicing import crediting
from billing.invoicing.models import Invoice
from billing.payments.gateways import contract, registry
from billing.payments.gateways.contract import GatewayUnavailable, Outcome, Return
from billing.payments.models import GatewayName, Payment, Refund
from billing.payments.paying import CLAIM, gap_after
from billing.tracing.redaction import describe_error

log = structlog.get_logger(__name__)

State = Refund.State
MISSING_GATEWAY_GAP = timedelta(hours=1)
LIVE = (State.CREATED, State.PROCESSING, State.UNKNOWN)


class NotRefundable(Exception):
    """The payment has not succeeded, so there is nothing to give back."""


class TooMuch(Exception):
    """More than is left of the payment."""

    def __init__(self, left: Decimal) -> None:
        super().__init__(f"{left} is left of the payment")
        self.left = left


class NotFailed(Exception):
    """Only a failed refund can be tried again, or one of a transfer paid out by hand."""


class ReportRefused(Exception):
    """What the gateway reports is not what was asked of it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How a round went: refunds sent or asked about, and those of them that have ended."""

    asked: int
    ended: int


def refund(*, payment_id: int, credit_note_id: int, amount: Decimal, key: str, now: datetime) -> Refund:
    """`start` and `submit`. Must run outside a transaction."""
    contract.refuse_in_transaction()
    opened = start(payment_id=payment_id, credit_note_id=credit_note_id, amount=amount, key=key, now=now)
    return submit(refund_id=opened.pk, now=now)


def start(*, payment_id: int, credit_note_id: int | None, amount: Decimal, key: str, now: datetime) -> Refund:
    """Open a refund of a part of a payment; the same key returns the first one. It may run in the caller's transaction;
    one whose caller dies before `submit` is sent by `check_due`.

    Raises NotRefundable, TooMuch; ValueError for a key of another payment or amount, or with a number sign.
    """
    if "#" in key:
        raise ValueError("a number sign tells the attempts of a refund apart")
    with transaction.atomic():
        payment = _lock_payment(payment_id)
        known = Refund.objects.filter(idempotency_key=key).first()
        if known is not None:
            if (known.payment_id, known.amount) != (payment_id, amount):
                raise ValueError(f"key {key} names another refund")
            return known
        if payment.state != Payment.State.SUCCEEDED:
            raise NotRefundable
        _take(payment, amount)
        return Refund.objects.create(
            payment=payment,
            credit_note_id=credit_note_id,
            idempotency_key=key,
            amount=amount,
            created_at=now,
            next_check_at=now + CLAIM,
        )


def retry(*, refund_id: int, now: datetime) -> Refund:
    """Open a failed refund again, under a new key at the gateway, due at once. Raises NotFailed, TooMuch."""
    with transaction.atomic():
        again = _lock(refund_id)
        if again.state != State.FAILED:
            raise NotFailed
        _take(again.payment, again.amount)
        again.state, again.attempt, again.checks = State.CREATED, again.attempt + 1, 0
        again.gateway_reference = again.failure_message = ""
        again.finished_at, again.next_check_at = None, now
        again.save()
        return again


def pay_out(*, refund_id: int, reference: str, now: datetime) -> Refund:
    """Write down that staff have sent the money of a refund by hand: one that failed, or of a bank transfer.

    Raises NotFailed for any other, and TooMuch when less is left of the payment.
    """
    with transaction.atomic():
        row = _lock(refund_id)
        if row.state == State.FAILED:
            _take(row.payment, row.amount)
        elif row.state not in LIVE or row.payment.gateway != GatewayName.MANUAL:
            raise NotFailed
        _apply(row, Outcome(state="succeeded", reference=reference), now=now)
        return row


def _take(payment: Payment, amount: Decimal) -> None:
    if not 0 < amount <= payment.refundable:
        raise TooMuch(payment.refundable)
    payment.amount_refunded += amount
    payment.save(update_fields=["amount_refunded"])


def submit(*, refund_id: int, now: datetime) -> Refund:
    """Send a refund to its gateway and record the answer; of several at once one sends. No answer makes it `unknown`.
    Must run outside a transaction."""
    contract.refuse_in_transaction()
    claimed = Refund.objects.filter(pk=refund_id, state=State.CREATED).update(
        state=State.PROCESSING, next_check_at=now + CLAIM
    )
    row = Refund.objects.select_related("payment").get(pk=refund_id)
    return _send(row, now=now) if claimed else row


def _send(row: Refund, *, now: datetime) -> Refund:
    """Ask for the money back under the attempt's own key, so doing it again gives nothing more back."""
    try:
        outcome = registry.get(row.payment.gateway).refund(_request_of(row), now=now)
    except GatewayUnavailable:
        return _note_silence(row.pk, now=now)
    return _record_answer(row, outcome, now=now)


def _request_of(row: Refund) -> Return:
    return Return(
        key=row.gateway_key,
        charge_reference=row.payment.gateway_reference,
        amount=_asked(row),
        currency=row.payment.currency,
        reference=row.gateway_reference,
    )


def _asked(row: Refund) -> Decimal:
    """What the gateway gives back, in amounts that it can take: with the refunds before it comes to what they do
    together, so that all of a payment gives back all that was charged."""
    payment = row.payment
    earlier = Refund.objects.filter(payment=payment, pk__lt=row.pk).exclude(state=State.FAILED)
    before = earlier.aggregate(sum=Sum("amount", default=Decimal(0)))["sum"]

    def rounded(amount: Decimal) -> Decimal:
        return registry.rounded(payment.gateway, amount, payment.currency)

    return rounded(before + row.amount) - rounded(before)


def _record_answer(row: Refund, outcome: Outcome, *, now: datetime) -> Refund:
    try:
        return record(refund_id=row.pk, attempt=row.attempt, outcome=outcome, now=now)
    except ReportRefused:
        return Refund.objects.get(pk=row.pk)


def check_due(*, now: datetime, limit: int, account_id: int | None = None) -> Checked:
    """Send or ask about at most `limit` refunds that are due, as `checking.check_due` does with payments."""
    asked = ended = 0
    for refund_id in _claim(now=now, limit=limit, account_id=account_id):
        asked += 1
        try:
            ended += check(refund_id=refund_id, now=now).state not in LIVE
        except contract.NoGateway:
            _note_missing_gateway(refund_id, now=now)
        except Exception as error:
            log.exception("refund.check_failed", refund_id=refund_id)
            message = f"Asking the gateway failed: {describe_error(error)}"[:300]
            Refund.objects.filter(pk=refund_id, state__in=LIVE).update(failure_message=message)
    return Checked(asked, ended)


def _note_missing_gateway(refund_id: int, *, now: datetime) -> None:
    """As `checking` does for a payment."""
    name = Refund.objects.values_list("payment__gateway", flat=True).get(pk=refund_id)
    message = registry.how_to_reach(name)
    live = Refund.objects.filter(pk=refund_id, state__in=LIVE)
    if live.exclude(failure_message=message).update(failure_message=message):
        log.warning("refund.gateway_missing", refund_id=refund_id, gateway=name, problem=message)
    live.update(next_check_at=now + MISSING_GATEWAY_GAP)


def _claim(*, now: datetime, limit: int, account_id: int | None) -> list[int]:
    due = Refund.objects.filter(next_check_at__lte=now).order_by("next_check_at", "pk")
    due = clocks.narrow(due, account_id=account_id, road="payment__invoice__account")
    with transaction.atomic():
        ids = list(
            due.select_for_update(skip_locked=True, no_key=True, of=("self",)).values_list("pk", flat=True)[:limit]
        )
        Refund.objects.filter(pk__in=ids).update(next_check_at=now + CLAIM, checks=F("checks") + 1)
    return ids


def check(*, refund_id: int, now: datetime) -> Refund:
    """Ask the gateway now and record what it says; send what it never heard of. Must run outside a transaction."""
    contract.refuse_in_transaction()
    row = Refund.objects.select_related("payment").get(pk=refund_id)
    if row.state == State.CREATED:
        return submit(refund_id=refund_id, now=now)
    if row.state == State.SUCCEEDED:
        return row
    try:
        outcome = registry.get(row.payment.gateway).find_refund(_request_of(row), now=now)
    except GatewayUnavailable:
        return _note_silence(refund_id, now=now)
    if outcome is not None:
        return _record_answer(row, outcome, now=now)
    return _send(row, now=now) if row.state in LIVE else row


def _note_silence(refund_id: int, *, now: datetime) -> Refund:
    with transaction.atomic():
        row = _lock(refund_id)
        if row.state in (State.PROCESSING, State.UNKNOWN):
            row.state, row.next_check_at = State.UNKNOWN, now + gap_after(row.checks)
            row.save(update_fields=["state", "next_check_at"])
    log.warning("refund.no_answer", refund_id=refund_id, checks=row.checks)
    return row


def record(*, refund_id: int, attempt: int, outcome: Outcome, now: datetime) -> Refund:
    """Write down how a refund's attempt stands, whoever tells it, however often. Success is final; a failure puts the
    amount back on the payment. A report of an earlier attempt changes nothing. Raises ReportRefused when what
    is reported is not what was asked for; the refund says so then, and goes on being asked about."""
    with transaction.atomic():
        row = _lock(refund_id)
        reason = _mismatch(row, outcome)
        if attempt != row.attempt or row.state not in LIVE:
            return row
        if reason:
            row.failure_message, row.next_check_at = reason, now + gap_after(row.checks)
            row.save(update_fields=["failure_message", "next_check_at"])
        else:
            _apply(row, outcome, now=now)
    if reason:
        log.error("refund.report_refused", refund_id=refund_id, reason=reason)
        raise ReportRefused(reason)
    return row


def _mismatch(row: Refund, outcome: Outcome) -> str:
    """Why the report cannot be about this refund; empty when it can."""
    asked = _asked(row)
    if outcome.amount is not None and (outcome.amount, outcome.currency) != (asked, row.currency):
        return f"The gateway reports {outcome.amount} {outcome.currency}, not {asked} {row.currency}."
    if outcome.key is not None and outcome.key != row.gateway_key:
        return f"The gateway reports on the key {outcome.key or '(none)'}, not {row.gateway_key}."[:300]
    charge = row.payment.gateway_reference
    if outcome.charge_reference is not None and outcome.charge_reference != charge:
        return f"The gateway reports a refund of {outcome.charge_reference or 'nothing'}, not of {charge}."[:300]
    if row.gateway_reference and outcome.reference and outcome.reference != row.gateway_reference:
        return f"The gateway reports on {outcome.reference}, not {row.gateway_reference}."[:300]
    return ""


def _apply(row: Refund, outcome: Outcome, *, now: datetime) -> None:
    row.gateway_reference = outcome.reference or row.gateway_reference
    if outcome.state == "succeeded":
        row.state, row.finished_at, row.next_check_at, row.failure_message = State.SUCCEEDED, now, None, ""
        if row.credit_note_id is not None:
            crediting.note_refunded(invoice_id=row.payment.invoice_id, amount=row.amount)
    elif outcome.state == "failed":
        row.state, row.finished_at, row.next_check_at = State.FAILED, now, None
        row.failure_message = outcome.failure_message[:300]
        row.payment.amount_refunded -= row.amount
        row.payment.save(update_fields=["amount_refunded"])
    else:
        row.state, row.next_check_at = State.PROCESSING, now + gap_after(row.checks)
    row.save()


def _lock(refund_id: int) -> Refund:
    payment_id = Refund.objects.values_list("payment_id", flat=True).get(pk=refund_id)
    payment = _lock_payment(payment_id)
    row = Refund.objects.select_for_update().get(pk=refund_id)
    row.payment = payment
    return row


def _lock_payment(payment_id: int) -> Payment:
    invoice_id = Payment.objects.values_list("invoice_id", flat=True).get(pk=payment_id)
    Invoice.objects.select_for_update().get(pk=invoice_id)
    return Payment.objects.select_for_update().get(pk=payment_id)
