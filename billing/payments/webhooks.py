"""What gateways report by themselves: kept first, acted upon then, and tried again from its row until it is.

Reports come at least once and in any order; what a repeat or a late one may change is `paying.record`'s to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F, QuerySet

from billing.accounts import clocks
from billing.payments import disputes, paying, refunding, setups
from billing.payments.gateways import contract, registry
from billing.payments.gateways.contract import Delivery, DisputeReport, Report, SetupReport
from billing.payments.models import Dispute, GatewayEvent, Payment, Refund
from billing.tracing.redaction import describe_error
from billing.tracing.requests import current_id, on_behalf_of
from billing.wording import amounts

log = structlog.get_logger(__name__)

CLAIM = timedelta(minutes=1)
FIRST_GAP = timedelta(seconds=10)
LONGEST_GAP = timedelta(hours=1)
# About a day; then it is left to staff, who can try it again.
MAX_ATTEMPTS = 32


class UnknownKey(Exception):
    """The report is about no payment or refund of ours (or of one that is not committed yet)."""


class RefundBounced(Exception):
    """Money that had gone back has come again: the customer's bank did not take it. Staff must pay it out otherwise."""


class RefundedAtGateway(Exception):
    """A refund that somebody made in the gateway's own dashboard was taken in; staff look whether that was right."""


@dataclass(frozen=True, slots=True)
class Processed:
    """How a round went: events acted upon, and those that failed."""

    done: int
    failed: int


def receive(*, gateway_name: str, headers: Mapping[str, str], body: bytes, now: datetime) -> GatewayEvent:
    """Check who sent the webhook, keep it once, and act upon it. Returns once it is kept: what then goes wrong is tried
    again from the row.

    Raises gateway.InvalidWebhook (nothing is kept), gateway.NoGateway.
    """
    delivery = registry.get(gateway_name).open_webhook(headers=headers, body=body)
    return accept(gateway_name=gateway_name, delivery=delivery, now=now)


def accept(*, gateway_name: str, delivery: Delivery, now: datetime) -> GatewayEvent:
    """Keep a webhook that is known to be the gateway's once, and act upon it, as `receive` does."""
    event = GatewayEvent(
        gateway=gateway_name,
        event_id=delivery.event_id,
        kind=delivery.kind[:60],
        payload=delivery.payload,
        received_at=now,
        next_try_at=now,
        request_id=current_id(),
    )
    GatewayEvent.objects.bulk_create([event], ignore_conflicts=True)
    kept = GatewayEvent.objects.get(gateway=gateway_name, event_id=delivery.event_id)
    if kept.processed_at is None and _claim(GatewayEvent.objects.filter(pk=kept.pk), now=now, limit=1):
        process(event_id=kept.pk, now=now)
        kept.refresh_from_db()
    return kept


def process_due(*, now: datetime, limit: int) -> Processed:
    """Act upon at most `limit` kept events that are due. Several at once share the work."""
    done = failed = 0
    for pk in _claim(GatewayEvent.objects.all(), now=now, limit=limit):
        if process(event_id=pk, now=now):
            done += 1
        else:
            failed += 1
    return Processed(done, failed)


