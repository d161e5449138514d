"""The sandbox's webhooks: planned with each charge, signed by Standard Webhooks' rules, sent over HTTP until taken.

As providers do, it sends at least once: some events come twice, some late and in the wrong order.
"""

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol, cast

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from billing.payments import failures
from billing.payments.gateways.contract import Delivery, DisputeReport, InvalidWebhook, Outcome, Report, State
from billing.payments.models import Dispute, Payment
from billing.payments.sandbox_models import SandboxCharge, SandboxEvent, SandboxRefund
from billing.tracing.redaction import describe_error

log = structlog.get_logger(__name__)

PATH = "/api/v1/gateways/sandbox/webhook"
CLAIM = timedelta(minutes=1)
AGAIN_AFTER = timedelta(seconds=10)
LONGEST_GAP = timedelta(minutes=10)
# After about three days of refusals an event is given up.
MAX_ATTEMPTS = 450
TIMEOUT_SECONDS = 10

_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_STATES = ("succeeded", "failed", "requires_action", "processing")
_DISPUTE_STATES = frozenset(Dispute.State.values)

DISPUTE_REASON = "fraudulent"
# So long the seller can send evidence.
RESPOND_WITHIN = timedelta(days=10)


class Send(Protocol):
    """A way to send an event; it says why it was not taken, and nothing when it was."""

    def __call__(self, event: SandboxEvent, *, now: datetime) -> str: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """How a round went: events that were taken, and those to be tried again."""

    taken: int
    refused: int


def plan_charge_event(
    row: SandboxCharge, state: str, *, failure_code: str = "", now: datetime, due_at: datetime, sends: int = 1
) -> None:
    """Plan to tell how a charge stands."""
    data = {
        "key": row.idempotency_key,
        "reference": row.reference,
        "state": state,
        "failure_code": failure_code,
        "amount": str(row.amount),
        "currency": row.currency,
    }
    _plan(row, f"charge.{state}", data, now, due_at, sends)


def plan_refund_event(row: SandboxRefund, currency: str, *, now: datetime, due_at: datetime) -> None:
    """Plan to tell how a refund stands."""
    data = {
        "key": row.idempotency_key,
        "reference": row.reference,
        "state": row.state,
        "failure_message": row.failure_message,
        "amount": str(row.amount),
        "currency": currency,
    }
    _plan(row.charge, f"refund.{row.state}", data, now, due_at, 1)


def plan_dispute_event(row: SandboxCharge, *, now: datetime, due_at: datetime) -> None:
    """Plan to tell how the dispute of a charge stands."""
    data = {
        "key": row.idempotency_key,
        "reference": row.dispute_reference,
        "state": row.dispute_state,
        "reason": DISPUTE_REASON,
        "amount": str(row.dispute_amount),
        "currency": row.currency,
        "respond_by": (due_at + RESPOND_WITHIN).astimezone(UTC).isoformat(),
    }
    _plan(row, f"dispute.{row.dispute_state}", data, now, due_at, 1)


def _plan(
    row: SandboxCharge, kind: str, data: dict[str, str], now: datetime, due_at: datetime, sends: int
) -> SandboxEvent:
    return SandboxEvent.objects.create(
        event_id=f"evt_{secrets.token_hex(12)}",
        charge=row,
        kind=kind,
        payload={"type": kind, "timestamp": due_at.astimezone(UTC).isoformat(), "data": data},
        created_at=now,
        due_at=due_at,
        sends_left=sends,
    )


def send_due(*, now: datetime, limit: int, account_id: int | None = None, send: Send | None = None) -> Sent:
    """Send at most `limit` events that are due, over HTTP unless told how to `send`. Several at once share the work.

    With `account_id` those about its payments only; without, none about payments of accounts on a test clock.
    """
    taken = refused = 0
    for event in _claim(now=now, limit=limit, account_id=account_id):
        error = (send or post)(event, now=now)
        if error:
            refused += 1
            log.warning("sandbox.webhook_refused", event_id=event.event_id, error=error)
        else:
            taken += 1
        _note(event, error, now=now)
    return Sent(taken, refused)


def events_of(account_id: int | None) -> QuerySet[SandboxEvent]:
    """The events about payments of an account on a test clock, or for None of all that are on none."""
    about = Payment.objects.filter(idempotency_key=OuterRef("charge__idempotency_key"))
    if account_id is not None:
        return SandboxEvent.objects.filter(Exists(about.filter(invoice__account=account_id)))
    return SandboxEvent.objects.filter(~Exists(about.filter(invoice__account__clock_at__isnull=False)))


