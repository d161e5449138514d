"""Asking the gateway how payments stand that are under way: what is due stands in rows, and asking never ends while
the outcome is unknown. Locks: as `paying`; none while the gateway answers."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F

from billing.accounts import clocks
from billing.payments import paying
from billing.payments.gateways import contract, registry
from billing.payments.gateways.contract import GatewayUnavailable, Outcome
from billing.payments.models import Payment
from billing.tracing.redaction import describe_error

log = structlog.get_logger(__name__)

State = Payment.State

# Gateways remember a key for a day at least; until well before that, a request that never arrived is sent again.
RESEND_FOR = timedelta(hours=12)
MISSING_GATEWAY_GAP = timedelta(hours=1)
NOT_RECEIVED = Outcome(state="failed", reference="", failure_code="not_received")


@dataclass(frozen=True, slots=True)
class Checked:
    """How a round went: payments asked about, and those of them that have ended."""

    asked: int
    ended: int


def check_due(*, now: datetime, limit: int, account_id: int | None = None) -> Checked:
    """Ask about at most `limit` payments that are due. Several at once share the work. Must run outside a transaction.
    With `account_id` only that account's; without, what is on a test clock is left alone.

    Due are: attempts that were opened and never sent, sent ones whose worker died, and all whose outcome is not known
    yet, after gaps that double up to an hour. A fault with one does not keep the others from being asked about.
    """
    asked = ended = 0
    for payment_id in _claim(now=now, limit=limit, account_id=account_id):
        asked += 1
        try:
            ended += check(payment_id=payment_id, now=now).state not in Payment.LIVE
        except contract.NoGateway:
            _note_missing_gateway(payment_id, now=now)
        except Exception as error:
            log.exception("payment.check_failed", payment_id=payment_id)
            problem = f"Asking the gateway failed: {describe_error(error)}"[:300]
            Payment.objects.filter(pk=payment_id, state__in=Payment.LIVE).update(problem=problem)
    return Checked(asked, ended)


def _note_missing_gateway(payment_id: int, *, now: datetime) -> None:
    """Say once what to do, in the log and to staff; then look now and then whether it has been done."""
    name = Payment.objects.values_list("gateway", flat=True).get(pk=payment_id)
    problem = registry.how_to_reach(name)
    live = Payment.objects.filter(pk=payment_id, state__in=Payment.LIVE)
    if live.exclude(problem=problem).update(problem=problem):
        log.warning("payment.gateway_missing", payment_id=payment_id, gateway=name, problem=problem)
    live.update(next_check_at=now + MISSING_GATEWAY_GAP)


def _claim(*, now: datetime, limit: int, account_id: int | None) -> Iterable[int]:
    due = Payment.objects.filter(next_check_at__lte=now).order_by("next_check_at", "pk")
    due = clocks.narrow(due, account_id=account_id, road="invoice__account")
    with transaction.atomic():
        ids = list(
            due.select_for_update(skip_locked=True, no_key=True, of=("self",)).values_list("pk", flat=True)[:limit]
        )
        Payment.objects.filter(pk__in=ids).update(next_check_at=now + paying.CLAIM, checks=F("checks") + 1)
    return ids


def check(*, payment_id: int, now: datetime) -> Payment:
    """Ask the gateway now and record what it says; one that was never sent is sent. Must run outside a transaction.

    A failed payment is asked about too: the gateway's last word counts. A charge that the gateway never heard of is
    sent again under its key for twelve hours, unless nothing is owed any more; after that it has failed.
    """
    contract.refuse_in_transaction()
    payment = Payment.objects.select_related("invoice", "method").get(pk=payment_id)
    if payment.state == State.SUCCEEDED:
        return payment
    if payment.state == State.CREATED:
        return _send_late(payment, now=now)
    try:
        outcome = registry.get(payment.gateway).find_charge(paying.request_of(payment), now=now)
    except GatewayUnavailable:
        return paying.note_silence(payment_id=payment_id, now=now)
    if outcome is None:
        if payment.state not in Payment.LIVE:
            return payment
        return _resend(payment, now=now)
    try:
        return paying.record(payment_id=payment_id, outcome=outcome, now=now)
    except paying.ReportRefused:
        return Payment.objects.get(pk=payment_id)


def _send_late(payment: Payment, *, now: datetime) -> Payment:
    """Send an attempt that was opened and not sent: whoever opened it died in between."""
    if not _may_send(payment, now):
        return paying.record(payment_id=payment.pk, outcome=NOT_RECEIVED, now=now)
    return paying.submit(payment_id=payment.pk, return_url=payment.return_url, now=now)


def _resend(payment: Payment, *, now: datetime) -> Payment:
    if not _may_send(payment, now):
        return paying.record(payment_id=payment.pk, outcome=NOT_RECEIVED, now=now)
    log.info("payment.sent_again", payment_id=payment.pk)
    return paying.send(payment=payment, now=now)


def _may_send(payment: Payment, now: datetime) -> bool:
    return payment.invoice.owed >= payment.amount and now < payment.created_at + RESEND_FOR