def _claim(events: QuerySet[GatewayEvent], *, now: datetime, limit: int) -> list[int]:
    due = events.filter(next_try_at__lte=now).order_by("next_try_at", "pk")
    with transaction.atomic():
        ids = list(due.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        GatewayEvent.objects.filter(pk__in=ids).update(next_try_at=now + CLAIM, attempts=F("attempts") + 1)
    return ids


def dismiss(*, events: QuerySet[GatewayEvent], now: datetime) -> int:
    """Stop trying events that failed and about which nothing is to be done; returns how many. Each keeps its last
    error. One that is being processed meanwhile stays with what that does."""
    failed = events.filter(processed_at=None).exclude(last_error="")
    return failed.update(processed_at=now, next_try_at=None)


def process(*, event_id: int, now: datetime) -> bool:
    """Act upon a kept event; False when that failed, which its row then says."""
    event = GatewayEvent.objects.get(pk=event_id)
    with on_behalf_of(event.request_id):
        return _process(event, now=now)


def _process(event: GatewayEvent, *, now: datetime) -> bool:
    try:
        _act(event, now=now)
    except contract.NoGateway:
        problem = registry.how_to_reach(event.gateway)
        if event.last_error != problem:
            log.warning("gateway_event.gateway_missing", event_id=event.pk, problem=problem)
        # It does not use up its tries.
        event.last_error, event.next_try_at = problem, now + LONGEST_GAP
        event.save(update_fields=["last_error", "next_try_at"])
        return False
    except RefundedAtGateway as error:
        # Done; it stays in the queue until staff dismiss it.
        log.warning("gateway_event.refunded_at_gateway", event_id=event.pk)
        event.last_error, event.next_try_at = str(error), None
        event.save(update_fields=["last_error", "next_try_at"])
        return True
    # Whatever is wrong with one event must neither lose it nor keep the others from being acted upon.
    except Exception as error:
        log.warning("gateway_event.failed", event_id=event.pk, attempt=event.attempts, exc_info=True)
        event.last_error = describe_error(error)[:2000]
        gap = min(FIRST_GAP * 2 ** min(event.attempts, 20), LONGEST_GAP)
        event.next_try_at = now + gap if event.attempts < MAX_ATTEMPTS else None
        event.save(update_fields=["last_error", "next_try_at"])
        return False
    event.processed_at, event.next_try_at, event.last_error = now, None, ""
    event.save(update_fields=["processed_at", "next_try_at", "last_error"])
    return True


def _act(event: GatewayEvent, *, now: datetime) -> None:
    report = registry.get(event.gateway).read_webhook(event.payload)
    if isinstance(report, Report):
        _record(event, report, now=now)
    elif isinstance(report, DisputeReport):
        _record_dispute(event, report, now=now)
    elif isinstance(report, SetupReport):
        setups.follow(gateway_name=event.gateway, reference=report.reference, now=now)


def _record_dispute(event: GatewayEvent, report: DisputeReport, *, now: datetime) -> None:
    payment = _find_payment(event, report.key)
    is_refund = report.kind == Dispute.Kind.REFUND
    known = Dispute.objects.filter(gateway=event.gateway, gateway_reference=report.reference).first()
    if is_refund and report.state == Dispute.State.CLOSED:
        if known is None:
            return
        if known.state == Dispute.State.LOST:
            raise RefundBounced(f"{report.reference}, made at the gateway itself, came back")
    dispute = disputes.record(
        payment_id=payment.pk, report=report, now=clocks.time_of(payment.invoice.account, now)
    )  # fmt: skip
    if is_refund and known is None:
        raise RefundedAtGateway(
            f"{report.reference}: {amounts.money_text(dispute.amount, dispute.currency)} for {payment.invoice} was"
            " refunded at the gateway itself. The credit note is issued and the credits are taken back; what was spent"
            " of them is overdraft. Check that this is right, then dismiss this report."
        )


def _find_payment(event: GatewayEvent, key: str) -> Payment:
    """The payment that the report is about. Raises UnknownKey."""
    payments = Payment.objects.select_related("invoice__account")
    payment = payments.filter(gateway=event.gateway, idempotency_key=key).first()
    if payment is None:
        raise UnknownKey(key)
    return payment


def _record(event: GatewayEvent, report: Report, *, now: datetime) -> None:
    """Write down what is reported, at the time that it is for the account."""
    if report.about == "charge":
        payment = _find_payment(event, report.key)
        now = clocks.time_of(payment.invoice.account, now)
        paying.record(payment_id=payment.pk, outcome=report.outcome, now=now)
    else:
        base, _, attempt = report.key.partition("#")
        refunds = Refund.objects.select_related("payment__invoice__account")
        refund = refunds.filter(payment__gateway=event.gateway, idempotency_key=base).first()
        if refund is None:
            raise UnknownKey(report.key)
        if report.outcome.state == "failed" and refund.state == Refund.State.SUCCEEDED:
            raise RefundBounced(f"refund {refund.pk} came back: {report.outcome.failure_message}")
        now = clocks.time_of(refund.payment.invoice.account, now)
        refunding.record(refund_id=refund.pk, attempt=int(attempt or 1), outcome=report.outcome, now=now)