def _claim(*, now: datetime, limit: int, account_id: int | None) -> list[SandboxEvent]:
    with transaction.atomic(durable=True):
        due = events_of(account_id).filter(due_at__lte=now).order_by("due_at", "pk")
        events = list(due.select_for_update(skip_locked=True, of=("self",))[:limit])
        SandboxEvent.objects.filter(pk__in=[event.pk for event in events]).update(due_at=now + CLAIM)
    return events


def post(event: SandboxEvent, *, now: datetime) -> str:
    """Send one event; why it was not taken, empty when it was."""
    body = json.dumps(event.payload).encode()
    headers = {"Content-Type": "application/json", **sign(event.event_id, body, now=now)}
    request = urllib.request.Request(settings.FLORIN_PUBLIC_URL + PATH, body, headers)  # noqa: S310 -- our own address
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS):
            return ""
    except (OSError, ValueError) as error:
        return describe_error(error)[:300]


def _note(event: SandboxEvent, error: str, *, now: datetime) -> None:
    event.attempts += 1
    event.last_error = error
    if error:
        gap = min(timedelta(seconds=2) * 2 ** min(event.attempts, 12), LONGEST_GAP)
        event.due_at = now + gap if event.attempts < MAX_ATTEMPTS else None
    else:
        event.sends_left -= 1
        event.due_at = now + AGAIN_AFTER if event.sends_left else None
    event.save(update_fields=["attempts", "last_error", "sends_left", "due_at"])


def sign(event_id: str, body: bytes, *, now: datetime) -> dict[str, str]:
    """The headers that prove who sent the body, and when."""
    moment = now.astimezone(UTC)
    signature = Webhook(settings.FLORIN_SANDBOX_WEBHOOK_SECRET).sign(event_id, moment, body.decode())
    return dict(zip(_HEADERS, (event_id, str(int(moment.timestamp())), signature), strict=True))


def open_webhook(*, headers: Mapping[str, str], body: bytes) -> Delivery:
    """Check the signature, and that it is at most five minutes off the real clock. Raises InvalidWebhook."""
    lowered = {name.lower(): value for name, value in headers.items()}
    given = {name: lowered.get(name, "") for name in _HEADERS}
    try:
        payload = Webhook(settings.FLORIN_SANDBOX_WEBHOOK_SECRET).verify(body, given)
    # The library lets what it stumbles over in a forged header through: bad base64, a missing comma, bytes that are no
    # text, JSON that is none.
    except (WebhookVerificationError, ValueError, RecursionError) as error:
        raise InvalidWebhook(str(error)) from error
    if not isinstance(payload, dict) or not isinstance(payload.get("type"), str):
        raise InvalidWebhook("not an event")
    return Delivery(event_id=given["webhook-id"], kind=payload["type"], payload=payload)


def _read_dispute(payload: Mapping[str, Any]) -> DisputeReport:
    try:
        data = payload["data"]
        if data["state"] not in _DISPUTE_STATES:
            raise ValueError(data["state"])
        return DisputeReport(
            key=str(data["key"]),
            reference=str(data["reference"]),
            amount=Decimal(data["amount"]),
            currency=str(data["currency"]),
            reason=str(data["reason"]),
            state=str(data["state"]),
            respond_by=datetime.fromisoformat(data["respond_by"]),
        )
    except (KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise ValueError(f"unreadable dispute: {error!r}") from error


def read_webhook(payload: Mapping[str, Any]) -> Report | DisputeReport | None:
    """What the payload says; None for a kind that is of no concern. Raises ValueError for what cannot be read."""
    about = str(payload["type"]).partition(".")[0]
    if about == "dispute":
        return _read_dispute(payload)
    if about not in ("charge", "refund"):
        return None
    try:
        data = payload["data"]
        code = str(data.get("failure_code", ""))
        if data["state"] not in _STATES:
            raise ValueError(data["state"])
        outcome = Outcome(
            state=cast(State, data["state"]),
            reference=str(data["reference"]),
            failure_code=code,
            failure_message=failures.text(code) if code else str(data.get("failure_message", "")),
            hard=code in failures.HARD,
            amount=Decimal(data["amount"]),
            currency=str(data["currency"]),
        )
        return Report(about="charge" if about == "charge" else "refund", key=str(data["key"]), outcome=outcome)
    except (KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise ValueError(f"unreadable {about}: {error!r}") from error
